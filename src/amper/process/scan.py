"""Look through /proc at who is there, in slices that never hold up the loop.

A look costs about ten microseconds per process of the machine, so all who ask while the loop turns
share one, and whoever asks during a look gets the next: what it is told began after it asked.

The leaders of commands that run are held by pidfds, and are visited only for those who ask for them:
when thousands are killed most of the processes that there are lead one. The environments are read, for
twice the price, only if one of those who ask looks for marks in them, and only of those that are in no
such leader's group, and younger than the scanner: no mark is older. To read one may take as long as
its process holds its memory.
"""

from __future__ import annotations

import asyncio
import itertools
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from typing import Final

from amper.process.descriptors import Reserve
from amper.process.forks import Forks
from amper.process.procfs import EXECUTING, Stat, listing, read_mark, read_stat, ticks_now

PROCESSES_PER_TURN: Final = 32

ANSWERS_PER_TURN: Final = 16
"""Whoever is told that nobody is left ends a job with it."""

CROWD: Final = 8
"""A look that answers more than so many is followed by a rest: they die one after another, and each asks
when it is dead."""

REST: Final = 16
"""How much longer than that look."""

MAJORITY: Final = 4
"""It is over when so many times as many have asked as leaders run: hardly anybody is left to ask."""

LONGEST_REST: Final = 0.25
"""Seconds."""

MOST_LISTINGS: Final = 20
"""On a machine that forks without end there is always something new."""

RETRY_AFTER: Final = 0.1
"""Seconds until the next try when the process has not one descriptor left."""

LONGEST_EXEC: Final = 0.1
"""Seconds to wait for the end of that. A disk that does not answer may hold it up for ever."""


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

    def add_mark(self, pid: int, reserve: Reserve) -> bool:
        """Put down the mark that a process carries, if any; False if nobody can tell at this moment."""
        mark = read_mark(pid, reserve)
        if mark:
            self.marks.setdefault(mark, []).append(pid)
        return mark != EXECUTING


Listener = Callable[[Look], None]


