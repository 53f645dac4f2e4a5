"""Files without a name, through which an sh is told something, or tells it."""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator
from typing import Final

_ABOVE: Final = 64
"""Whoever writes `exec 9>lock` must not meet one of ours there."""


def nameless_file(data: bytes = b"") -> int:
    """Return a file without a name that holds `data`, to be read from its beginning."""
    low = os.memfd_create("amper")
    with open(low, "wb", closefd=False) as file:
        file.write(data)
    os.lseek(low, 0, os.SEEK_SET)
    try:
        high = fcntl.fcntl(low, fcntl.F_DUPFD_CLOEXEC, _ABOVE)
    except OSError:
        return low  # There are no numbers that high.
    os.close(low)
    return high


@contextlib.contextmanager
def told_file() -> Iterator[int]:
    """Give a file for what an sh has to tell, for as long as the block runs."""
    fd = nameless_file()
    try:
        yield fd
    finally:
        os.close(fd)


def told(fd: int) -> str:
    """Return what an sh has told."""
    return os.fsdecode(os.pread(fd, os.fstat(fd).st_size, 0))
