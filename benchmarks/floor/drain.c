/* The floor of draining: read a pipe of PIPE bytes into a ring of RING bytes until it ends.
 *
 * usage: drain PIPE RING PROGRAM [ARGUMENT...]
 * prints the seconds of wall time from the start of the program to its end, and how many bytes came.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static double seconds(void)
{
	struct timespec now;
	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec + now.tv_nsec / 1e9;
}

int main(int argc, char **argv)
{
	if (argc < 4)
		return 2;
	int fd[2];
	long ring_size = atol(argv[2]), total = 0;
	char *ring = malloc(ring_size);
	if (ring == NULL || pipe2(fd, O_CLOEXEC) < 0)
		return 1;
	fcntl(fd[0], F_SETPIPE_SZ, atoi(argv[1]));
	double begin = seconds();
	pid_t pid = vfork();
	if (pid == 0) {
		dup2(fd[1], 1);
		execv(argv[3], argv + 3);
		_exit(127);
	}
	close(fd[1]);
	for (;;) {
		long position = total % ring_size;
		struct iovec room[2] = {
			{ ring + position, ring_size - position },
			{ ring, position },
		};
		ssize_t count = readv(fd[0], room, 2);
		if (count <= 0)
			break;
		total += count;
	}
	waitpid(pid, NULL, 0);
	printf("%.6f %ld\n", seconds() - begin, total);
	return 0;
}
