"""A terminal of a job's own: a pty, whose master is ours, and a program that it controls.

The first terminal that the leader of a session opens controls it: the trampoline opens it once more.
Whoever holds our end open too keeps it alive: while no process has the terminal open, a read from the
master fails, and if the master is closed, the session hangs up.
"""

from __future__ import annotations

import os
from typing import Final

from amper.process.descriptors import above_streams
from amper.process.spawn import NOT_EXECUTABLE, CannotStart, Program
from amper.process.terminals.terminal import Size, set_size_of, size_of
from amper.process.trampoline import through_shell

DEFAULT_SIZE: Final = Size(80, 24)

IN_CONTROL: Final = b"\0"
"""What a new terminal shows first, when it controls its session. It is no part of the output."""

_STEP: Final = f"{{ printf '\\000'; }} </proc/self/fd/0 || exit {NOT_EXECUTABLE}; exec \"$@\""
"""By this path it is there in every mount namespace, whatever it is called in ours."""


class Pty:
    """Both ends of a pty. Whoever opens one closes it."""

    __slots__ = ("master", "slave")

    def __init__(self, master: int, slave: int) -> None:
        self.master = master
        self.slave = slave

    @property
    def device(self) -> int | None:
        """The number of the terminal's device; None when our side of it is closed."""
        try:
            return os.fstat(self.slave).st_rdev
        except OSError:
            return None

    @property
    def name(self) -> str:
        """The terminal's path."""
        return os.ttyname(self.slave)

    @property
    def foreground(self) -> int | None:
        """The group that reads from it now, dead or alive; None if it controls nobody."""
        try:
            return os.tcgetpgrp(self.master) or None
        except OSError:
            return None

    def size(self) -> Size | None:
        """Return its size."""
        return size_of(self.master)

    def set_size(self, size: Size) -> bool:
        """Change its size, which the group in front hears of (SIGWINCH)."""
        return set_size_of(self.master, size)

    def program(self, program: Program) -> Program:
        """Return what executes `program`, with this terminal in control of the session it leads.

        Its standard input must be the terminal. Raises CannotStart.
        """
        assert program.session == "own"
        if program.reason is not None:
            raise CannotStart(NOT_EXECUTABLE, program.reason)
        return through_shell(program, _STEP)

    def close_slave(self) -> None:
        """Let the job's processes be the last that hold the terminal open."""
        if self.slave >= 0:
            os.close(self.slave)
            self.slave = -1

    def close(self) -> None:
        """Close what of it is ours: the session hangs up."""
        self.close_slave()
        if self.master >= 0:
            os.close(self.master)
            self.master = -1


def open_pty(size: Size = DEFAULT_SIZE) -> Pty:
    """Open a new terminal with the kernel's own modes. Raises OSError."""
    master, slave = os.openpty()
    pty = Pty(master, slave)
    try:
        pty.master = above_streams(master)
        pty.slave = above_streams(slave)
    except OSError:
        pty.close()
        raise
    pty.set_size(size)
    return pty
