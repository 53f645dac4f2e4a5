"""Processes above other processes, for what a supervisor does: each lives until it is told to die.

A subreaper's children are its own, so that a test of it is a program of its own.
"""

from __future__ import annotations

from typing import Final

from tests.handshakes import run_script

_BEGIN: Final = """
import atexit, contextlib, os, signal

from amper.supervisor.descent import OwnChildren
from amper.supervisor.privileges import become_subreaper

# Whoever waits in vain, here or below, does not do so for ever.
DEADLINE = 20


def give_up(*_):
    raise TimeoutError


signal.signal(signal.SIGALRM, give_up)
signal.alarm(DEADLINE)
become_subreaper()
look = OwnChildren()


@atexit.register
def leave_nobody():
    with contextlib.suppress(ChildProcessError):
        while True:
            for pid in OwnChildren()():
                os.kill(pid, signal.SIGKILL)
            os.wait()


def chain(*first):
    # Fork somebody who forks the next, and so on; each does what it is told first, and waits.
    read_end, write_end = os.pipe()
    todo = list(first)
    if os.fork() == 0:
        while True:
            todo.pop(0)()
            os.write(write_end, b"%d " % os.getpid())
            if not todo or os.fork() != 0:
                os.close(write_end)
                signal.signal(signal.SIGALRM, signal.SIG_DFL)
                signal.alarm(DEADLINE)
                while True:
                    signal.pause()
    os.close(write_end)
    with open(read_end) as file:
        return [int(word) for word in file.read().split()]


def stay():
    pass
"""


def check(script: str) -> None:
    """Run a script that has asserted everything if it comes to its end."""
    assert run_script(_BEGIN + script + "\nprint('checked')") == "checked\n"