class ProcessScanner:
    """Finds who is in which process group, who is stopped, and who carries a mark."""

    __slots__ = (
        "_answers",
        "_asked",
        "_began",
        "_forks",
        "_is_telling",
        "_last_pid",
        "_leaders_then",
        "_loop",
        "_open",
        "_parents",
        "_reserve",
        "_rest",
        "_rests_until",
        "_since",
        "_turns",
        "_wants_leaders",
        "_wants_marks",
        "begun",
        "leaders",
    )

    def __init__(self, reserve: Reserve) -> None:
        # The kernel rounds in a way of its own.
        self._since = ticks_now() - 1
        self._reserve = reserve
        self._loop: asyncio.AbstractEventLoop | None = None
        self._asked: deque[Listener] = deque()
        self._wants_leaders = self._wants_marks = False
        """What one of them wants to be in the look."""
        self._open: deque[Listener] = deque()
        """Those that the look that is under way will answer."""
        self._turns: Iterator[Look | None] | None = None
        self._answers: deque[tuple[deque[Listener], Look]] = deque()
        """Those that are to be told, and what."""
        self._is_telling = False
        self._forks = Forks()
        self._last_pid = 0
        """Given last when the last look began; 0 if there was none, or nobody could tell."""
        self._parents: set[int] = set()
        """The pids of those that had a child in it."""
        self._leaders_then = 0
        """How many there were when the last look began."""
        self._began = self._rests_until = 0.0
        self._rest: asyncio.TimerHandle | None = None
        self.begun = 0
        """How many looks have begun: who asks for what the next one finds need not ask twice."""
        self.leaders: dict[int, str] = {}
        """The pids of commands of whose end we have not heard, and how /proc names them. Their groups
        have the same numbers."""

    def attach(self, loop: asyncio.AbstractEventLoop) -> None:
        """Work on `loop` from now on; a look that was under way begins anew there."""
        self._loop = loop
        untold = itertools.chain.from_iterable(listeners for listeners, _ in self._answers)
        self._ask_again(deque([*untold, *self._open]))
        self._answers.clear()
        self._is_telling = False
        self._turns = None
        # It has a clock of its own.
        self._rests_until = 0.0
        self._rest = None
        if self._asked:
            self._begin()

    def ask(self, listener: Listener) -> None:
        """Call `listener` once, in a later turn of the loop, with what a fresh look found."""
        self._wants_leaders = True
        self._ask(listener)

    def ask_for_descendants(self, listener: Listener) -> None:
        """Do as `ask` does, but for the leaders of commands that run: they need not be in the look."""
        self._ask(listener)

    def ask_for_marks(self, listener: Listener) -> None:
        """Do as `ask_for_descendants` does, with a look that also reads the marks in the environments."""
        self._wants_marks = True
        self._ask(listener)

    def is_childless(self, pid: int) -> bool:
        """Return whether it is known that a process has no child, but for leaders.

        It had none in the last look, and nobody was forked since that began. False proves nothing.
        """
        last_pid = self._last_pid
        return last_pid > 0 and pid not in self._parents and self._forks.last_pid() == last_pid

    def close(self) -> None:
        """Close what is open. Nobody of those who have asked is told any more."""
        if self._rest is not None:
            self._rest.cancel()
            self._rest = None
        self._turns = None
        for listeners in (self._asked, self._open, self._answers):
            listeners.clear()
        self._forks.close()

    def _ask(self, listener: Listener) -> None:
        self._asked.append(listener)
        if self._turns is None:
            self._begin()
        elif self._rest is not None and self._has_rested:
            self._rest.cancel()
            self._rest = None
            self._begin()

    @property
    def _has_rested(self) -> bool:
        assert self._loop is not None
        if self._loop.time() >= self._rests_until:
            return True
        # Where none has ended, those who ask have asked before, and will ask again.
        count = len(self.leaders)
        return count < self._leaders_then and len(self._asked) >= MAJORITY * count

    def _begin(self) -> None:
        assert self._loop is not None
        self._turns = self._look()
        self._loop.call_soon(self._turn, self._turns)

    def _look(self) -> Iterator[Look | None]:
        """Begin with the first slice: until then others may join, and want more."""
        wants_leaders, since = self._wants_leaders, self._since if self._wants_marks else None
        self._wants_leaders = self._wants_marks = False
        last_pid = self._forks.last_pid()
        for found in _look(self._reserve, since, self.leaders, wants_leaders=wants_leaders):
            if found is not None:
                self._parents = {stat.parent for stat in found.stats.values()}
                # A child of one that has died meanwhile is another's now. Where all parents were seen,
                # whoever inherits one later had a child in the look as well.
                unseen = self._parents - found.stats.keys() - self.leaders.keys() - {0}
                self._last_pid = 0 if unseen else last_pid
            yield found

    def _ask_again(self, before: deque[Listener]) -> None:
        """Let the next look answer those that another one was to answer, before those that came later."""
        if before:
            # Nobody knows any more what they wanted.
            self._wants_leaders = self._wants_marks = True
        self._asked = before + self._asked
        self._open = deque()

    def _turn(self, turns: Iterator[Look | None]) -> None:
        if turns is not self._turns:
            return
        assert self._loop is not None
        if not self._open:
            if not self._has_rested:
                self._rest = self._loop.call_at(self._rests_until, self._turn, turns)
                return
            self._rest = None
            self._open, self._asked = self._asked, deque()
            self._began = self._loop.time()
            self._leaders_then = len(self.leaders)
            self.begun += 1
        try:
            found = next(turns)
        except BaseException as error:
            self._ask_again(self._open)
            self._loop.call_later(RETRY_AFTER, self._begin)
            if isinstance(error, OSError):
                # Somebody else has taken even what we kept for this. Nobody tells when one is free.
                return
            raise
        if found is None:
            self._loop.call_soon(self._turn, turns)
            return
        answered, self._open, self._turns = self._open, deque(), None
        if len(answered) > CROWD:
            now = self._loop.time()
            self._rests_until = now + min(REST * (now - self._began), LONGEST_REST)
        if self._asked:
            self._begin()
        self._answers.append((answered, found))
        if not self._is_telling:
            self._is_telling = True
            self._loop.call_soon(self._tell, self._loop)

    def _tell(self, loop: asyncio.AbstractEventLoop) -> None:
        """Tell a few of those who have asked, and the others in later turns."""
        if loop is not self._loop:
            return
        while self._answers and not self._answers[0][0]:
            self._answers.popleft()
        self._is_telling = bool(self._answers)
        if not self._is_telling:
            return
        listeners, found = self._answers[0]
        try:
            for _ in range(min(ANSWERS_PER_TURN, len(listeners))):
                listeners.popleft()(found)
        finally:
            # What one raises must not keep the others from hearing.
            loop.call_soon(self._tell, loop)


def _look(
    reserve: Reserve, marked_since: int | None, leaders: Mapping[int, str], *, wants_leaders: bool
) -> Iterator[Look | None]:
    """Yield None after each slice, and at last what was found.

    Marks are read of those that were started since then, and are in no group of the leaders'.

    A process that forks and dies between the listing and the visit would be missed with its child. So
    what is new in another listing is visited too, until nothing is: whoever lives then was visited.
    """
    found = Look()
    seen = set[str]() if wants_leaders else set(leaders.values())
    slice = PROCESSES_PER_TURN if marked_since is None else max(1, PROCESSES_PER_TURN // 2)
    for _ in range(MOST_LISTINGS):
        new: list[int] = []
        for turn, names in enumerate(listing(reserve)):
            if turn > 0:
                yield None
            # Not one by one: of thousands hardly any is new.
            unseen = set(names) - seen
            seen |= unseen
            new += sorted(int(name) for name in unseen if name.isdigit())
        if not new:
            break
        executing: list[int] = []
        for count, pid in enumerate(new, 1):
            stat = read_stat(pid, reserve)
            if stat is not None:
                found.add(pid, stat)
                is_wanted = marked_since is not None and stat.started >= marked_since
                if is_wanted and stat.group not in leaders and not found.add_mark(pid, reserve):
                    executing.append(pid)
            if count % slice == 0:
                yield None
        # Before the next listing: what they start as soon as they can is new in that.
        patience = time.monotonic() + LONGEST_EXEC
        while executing and time.monotonic() < patience:
            yield None
            executing = [pid for pid in executing if not found.add_mark(pid, reserve)]
    yield found
