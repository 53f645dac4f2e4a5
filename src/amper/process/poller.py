"""One private epoll for all descriptors of a manager, seen by the event loop as one descriptor.

Registering with it costs a system call; `loop.add_reader` costs seven times that, and a command
needs three. It works the same on every loop that can watch a descriptor, and outlives the loop:
`attach` moves it, with all that it watches, to the next one.

1. A descriptor is removed here before it is closed: while a vfork is under way the child shares
   the open file, and epoll would go on reporting a number that may be somebody else's by then.
2. One wake-up handles a bounded number of events, and the rest comes in the next turn of the loop:
   epoll is level-triggered and moves what it reported to the end of its list, so that nobody starves.
3. While anything is watched, the loop's reader (and so the loop) keeps the poller alive. It stays for
   a few turns longer: where one command follows another there is always a next one.
"""

from __future__ import annotations

import asyncio
import select
from typing import Final, Protocol

READABLE: Final = select.EPOLLIN
WRITABLE: Final = select.EPOLLOUT
HUNG_UP: Final = select.EPOLLHUP | select.EPOLLERR

EVENTS_PER_TURN: Final = 32
"""Enough to amortise a turn of the loop, few enough to stay below a millisecond."""

LARGE_READS_PER_TURN: Final = 64
"""Shared out among those that have much to read: alone one may read on, in a crowd hardly."""

TURNS_TO_REST: Final = 3
"""Whoever waited for the last thing that was watched has its turn by then, and may have begun the next."""


class Watcher(Protocol):
    """Whoever watches a descriptor: an object, since a callback of its own for each costs memory."""

    def ready(self, fd: int, events: int, /) -> None:
        """The descriptor is ready."""
        ...


class Poller:
    """Tells watchers, on the loop it is attached to, when a descriptor is ready."""

    __slots__ = (
        "_added",
        "_epoll",
        "_has_reader",
        "_is_tired",
        "_large_readers",
        "_large_reads_left",
        "_loop",
        "_share",
        "_watchers",
    )

    def __init__(self) -> None:
        self._epoll = select.epoll()
        self._watchers: dict[int, Watcher] = {}
        self._added: set[int] | None = None
        """While a round of events is told: what has been added since it was asked for."""
        self._large_readers = 0
        """How many have asked for large reads in this turn."""
        self._large_reads_left = self._share = LARGE_READS_PER_TURN
        self._loop: asyncio.AbstractEventLoop | None = None
        self._has_reader = False
        self._is_tired = False

    def attach(self, loop: asyncio.AbstractEventLoop) -> None:
        """Deliver events on `loop` from now on. A loop that was attached before is let go."""
        self.detach()
        self._loop = loop
        if self._watchers:
            self._listen()

    def detach(self) -> None:
        """Stop delivering; everything stays watched, and is delivered after the next `attach`."""
        self._rest()
        self._loop = None

    def add(self, fd: int, events: int, watcher: Watcher) -> None:
        """Tell `watcher` whenever `fd` is ready. Raises OSError where epoll cannot watch it."""
        self._epoll.register(fd, events)
        self._watchers[fd] = watcher
        if self._added is not None:
            self._added.add(fd)
        if not self._has_reader:
            self._listen()

    def remove(self, fd: int) -> None:
        """Watch `fd` no more. To be called before it is closed."""
        if self._watchers.pop(fd, None) is None:
            return
        self._epoll.unregister(fd)
        if not self._watchers and not self._is_tired:
            self._rest_soon(self._loop, TURNS_TO_REST)

    def large_reads(self, wanted: int) -> int:
        """Return how many large reads a watcher may make in this turn: at least one."""
        self._large_readers += 1
        count = max(1, min(wanted, self._share, self._large_reads_left))
        self._large_reads_left -= count
        return count

    def close(self) -> None:
        """Let go of the loop and of the epoll. What is still watched is its owner's to close."""
        self.detach()
        self._watchers.clear()
        self._epoll.close()

    def _listen(self) -> None:
        if self._loop is not None:
            self._loop.add_reader(self._epoll.fileno(), self._ready)
            self._has_reader = True

    def _rest_soon(self, loop: asyncio.AbstractEventLoop | None, turns: int) -> None:
        """Let go of the loop in so many turns, if nothing is watched by then."""
        self._is_tired = False
        if self._watchers or loop is None or loop is not self._loop or loop.is_closed():
            return
        if turns == 0:
            self._rest()
        else:
            self._is_tired = True
            loop.call_soon(self._rest_soon, loop, turns - 1)

    def _rest(self) -> None:
        if self._has_reader and self._loop is not None and not self._loop.is_closed():
            self._loop.remove_reader(self._epoll.fileno())
        self._has_reader = False

    def _ready(self) -> None:
        watchers = self._watchers
        added = self._added = set()
        # For as many as in the turn before, most likely.
        self._large_reads_left = LARGE_READS_PER_TURN
        self._share = LARGE_READS_PER_TURN // max(1, self._large_readers)
        self._large_readers = 0
        try:
            for fd, events in self._epoll.poll(0, EVENTS_PER_TURN):
                watcher = watchers.get(fd)
                # One of this very round may have removed it, and its number may be another's now.
                if watcher is not None and fd not in added:
                    watcher.ready(fd, events)
        finally:
            self._added = None
