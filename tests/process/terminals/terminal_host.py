"""A shell of sorts in front of a terminal: `python -m tests.process.terminals.terminal_host WAY`.

It does to its terminal what the name says, asserts what must hold, and ends with 0. What the person
has to type is asked for by a word.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import sys
import termios
import tty
from collections.abc import Iterator
from typing import Final

from amper.process.gate import spawn_held
from amper.process.reap import Exit
from amper.process.spawn import Program, ReportPipe, spawn
from amper.process.terminals.foreground import Foreground
from amper.process.terminals.terminal import Size, Terminal
from amper.values import ExitStatus

REPORTS: Final = ReportPipe()


def say(*words: object) -> None:
    os.write(1, (" ".join(map(str, words)) + "\n").encode())


def program(way: str, *arguments: object, pass_fds: tuple[int, ...] = ()) -> Program:
    """Return one of the functions below as a program of our session."""
    words = [sys.executable, "-X", "dev", "-m", "tests.process.terminals.terminal_host", way]
    return Program(
        [*words, *map(str, arguments), *map(str, pass_fds)], None, None, pass_fds, "ours"
    )


def own_terminal() -> Terminal:
    terminal = Terminal.open()
    assert terminal is not None
    return terminal


def in_front(terminal: Terminal, started: Program) -> Foreground:
    pid, gate = spawn_held(started, terminal.fd, terminal.fd, terminal.fd, REPORTS)
    group = Foreground(terminal, pid)
    group.resume()
    gate.open()
    return group


def background(started: Program) -> int:
    return spawn(started, 0, 1, 2, REPORTS)


def waited(pid: int) -> int:
    """Wait for an end or a stop; return the raw status."""
    return os.waitpid(pid, os.WUNTRACED)[1]


def exit_of(status: int) -> Exit:
    if os.WIFSIGNALED(status):
        return Exit(ExitStatus.signaled(os.WTERMSIG(status)), None)
    return Exit(ExitStatus.exited(os.WEXITSTATUS(status)), None)


def ended(group: Foreground) -> int:
    """Wait for the end of a group that is in front; return its code."""
    status = waited(group.pgid)
    assert not os.WIFSTOPPED(status), status
    exit = exit_of(status)
    assert group.ended(exit)
    assert exit.status is not None
    return exit.status.code


@contextlib.contextmanager
def killed_in_the_end(pid: int) -> Iterator[None]:
    try:
        yield
    finally:
        os.killpg(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


# -------------------------------------------------------------------------- what runs in front


def tell_if_in_front() -> None:
    sys.exit(0 if os.tcgetpgrp(0) == os.getpgrp() else 1)


def ready() -> None:
    say("ready")
    signal.pause()


def full_screen() -> None:
    """Take each key by itself, also the Ctrl-C; stop at z, quit at q as one should."""
    before = termios.tcgetattr(0)
    while True:
        tty.setraw(0, termios.TCSANOW)
        raw = termios.tcgetattr(0)
        say("raw")
        key = os.read(0, 1)
        if key == b"q":
            termios.tcsetattr(0, termios.TCSANOW, before)
            return
        os.kill(0, signal.SIGTSTP)
        # It relies on its terminal being as it left it.
        assert termios.tcgetattr(0) == raw
        assert os.tcgetpgrp(0) == os.getpgrp()


def leave_it_raw(code: str) -> None:
    tty.setraw(0, termios.TCSANOW)
    if code == "killed":
        os.kill(0, signal.SIGKILL)
    sys.exit(int(code))


def hand_it_on(told: str) -> None:
    """Put a child's group in front, as a shell does, and tell its pid."""
    pid = os.fork()
    if pid == 0:
        signal.pause()
    os.setpgid(pid, 0)
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTTOU})
    os.tcsetpgrp(0, pid)
    os.write(int(told), b"%d" % pid)
    signal.pause()


# ---------------------------------------------------------------------------------- what a host does


def give_and_take() -> None:
    terminal = own_terminal()
    handlers = [signal.getsignal(number) for number in signal.valid_signals()]
    assert terminal.is_ours
    for _ in range(5):
        group = in_front(terminal, program("tell_if_in_front"))
        assert group.is_in_front
        assert ended(group) == 0
        assert terminal.is_ours
        assert not group.is_in_front
    assert [signal.getsignal(number) for number in signal.valid_signals()] == handlers
    assert not signal.pthread_sigmask(signal.SIG_BLOCK, ())
    terminal.close()
    terminal.close()


