"""Look through /proc at who is there, in slices that never hold up the loop.

A look costs about ten microseconds per process of the machine, so all who ask while the loop turns
share one, and whoever asks during a look gets the next: what it is told began after it asked. The
environments are read, for twice that, only if one of those who ask looks for marks in them, and only
of those that are younger than the scanner: no mark is older. To read one may take as long as its
process holds its memory.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from functools import partial
from io import FileIO
from typing import TYPE_CHECKING, Final, NamedTuple, TypeVar

from amper.process.descriptors import NO_DESCRIPTORS, Reserve

if TYPE_CHECKING:
    # Shims read places with this file, and have no event loop.
    import asyncio

T = TypeVar("T")

PROCESSES_PER_TURN: Final = 64

MOST_LISTINGS: Final = 20
"""On a machine that forks without end there is always something new."""

RETRY_AFTER: Final = 0.1
"""Seconds until the next try when the process has not one descriptor left."""

MARK: Final = b"AMPER_JOB="
"""The environment variable by which the descendants of a command are known, wherever they went."""

LONGEST_ENVIRONMENT: Final = 1 << 20

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


class Look:
    """What a look found: all processes that are alive. A zombie is none."""

    __slots__ = ("groups", "marks", "sessions", "stats")

    def __init__(self) -> None:
        self.stats: dict[int, Stat] = {}
        self.groups: dict[int, list[int]] = {}
        """Process group id to the pids of its members."""
        self.sessions: dict[int, list[int]] = {}
        self.marks: dict[bytes, list[int]] = {}
        """Mark to the pids of our own user's processes that carry it, if marks were looked for."""

    def add(self, pid: int, stat: Stat) -> None:
        """Put down a process."""
        self.stats[pid] = stat
        self.groups.setdefault(stat.group, []).append(pid)
        self.sessions.setdefault(stat.session, []).append(pid)


Listener = Callable[[Look], None]


class _Question(NamedTuple):
    listener: Listener
    wants_marks: bool


class ProcessScanner:
    """Finds who is in which process group, who is stopped, and who carries a mark."""

    __slots__ = ("_asked", "_loop", "_open", "_reserve", "_since", "_turns")

    def __init__(self, reserve: Reserve) -> None:
        # The kernel rounds in a way of its own.
        self._since = ticks_now() - 1
        self._reserve = reserve
        self._loop: asyncio.AbstractEventLoop | None = None
        self._asked: list[_Question] = []
        self._open: list[_Question] = []
        """Those that the look that is under way will answer."""
        self._turns: Iterator[Look | None] | None = None

    def attach(self, loop: asyncio.AbstractEventLoop) -> None:
        """Work on `loop` from now on; a look that was under way begins anew there."""
        self._loop = loop
        self._asked = self._open + self._asked
        self._open = []
        self._turns = None
        if self._asked:
            self._begin()

    def ask(self, listener: Listener) -> None:
        """Call `listener` once, in a later turn of the loop, with what a fresh look found."""
        self._ask(_Question(listener, wants_marks=False))

    def ask_for_marks(self, listener: Listener) -> None:
        """Do as `ask` does, with a look that also reads the marks in the environments."""
        self._ask(_Question(listener, wants_marks=True))

    def _ask(self, question: _Question) -> None:
        self._asked.append(question)
        if self._turns is None:
            self._begin()

    def _begin(self) -> None:
        assert self._loop is not None
        self._turns = self._look()
        self._loop.call_soon(self._turn, self._turns)

    def _look(self) -> Iterator[Look | None]:
        """Begin with the first slice: until then others may join, and want more."""
        wants_marks = any(question.wants_marks for question in self._open)
        yield from _look(self._reserve, self._since if wants_marks else None)

    def _turn(self, turns: Iterator[Look | None]) -> None:
        if turns is not self._turns:
            return
        assert self._loop is not None
        if not self._open:
            self._open, self._asked = self._asked, []
        try:
            found = next(turns)
        except OSError:
            # Somebody else has taken even what we kept for this. Nobody tells when one is free again.
            self._asked, self._open = self._open + self._asked, []
            self._loop.call_later(RETRY_AFTER, self._begin)
            return
        if found is None:
            self._loop.call_soon(self._turn, turns)
            return
        answered, self._open, self._turns = self._open, [], None
        if self._asked:
            self._begin()
        for question in answered:
            # In a callback of its own: what one raises must not keep the others from hearing.
            self._loop.call_soon(question.listener, found)


