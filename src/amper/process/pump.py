"""Bytes between a command's pipes and its streams, a bounded number of them for each wake-up.

1. A command's output ends when its leader ends: `finish` reads what the pipe holds at that instant.
   Whoever still holds the other end can delay nobody.
2. A pipe that is still held then stays drained, so that its holder meets neither SIGPIPE nor a full
   pipe; what comes late is counted and thrown away.
3. A pipe is made non-blocking when it is to be read without having said that it is readable: most
   never are.
4. A pipe is enlarged only when a read shows that the writer fills it: an unprivileged user has
   64 MiB of pipe memory for everything. From then on the kernel writes into the ring itself; small
   outputs never cost more memory than they have bytes.
"""

from __future__ import annotations

import fcntl
import os
import sys
import termios
from collections import deque
from typing import Final, Protocol

from amper.flow.stream import BoundedStream
from amper.process.poller import HUNG_UP, READABLE, WRITABLE, Poller

DEFAULT_PIPE_SIZE: Final = 64 * 1024
LARGE_PIPE_SIZE: Final = 1024 * 1024
READ_SIZE: Final = 256 * 1024
READS_PER_WAKE_UP: Final = 4
"""As long as a flood goes on: a mebibyte is a fraction of a millisecond, and going to sleep costs more
than to go on, since its writer would have to wake us."""

_INT: Final = bytes(4)
"""Room for what FIONREAD answers."""


class LateOutput:
    """What came through a command's pipes after its leader had ended."""

    __slots__ = ("open_pipes", "received")

    def __init__(self) -> None:
        self.open_pipes = 0
        self.received = 0


class OutputPump:
    """Moves a pipe's bytes into a stream until the pipe, or the command, ends. It owns the pipe."""

    __slots__ = ("_fd", "_is_large", "_late", "_poller", "stream")

    def __init__(self, fd: int, stream: BoundedStream, poller: Poller) -> None:
        self.stream = stream
        self._fd = fd
        self._poller = poller
        self._late: LateOutput | None = None
        self._is_large = False
        try:
            poller.add(fd, READABLE, self)
        except OSError:
            os.close(fd)
            raise

    @property
    def is_open(self) -> bool:
        """Whether somebody may still write to the pipe."""
        return self._fd >= 0

    def finish(self) -> bool:
        """Take what the pipe holds at this instant; return whether it is closed, since that is all.

        If it is not, `drain_into` comes next.
        """
        if self._fd < 0:
            return True
        # From here on it is read without being told to.
        os.set_blocking(self._fd, False)
        # Most often it is empty and nobody holds it: then one read tells both.
        count = self._read(DEFAULT_PIPE_SIZE)
        remaining = _bytes_in(self._fd) if count >= DEFAULT_PIPE_SIZE else 0
        while remaining > 0 and (more := self._read(remaining)) > 0:
            remaining -= more
        if count == 0:
            self.close()
        return count == 0

    def drain_into(self, late: LateOutput) -> None:
        """Close the pipe if nobody holds it, or else keep it drained; what comes now is only counted."""
        self._late = late
        late.open_pipes += 1
        self._drain()

    def close(self) -> None:
        """Close our end. Whoever writes to the pipe after this gets SIGPIPE."""
        if self._fd < 0:
            return
        self._poller.remove(self._fd)
        os.close(self._fd)
        self._fd = -1
        if self._late is not None:
            self._late.open_pipes -= 1

    def ready(self, fd: int, events: int) -> None:
        """Read once, or a few times from a pipe that is filled as fast as it is read."""
        if not events & READABLE:
            # It hung up: no writer is left, and the pipe is empty.
            self.close()
            return
        if self._late is not None:
            self._drain()
            return
        count = self._read_flood() if self._is_large else self._read(DEFAULT_PIPE_SIZE)
        if count == 0 or (0 < count < DEFAULT_PIPE_SIZE and events & HUNG_UP):
            # Hung up means that the last writer is gone, and a short read that the pipe is empty.
            self.close()
        elif count >= DEFAULT_PIPE_SIZE and not self._is_large:
            self._enlarge()

    def _read_flood(self) -> int:
        """Read on as long as there is much and time for it; return what the last read gave."""
        count = READ_SIZE
        for _ in range(self._poller.large_reads(READS_PER_WAKE_UP)):
            if count >= READ_SIZE:
                count = self._read(READ_SIZE)
        return count

    def _read(self, size: int) -> int:
        """Read once into the stream: how many bytes came, 0 at the end, -1 if there are none now."""
        try:
            if self._is_large:
                count = os.readv(self._fd, self.stream.room(size))
                self.stream.commit(count)
            else:
                data = os.read(self._fd, size)
                count = len(data)
                if count:
                    self.stream.write(data)
        except BlockingIOError:
            if self._is_large:
                self.stream.commit(0)
            return -1
        return count

    def _drain(self) -> int:
        """Read once and count it: how many bytes came, 0 at the end, -1 if there are none now."""
        try:
            count = len(os.read(self._fd, DEFAULT_PIPE_SIZE))
        except BlockingIOError:
            return -1
        if count == 0:
            self.close()
        elif self._late is not None:
            self._late.received += count
        return count

    def _enlarge(self) -> None:
        self._is_large = True
        os.set_blocking(self._fd, False)
        try:
            fcntl.fcntl(self._fd, fcntl.F_SETPIPE_SZ, LARGE_PIPE_SIZE)
        except OSError:
            # EPERM: the user's pipe memory is used up. It works as well, only slower.
            return


