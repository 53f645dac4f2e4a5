"""File descriptors: pipes that stay clear of standard input and output, and a reserve.

The reserve is a handful of placeholders (all of them /dev/null, so one also serves as a child's
empty standard input). When the process runs out of descriptors, a placeholder is given up for
what must not fail: watching a child that was forked already, looking for processes to kill.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
from collections.abc import Iterator
from typing import Final

RESERVE_SIZE: Final = 8
KEPT_FOR_LOOKING: Final = 2
"""Placeholders that are not given up for good: without any, nobody could look who is still alive."""

NO_DESCRIPTORS: Final = frozenset({errno.EMFILE, errno.ENFILE})


def pipe() -> tuple[int, int]:
    """Return the read and the write end of a new pipe, both close-on-exec and above 2.

    A host that closed its standard streams gets 0, 1 and 2 from the kernel, which fork_exec would
    then overwrite in the child.
    """
    read_end, write_end = os.pipe2(os.O_CLOEXEC)
    if read_end > 2 and write_end > 2:
        return read_end, write_end
    low = [read_end, write_end]
    try:
        read_end = fcntl.fcntl(low[0], fcntl.F_DUPFD_CLOEXEC, 3)
        try:
            return read_end, fcntl.fcntl(low[1], fcntl.F_DUPFD_CLOEXEC, 3)
        except OSError:
            os.close(read_end)
            raise
    finally:
        for fd in low:
            os.close(fd)


def above_streams(fd: int) -> int:
    """Return a descriptor of the same file that is above 2; if it is another, `fd` is closed.

    Raises OSError if there is none, and then `fd` is as it was.
    """
    if fd > 2:
        return fd
    higher = fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 3)
    os.close(fd)
    return higher


class Reserve:
    """Descriptors that are kept back for a moment when there are no others."""

    __slots__ = ("_placeholders",)

    def __init__(self) -> None:
        self._placeholders: list[int] = []

    @property
    def null(self) -> int:
        """A descriptor of /dev/null for a child to read from, in a reserve that is filled."""
        return self._placeholders[0]

    def fill(self) -> None:
        """Take placeholders until the reserve is full. Raises OSError where there are too few."""
        while len(self._placeholders) < RESERVE_SIZE:
            fd = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
            try:
                self._placeholders.append(above_streams(fd))
            except OSError:
                os.close(fd)
                raise

    @contextlib.contextmanager
    def opened(self) -> Iterator[None]:
        """Give the placeholders up for the length of a block that must be able to open files."""
        self.close()
        try:
            yield
        finally:
            # The next command that is started insists on a full reserve; here we take what there is.
            with contextlib.suppress(OSError):
                self.fill()

    def pidfd_open(self, pid: int) -> int:
        """Open a pidfd, with a placeholder of ours if no descriptor is free.

        Raises ProcessLookupError if `pid` is gone, and OSError if there is no placeholder to spare.
        """
        try:
            return os.pidfd_open(pid)
        except OSError as error:
            spare = len(self._placeholders) - KEPT_FOR_LOOKING
            if error.errno not in NO_DESCRIPTORS or spare <= 0:
                raise
        os.close(self._placeholders.pop())
        return os.pidfd_open(pid)

    def close(self) -> None:
        """Close all placeholders."""
        while self._placeholders:
            os.close(self._placeholders.pop())

    # A manager that is dropped without being closed leaves nothing open.
    __del__ = close
