"""A program that misbehaves by name: `python tests/unruly.py ignore_term`, one way per function.

Each prints `ready` (and the pids that the test needs) when it is as bad as it gets, and then waits for
signals: with `sigwait` where it reacts to one, since a handler may come just before a `pause`.
It imports next to nothing, because it is started hundreds of times.
"""

from __future__ import annotations

import os
import select
import signal
import sys


def unruly(way: str, *arguments: object) -> list[str]:
    """Return the command that misbehaves in this way."""
    return [sys.executable, "-I", "-S", __file__, way, *map(str, arguments)]


def say(*words: object) -> None:
    os.write(1, (" ".join(map(str, words)) + "\n").encode())


def wait_for(*numbers: int) -> int:
    """Wait for one of these signals, which must be blocked already."""
    return signal.sigwait(numbers)


def block(*numbers: int) -> None:
    signal.pthread_sigmask(signal.SIG_BLOCK, numbers)


def pause_for_ever() -> None:
    while True:
        signal.pause()


def leave_streams() -> None:
    null = os.open(os.devnull, os.O_RDWR)
    for fd in (0, 1, 2):
        os.dup2(null, fd)


def fork(child: object, *arguments: object) -> int:
    """Fork a child that runs `child` for ever; return its pid when it says that it is set up."""
    read_end, write_end = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(read_end)
        assert callable(child)
        child(write_end, *arguments)
        os._exit(0)
    os.close(write_end)
    told = os.read(read_end, 100)
    os.close(read_end)
    return int(told or pid)


def quiet_child(told: int) -> None:
    leave_streams()
    os.write(told, b"%d" % os.getpid())
    os.close(told)
    pause_for_ever()


def stubborn_child(told: int) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    quiet_child(told)


def refusing_child(told: int) -> None:
    """Keep the output, and say so when it is asked to end."""
    block(signal.SIGTERM)
    os.write(told, b"%d" % os.getpid())
    os.close(told)
    refuse()


def headless_child(told: int) -> None:
    """End the first thread of the process, and go on in another one, which ignores SIGTERM."""
    import ctypes
    import threading

    def go_on() -> None:
        with open("/proc/self/stat") as file:
            while file.read().rpartition(")")[2].split()[0] != "Z":
                file.seek(0)
        quiet_child(told)

    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    threading.Thread(target=go_on).start()
    # The call never comes back, so it must not hold the interpreter's lock: a CDLL lets it go.
    ctypes.CDLL(None).pthread_exit(None)


def own_group_child(told: int) -> None:
    os.setpgid(0, 0)
    quiet_child(told)


def refusing_own_group_child(told: int) -> None:
    os.setpgid(0, 0)
    refusing_child(told)


def ignore_term_beside_a_group() -> None:
    """Have a child in a group of its own that tells of each SIGTERM, and ignore it ourselves."""
    child = fork(refusing_own_group_child)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    say("ready", child)
    pause_for_ever()


def own_session_child(told: int) -> None:
    os.setsid()
    quiet_child(told)


def leaving_child(told: int) -> None:
    """Make a group of its own at SIGUSR1."""
    block(signal.SIGUSR1)
    os.write(told, b"%d" % os.getpid())
    os.close(told)
    wait_for(signal.SIGUSR1)
    os.setpgid(0, 0)
    pause_for_ever()


def daemon_child(told: int) -> None:
    os.setsid()
    parent = os.getpid()
    if os.fork() == 0:
        # Not earlier: as long as its parent is there, it is found from above.
        while os.getppid() == parent:
            os.sched_yield()
        quiet_child(told)
    os._exit(0)


def closing_child(told: int) -> None:
    """Be a daemon that keeps nothing open, and cannot be asked to end."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    os.setsid()
    read_end, write_end = os.pipe()
    if os.fork() != 0:
        os.read(read_end, 1)
        os._exit(0)
    os.write(told, b"%d" % os.getpid())
    os.write(write_end, b"x")
    os.closerange(0, 4096)
    pause_for_ever()


def nameless_child(told: int) -> None:
    """Be another program, with an empty environment, in a session of its own and deaf to SIGTERM."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    os.setsid()
    os.set_inheritable(told, True)
    # The last words mark it as the rest of its job is marked on a list of processes.
    os.execve(sys.executable, unruly("be_nameless", told, *sys.argv[2:]), {})


