"""A group that we put in front of our terminal, over its stops and continues until its end.

The modes are the job's while it is in front, and ours otherwise:

1. When it stops, the job's modes are kept, the terminal is taken back, and ours are restored.
2. When it goes on, its own are restored before it gets the terminal.
3. When a signal has killed it, ours are restored. What it leaves when it ends by itself stays, as
   `stty` needs it; all shells do so.
"""

from __future__ import annotations

from typing import Final

from amper.process.reap import Exit
from amper.process.terminals.terminal import Modes, Terminal

SIGNALED: Final = 128
"""A shell adds to this the number of the signal that ended a program."""


class Foreground:
    """A group of our session and its turns in front of our terminal."""

    __slots__ = ("_its_modes", "_our_modes", "_terminal", "pgid")

    def __init__(self, terminal: Terminal, pgid: int) -> None:
        self._terminal = terminal
        self._our_modes: Modes | None = None
        self._its_modes: Modes | None = None
        self.pgid = pgid

    @property
    def is_in_front(self) -> bool:
        """Whether the terminal is the group's now, as far as we know."""
        return self._our_modes is not None

    def resume(self) -> bool:
        """Give it the terminal, set as it left it; False if that could not be.

        A group that is stopped is to be continued after this, and runs in the background if it is
        False.
        """
        if self._our_modes is None:
            self._our_modes = self._terminal.modes()
        if self._its_modes is not None:
            self._terminal.set_modes(self._its_modes)
        if self._terminal.give(self.pgid):
            self._its_modes = None
            return True
        self._give_up()
        return False

    def stopped(self) -> bool:
        """Take the terminal back from a group that stopped; False if it is not ours to take."""
        if not self.is_in_front:
            return True
        self._its_modes = self._terminal.modes()
        return self._give_up()

    def ended(self, exit: Exit) -> bool:
        """Take the terminal back from a group that is over; False if it is not ours to take."""
        if not self.is_in_front:
            return True
        # A shell that leads it tells with such a code that a signal has killed what it ran.
        if exit.status is not None and exit.status.code <= SIGNALED:
            self._our_modes = None
            return self._terminal.take_back()
        return self._give_up()

    def _give_up(self) -> bool:
        """Take the terminal back, and restore our modes if we have it."""
        modes, self._our_modes = self._our_modes, None
        is_back = self._terminal.take_back()
        if is_back and modes is not None:
            self._terminal.set_modes(modes)
        return is_back
