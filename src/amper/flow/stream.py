"""A bounded stream of bytes that can be read while it is written, by any number of followers.

1. A write never blocks and never waits for a reader; a slow reader loses the oldest bytes, and is
   told how many.
2. Writers and followers may be on different threads and loops: a follower is woken on its own loop.
3. Most streams stay empty, so that a stream has no ring before the first byte, and no set of waiters
   before the first of them. Whoever makes one puts it in by `dict.setdefault`: of two threads, or a
   signal handler in the middle of its own thread, one is first, and both go on with the same one.
"""

from __future__ import annotations

import asyncio
import codecs
from collections.abc import AsyncGenerator
from typing import Final

from amper.flow.ring import Ring, checked_size
from amper.flow.settle import settle
from amper.values import Chunk, StreamStats

DEFAULT_MAX_SIZE: Final = 10 * 1024 * 1024
"""Keeps the end of almost every build's output whole."""

CHUNK_SIZE: Final = 256 * 1024
"""What one step of an iteration gives at most, however far behind the follower is."""

_UNWRITTEN: Final = Ring(1)
"""Stands for the ring of a stream that nobody has written to. Nobody ever does write to it."""

_ENDED: Final = Ring.of(b"", 0, 1)
"""Stands for the ring of one that was closed before anybody did."""


