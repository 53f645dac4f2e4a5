"""The cascade that ends a job: ask, wait for the grace period, insist, and prove that it is gone.

1. One job has one cascade. Whoever kills it again joins, and can only shorten the grace period.
2. A cascade hangs on no caller: it is driven by reports, pidfds, and its turn among `Steps`.
"""

from __future__ import annotations

import asyncio
import math
import signal
from typing import Final, Literal

from amper.manager.runner import LocalRunner
from amper.manager.steps import Steps
from amper.manager.waiting import Verdict
from amper.process.group import GroupWatch
from amper.process.kernel import Kernel
from amper.process.scan import Look
from amper.process.sweep import Sweep

KILL_LIMIT: Final = 5.0
"""Seconds after SIGKILL until we admit that something (in the D state) cannot be killed now."""

LOOK_LIMIT: Final = 5.0
"""Seconds for a last look at who is left."""

_ASK: Final = (int(signal.SIGTERM), int(signal.SIGCONT))
"""A stopped process gets no signal but the second one and SIGKILL."""

_INSIST: Final = (int(signal.SIGKILL),)

Step = Literal["ask", "insist", "look", "give up"]


class Cascade(Verdict):
    """Ends one job and everything of its process groups, and tells whether that was proved.

    It asks, and insists; then it looks who is left, and gives up where somebody is, or the look does
    not come to its end. Each step comes at its deadline, unless nothing is left.
    """

    __slots__ = (
        "_grace_period",
        "_has_signalled",
        "_is_swept",
        "_kernel",
        "_next_step",
        "_runner",
        "_steps",
        "_watches",
        "deadline",
        "stands_for",
    )

    def __init__(
        self,
        runner: LocalRunner,
        loop: asyncio.AbstractEventLoop,
        kernel: Kernel | None,
        steps: Steps,
        grace_period: float,
    ) -> None:
        super().__init__(loop)
        self._runner = runner
        self._kernel = kernel
        self._steps = steps
        self._grace_period = grace_period
        self.deadline = loop.time() + grace_period
        """When the next step is due."""
        self.stands_for = math.inf
        """The deadline for which it stands in the line of those that wait."""
        self._next_step: Step = "ask"
        self._has_signalled = False
        """Whether all that was there has got the last signal: before that nothing can be concluded."""
        self._watches: tuple[GroupWatch, ...] = ()
        self._is_swept = False
        """Whether the last sweep was asked for: the one that begins when the groups are gone."""
        steps.begin(self)

    def hurry(self, grace_period: float) -> None:
        """Insist no later than `grace_period` from now."""
        deadline = self._loop.time() + grace_period
        if deadline >= self.deadline or self._has_insisted:
            return
        self.deadline = deadline
        self._grace_period = grace_period
        if self._next_step == "insist":
            self._steps.at(deadline, self)

    def waits_until(self, deadline: float) -> bool:
        """Return whether its next step is due then, and not earlier or never."""
        return self.outcome is None and self.deadline == deadline

    def waits_longer_than(self, deadline: float) -> bool:
        """Return whether its next step is due after that."""
        return self.outcome is None and self.deadline > deadline

    def step(self) -> None:
        """Take the next step. Where one fails, the one after it comes all the same."""
        if self.outcome is not None:
            return
        step = self._next_step
        try:
            self._take(step)
        except BaseException:
            # A second Ctrl-C, or a mistake of ours: nobody may wait for ever because of it.
            if self._next_step == step:
                self._pass_over(step)
            raise

    def _take(self, step: Step) -> None:
        if step == "ask":
            self._ask()
        elif step == "insist":
            self._insist()
        elif step == "look":
            self._look()
        else:
            self._give_up(set())

    def _pass_over(self, step: Step) -> None:
        if step == "ask":
            self._await_insisting()
        elif step == "insist":
            self._schedule("look", KILL_LIMIT)
        elif step == "look":
            self._schedule("give up", LOOK_LIMIT)
        else:
            self._end(is_dead=False)

    def work_ended(self) -> None:
        """The work itself is over; what is left are its process groups."""
        self._check()

    def group_gone(self) -> None:
        """Nothing of one of the groups is left."""
        self._check()

    def groups_added(self) -> None:
        """There is more to be ended than before, and it has not been asked."""
        if self.outcome is None and self._has_signalled:
            known = len(self._watches)
            self._watch_groups()
            first = _INSIST[0] if self._has_insisted else _ASK[0]
            for watch in self._watches[known:]:
                watch.group.signal(first)
                watch.group.signal(signal.SIGCONT)
                if watch.sweep is not None:
                    self._is_swept = False
                    watch.sweep.signal((first, signal.SIGCONT))
            self._check()

    def abandon(self) -> None:
        """Stop for good: its loop is closed, and whoever waited for the outcome with it."""
        self.outcome = False
        for watch in self._watches:
            watch.close()

    def _ask(self) -> None:
        if self._runner.token is not None:
            self._runner.token.cancel(self._reason)
        self._runner.ask_to_end()
        self._watch_groups()
        self._signal(_ASK)
        self._await_insisting()
        self._check()

    def _await_insisting(self) -> None:
        self._next_step = "insist"
        self._steps.at(self.deadline, self)

    @property
    def _has_insisted(self) -> bool:
        return self._next_step in ("look", "give up")

    @property
    def _reason(self) -> str | None:
        return None if self._runner.ended_by is None else self._runner.ended_by.reason

    def _watch_groups(self) -> None:
        """Watch every group of the job, also those that it got after the cascade began."""
        runner = self._runner
        if self._kernel is None and runner.groups:
            self._kernel = runner.reports.kernel
        kernel = self._kernel
        if kernel is not None:
            known = [watch.group for watch in self._watches]
            for group in runner.watched_groups:
                if group not in known:
                    watch = GroupWatch(group, kernel, self)
                    if group.leads_session:
                        watch.sweep = Sweep(watch, runner.mark, kernel, self)
                    self._watches = (*self._watches, watch)
        # While their parents live: nobody finds them afterwards.
        for watch in self._watches:
            watch.adopt_descendants()

    def _signal(self, numbers: tuple[int, ...]) -> None:
        self._has_signalled = False
        for number in numbers:
            for watch in self._watches:
                watch.group.signal(number)
                watch.signal_members(number)
        self._is_swept = False
        for watch in self._watches:
            if watch.sweep is not None:
                watch.sweep.signal(numbers)
        self._has_signalled = True

    def _insist(self) -> None:
        self._runner.insist()
        self._watch_groups()
        self._signal(_INSIST)
        has_processes = self._watches or self._runner.is_contained
        self._schedule("look", KILL_LIMIT if has_processes else min(self._grace_period, KILL_LIMIT))
        self._check()

    def _schedule(self, step: Step, seconds: float) -> None:
        self._next_step = step
        self.deadline = self._loop.time() + seconds
        self._steps.at(self.deadline, self)

    def _check(self) -> None:
        if self.outcome is not None or not self._has_signalled or self._runner.has_work:
            return
        is_any_left = False
        for watch in self._watches:
            if not watch.check():
                is_any_left = True
        if is_any_left:
            return
        if not self._is_swept:
            # What they have started before they ended is there now, and what they start now is not.
            self._is_swept = True
            for watch in self._watches:
                if watch.sweep is not None:
                    watch.sweep.look()
        for watch in self._watches:
            if watch.sweep is not None and not watch.sweep.is_gone:
                return
        self._end(is_dead=True)

    def _look(self) -> None:
        """Look who is left: one look does for all who come to this at once."""
        if self._kernel is None or not self._watches:
            self._give_up(set())
            return
        # Where there is no descriptor to look with, it never ends.
        self._schedule("give up", LOOK_LIMIT)
        self._kernel.scanner.ask(self._found)

    def _found(self, look: Look) -> None:
        if self.outcome is not None:
            return
        members = {pid for watch in self._watches for pid in look.groups.get(watch.group.pgid, ())}
        if members or self._survivors() or self._runner.has_work:
            self._give_up(members)
        # Else all of it is dead, and looks that take their time are about to prove it.

    def _survivors(self) -> set[int]:
        """Return the pids of those that are known to be left."""
        return self._runner.survivors().union(*(watch.survivors() for watch in self._watches))

    def _give_up(self, members: set[int]) -> None:
        survivors = members | self._survivors()
        if survivors:
            self._runner.name_survivors(sorted(survivors))
        self._end(is_dead=False)
        self._runner.give_up()

    def _end(self, *, is_dead: bool) -> None:
        # The checks of several groups may all come to this.
        if self.outcome is not None:
            return
        self.outcome = is_dead
        self._steps.end(self)
        try:
            self._let_go()
            if self._runner.cascade is self:
                self._runner.cascade_ended()
            if is_dead:
                self._runner.all_died()
        finally:
            self._tell()

    def _let_go(self) -> None:
        for watch in self._watches:
            watch.close()
            if watch.is_gone:
                watch.group.close()