def give_at_once() -> None:
    """The first instruction of a program that is as fast as can be finds the terminal given."""
    terminal = own_terminal()
    for _ in range(200):
        # The shell's own test: it reads field 8 of its stat, the group in front.
        group = in_front(
            terminal,
            Program(
                'read -r stat </proc/self/stat; set -- ${stat##*)}; [ "$6" = "$3" ]',
                session="ours",
            ),
        )
        assert ended(group) == 0


def read_a_line() -> None:
    terminal = own_terminal()
    group = in_front(
        terminal, Program('echo line?; read -r line; echo "got $line"', session="ours")
    )
    assert ended(group) == 0


def interrupt() -> None:
    """Ctrl-C is for the group in front, and not for us or for a group in the background."""
    terminal = own_terminal()
    other = background(Program("exec sleep 1000", session="ours"))
    with killed_in_the_end(other):
        group = in_front(terminal, program("ready"))
        assert ended(group) == 128 + signal.SIGINT
        assert os.waitpid(other, os.WNOHANG) == (0, 0)
    assert terminal.is_ours


def stop_and_resume(times: str) -> None:
    terminal = own_terminal()
    ours = terminal.modes()
    group = in_front(terminal, program("full_screen"))
    for _ in range(int(times)):
        status = waited(group.pgid)
        assert os.WIFSTOPPED(status), status
        assert terminal.modes() != ours
        assert group.stopped()
        assert terminal.is_ours
        assert terminal.modes() == ours
        # A second report of the same stop changes nothing.
        assert group.stopped()
        assert group.resume()
        assert terminal.foreground == group.pgid
        assert terminal.modes() != ours
        os.killpg(group.pgid, signal.SIGCONT)
    assert ended(group) == 0
    assert terminal.modes() == ours


def killed_while_raw() -> None:
    terminal = own_terminal()
    ours = terminal.modes()
    for _ in range(5):
        group = in_front(terminal, program("leave_it_raw", "killed"))
        assert ended(group) == 128 + signal.SIGKILL
        assert terminal.modes() == ours
    group = in_front(terminal, program("leave_it_raw", "137"))
    assert ended(group) == 137
    assert terminal.modes() == ours


def end_by_itself() -> None:
    """What `stty` does is meant to stay."""
    terminal = own_terminal()
    ours = terminal.modes()
    assert ours is not None
    group = in_front(terminal, program("leave_it_raw", "0"))
    assert ended(group) == 0
    assert terminal.modes() != ours
    assert terminal.set_modes(ours)
    assert terminal.modes() == ours


def start_in_background_and_bring_to_front() -> None:
    terminal = own_terminal()
    pid = background(Program('read -r line; echo "got $line"', session="ours"))
    status = waited(pid)
    assert os.WIFSTOPPED(status)
    assert os.WSTOPSIG(status) == signal.SIGTTIN
    say("line?")
    group = Foreground(terminal, pid)
    assert not group.is_in_front
    assert group.resume()
    os.killpg(pid, signal.SIGCONT)
    assert ended(group) == 0


def give_to_nobody() -> None:
    terminal = own_terminal()
    ours = terminal.modes()
    pid = background(Program("exit 0", session="ours"))
    os.waitpid(pid, 0)
    assert not terminal.give(pid)
    assert not Foreground(terminal, pid).resume()
    # One of another session is nobody either.
    stranger = background(Program("exec sleep 1000"))
    with killed_in_the_end(stranger):
        assert not terminal.give(stranger)
    assert terminal.is_ours
    assert terminal.modes() == ours


def take_from_what_a_job_left() -> None:
    """A job put another group in front and was killed: the terminal must not stay there."""
    terminal = own_terminal()
    read_end, write_end = os.pipe()
    group = in_front(terminal, program("hand_it_on", pass_fds=(write_end,)))
    child = int(os.read(read_end, 100))
    assert terminal.foreground == child
    os.killpg(group.pgid, signal.SIGKILL)
    assert ended(group) == 128 + signal.SIGKILL
    assert terminal.is_ours
    os.kill(child, signal.SIGKILL)