def read_stat(pid: int, reserve: Reserve | None) -> Stat | None:
    """Return what a process that is alive says of itself; None for a zombie or nobody.

    Another thread than the loop's has no reserve. Raises OSError where no descriptor is free.
    """
    try:
        text = _with_reserve(lambda: _read(pid), reserve)
    except (FileNotFoundError, ProcessLookupError):
        return None
    # The command stands in parentheses and may itself hold any character.
    fields = text[text.rindex(b")") + 2 :].split(b" ", 20)
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
    """Return the mark in the environment that a process of our own user was executed with."""
    return _with_reserve(lambda: _read_mark(pid), reserve)


def members_of(pgid: int, reserve: Reserve) -> Iterator[int]:
    """Yield the members of one group, at once: it takes a while where there are many processes."""
    for pid in _pids(reserve):
        if read_group(pid, reserve) == pgid:
            yield pid


def _look(reserve: Reserve, marked_since: int | None) -> Iterator[Look | None]:
    """Yield None after each slice, and at last what was found; marks if it is known since when.

    A process that forks and dies between the listing and the visit would be missed with its child. So
    what is new in another listing is visited too, until nothing is: whoever lives then was visited.
    """
    found = Look()
    slice = PROCESSES_PER_TURN if marked_since is None else max(1, PROCESSES_PER_TURN // 2)
    seen: set[int] = set()
    for _ in range(MOST_LISTINGS):
        new = [pid for pid in _pids(reserve) if pid not in seen]
        if not new:
            break
        seen.update(new)
        for count, pid in enumerate(new, 1):
            stat = read_stat(pid, reserve)
            if stat is not None:
                found.add(pid, stat)
                if marked_since is not None and stat.started >= marked_since:
                    mark = _with_reserve(partial(_read_mark, pid), reserve)
                    if mark is not None:
                        found.marks.setdefault(mark, []).append(pid)
            if count % slice == 0:
                yield None
    yield found


def ticks_now() -> int:
    """Return the time on the clock by which the kernel says when a process was started."""
    return int(time.clock_gettime(time.CLOCK_BOOTTIME) * TICKS_PER_SECOND)


def _pids(reserve: Reserve) -> list[int]:
    names = _with_reserve(lambda: os.listdir("/proc"), reserve)
    return [int(name) for name in names if name.isdigit()]


def _read(pid: int) -> bytes:
    with open(f"/proc/{pid}/stat", "rb", buffering=0) as file:
        return file.read(512)


def _read_mark(pid: int) -> bytes | None:
    try:
        with open(f"/proc/{pid}/environ", "rb", buffering=0) as file:
            # Root may read everybody's, and nobody else's process is ours.
            if os.fstat(file.fileno()).st_uid != os.geteuid():
                return None
            environment = b"\0" + _read_all(file, LONGEST_ENVIRONMENT)
    except (FileNotFoundError, ProcessLookupError, PermissionError):
        return None
    _, _, rest = environment.partition(b"\0" + MARK)
    return rest.partition(b"\0")[0] or None


def _read_all(file: FileIO, most: int) -> bytes:
    """Read to the end, or so many bytes: /proc gives a page at a time."""
    parts, left = [], most
    while left > 0 and (part := file.read(min(left, 65536))):
        parts.append(part)
        left -= len(part)
    return b"".join(parts)


def _with_reserve(look: Callable[[], T], reserve: Reserve | None) -> T:
    """Look, with the reserve's descriptors if there are no others."""
    try:
        return look()
    except OSError as error:
        if reserve is None or error.errno not in NO_DESCRIPTORS:
            raise
    with reserve.opened():
        return look()
