"""The last bytes of an endless stream, in memory that the kernel can write to.

It knows no event loop and no follower. Its storage is a `BytesIO`, which lends its memory
(`getbuffer`) and at the end hands it out as `bytes` without a copy (`getvalue`).

1. Offsets count from the first byte ever written. Byte `n` lies at `n % max_size`; as long as less
   than `max_size` was written the memory only grows, and nothing wraps.
2. One thread writes, any thread reads. The lock is held whenever memory is moved, lent to a reader
   or replaced; never while the kernel writes into a room that was lent to the writer.
3. Between `room` and `commit` the bytes that the room lies over are unstable. A reader of another
   thread drops them from what it copied.
4. A write is whole before `close`, or it did not happen.
5. A finalizer or a signal handler may write in the middle of a write of its own thread. It must
   not wait for the lock that its thread holds; its bytes are put behind those of the other.
"""

from __future__ import annotations

import io
import threading
from typing import Final

FIRST_CAPACITY: Final = 4 * 1024
LARGEST_STEP: Final = 1024 * 1024
"""Growing zeroes the new memory; this much takes a fraction of a millisecond."""

SWAP_SIZE: Final = 64 * 1024
KEPT_ASIDE: Final = 1024 * 1024


class Ring:
    """Keeps the last `max_size` bytes that were written."""

    __slots__ = (
        "_capacity",
        "_interjected",
        "_is_writing",
        "_lent",
        "_memory",
        "_storage",
        "frozen",
        "is_closed",
        "lock",
        "max_size",
        "total",
    )

    def __init__(self, max_size: int) -> None:
        self.max_size = checked_size(max_size)
        self.total = 0
        """How many bytes were ever written."""
        self._capacity = 0
        self._storage: _Storage | None = None
        self._memory: memoryview | None = None
        self._lent = 0
        self.frozen: bytes | None = None
        """What is kept, once nothing will be written any more."""
        self.is_closed = False
        self._is_writing = False
        self._interjected: tuple[bytes, ...] = ()
        self.lock = threading.RLock()

    @property
    def start(self) -> int:
        """The offset of the oldest byte that is kept."""
        return self.extent()[0]

    def extent(self) -> tuple[int, int]:
        """Return the offset of the oldest byte that is kept, and where the next one goes."""
        frozen, total = self.frozen, self.total
        if frozen is not None:
            return total - len(frozen), total
        return max(0, total - self.max_size), total

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Append `data`, over the oldest bytes where there is no more room; nothing if it is closed."""
        view = memoryview(data).cast("B")
        with self.lock:
            if self.is_closed:
                return
            if self._is_writing:
                self._interjected += (bytes(view),)
                return
            self._append(view)
            while self._interjected:
                pieces, self._interjected = self._interjected, ()
                for piece in pieces:
                    self._append(memoryview(piece))

    def room(self, wanted: int) -> list[memoryview]:
        """Return memory for the next bytes, at most `wanted`, to be filled in order; then `commit`."""
        with self.lock:
            self._grow(self.total + wanted)
            position = self.total % self.max_size
            size = min(wanted, self.max_size)
            self._lent = size
            memory = self._borrow()
            tail = memory[position : min(position + size, self._capacity)]
            if len(tail) == size or self._capacity < self.max_size:
                return [tail]
            return [tail, memory[: size - len(tail)]]

    def commit(self, count: int) -> None:
        """Count the first `count` bytes of the room as written."""
        self.total += count
        self._lent = 0

    def read(self, start: int = 0, stop: int | None = None) -> tuple[int, bytes]:
        """Return the bytes from offset `start` to `stop` that are kept, and where they begin."""
        frozen = self.frozen
        if frozen is not None:
            return _slice(frozen, self.total - len(frozen), start, stop)
        with self.lock:
            if self.frozen is not None:
                return _slice(self.frozen, self.total - len(self.frozen), start, stop)
            stop = self.total if stop is None else min(stop, self.total)
            start = max(
                start, self.total + self._lent - self.max_size, self.total - self.max_size, 0
            )
            if start >= stop:
                return min(start, self.total), b""
            first, last = start % self.max_size, (stop - 1) % self.max_size + 1
            memory = self._borrow()
            if first < last:
                return start, bytes(memory[first:last])
            return start, b"".join((memory[first:], memory[:last]))

    def close(self) -> None:
        """Take nothing more."""
        with self.lock:
            self.is_closed = True

    def freeze(self) -> bytes:
        """Close the ring, make its memory itself the bytes that are kept, and return them."""
        with self.lock:
            self.is_closed = True
            if self.frozen is None:
                self.frozen = self._taken()
                self._storage = None
                self._capacity = 0
            return self.frozen

    def evict(self) -> int:
        """Drop what a frozen ring keeps; return how many bytes that was."""
        assert self.frozen is not None
        size, self.frozen = len(self.frozen), b""
        return size

    @classmethod
    def of(cls, data: bytes, evicted: int, max_size: int) -> Ring:
        """Return a frozen ring over existing bytes, after `evicted` that were dropped."""
        ring = cls(max_size)
        ring.total = evicted + len(data)
        ring.frozen = data
        ring.is_closed = True
        return ring

    def _taken(self) -> bytes:
        """Return the storage's own memory as bytes, in order."""
        if self._storage is None:
            return b""
        size = min(self.total, self.max_size)
        wrapped = self.total % self.max_size if self.total > self.max_size else 0
        if wrapped:
            _rotate(self._borrow(), wrapped)
        self._release()
        self._storage.truncate(size)
        return self._storage.getvalue()

    def _append(self, view: memoryview) -> None:
        self._is_writing = True
        try:
            surplus = len(view) - self.max_size
            if surplus > 0:
                self.total += surplus
                view = view[surplus:]
            size = len(view)
            self._grow(self.total + size)
            position = self.total % self.max_size
            memory = self._borrow()
            head = min(size, self.max_size - position)
            memory[position : position + head] = view[:head]
            memory[: size - head] = view[head:]
            self.total += size
        finally:
            self._is_writing = False

    def _grow(self, wanted: int) -> None:
        """Have memory for the first `wanted` bytes of the stream, as far as the bound allows."""
        wanted = min(wanted, self.max_size)
        if wanted <= self._capacity:
            return
        step = min(max(self._capacity, FIRST_CAPACITY), LARGEST_STEP)
        capacity = min(max(wanted, self._capacity + step), self.max_size)
        if self._storage is None:
            self._storage = _Storage()
        # A BytesIO cannot grow while its memory is lent.
        self._release()
        self._storage.seek(capacity - 1)
        self._storage.write(b"\0")
        self._capacity = capacity

    def _borrow(self) -> memoryview:
        if self._memory is None:
            if self._storage is None:
                return memoryview(bytearray())
            self._memory = self._storage.getbuffer()
        return self._memory

    def _release(self) -> None:
        memory, self._memory = self._memory, None
        if memory is not None:
            memory.release()