def be_in_the_background() -> None:
    """Run `refrain` in the background, and see that it takes nothing from us."""
    terminal = own_terminal()
    pid = background(program("refrain"))
    assert waited(pid) == 0
    assert terminal.is_ours


def refrain() -> None:
    """Be in the background, under a shell that has the terminal."""
    terminal = own_terminal()
    assert not terminal.is_ours
    assert not terminal.take_back()
    modes = terminal.modes()
    assert modes is not None
    assert not terminal.set_modes(modes)
    group = in_front(terminal, program("tell_if_in_front"))
    assert not group.is_in_front
    assert exit_of(waited(group.pgid)).status == ExitStatus.exited(1)
    assert group.ended(exit_of(0))
    assert not group.resume()


def lose_it() -> None:
    """Run `lose` in front, and take the terminal from it while its own job has it."""
    terminal = own_terminal()
    ours, its = socket.socketpair()
    group = in_front(terminal, program("lose", pass_fds=(its.fileno(),)))
    assert ours.recv(1)
    modes = terminal.modes()
    # We are no parent of the group in front, and yet above it.
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTTOU})
    other = background(Program("exec sleep 1000", session="ours"))
    with killed_in_the_end(other):
        for owner in (os.getpgrp(), other):
            os.tcsetpgrp(terminal.fd, owner)
            ours.send(b"t")
            assert ours.recv(1)
            assert terminal.foreground == owner
            assert terminal.modes() == modes
        ours.send(b"e")
        assert waited(group.pgid) == 0
        assert terminal.foreground == other
        os.tcsetpgrp(terminal.fd, os.getpgrp())
    ours.close()
    its.close()


def lose(told: str) -> None:
    terminal = own_terminal()
    group = in_front(terminal, program("ready"))
    assert group.is_in_front
    with socket.socket(fileno=int(told)) as above:
        above.send(b"f")
        for _ in range(2):
            assert above.recv(1)
            assert not terminal.take_back()
            assert not group.resume()
            above.send(b"n")
        assert above.recv(1)
    os.killpg(group.pgid, signal.SIGKILL)
    waited(group.pgid)
    assert not terminal.take_back()


def be_hung_up() -> None:
    terminal = own_terminal()
    pid = background(Program("trap '' HUP; exec sleep 1000", session="ours"))
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGHUP})
    modes, size = terminal.modes(), terminal.size()
    assert modes is not None
    assert size is not None
    with killed_in_the_end(pid):
        say("hang up")
        signal.sigwait({signal.SIGHUP})
        assert terminal.foreground is None
        assert not terminal.give(pid)
        assert not terminal.take_back()
        assert terminal.modes() is None
        assert not terminal.set_modes(modes)
        assert terminal.size() is None
        assert not terminal.set_size(size)
        group = Foreground(terminal, pid)
        assert not group.resume()
        assert group.stopped()
        assert Terminal.open() is None
    os._exit(0)


def resize() -> None:
    terminal = own_terminal()
    assert terminal.size() == Size(80, 24)
    assert terminal.set_size(Size(133, 50))
    assert terminal.size() == Size(*os.get_terminal_size(0)) == Size(133, 50)


def open_by_descriptor(somewhere: str) -> None:
    terminal = Terminal.open(0)
    assert terminal is not None
    assert terminal.fd > 2
    assert terminal.device == os.fstat(0).st_rdev
    assert terminal.is_ours
    terminal.close()
    assert os.isatty(0)
    read_end, write_end = os.pipe()
    master, slave = os.openpty()
    # A pipe, nothing at all, terminals of nobody's session, and a name that means all masters.
    for fd in (read_end, 987, master, slave):
        assert Terminal.open(fd) is None
    for fd in (read_end, write_end, master, slave):
        os.close(fd)
    for fd in (0, 1, 2):
        os.close(fd)
    terminal = Terminal.open()
    assert terminal is not None
    assert terminal.fd > 2
    with open(somewhere, "w") as file:
        file.write("ok")


if __name__ == "__main__":
    globals()[sys.argv[1]](*sys.argv[2:])
