"""Writing to a pipe or terminal that may be slow, without holding up the event loop.

Our standard output may be shared with other programs, so it is never made non-blocking. A pipe that
is ready takes PIPE_BUF bytes without blocking; that much is written at a time.
"""

from __future__ import annotations

import asyncio
import select
from os import write
from typing import Final

from amper.process.terminals.terminal import unstopped

MOST_PENDING: Final = 256 * 1024
"""More than this is held by whoever wants to write."""


class CannotWrite(Exception):
    """The message says where, and why."""


class Writer:
    """Writes to a descriptor in order. The owner of the descriptor closes it."""

    def __init__(self, fd: int, name: str) -> None:
        self._fd = fd
        self._name = name
        self._pending = bytearray()
        self._is_watching = False
        self._error: OSError | None = None
        self._waiters: set[asyncio.Future[None]] = set()
        self._poll = select.poll()
        self._poll.register(fd, select.POLLOUT)

    async def write(self, data: bytes) -> None:
        """Write `data` whole before what is written later; wait while too much is pending.

        Raises BrokenPipeError, now or on a later call, when nobody reads any more, and CannotWrite
        for everything else that prevents it.
        """
        self._pending += data
        self._push()
        await self._until_at_most(MOST_PENDING)

    async def flush(self) -> None:
        """Wait until everything is written."""
        await self._until_at_most(0)

    async def _until_at_most(self, size: int) -> None:
        while len(self._pending) > size and self._error is None:
            waiter = asyncio.get_running_loop().create_future()
            self._waiters.add(waiter)
            try:
                await waiter
            finally:
                self._waiters.discard(waiter)
        if isinstance(self._error, BrokenPipeError):
            raise self._error
        if self._error is not None:
            why = self._error.strerror
            raise CannotWrite(f"cannot write {self._name}: {why}") from self._error

    def _push(self) -> None:
        try:
            while self._pending and self._poll.poll(0):
                del self._pending[: write(self._fd, self._pending[: select.PIPE_BUF])]
        except BlockingIOError:
            pass  # Somebody who shares it has made it non-blocking, and it was not so ready after all.
        except OSError as error:
            self._error = error
        self._watch(wanted=bool(self._pending) and self._error is None)
        for waiter in self._waiters:
            if not waiter.done():
                waiter.set_result(None)

    def _watch(self, *, wanted: bool) -> None:
        if wanted is self._is_watching:
            return
        self._is_watching = wanted
        loop = asyncio.get_running_loop()
        if wanted:
            loop.add_writer(self._fd, self._push)
        else:
            loop.remove_writer(self._fd)


class TerminalWriter(Writer):
    """Writes to our terminal also while a job is in front of it, and `stty tostop` would stop us for that."""

    def _push(self) -> None:
        with unstopped():
            super()._push()
