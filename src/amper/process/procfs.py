"""What /proc tells: of one process, at once, and which there are.

Supervisors use this file too, and pay in memory for all that it imports.
"""

from __future__ import annotations

import itertools
import os
import time
from collections.abc import Callable, Iterator
from operator import attrgetter
from typing import Final, NamedTuple, TypeVar

from amper.process.descriptors import NO_DESCRIPTORS, Reserve

T = TypeVar("T")

NAMES_AT_ONCE: Final = 512
"""The kernel gives as much as twice that in one go."""

MARK: Final = b"AMPER_JOB="
"""The environment variable by which the descendants of a command are known, wherever they went."""

LONGEST_ENVIRONMENT: Final = 1 << 20

EXECUTING: Final = b""
"""Stands for the mark of a process that has left one program and has not begun the next: for the tenth
of a millisecond that it takes it has no environment that could be read."""

_KERNEL_THREAD: Final = 0x00200000
"""Among the flags of a process: it never has an environment."""

_NAME_OF: Final = attrgetter("name")

_READ_ONLY: Final = os.O_RDONLY | os.O_CLOEXEC

TICKS_PER_SECOND: Final = os.sysconf("SC_CLK_TCK")


class Stat(NamedTuple):
    """What a process says of itself and of its place among others."""

    state: bytes
    """The kernel's letter: `T` is stopped, `D` is a sleep that only a deadly signal ends."""
    parent: int
    group: int
    session: int
    started: int
    """Clock ticks since the machine was started."""

    @property
    def is_stopped(self) -> bool:
        """Whether it is stopped. One that a tracer holds (`t`) is not: SIGCONT does nothing to it."""
        return self.state == b"T"


def read_stat(pid: int, reserve: Reserve | None) -> Stat | None:
    """Return what a process that is alive says of itself; None for a zombie or nobody.

    Another thread than the loop's has no reserve. Raises OSError where no descriptor is free.
    """
    try:
        text = with_reserve(lambda: _read(pid), reserve)
    except (FileNotFoundError, ProcessLookupError):
        return None
    fields = _fields(text, 20)
    # The first thread of a process may end before the others: then it looks like a zombie, but for
    # the number of threads.
    if fields[0] in b"ZXx" and int(fields[17]) <= 1:
        return None
    return Stat(fields[0], int(fields[1]), int(fields[2]), int(fields[3]), int(fields[19]))


def read_group(pid: int, reserve: Reserve) -> int | None:
    """Return the process group of a process that is alive; None for a zombie or nobody."""
    stat = read_stat(pid, reserve)
    return None if stat is None else stat.group


def read_mark(pid: int, reserve: Reserve) -> bytes | None:
    """Return the mark in the environment that a process of our own user was executed with.

    `EXECUTING` if nobody can tell at this moment.
    """
    return with_reserve(lambda: _read_mark(pid), reserve)


def members_of(pgid: int, reserve: Reserve) -> Iterator[int]:
    """Yield the members of one group, at once: it takes a while where there are many processes."""
    for names in listing(reserve):
        for name in names:
            if name.isdigit() and read_group(pid := int(name), reserve) == pgid:
                yield pid


def listing(reserve: Reserve) -> Iterator[list[str]]:
    """Yield what is in /proc, processes and other things, some of it at a time."""
    try:
        entries = os.scandir("/proc")
    except OSError as error:
        if error.errno not in NO_DESCRIPTORS:
            raise
        # The reserve is not lent for several turns.
        yield with_reserve(lambda: os.listdir("/proc"), reserve)
        return
    with entries:
        while names := list(map(_NAME_OF, itertools.islice(entries, NAMES_AT_ONCE))):
            yield names


def ticks_now() -> int:
    """Return the time on the clock by which the kernel says when a process was started."""
    return int(time.clock_gettime(time.CLOCK_BOOTTIME) * TICKS_PER_SECOND)


def _read(pid: int, size: int = 512) -> bytes:
    # A file object would look what it has opened, which takes as long as to read it.
    fd = os.open(f"/proc/{pid}/stat", _READ_ONLY)
    try:
        return os.read(fd, size)
    finally:
        os.close(fd)


def _fields(text: bytes, count: int = -1) -> list[bytes]:
    """Return what follows the command, which stands in parentheses and may hold any character."""
    return text[text.rindex(b")") + 2 :].split(b" ", count)


def _read_mark(pid: int) -> bytes | None:
    try:
        fd = os.open(f"/proc/{pid}/environ", _READ_ONLY)
        try:
            # Root may read everybody's, and nobody else's process is ours.
            if os.fstat(fd).st_uid != os.geteuid():
                return None
            environment = b"\0" + read_all(fd, LONGEST_ENVIRONMENT)
        finally:
            os.close(fd)
        if len(environment) == 1 and _is_executing(pid):
            return EXECUTING
    except (FileNotFoundError, ProcessLookupError, PermissionError):
        return None
    _, _, rest = environment.partition(b"\0" + MARK)
    return rest.partition(b"\0")[0] or None


def _is_executing(pid: int) -> bool:
    """Return whether a process, of which no environment was read, has none because of an exec.

    The kernel puts down where the code ends when all else is in place. One that has really nothing in
    its environment has one that ends where it begins.
    """
    fields = _fields(_read(pid, 1024))
    end_of_code, begin, end = int(fields[24]), int(fields[47]), int(fields[48])
    never_has_any = fields[0] in b"ZXx" or int(fields[6]) & _KERNEL_THREAD
    return not never_has_any and (end_of_code == 0 or begin != end)


def read_all(fd: int, most: int) -> bytes:
    """Read to the end, or so many bytes: /proc gives a page at a time."""
    parts, left = [], most
    while left > 0 and (part := os.read(fd, min(left, 65536))):
        parts.append(part)
        left -= len(part)
    return b"".join(parts)


def with_reserve(look: Callable[[], T], reserve: Reserve | None) -> T:
    """Look, with the reserve's descriptors if there are no others."""
    try:
        return look()
    except OSError as error:
        if reserve is None or error.errno not in NO_DESCRIPTORS:
            raise
    with reserve.opened():
        return look()
