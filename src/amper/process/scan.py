"""Look through /proc for the members of process groups, in slices that never hold up the loop.

A look costs about ten microseconds per process of the machine, so all who ask while the loop turns
share one, and whoever asks during a look gets the next: what it is told began after it asked.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Iterator
from typing import Final, NamedTuple

from amper.process.descriptors import NO_DESCRIPTORS, Reserve

PROCESSES_PER_TURN: Final = 64

Members = dict[int, list[int]]
"""Process group id to the pids of its members; a zombie is none."""


class GroupScanner:
    """Finds who is in which process group."""

    __slots__ = ("_asked", "_listeners", "_loop", "_reserve", "_turns")

    def __init__(self, reserve: Reserve) -> None:
        self._reserve = reserve
        self._loop: asyncio.AbstractEventLoop | None = None
        self._asked: list[Callable[[Members], None]] = []
        self._listeners: list[Callable[[Members], None]] = []
        self._turns: Iterator[Members | None] | None = None

    def attach(self, loop: asyncio.AbstractEventLoop) -> None:
        """Work on `loop` from now on; a look that was under way begins anew there."""
        self._loop = loop
        self._asked = self._listeners + self._asked
        self._listeners = []
        self._turns = None
        if self._asked:
            self._begin()

    def ask(self, listener: Callable[[Members], None]) -> None:
        """Call `listener` once, in a later turn of the loop, with what a fresh look found."""
        self._asked.append(listener)
        if self._turns is None:
            self._begin()

    def _begin(self) -> None:
        assert self._loop is not None
        self._turns = _look(self._reserve)
        self._loop.call_soon(self._turn, self._turns)

    def _turn(self, turns: Iterator[Members | None]) -> None:
        if turns is not self._turns:
            return
        if not self._listeners:
            self._listeners, self._asked = self._asked, []
        found = next(turns)
        if found is None:
            assert self._loop is not None
            self._loop.call_soon(self._turn, turns)
            return
        listeners, self._listeners, self._turns = self._listeners, [], None
        if self._asked:
            self._begin()
        for listener in listeners:
            listener(found)


class Stat(NamedTuple):
    """What a process says of its place among others."""

    parent: int
    group: int


def read_stat(pid: int) -> Stat | None:
    """Return the place of a process that is alive; None for a zombie or nobody."""
    try:
        with open(f"/proc/{pid}/stat", "rb", buffering=0) as file:
            text = file.read(512)
    except (FileNotFoundError, ProcessLookupError):
        return None
    # The command stands in parentheses and may itself hold any character.
    state, parent, group, rest = text[text.rindex(b")") + 2 :].split(b" ", 3)
    # The first thread of a process may end before the others: then it looks like a zombie, but for
    # the number of threads.
    if state in b"ZXx" and int(rest.split(b" ", 15)[14]) <= 1:
        return None
    return Stat(int(parent), int(group))


def read_group(pid: int) -> int | None:
    """Return the process group of a process that is alive; None for a zombie or nobody."""
    stat = read_stat(pid)
    return None if stat is None else stat.group


def _look(reserve: Reserve) -> Iterator[Members | None]:
    """Yield None after each slice, and at last what was found."""
    members: Members = {}
    for count, pid in enumerate(_pids(reserve), 1):
        try:
            group = read_group(pid)
        except OSError as error:
            if error.errno not in NO_DESCRIPTORS:
                raise
            with reserve.opened():
                group = read_group(pid)
        if group is not None:
            members.setdefault(group, []).append(pid)
        if count % PROCESSES_PER_TURN == 0:
            yield None
    yield members


def _pids(reserve: Reserve) -> list[int]:
    try:
        names = os.listdir("/proc")
    except OSError as error:
        if error.errno not in NO_DESCRIPTORS:
            raise
        with reserve.opened():
            names = os.listdir("/proc")
    return [int(name) for name in names if name.isdigit()]
