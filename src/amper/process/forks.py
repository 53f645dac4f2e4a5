"""Whether anybody was forked in the meantime: the kernel tells which number it gave last (proc(5), loadavg).

Numbers are given in turn, to threads as well, in this namespace also for all below it. As long as the
last one stays the same there is nobody new. It would take a whole round of all numbers to be misled.
Who is still being forked, and can be seen by nobody yet, has got his number already.
"""

from __future__ import annotations

import os

_FILE = "/proc/loadavg"


class Forks:
    """Reads the number, from a file that stays open."""

    __slots__ = ("_fd", "_is_closed")

    def __init__(self) -> None:
        self._fd = -1
        self._is_closed = False

    def last_pid(self) -> int:
        """Return the number that was given last; 0 where that cannot be told, and after `close`."""
        if self._is_closed:
            return 0
        try:
            if self._fd < 0:
                self._fd = _open()
            return int(os.pread(self._fd, 128, 0).rpartition(b" ")[2])
        except (OSError, ValueError):
            return 0

    def close(self) -> None:
        """Close the file, for good."""
        self._is_closed = True
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)

    # A manager that is dropped without being closed leaves nothing open.
    __del__ = close


def _open() -> int:
    """Raise OSError where the file is not the kernel's: in a container another may lie over it."""
    fd = os.open(_FILE, os.O_RDONLY | os.O_CLOEXEC)
    if os.fstat(fd).st_dev == os.stat("/proc/self").st_dev:
        return fd
    os.close(fd)
    raise OSError