def comet_child(told: int) -> None:
    """Fork and end, fork and end: whoever looks is late. It lasts until somebody is faster, or a minute."""
    os.setsid()
    os.write(told, b"%d" % os.getpid())
    os.close(told)
    for _ in range(30_000):
        if os.fork() != 0:
            break
        # Not so fast that every number of a process comes by in a second.
        select.select([], [], [], 0.002)
    os._exit(0)


def bomb_child(told: int, depth: int = 3) -> None:
    """Be a tree of processes that ignore SIGTERM, each in a group of its own."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    os.setpgid(0, 0)
    for _ in range(2 if depth else 0):
        fork(bomb_child, depth - 1)
    os.write(told, b"%d" % os.getpid())
    os.close(told)
    pause_for_ever()


def stubborn_daemon_child(told: int) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    daemon_child(told)


def refuse() -> None:
    while wait_for(signal.SIGTERM):
        say("ignored")


def holding_child(told: int) -> None:
    """Hold the output; write at SIGUSR1, let go of it at SIGUSR2."""
    block(signal.SIGUSR1, signal.SIGUSR2)
    os.write(told, b"%d" % os.getpid())
    os.close(told)
    while wait_for(signal.SIGUSR1, signal.SIGUSR2) == signal.SIGUSR1:
        os.write(1, b"late\n")
    leave_streams()
    pause_for_ever()


def talking_child(told: int) -> None:
    """Write at SIGUSR1, end at SIGUSR2."""
    block(signal.SIGUSR1, signal.SIGUSR2)
    os.write(told, b"%d" % os.getpid())
    os.close(told)
    while wait_for(signal.SIGUSR1, signal.SIGUSR2) == signal.SIGUSR1:
        say("late")


def flooding_child(told: int, size: str, witness: str) -> None:
    block(signal.SIGUSR1)
    os.write(told, b"%d" % os.getpid())
    os.close(told)
    wait_for(signal.SIGUSR1)
    flood(size)
    os.mkdir(witness)


def endless_child(told: int) -> None:
    os.write(told, b"%d" % os.getpid())
    os.close(told)
    flood_for_ever()


# The ways.


def run_wild(tag: str) -> None:
    """Have descendants that get away in every way we know; `tag` marks them all on a list of processes."""
    children = (
        stubborn_child,
        own_session_child,
        daemon_child,
        closing_child,
        nameless_child,
        bomb_child,
        comet_child,
    )
    say("ready", os.getpid(), *[fork(child) for child in children])
    pause_for_ever()


def be_nameless(told: str, *tags: str) -> None:
    quiet_child(int(told))


def run_tagged(tag: str, way: str) -> None:
    """Misbehave in another way, marked by a tag on a list of processes."""
    globals()[way]()


def behave() -> None:
    """Wait until it is killed."""
    say("ready", os.getpid())
    pause_for_ever()


def ignore_term() -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    behave()


def refuse_term() -> None:
    """Tell of each SIGTERM that it is ignored."""
    block(signal.SIGTERM)
    say("ready", os.getpid())
    refuse()


def handle_term_and_exit_0() -> None:
    block(signal.SIGTERM)
    say("ready")
    wait_for(signal.SIGTERM)


def handle_term_and_exit(code: str) -> None:
    handle_term_and_exit_0()
    sys.exit(int(code))


def handle_term_and_die_of(number: str) -> None:
    handle_term_and_exit_0()
    os.kill(os.getpid(), int(number))


def fork_and_leave(code: str = "0") -> None:
    """Leave a child that keeps running, in the same group."""
    say("ready", fork(quiet_child))
    sys.exit(int(code))


def fork_stubborn_and_leave() -> None:
    say("ready", fork(stubborn_child))


def fork_talking_and_leave(code: str) -> None:
    say("ready", fork(talking_child))
    sys.exit(int(code))


def leave_a_relay(length: str) -> None:
    """Leave a child that leaves a child, and so on; each speaks when the one before it is gone."""
    say("leader")
    parent = os.getpid()
    for left in range(int(length), -1, -1):
        if os.fork() != 0:
            os._exit(0)
        while os.getppid() == parent:
            os.sched_yield()
        parent = os.getpid()
        say(left)


def fork_refusing_and_leave() -> None:
    say("ready", fork(refusing_child))


def obey_but_leave_refusing() -> None:
    """Have a child that stays when the leader dies of SIGTERM."""
    say("ready", fork(refusing_child))
    pause_for_ever()


def leave_headless() -> None:
    say("ready", fork(headless_child))


def leave_when_told(size: str, child: str = "quiet_child", code: str = "0") -> None:
    """Have many children, and leave them at SIGUSR1."""
    block(signal.SIGUSR1)
    say("ready", *[fork(globals()[child]) for _ in range(int(size))])
    wait_for(signal.SIGUSR1)
    sys.exit(int(code))


def crowd(size: str, child: str = "quiet_child") -> None:
    """Have many children, which ignore SIGTERM or not."""
    say("ready", *[fork(globals()[child]) for _ in range(int(size))])
    pause_for_ever()


def child_in_own_group() -> None:
    say("ready", fork(own_group_child))
    pause_for_ever()


def child_in_own_session() -> None:
    say("ready", fork(own_session_child))
    pause_for_ever()


def leave_group_when_told() -> None:
    say("ready", fork(leaving_child))
    pause_for_ever()


def double_fork_setsid() -> None:
    """Leave a daemon behind: another session, and a child of nobody's here."""
    say("ready", fork(daemon_child))
    os.wait()


