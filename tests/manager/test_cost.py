"""What a job costs does not depend on how many there are: calls are counted, and not time."""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import FrameType

import pytest

from amper import ExecResult, JobManager
from amper.job.job import Job
from amper.job.table import JobTable
from amper.manager.channels import ChannelRunner
from amper.values import Ended
from tests.support import run
from tests.work import give

FEW, MANY = 100, 5_000


def calls_of(step: Callable[[], object]) -> int:
    """Count the calls that a step makes, in Python and into C."""
    count = 0

    def profile(frame: FrameType, event: str, argument: object) -> None:
        nonlocal count
        count += event in ("call", "c_call")

    sys.setprofile(profile)
    try:
        step()
    finally:
        sys.setprofile(None)
    return count


def add(table: JobTable) -> Job:
    job = Job("elsewhere", ChannelRunner(None))
    table.add(job)
    return job


def live(table: JobTable, count: int) -> None:
    """Lead so many jobs through everything that can happen to them, all of them at once."""
    jobs = [add(table) for _ in range(count)]
    for job in jobs:
        table.stopped(job)
        table.last_stopped()
    for job in jobs:
        table.resumed(job)
        table.info(job)
    for job in reversed(jobs):
        table.ended(job, Ended(ExecResult(0, b"out")))
    for job in jobs[::2]:
        table.take(job)
    for job in jobs:
        if table.get(job.id) is job:
            table.remove(job)


@pytest.mark.parametrize("kept", [0, 10, None])
def test_a_life_costs_the_same_among_many_as_among_few(kept: int | None) -> None:
    def calls_per_job(count: int) -> float:
        table = JobManager(finished_retention=kept).table
        return calls_of(lambda: live(table, count)) / count

    assert calls_per_job(MANY) <= 1.3 * calls_per_job(FEW)


@pytest.mark.parametrize("max_running", [1, None])
def test_a_coroutine_costs_the_same_among_many_as_among_few(max_running: int | None) -> None:
    async def spawn_and_wait(count: int) -> None:
        async with JobManager(max_running=max_running) as jobs:
            for _ in range(count):
                jobs.spawn("work", give())
            assert len(await jobs.wait_all()) == count

    def calls_per_job(count: int) -> float:
        return calls_of(lambda: run(spawn_and_wait(count))) / count

    assert calls_per_job(MANY // 5) <= 1.3 * calls_per_job(FEW)
