"""Look through /proc for the members of process groups, in slices that never hold up the loop.

A look costs about ten microseconds per process of the machine, so all who ask while the loop turns
share one, and whoever asks during a look gets the next: what it is told began after it asked.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Final, NamedTuple, TypeVar

from amper.process.descriptors import NO_DESCRIPTORS, Reserve

if TYPE_CHECKING:
    # Shims read places with this file, and have no event loop.
    import asyncio

T = TypeVar("T")

PROCESSES_PER_TURN: Final = 64

MOST_LISTINGS: Final = 20
"""On a machine that forks without end there is always something new."""

RETRY_AFTER: Final = 0.1
"""Seconds until the next try when the process has not one descriptor left."""

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
        assert self._loop is not None
        if not self._listeners:
            self._listeners, self._asked = self._asked, []
        try:
            found = next(turns)
        except OSError:
            # Somebody else has taken even what we kept for this. Nobody tells when one is free again.
            self._asked, self._listeners = self._listeners + self._asked, []
            self._loop.call_later(RETRY_AFTER, self._begin)
            return
        if found is None:
            self._loop.call_soon(self._turn, turns)
            return
        listeners, self._listeners, self._turns = self._listeners, [], None
        if self._asked:
            self._begin()
        for listener in listeners:
            # In a callback of its own: what one raises must not keep the others from hearing.
            self._loop.call_soon(listener, found)


class Stat(NamedTuple):
    """What a process says of its place among others."""

    parent: int
    group: int


def read_stat(pid: int, reserve: Reserve) -> Stat | None:
    """Return the place of a process that is alive; None for a zombie or nobody."""
    try:
        text = _with_reserve(lambda: _read(pid), reserve)
    except (FileNotFoundError, ProcessLookupError):
        return None
    # The command stands in parentheses and may itself hold any character.
    state, parent, group, rest = text[text.rindex(b")") + 2 :].split(b" ", 3)
    # The first thread of a process may end before the others: then it looks like a zombie, but for
    # the number of threads.
    if state in b"ZXx" and int(rest.split(b" ", 15)[14]) <= 1:
        return None
    return Stat(int(parent), int(group))


def read_group(pid: int, reserve: Reserve) -> int | None:
    """Return the process group of a process that is alive; None for a zombie or nobody."""
    stat = read_stat(pid, reserve)
    return None if stat is None else stat.group


def members_of(pgid: int, reserve: Reserve) -> Iterator[int]:
    """Yield the members of one group, at once: it takes a while where there are many processes."""
    for pid in _pids(reserve):
        if read_group(pid, reserve) == pgid:
            yield pid


def _look(reserve: Reserve) -> Iterator[Members | None]:
    """Yield None after each slice, and at last what was found.

    A process that forks and dies between the listing and the visit would be missed with its child. So
    what is new in another listing is visited too, until nothing is: whoever lives then was visited.
    """
    members: Members = {}
    seen: set[int] = set()
    for _ in range(MOST_LISTINGS):
        new = [pid for pid in _pids(reserve) if pid not in seen]
        if not new:
            break
        seen.update(new)
        for count, pid in enumerate(new, 1):
            group = read_group(pid, reserve)
            if group is not None:
                members.setdefault(group, []).append(pid)
            if count % PROCESSES_PER_TURN == 0:
                yield None
    yield members


def _pids(reserve: Reserve) -> list[int]:
    names = _with_reserve(lambda: os.listdir("/proc"), reserve)
    return [int(name) for name in names if name.isdigit()]


def _read(pid: int) -> bytes:
    with open(f"/proc/{pid}/stat", "rb", buffering=0) as file:
        return file.read(512)


def _with_reserve(look: Callable[[], T], reserve: Reserve) -> T:
    """Look, with the reserve's descriptors if there are no others."""
    try:
        return look()
    except OSError as error:
        if error.errno not in NO_DESCRIPTORS:
            raise
    with reserve.opened():
        return look()
