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
from collections.abc import Callable
from typing import Final

READABLE: Final = select.EPOLLIN
WRITABLE: Final = select.EPOLLOUT
HUNG_UP: Final = select.EPOLLHUP | select.EPOLLERR

EVENTS_PER_TURN: Final = 32
"""Enough to amortise a turn of the loop, few enough to stay far below a millisecond."""

Callback = Callable[[int], None]


class Poller:
    """Calls back, on the loop it is attached to, when a descriptor is ready."""

    __slots__ = ("_callbacks", "_epoll", "_loop")

    def __init__(self) -> None:
        self._epoll = select.epoll()
        self._callbacks: dict[int, Callback] = {}
        self._loop: asyncio.AbstractEventLoop | None = None

    def attach(self, loop: asyncio.AbstractEventLoop) -> None:
        """Deliver events on `loop` from now on. A loop that was attached before is let go."""
        self.detach()
        self._loop = loop
        if self._callbacks:
            loop.add_reader(self._epoll.fileno(), self._ready)

    def detach(self) -> None:
        """Stop delivering; everything stays watched, and is delivered after the next `attach`."""
        loop, self._loop = self._loop, None
        if loop is not None and self._callbacks and not loop.is_closed():
            loop.remove_reader(self._epoll.fileno())

    def add(self, fd: int, events: int, callback: Callback) -> None:
        """Call `callback(events)` whenever `fd` is ready. Raises OSError where epoll cannot watch it."""
        self._epoll.register(fd, events)
        if not self._callbacks and self._loop is not None:
            self._loop.add_reader(self._epoll.fileno(), self._ready)
        self._callbacks[fd] = callback

    def remove(self, fd: int) -> None:
        """Watch `fd` no more. To be called before it is closed."""
        if self._callbacks.pop(fd, None) is None:
            return
        self._epoll.unregister(fd)
        if not self._callbacks and self._loop is not None and not self._loop.is_closed():
            self._loop.remove_reader(self._epoll.fileno())

    def close(self) -> None:
        """Let go of the loop and of the epoll. What is still watched is its owner's to close."""
        self.detach()
        self._callbacks.clear()
        self._epoll.close()

    def _ready(self) -> None:
        callbacks = self._callbacks
        ready = [
            (fd, events, callbacks.get(fd)) for fd, events in self._epoll.poll(0, EVENTS_PER_TURN)
        ]
        for fd, events, callback in ready:
            # A callback of this very round may have removed it, and its number may be another's now.
            if callback is not None and callbacks.get(fd) is callback:
                callback(events)
