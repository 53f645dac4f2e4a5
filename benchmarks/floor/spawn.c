/* The floor of a job manager: start COUNT commands, IN_FLIGHT at a time, capture both outputs, reap.
 *
 * usage: spawn COUNT IN_FLIGHT PROGRAM [ARGUMENT...]
 * prints the microseconds of wall time and of our own CPU time for each command.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <stdint.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

extern char **environ;

/* What an event of epoll belongs to: the command's process, or one of its outputs. */
enum { PROCESS, STDOUT, STDERR, KINDS };

struct command {
	pid_t pid;
	int fd[KINDS];
};

static int epoll_fd;
static char buffer[65536];

static void fail(const char *what)
{
	perror(what);
	exit(1);
}

static double seconds(clockid_t clock)
{
	struct timespec now;
	clock_gettime(clock, &now);
	return now.tv_sec + now.tv_nsec / 1e9;
}

static void watch(struct command *command, int index, int kind)
{
	struct epoll_event event = { .events = EPOLLIN, .data.u64 = (uint64_t)index * KINDS + kind };
	if (epoll_ctl(epoll_fd, EPOLL_CTL_ADD, command->fd[kind], &event) < 0)
		fail("epoll_ctl");
}

static void let_go(struct command *command, int kind)
{
	/* Removed before it is closed: a child between vfork and exec shares the open file. */
	epoll_ctl(epoll_fd, EPOLL_CTL_DEL, command->fd[kind], NULL);
	close(command->fd[kind]);
	command->fd[kind] = -1;
}

static void start(struct command *command, int index, char **argv)
{
	int out[2], err[2];
	posix_spawn_file_actions_t actions;
	posix_spawnattr_t attributes;
	sigset_t defaults;

	if (pipe2(out, O_CLOEXEC) < 0 || pipe2(err, O_CLOEXEC) < 0)
		fail("pipe2");
	posix_spawn_file_actions_init(&actions);
	posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
	posix_spawn_file_actions_adddup2(&actions, out[1], 1);
	posix_spawn_file_actions_adddup2(&actions, err[1], 2);
	posix_spawnattr_init(&attributes);
	sigemptyset(&defaults);
	sigaddset(&defaults, SIGPIPE);
	posix_spawnattr_setsigdefault(&attributes, &defaults);
	posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSID | POSIX_SPAWN_SETSIGDEF);
	errno = posix_spawnp(&command->pid, argv[0], &actions, &attributes, argv, environ);
	if (errno != 0)
		fail(argv[0]);
	posix_spawn_file_actions_destroy(&actions);
	posix_spawnattr_destroy(&attributes);
	close(out[1]);
	close(err[1]);
	fcntl(out[0], F_SETFL, O_NONBLOCK);
	fcntl(err[0], F_SETFL, O_NONBLOCK);
	command->fd[STDOUT] = out[0];
	command->fd[STDERR] = err[0];
	command->fd[PROCESS] = syscall(SYS_pidfd_open, command->pid, 0);
	if (command->fd[PROCESS] < 0)
		fail("pidfd_open");
	for (int kind = 0; kind < KINDS; kind++)
		watch(command, index, kind);
}

/* Handle one event; return whether the command is over, with nothing more to read. */
static int handle(struct command *command, int kind)
{
	if (command->fd[kind] < 0)
		return 0;
	if (kind == PROCESS) {
		int status;
		struct rusage usage;
		if (wait4(command->pid, &status, 0, &usage) < 0)
			fail("wait4");
		let_go(command, kind);
	} else if (read(command->fd[kind], buffer, sizeof buffer) == 0) {
		let_go(command, kind);
	}
	return command->fd[PROCESS] < 0 && command->fd[STDOUT] < 0 && command->fd[STDERR] < 0;
}

int main(int argc, char **argv)
{
	if (argc < 4) {
		fprintf(stderr, "usage: spawn COUNT IN_FLIGHT PROGRAM [ARGUMENT...]\n");
		return 2;
	}
	int count = atoi(argv[1]), in_flight = atoi(argv[2]);
	struct command *commands = calloc(in_flight, sizeof *commands);
	struct epoll_event events[64];
	int started = 0, ended = 0;

	epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	double wall = seconds(CLOCK_MONOTONIC), cpu = seconds(CLOCK_PROCESS_CPUTIME_ID);
	for (; started < in_flight && started < count; started++)
		start(&commands[started], started, argv + 3);
	while (ended < count) {
		int ready = epoll_wait(epoll_fd, events, 64, -1);
		for (int i = 0; i < ready; i++) {
			int index = events[i].data.u64 / KINDS, kind = events[i].data.u64 % KINDS;
			if (!handle(&commands[index], kind))
				continue;
			ended++;
			if (started < count) {
				start(&commands[index], index, argv + 3);
				started++;
			}
		}
	}
	wall = seconds(CLOCK_MONOTONIC) - wall;
	cpu = seconds(CLOCK_PROCESS_CPUTIME_ID) - cpu;
	printf("%.3f %.3f\n", wall / count * 1e6, cpu / count * 1e6);
	return 0;
}
