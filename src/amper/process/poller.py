"""One private epoll for all descriptors of a manager, seen by the event loop as one descriptor.

Registering with it costs a system call; `loop.add_reader` costs seven times that, and a command
needs three. It works the same on every loop that can watch a descriptor, and outlives the loop:
`attach` moves it, with all that it watches, to the next one.

1. A descriptor is removed here before it is closed: while a vfork is under way the child shares
   the open file, and epoll would go on reporting a number that may be somebody else's by then.
2. One wake-up handles a bounded number of events, and the rest comes in the next turn of the loop:
   epoll is level-triggered and moves what it reported to the end of its list, so that nobody starves.
3. While anything is watched, the loop's reader (and so the loop) keeps the poller alive.
"""

from __future__ import annotations

import asyncio
import select
from typing import Final, Protocol

READABLE: Final = select.EPOLLIN
WRITABLE: Final = select.EPOLLOUT
HUNG_UP: Final = select.EPOLLHUP | select.EPOLLERR

EVENTS_PER_TURN: Final = 32
"""Enough to amortise a turn of the loop, few enough to stay far below a millisecond."""


class Watcher(Protocol):
    """Whoever watches a descriptor: an object, since a callback of its own for each costs memory."""

    def ready(self, fd: int, events: int, /) -> None:
        """The descriptor is ready."""
        ...


class Poller:
    """Tells watchers, on the loop it is attached to, when a descriptor is ready."""

    __slots__ = ("_epoll", "_loop", "_watchers")

    def __init__(self) -> None:
        self._epoll = select.epoll()
        self._watchers: dict[int, Watcher] = {}
        self._loop: asyncio.AbstractEventLoop | None = None

    def attach(self, loop: asyncio.AbstractEventLoop) -> None:
        """Deliver events on `loop` from now on. A loop that was attached before is let go."""
        self.detach()
        self._loop = loop
        if self._watchers:
            loop.add_reader(self._epoll.fileno(), self._ready)

    def detach(self) -> None:
        """Stop delivering; everything stays watched, and is delivered after the next `attach`."""
        loop, self._loop = self._loop, None
        if loop is not None and self._watchers and not loop.is_closed():
            loop.remove_reader(self._epoll.fileno())

    def add(self, fd: int, events: int, watcher: Watcher) -> None:
        """Tell `watcher` whenever `fd` is ready. Raises OSError where epoll cannot watch it."""
        self._epoll.register(fd, events)
        if not self._watchers and self._loop is not None:
            self._loop.add_reader(self._epoll.fileno(), self._ready)
        self._watchers[fd] = watcher

    def remove(self, fd: int) -> None:
        """Watch `fd` no more. To be called before it is closed."""
        if self._watchers.pop(fd, None) is None:
            return
        self._epoll.unregister(fd)
        if not self._watchers and self._loop is not None and not self._loop.is_closed():
            self._loop.remove_reader(self._epoll.fileno())

    def close(self) -> None:
        """Let go of the loop and of the epoll. What is still watched is its owner's to close."""
        self.detach()
        self._watchers.clear()
        self._epoll.close()

    def _ready(self) -> None:
        watchers = self._watchers
        ready = [
            (fd, events, watchers.get(fd)) for fd, events in self._epoll.poll(0, EVENTS_PER_TURN)
        ]
        for fd, events, watcher in ready:
            # One of this very round may have removed it, and its number may be another's now.
            if watcher is not None and watchers.get(fd) is watcher:
                watcher.ready(fd, events)
