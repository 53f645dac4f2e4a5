"""Waiting for several jobs at once, with hypothesis choosing what happens to them, and in what order.

What each waiter has to get, and when, is read off the plan; then the plan happens on a virtual
clock: one step each second. Waiters begin and give up in between, so that nothing is a matter of luck.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from amper import ExecResult
from amper.job.job import Job
from amper.manager.waiting import Gathering, Outcome, completions
from tests.job.workbench import Workbench
from tests.virtual_clock import VirtualLoop, WouldWaitForever, run_virtually

# To find the smallest example of a failure takes longer than to find one.
pytestmark = pytest.mark.timeout(400)

JOBS: Final = 4
LONGEST: Final = 16
"""Steps in a plan."""

AFTER: Final = {
    ("running", "stop"): "stopped",
    ("stopped", "resume"): "running",
    ("running", "end"): "over",
    ("stopped", "end"): "over",
    ("running", "remove"): "gone",
    ("stopped", "remove"): "gone",
    ("over", "remove"): "gone",
}
"""What is impossible does not happen: the step is skipped."""


@dataclass(frozen=True)
class Step:
    verb: str
    which: int


@dataclass(frozen=True)
class Waiter:
    """Somebody who waits for some of the jobs: for all, for any, or for one after the other."""

    kind: str
    which: tuple[int, ...]
    begins: float
    timeout: float | None

    def foresee(self, plan: list[Step]) -> tuple[list[int], float | None]:
        """Return which jobs it gets, in order, and when it goes on; None is never."""
        status = ["running"] * JOBS
        completed: list[int] = []
        got: list[int] = []
        pending: set[int] | None = None
        ends = None if self.timeout is None else self.begins + self.timeout
        # Afterwards nothing happens, until the last deadline and longer.
        for second, step in enumerate([*plan, *[Step("nothing", 0)] * 3 * LONGEST], 1):
            if pending is None and second > self.begins:
                pending = {which for which in self.which if status[which] == "running"}
                got = [
                    which for which in completed if which in self.which and status[which] == "over"
                ]
                if self.has_enough(got, pending):
                    return got, self.begins
            if pending is not None and ends is not None and second > ends:
                return got, ends
            after = AFTER.get((status[step.which], step.verb))
            if after is None:
                continue
            status[step.which] = after
            if after == "over":
                completed.append(step.which)
            if pending is not None and step.which in pending:
                pending.remove(step.which)
                got += [step.which] if after == "over" else []
                if self.has_enough(got, pending):
                    return got, float(second)
        return got, None

    def has_enough(self, got: list[int], pending: set[int]) -> bool:
        return not pending or (self.kind == "any" and bool(got))


class Stage:
    """A table whose jobs the plan happens to."""

    def __init__(self, taken: int | None) -> None:
        self.bench = Workbench(taken=taken)
        self.jobs = [self.bench.add() for _ in range(JOBS)]
        self.status = ["running"] * JOBS

    def take(self, step: Step) -> None:
        job = self.jobs[step.which]
        after = AFTER.get((self.status[step.which], step.verb))
        # Retention may have been there first.
        if after is None or self.bench.table.get(job.id) is not job:
            return
        self.status[step.which] = after
        verbs: dict[str, Callable[[Job], object]] = {
            "stop": self.bench.table.stopped,
            "resume": self.bench.table.resumed,
            "end": lambda job: self.bench.end(job, ExecResult(job.id, b"output")),
            "remove": self.bench.table.remove,
        }
        verbs[step.verb](job)

    async def play(self, plan: list[Step], waiters: list[Waiter]) -> None:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, VirtualLoop)
        for second, step in enumerate(plan, 1):
            loop.call_at(second, self.take, step)
        async with asyncio.TaskGroup() as group:
            for waiter in waiters:
                group.create_task(self.wait(waiter, *waiter.foresee(plan)))
        # No deadline is left, only the rest of the plan.
        assert all(when % 1 == 0 for when in loop.timers())

    async def wait(self, waiter: Waiter, which: list[int], until: float | None) -> None:
        await asyncio.sleep(waiter.begins)
        wanted = [self.jobs[which] for which in waiter.which]
        jobs = [job for job in wanted if self.bench.table.get(job.id) is job]
        if waiter.kind == "each":
            outcomes = await self.each(jobs, waiter.timeout)
        else:
            outcomes = await self.gathered(waiter.kind, jobs, waiter.timeout)
        assert asyncio.get_running_loop().time() == until
        expected = which[:1] if waiter.kind == "any" else which
        assert [id - 1 for id, _ in outcomes] == expected
        # Also when retention has taken the record or its output meanwhile.
        for id, result in outcomes:
            assert result == ExecResult(id, b"output")
            assert self.jobs[id - 1].is_taken or self.bench.table.get(id) is None

    async def gathered(self, kind: str, jobs: list[Job], timeout: float | None) -> list[Outcome]:
        gathering = Gathering(self.bench.table, jobs)
        try:
            if kind == "all":
                return await gathering.all(timeout)
            outcome = await gathering.next(timeout)
            return [] if outcome is None else [outcome]
        finally:
            gathering.close()

    async def each(self, jobs: list[Job], timeout: float | None) -> list[Outcome]:
        outcomes = []
        over = completions(asyncio.get_running_loop, self.bench.table, jobs)
        # It has no deadline of its own: whoever wants no more breaks off.
        with suppress(TimeoutError):
            async with asyncio.timeout(timeout):
                async for outcome in over:
                    outcomes.append(outcome)  # noqa: PERF401 - what came before the deadline counts.
        return outcomes


STEPS = st.builds(
    Step, st.sampled_from(["end", "stop", "resume", "remove"]), st.integers(0, JOBS - 1)
)
WAITERS = st.builds(
    Waiter,
    st.sampled_from(["all", "any", "each"]),
    st.permutations(range(JOBS)).flatmap(
        lambda which: st.integers(0, JOBS).map(lambda count: tuple(which[:count]))
    ),
    st.integers(0, LONGEST).map(lambda second: second + 0.5),
    st.none() | st.integers(1, LONGEST),
)


@given(
    plan=st.lists(STEPS, max_size=LONGEST),
    waiters=st.lists(WAITERS, min_size=1, max_size=4),
    keeps_results=st.booleans(),
)
def test_every_waiter_gets_what_ends_in_its_time_and_goes_on_at_that_moment(
    plan: list[Step], waiters: list[Waiter], keeps_results: bool
) -> None:
    # Where retention takes a job with its result, the next waiter is another story.
    stage = Stage(None if keeps_results else 0)
    if not keeps_results:
        del waiters[1:]
    if any(waiter.foresee(plan)[1] is None for waiter in waiters):
        with pytest.raises(WouldWaitForever):
            run_virtually(stage.play(plan, waiters))
    else:
        run_virtually(stage.play(plan, waiters))
    assert not any(job.runner.waiters for job in stage.jobs if job.runner is not None)
