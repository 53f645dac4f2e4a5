"""The cascade that ends a job: ask, wait for the grace period, insist, and prove that it is gone.

1. One job has one cascade. Whoever kills it again joins, and can only shorten the grace period.
2. A cascade hangs on no caller: it is driven by reports, pidfds and two timers.
3. However many are killed at once, a turn of the loop signals a bounded number of them.
"""

from __future__ import annotations

import asyncio
import signal
from collections import deque
from collections.abc import Callable
from typing import Final

from amper.manager.runner import LocalRunner
from amper.process.group import GroupWatch
from amper.process.kernel import Kernel

KILL_LIMIT: Final = 5.0
"""Seconds after SIGKILL until we admit that something (in the D state) cannot be killed now."""

STEPS_PER_TURN: Final = 50
"""Signals for this many jobs take about a millisecond."""


class Slices:
    """Runs steps on the loop, a bounded number in each turn."""

    __slots__ = ("_is_scheduled", "_loop", "_steps")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._is_scheduled = False
        self._steps: deque[Callable[[], None]] = deque()

    def add(self, step: Callable[[], None]) -> None:
        """Run `step` soon, after those that were added before."""
        self._steps.append(step)
        self._schedule()

    def _schedule(self) -> None:
        if self._steps and not self._is_scheduled:
            self._is_scheduled = True
            self._loop.call_soon(self._turn)

    def _turn(self) -> None:
        self._is_scheduled = False
        try:
            for _ in range(min(STEPS_PER_TURN, len(self._steps))):
                self._steps.popleft()()
        finally:
            self._schedule()


class Cascade:
    """Ends one job and everything of its process groups. `outcome` tells whether that was proved."""

    __slots__ = ("_deadline", "_grace_period", "_is_insisting", "_kernel", "_loop", "_runner",
                 "_slices", "_timer", "_watches", "outcome")  # fmt: skip

    def __init__(
        self,
        runner: LocalRunner,
        loop: asyncio.AbstractEventLoop,
        kernel: Kernel | None,
        slices: Slices,
        grace_period: float,
    ) -> None:
        self._runner = runner
        self._loop = loop
        self._kernel = kernel
        self._slices = slices
        self._grace_period = grace_period
        self._deadline = loop.time() + grace_period
        self._timer: asyncio.TimerHandle | None = None
        self._is_insisting = False
        self._watches: list[GroupWatch] = []
        self.outcome: asyncio.Future[bool] = loop.create_future()
        slices.add(self._ask)

    def hurry(self, grace_period: float) -> None:
        """Insist no later than `grace_period` from now."""
        deadline = self._loop.time() + grace_period
        if deadline >= self._deadline or self._is_insisting:
            return
        self._deadline = deadline
        self._grace_period = grace_period
        if self._timer is not None:
            self._timer.cancel()
            self._wait_until_deadline()

    def work_ended(self) -> None:
        """The work itself is over; what is left are its process groups."""
        self._check()

    def abandon(self) -> None:
        """Stop for good: its loop is closed, and whoever waited for the outcome with it."""
        for watch in self._watches:
            watch.close()

    def _ask(self) -> None:
        if self.outcome.done():
            return
        if self._runner.token is not None:
            self._runner.token.cancel(self._reason)
        self._runner.ask_to_end()
        self._watch_groups()
        self._signal(signal.SIGTERM)
        # A stopped process gets no signal but this one and SIGKILL.
        self._signal(signal.SIGCONT)
        self._wait_until_deadline()
        self._check()

    @property
    def _reason(self) -> str | None:
        return None if self._runner.ended_by is None else self._runner.ended_by.reason

    def _watch_groups(self) -> None:
        """Watch every group of the job, also those that it got after the cascade began."""
        known = {watch.group for watch in self._watches}
        if self._kernel is not None:
            for group in self._runner.groups:
                if group not in known:
                    self._watches.append(GroupWatch(group, self._kernel, self._check))
        # While their parents live: nobody finds them afterwards.
        for watch in self._watches:
            watch.adopt_descendants()

    def _signal(self, number: int) -> None:
        for watch in self._watches:
            watch.group.signal(number)
            watch.signal_members(number)

    def _wait_until_deadline(self) -> None:
        self._timer = self._loop.call_at(self._deadline, self._slices.add, self._insist)

    def _insist(self) -> None:
        if self.outcome.done() or self._is_insisting:
            return
        self._is_insisting = True
        self._runner.insist()
        self._watch_groups()
        self._signal(signal.SIGKILL)
        limit = KILL_LIMIT if self._watches else min(self._grace_period, KILL_LIMIT)
        self._timer = self._loop.call_later(limit, self._give_up)
        self._check()

    def _check(self) -> None:
        # Before anybody was asked there is no timer, and nothing to be concluded.
        if self.outcome.done() or self._timer is None or self._runner.has_work:
            return
        for watch in self._watches:
            watch.check()
        if all(watch.is_gone for watch in self._watches):
            self._end(is_dead=True)

    def _give_up(self) -> None:
        if self.outcome.done():
            return
        survivors = {pid for watch in self._watches for pid in watch.survivors()}
        if survivors:
            self._runner.name_survivors(sorted(survivors))
        self._end(is_dead=False)
        self._runner.give_up()

    def _end(self, *, is_dead: bool) -> None:
        if self._timer is not None:
            self._timer.cancel()
        for watch in self._watches:
            watch.close()
            if watch.is_gone:
                watch.group.close()
        if self._runner.cascade is self:
            self._runner.cascade = None
        if is_dead:
            self._runner.all_died()
        if not self.outcome.done():
            self.outcome.set_result(is_dead)