class BoundedStream:
    """Keeps the last `max_size` bytes that were written."""

    _max_size = DEFAULT_MAX_SIZE
    _ring: Ring = _UNWRITTEN
    _waiters: set[asyncio.Future[None]] | None = None

    def __init__(self, max_size: int = DEFAULT_MAX_SIZE) -> None:
        """Make an empty stream. Nothing is allocated before the first byte.

        Raises ValueError for a `max_size` below 1.
        """
        if max_size != DEFAULT_MAX_SIZE:
            self._max_size = checked_size(max_size)

    @classmethod
    def of(cls, data: bytes, dropped: int = 0, max_size: int = DEFAULT_MAX_SIZE) -> BoundedStream:
        """Return a closed stream that holds `data`, after `dropped` bytes; nothing is copied."""
        stream = cls(max_size)
        stream._ring = Ring.of(data, dropped, max_size) if data or dropped else _ENDED
        return stream

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Append `data`. Ignored when the stream is closed; never blocks. Any thread may call it."""
        self._own_ring().write(data)
        if self._waiters:
            self._wake()

    def room(self, wanted: int) -> list[memoryview]:
        """Return memory for the kernel to write to, at most `wanted` bytes; then `commit`.

        The views must be gone before the next call. One thread may do this, and then only that one
        may write.
        """
        return self._own_ring().room(wanted)

    def commit(self, count: int) -> None:
        """Count the first `count` bytes of the room as written."""
        self._ring.commit(count)
        if self._waiters:
            self._wake()

    def read(self) -> bytes:
        """Return a copy of what is kept."""
        return self._ring.read()[1]

    def read_from(self, offset: int, limit: int | None = None) -> Chunk:
        """Return what is kept from byte `offset` on, at most `limit` bytes.

        An offset beyond the end reads nothing. Raises ValueError for a negative number.
        """
        if offset < 0 or (limit is not None and limit < 0):
            raise ValueError("offset and limit must not be negative")
        ring = self._ring
        # Before the bytes: what is written after this look must not be taken for the end.
        is_closed, total = ring.is_closed, ring.total
        offset = min(offset, total)
        # A stream that has evicted more meanwhile begins later, and the limit counts from there.
        first = max(offset, ring.start)
        start, data = ring.read(first, total if limit is None else min(first + limit, total))
        end = start + len(data)
        return Chunk(data, end, start - offset, is_closed and end == total)

    def stats(self) -> StreamStats:
        """Return how full the stream is."""
        ring = self._ring
        is_closed, (start, total) = ring.is_closed, ring.extent()
        return StreamStats(total - start, self._max_size, total, start, is_closed)

    @property
    def total_written(self) -> int:
        """How many bytes were ever written."""
        return self._ring.total

    @property
    def bytes_evicted(self) -> int:
        """How many of the bytes that were written are not kept any more."""
        return self._ring.start

    def close(self) -> None:
        """End the stream: followers get what is kept, and then their end. Idempotent."""
        self._own_ring(_ENDED).close()
        if self._waiters:
            self._wake()

    def freeze(self) -> bytes:
        """Close the stream and return what is kept: its own memory, and not a copy."""
        ring = self._own_ring(_ENDED)
        # Most streams are empty to their end.
        data = b"" if ring is _ENDED else ring.freeze()
        if self._waiters:
            self._wake()
        return data

    def is_frozen_as(self, data: bytes) -> bool:
        """Return whether the stream is closed, and `data` is its own memory."""
        return self._ring.frozen is data

    def evict(self) -> int:
        """Drop what a frozen stream keeps; return how many bytes that was."""
        return self._ring.evict()

    async def changed_since(self, total_written: int) -> StreamStats:
        """Wait until more than `total_written` bytes were written, or the stream is closed."""
        while self._is_still_at(total_written):
            waiter = asyncio.get_running_loop().create_future()
            waiters = self._all_waiters()
            waiters.add(waiter)
            try:
                # Another thread may have written after the look and before it could see us.
                if self._is_still_at(total_written):
                    await waiter
            finally:
                waiters.discard(waiter)
        return self.stats()

    async def __aiter__(self) -> AsyncGenerator[bytes, None]:
        """Iterate over what is kept and what comes, in pieces, until the stream is closed.

        A follower that is overtaken goes on with the oldest byte that is kept.
        """
        offset = 0
        while True:
            chunk = self.read_from(offset, CHUNK_SIZE)
            offset = chunk.next
            if chunk.data:
                yield chunk.data
            elif chunk.closed:
                return
            else:
                await self.changed_since(offset)

    async def lines(self) -> AsyncGenerator[str, None]:
        r"""Iterate over the lines, without their newlines, from what is kept on.

        Only `\n` ends a line. Undecodable bytes are replaced. A line that is longer than the stream
        keeps comes in pieces.
        """
        decoder = codecs.getincrementaldecoder("utf-8")("replace")
        parts: list[str] = []
        length = 0
        async for data in self:
            *lines, rest = decoder.decode(data).split("\n")
            for line in lines:
                yield "".join((*parts, line))
                parts, length = [], 0
            parts.append(rest)
            length += len(rest)
            if length > self._max_size:
                yield "".join(parts)
                parts, length = [], 0
        parts.append(decoder.decode(b"", final=True))
        if last := "".join(parts):
            yield last

    def _own_ring(self, first: Ring | None = None) -> Ring:
        """Return the one ring, made now, or else `first`, where there was none."""
        if self._ring is _UNWRITTEN:
            made = Ring(self._max_size) if first is None else first
            return vars(self).setdefault("_ring", made)  # type: ignore[no-any-return]
        return self._ring

    def _is_still_at(self, total_written: int) -> bool:
        ring = self._ring
        return ring.total <= total_written and not ring.is_closed

    def _all_waiters(self) -> set[asyncio.Future[None]]:
        """Return the one set of waiters, which most streams never need."""
        if self._waiters is None:
            return vars(self).setdefault("_waiters", set())  # type: ignore[no-any-return]
        return self._waiters

    def _wake(self) -> None:
        # Each is taken out, so that a writer that is far ahead of a loop wakes it once and not for
        # every write. Those that other threads add meanwhile have seen what there is to see.
        waiters = self._all_waiters()
        for _ in range(len(waiters)):
            try:
                waiter = waiters.pop()
            except KeyError:
                return  # Another thread has woken it.
            wake(waiter)


def wake(waiter: asyncio.Future[None]) -> None:
    """Let a waiter go on, on its own loop, from whatever thread. A closed loop has none to wake."""
    loop = waiter.get_loop()
    if is_running_here(loop):
        settle(waiter, None)
    elif not loop.is_closed():
        try:
            loop.call_soon_threadsafe(settle, waiter, None)
        except RuntimeError:
            return  # It was closed in this very moment.


def is_running_here(loop: asyncio.AbstractEventLoop) -> bool:
    """Return whether this is the thread that runs `loop`, and it is running."""
    try:
        return asyncio.get_running_loop() is loop
    except RuntimeError:
        return False
