"""The terminal that we were started from: who is in front of it, its modes, its colours, its size.

A job has a session of its own, so the terminal's rules for background jobs do not hold for it: it
may read from our terminal and change it at any time. What follows from that is dealt with here.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator

from amper.process.spawn import DEVNULL
from amper.process.terminals import terminal


def stdin_for_a_job() -> int:
    """Return our standard input, or DEVNULL if it is a terminal that somebody else reads now."""
    try:
        foreground = os.tcgetpgrp(0)
    except OSError:  # It is no terminal, or none that controls us.
        return 0
    # In the background, a job that reads would take the keys that are meant for the shell.
    return 0 if foreground == os.getpgrp() else DEVNULL


def is_in_foreground() -> bool:
    """Return whether we have a terminal, and Ctrl-C on it is meant for us."""
    with _own_terminal() as own:
        return own is not None and own.is_ours


class Modes:
    """How the terminal was set when a job began; a job that is killed cannot set it back."""

    def __init__(self) -> None:
        with _own_terminal() as own:
            self._saved = None if own is None else own.modes()

    def restore(self) -> None:
        """Set the terminal back, if we are in front of it."""
        if self._saved is None:
            return
        with _own_terminal() as own:
            if own is not None and own.is_ours:
                own.set_modes(self._saved)


def is_terminal(fd: int) -> bool:
    """Return whether a descriptor is an open terminal."""
    return os.isatty(fd)


def has_screen(fd: int) -> bool:
    """Return whether a descriptor is a terminal on which the cursor can be moved."""
    return os.isatty(fd) and os.environ.get("TERM", "") not in ("", "dumb", "unknown")


def has_colours(fd: int) -> bool:
    """Return whether to colour what goes to a descriptor (https://no-color.org)."""
    return has_screen(fd) and not os.environ.get("NO_COLOR")


def width(fd: int) -> int:
    """Return how many columns a terminal has now."""
    size = terminal.size_of(fd)
    return 80 if size is None else size.columns or 80


@contextlib.contextmanager
def _own_terminal() -> Iterator[terminal.Terminal | None]:
    """Open the terminal that controls us; None if there is none."""
    own = terminal.Terminal.open()
    try:
        yield own
    finally:
        if own is not None:
            own.close()