class InputOwner(Protocol):
    """Whoever waits until its data was taken."""

    def stdin_changed(self) -> None:
        """Some was taken, or nobody will take any more."""
        ...


class InputPump:
    """Feeds a command's standard input in order, never faster than it reads."""

    __slots__ = ("_fd", "_handed", "_is_closing", "_owner", "_pending", "_poller", "taken")

    def __init__(self, fd: int, poller: Poller, owner: InputOwner) -> None:
        self._fd = fd
        self._poller = poller
        self._pending: deque[memoryview] = deque()
        self._is_closing = False
        self._handed = 0
        self.taken = 0
        """How many bytes the pipe has taken of all that was handed over."""
        self._owner = owner
        os.set_blocking(fd, False)

    @property
    def is_open(self) -> bool:
        """Whether more may be handed over."""
        return self._fd >= 0 and not self._is_closing

    @property
    def is_feeding(self) -> bool:
        """Whether what was handed over may still be taken."""
        return self._fd >= 0

    def write(self, data: bytes) -> int:
        """Hand `data` over; it is taken when `taken` has reached what this returns.

        The owner is told when some of it was taken, and when nobody will take the rest.
        """
        assert self.is_open
        self._handed += len(data)
        is_first = not self._pending
        self._pending.append(memoryview(data))
        if is_first:
            self._feed()
        return self._handed

    def close_when_written(self) -> None:
        """Send the end of the file once all is written."""
        self._is_closing = True
        if not self._pending:
            self.close()

    def close(self) -> None:
        """Close the pipe at once; what was not taken is lost."""
        if self._fd < 0:
            return
        self._poller.remove(self._fd)
        os.close(self._fd)
        self._fd = -1
        self._pending.clear()
        self._owner.stdin_changed()

    def ready(self, fd: int, events: int) -> None:
        """Write once."""
        self._push()
        if self._fd < 0:
            return
        if not self._pending:
            self._poller.remove(self._fd)
            if self._is_closing:
                self.close()
                return
        self._owner.stdin_changed()

    def _feed(self) -> None:
        """Begin to write what is pending."""
        self._push()
        if self._pending:
            self._poller.add(self._fd, WRITABLE, self)

    def _push(self) -> None:
        """Write once, and at least the end of what was handed over first."""
        try:
            count = os.write(self._fd, self._pending[0])
        except BlockingIOError:
            return
        except BrokenPipeError:
            # Python ignores SIGPIPE from its start, so a reader that is gone is an error number.
            self.close()
            return
        self.taken += count
        rest = self._pending.popleft()[count:]
        if rest:
            self._pending.appendleft(rest)


def _bytes_in(fd: int) -> int:
    return int.from_bytes(fcntl.ioctl(fd, termios.FIONREAD, _INT), sys.byteorder)