def hold_pipe() -> None:
    say("ready", fork(holding_child))


def hold_pipe_and_flood_late(size: str, witness: str) -> None:
    """Leave a child that floods the output at SIGUSR1, and makes a directory when all is written."""
    say("ready", fork(flooding_child, size, witness))


def hold_pipe_after(size: str) -> None:
    """At SIGUSR1 print a lot and end, while a child holds the output."""
    block(signal.SIGUSR1)
    os.write(2, b"ready %d\n" % fork(holding_child))
    wait_for(signal.SIGUSR1)
    flood(size)


def leave_a_flood() -> None:
    os.write(2, b"ready %d\n" % fork(endless_child))


def zombie_child() -> None:
    """Never collect a child that is dead."""
    pid = os.fork()
    if pid == 0:
        os._exit(0)
    os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
    say("ready", pid)
    pause_for_ever()


def zombie_of_another_session() -> None:
    """Have a child that leaves a dead child of its own in our group, and goes."""
    read_end, write_end = os.pipe()
    if os.fork() == 0:
        zombie = os.fork()
        if zombie == 0:
            os._exit(0)
        os.waitid(os.P_PID, zombie, os.WEXITED | os.WNOWAIT)
        os.setsid()
        leave_streams()
        os.write(write_end, b"%d %d" % (zombie, os.getpid()))
        pause_for_ever()
    say("ready", os.read(read_end, 100).decode())
    pause_for_ever()


def flood(size: str) -> None:
    """Print this many bytes without a newline, and then `end`."""
    left, block_of_x = int(size), b"x" * 65536
    while left > 0:
        left -= os.write(1, block_of_x[:left])
    os.write(1, b"end")


def flood_for_ever() -> None:
    while True:
        os.write(1, b"x" * 65536)


def print_then_flood_late(size: str) -> None:
    """Print a little, and flood only at SIGUSR1."""
    block(signal.SIGUSR1)
    say("ready")
    wait_for(signal.SIGUSR1)
    flood(size)


def close_stdout_keep_running() -> None:
    block(signal.SIGUSR1)
    say("ready")
    os.close(1)
    os.close(2)
    wait_for(signal.SIGUSR1)


def sit_in_vfork(fifo: str) -> None:
    """Wait in vfork for a child that waits, before its exec, until somebody writes to a fifo."""
    say("ready", os.getpid())
    opening = [(os.POSIX_SPAWN_OPEN, 0, fifo, os.O_RDONLY, 0)]
    child = os.posix_spawn(
        sys.executable, [sys.executable, "-I", "-S", "-c", ""], {}, file_actions=opening
    )
    os.waitpid(child, 0)
    say("spawned")
    pause_for_ever()


