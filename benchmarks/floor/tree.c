/* A tree of processes that does not want to be killed: tree SEED DEPTH LOG [COMET_MICROSECONDS].
 *
 * Each process writes its pid to LOG, and then at random: leads a session or a group of its own,
 * forks twice and leaves its parent, ignores SIGTERM, closes what it has open, executes itself with
 * an empty environment. With COMET_MICROSECONDS one of them forks and exits so often, for ever.
 * "ready" is printed when all are there. */

#define _GNU_SOURCE
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static unsigned state;
static char **words;
static char *nothing[] = {NULL};

static unsigned chance(unsigned sides) {
    state = state * 1664525u + 1013904223u;
    return (state >> 16) % sides;
}

static void put_down(void) {
    char line[16];
    int fd = open(words[3], O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
    int length = snprintf(line, sizeof line, "%d\n", getpid());
    if (fd < 0 || write(fd, line, length) != length)
        _exit(2);
    close(fd);
}

static void wait_for_ever(void) {
    for (;;)
        pause();
}

static void comet(unsigned microseconds) {
    setsid();
    while (fork() == 0)
        usleep(microseconds);
    _exit(0);
}

static void grow(int depth, int built);

static void child(int depth, int built) {
    if (chance(3) == 0 && fork() != 0)
        _exit(0);
    if (chance(3) == 0)
        setsid();
    else if (chance(3) == 0)
        setpgid(0, 0);
    if (chance(2) == 0) {
        signal(SIGTERM, SIG_IGN);
        signal(SIGHUP, SIG_IGN);
        signal(SIGINT, SIG_IGN);
    }
    put_down();
    grow(depth - 1, built);
    close(built);
    if (chance(3) == 0)
        for (int fd = 0; fd < 64; fd++)
            close(fd);
    if (chance(3) == 0) {
        char *leaf[] = {words[0], words[1], "-1", words[3], NULL};
        execve(words[0], leaf, nothing);
    }
    wait_for_ever();
}

static void grow(int depth, int built) {
    if (depth <= 0)
        return;
    for (unsigned count = 1 + chance(4); count > 0; count--) {
        chance(2);
        if (fork() == 0)
            child(depth, built);
    }
}

int main(int count, char **arguments) {
    int built[2];
    char byte;
    if (count < 4)
        return 2;
    words = arguments;
    state = strtoul(arguments[1], NULL, 10) * 2654435761u;
    if (atoi(arguments[2]) < 0)
        wait_for_ever();
    if (pipe2(built, O_CLOEXEC) != 0)
        return 2;
    put_down();
    if (count > 4 && fork() == 0) {
        close(built[1]);
        comet(strtoul(arguments[4], NULL, 10));
    }
    grow(atoi(arguments[2]), built[1]);
    close(built[1]);
    while (read(built[0], &byte, 1) > 0)
        continue;
    if (write(1, "ready\n", 6) != 6)
        return 2;
    wait_for_ever();
}