class _Storage(io.BytesIO):
    """The memory of a ring."""

    __slots__ = ()

    def __del__(self) -> None:
        """Do nothing: a BytesIO closes itself here, and complains where its memory is still lent.

        Garbage collection finalizes it before the ring that lends, or after it, as it likes.
        """


def checked_size(max_size: int) -> int:
    """Return how much a ring may keep. Raises ValueError for less than a byte, TypeError for no int."""
    if not isinstance(max_size, int):
        raise TypeError(f"max_size is an int, not {type(max_size).__name__}")
    if max_size < 1:
        raise ValueError("max_size must be at least 1 byte")
    return max_size


def _slice(data: bytes, begin: int, start: int, stop: int | None) -> tuple[int, bytes]:
    end = begin + len(data)
    stop = end if stop is None else min(stop, end)
    start = min(max(start, begin), end)
    if start == begin and stop == end:
        return start, data
    return start, data[start - begin : max(stop, start) - begin]


def _rotate(memory: memoryview, count: int) -> None:
    """Move the first `count` bytes behind the others, in place, with little memory beside.

    As long as both parts are long they are swapped by as much as the shorter one has; a short one
    is kept aside while the other moves.
    """
    first, second, begin = count, len(memory) - count, 0
    while min(first, second) > KEPT_ASIDE:
        size = min(first, second)
        if first <= second:
            # The first part goes to the very end, where it belongs.
            _swap(memory, begin, begin + second, size)
            second -= size
        else:
            _swap(memory, begin, begin + first, size)
            begin += size
            first -= size
    end, middle = begin + first + second, begin + first
    if first <= second:
        kept = bytes(memory[begin:middle])
        memory[begin : begin + second] = memory[middle:end]
        memory[begin + second : end] = kept
    else:
        kept = bytes(memory[middle:end])
        memory[begin + second : end] = memory[begin:middle]
        memory[begin : begin + second] = kept


def _swap(memory: memoryview, left: int, right: int, size: int) -> None:
    for offset in range(0, size, SWAP_SIZE):
        step = min(SWAP_SIZE, size - offset)
        a, b = left + offset, right + offset
        kept = bytes(memory[a : a + step])
        memory[a : a + step] = memory[b : b + step]
        memory[b : b + step] = kept