def daemons(size: str, child: str = "daemon_child") -> None:
    """Have daemons: each in a session of its own, and a child of nobody's here."""
    say("ready", *[fork(globals()[child]) for _ in range(int(size))])
    pause_for_ever()


def daemon_at_term() -> None:
    """Start a daemon when asked to end, and end."""
    block(signal.SIGTERM)
    say("ready")
    wait_for(signal.SIGTERM)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
    say("left", fork(daemon_child))


def orphan_in_own_group() -> None:
    """Have one in a group of its own in our session, whose parent is gone."""
    read_end, write_end = os.pipe()
    if os.fork() == 0:
        if os.fork() == 0:
            own_group_child(write_end)
        os._exit(0)
    os.wait()
    say("ready", os.read(read_end, 100).decode())
    pause_for_ever()


def trace_child() -> None:
    """Trace a child of the same group: it stops for its tracer, and never for SIGSTOP alone."""
    import ctypes

    child = fork(quiet_child)
    ptrace_attach = 16
    assert ctypes.CDLL(None).ptrace(ptrace_attach, child, 0, 0) == 0
    os.waitpid(child, os.WUNTRACED)
    say("ready", child)
    pause_for_ever()


def stop_supervisors(tag: str, how_many: str) -> None:
    """Stop our parent, and the parent of that, as a program of the same user may."""
    parents = [os.getppid()]
    while len(parents) < int(how_many):
        with open(f"/proc/{parents[-1]}/stat") as file:
            parents.append(int(file.read().rpartition(")")[2].split()[1]))
    # The parent of the other one first: it would let that run on.
    for pid in reversed(parents):
        os.kill(pid, signal.SIGSTOP)
    run_wild(tag)


def stop_self() -> None:
    block(signal.SIGCONT)
    say("ready", os.getpid())
    os.kill(os.getpid(), signal.SIGSTOP)
    wait_for(signal.SIGCONT)
    say("continued")
    pause_for_ever()


def die_by(number: str) -> None:
    signal.signal(int(number), signal.SIG_DFL) if int(number) != signal.SIGKILL else None
    os.kill(os.getpid(), int(number))
    pause_for_ever()


def exit_with(code: str) -> None:
    os._exit(int(code))


def echo_stdin() -> None:
    while data := os.read(0, 65536):
        while data:
            data = data[os.write(1, data) :]


def count_stdin_when_told() -> None:
    """Read nothing before SIGUSR1, and then all."""
    block(signal.SIGUSR1)
    say("ready")
    wait_for(signal.SIGUSR1)
    total = 0
    while data := os.read(0, 65536):
        total += len(data)
    say("read", total)


def close_stdin_keep_running() -> None:
    """Refuse to read: close it at once, or with all that is in it at SIGUSR1."""
    block(signal.SIGUSR1)
    say("ready")
    wait_for(signal.SIGUSR1)
    os.close(0)
    say("closed")
    pause_for_ever()


def be_busy() -> None:
    """Use the processor, and some memory."""
    print(sum(bytes(range(256)) * 10_000))


def half_utf8() -> None:
    os.write(1, "ä".encode()[:1])
    os.write(2, b"\xff\xfe")


def half_utf8_when_told() -> None:
    block(signal.SIGUSR1)
    say("ready")
    os.write(1, "ä".encode()[:1])
    wait_for(signal.SIGUSR1)
    os.write(1, "ä\n".encode()[1:])


def alternate(count: str) -> None:
    """Write to both outputs in turn."""
    for number in range(int(count)):
        os.write(1 + number % 2, b"%d\n" % number)


def list_descriptors() -> None:
    # One of them is that of the listing itself.
    print(*sorted(int(name) for name in os.listdir("/proc/self/fd")), flush=True)


def tell_session() -> None:
    print(os.getpid(), os.getsid(0), os.getpgid(0), flush=True)


if __name__ == "__main__":
    globals()[sys.argv[1]](*sys.argv[2:])
