"""When cascades take their steps: a bounded number of them in each turn of the loop, each at its time.

However many are killed at once, there is one timer. Most have the same grace period, so that their
deadlines come in order, and they wait in a line.
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
import math
from collections import deque
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from amper.manager.killing import Cascade

STEPS_PER_TURN: Final = 8
"""Signals for this many jobs, and a look at their children, take about a millisecond."""


class Steps:
    """Takes the steps of cascades on the loop, each when it is due, a bounded number in each turn."""

    __slots__ = (
        "_alarm",
        "_cascades",
        "_due",
        "_early",
        "_is_scheduled",
        "_line",
        "_loop",
        "_numbers",
        "_timer",
    )

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._cascades: set[Cascade] = set()
        """Those that are not over."""
        self._due: deque[Cascade] = deque()
        self._is_scheduled = False
        # One timer for all of them: thousands may be killed at once.
        self._line: deque[Cascade] = deque()
        """Those that wait, in the order of the deadlines that they had when they came; each once."""
        self._early: list[tuple[float, int, Cascade]] = []
        """The deadlines for which somebody would have had to jump the line."""
        self._numbers = itertools.count()
        self._timer: asyncio.TimerHandle | None = None
        self._alarm = math.inf
        """When the timer rings. It is not asked itself: on uvloop not every timer can tell."""

    def begin(self, cascade: Cascade) -> None:
        """Let a cascade take its first step, after those that were due before."""
        self._cascades.add(cascade)
        self._due.append(cascade)
        self._schedule()

    def at(self, deadline: float, cascade: Cascade) -> None:
        """Let a cascade take its next step at `deadline`, if that is its deadline then."""
        if cascade.stands_for <= deadline:
            # It will come up before that.
            return
        if not self._line or self._line[-1].stands_for <= deadline:
            cascade.stands_for = deadline
            self._line.append(cascade)
        else:
            heapq.heappush(self._early, (deadline, next(self._numbers), cascade))
        if deadline < self._alarm:
            self._set_timer()

    def end(self, cascade: Cascade) -> None:
        """A cascade is over: it takes no more steps."""
        self._cascades.discard(cascade)
        self._forget_dead()

    def any_cascade(self) -> Cascade | None:
        """Return one that is not over; None if there is none."""
        return next(iter(self._cascades), None)

    def _forget_dead(self) -> None:
        """Let go of the cascades at the heads that wait for nothing any more."""
        while self._line and self._line[0].outcome is not None:
            self._line.popleft()
        while self._early and not self._early[0][2].waits_until(self._early[0][0]):
            heapq.heappop(self._early)

    def _schedule(self) -> None:
        if self._due and not self._is_scheduled:
            self._is_scheduled = True
            self._loop.call_soon(self._turn)

    def _turn(self) -> None:
        self._is_scheduled = False
        try:
            for _ in range(min(STEPS_PER_TURN, len(self._due))):
                self._due.popleft().step()
        finally:
            self._schedule()

    def _set_timer(self) -> None:
        self._forget_dead()
        first = self._line[0].stands_for if self._line else math.inf
        if self._early:
            first = min(first, self._early[0][0])
        if first == self._alarm:
            return
        if self._timer is not None:
            self._timer.cancel()
        self._alarm = first
        self._timer = None if first == math.inf else self._loop.call_at(first, self._ring)

    def _ring(self) -> None:
        alarm, self._alarm = self._alarm, math.inf
        while self._early and self._early[0][0] <= alarm:
            deadline, _, cascade = heapq.heappop(self._early)
            if cascade.waits_until(deadline):
                self._due.append(cascade)
        while self._line and self._line[0].stands_for <= alarm:
            cascade = self._line.popleft()
            deadline, cascade.stands_for = cascade.stands_for, math.inf
            if cascade.waits_until(deadline):
                self._due.append(cascade)
            elif cascade.waits_longer_than(deadline):
                self.at(cascade.deadline, cascade)
        self._schedule()
        self._set_timer()
