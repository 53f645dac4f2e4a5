/* The floor of ending many processes: SIGTERM to COUNT of them, until the last is reaped.
 *
 * usage: kill COUNT PROGRAM [ARGUMENT...]
 * prints the microseconds for each of them.
 */
#define _GNU_SOURCE
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
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
	if (argc < 3)
		return 2;
	int count = atoi(argv[1]), started = 0;
	pid_t *pids = calloc(count, sizeof *pids);
	for (; started < count; started++) {
		pid_t pid = vfork();
		if (pid == 0) {
			setsid();
			execv(argv[2], argv + 2);
			_exit(127);
		}
		if (pid < 0)
			break;
		pids[started] = pid;
	}
	double begin = seconds();
	for (int i = 0; i < started; i++)
		kill(-pids[i], SIGTERM);
	for (int i = 0; i < started; i++)
		waitpid(pids[i], NULL, 0);
	printf("%.3f\n", (seconds() - begin) / count * 1e6);
	return started < count;
}
