"""`wait` and `try_result`: one job, any number of waiters."""

from __future__ import annotations

import asyncio
import math
from typing import Any

import pytest

from amper import ExecResult, JobId, JobManager
from tests.handshakes import result_of
from tests.support import cancelled, on_all_loops
from tests.work import NO_PROCESS, UNKNOWN, bound, endless, gate, give, on_a_loop, turn, waiters_of


def waiting(jobs: JobManager, id: JobId, **options: Any) -> asyncio.Task[ExecResult | None]:
    return asyncio.ensure_future(jobs.wait(id, **options))


@on_all_loops
async def test_all_waiters_get_the_result_and_so_does_whoever_comes_later() -> None:
    async with JobManager() as jobs:
        future = gate()
        id = jobs.spawn("work", future)
        waiters = [waiting(jobs, id) for _ in range(10)]
        await turn()
        assert waiters_of(jobs, id) == 10
        future.set_result(ExecResult(3, b"out"))
        assert await asyncio.gather(*waiters) == [ExecResult(3, b"out")] * 10
        for _ in range(2):
            assert await jobs.wait(id) == ExecResult(3, b"out")
            assert await jobs.try_result(id) == ExecResult(3, b"out")


@on_all_loops
async def test_waiters_wake_with_the_end_itself_and_not_at_a_tick() -> None:
    async with JobManager() as jobs:
        id = await jobs.register("elsewhere", gate())
        waiter = waiting(jobs, id)
        await turn()
        await jobs.finish(id, ExecResult(0))
        # One turn resumes the waiter, and the next could do no better.
        await turn()
        assert waiter.done()


@on_a_loop
async def test_an_unknown_job_is_none_at_once() -> None:
    async with JobManager() as jobs:
        assert await jobs.wait(UNKNOWN) is None
        assert await jobs.wait(UNKNOWN, timeout=60) is None
        assert await jobs.try_result(UNKNOWN) is None


@on_a_loop
async def test_try_result_never_waits() -> None:
    async with JobManager() as jobs:
        future = gate()
        id = jobs.spawn("work", future)
        assert await jobs.try_result(id) is None
        await jobs.stop_job(id, NO_PROCESS, NO_PROCESS)
        assert await jobs.try_result(id) is None
        future.set_result(5)
        await turn()
        await turn()
        assert await jobs.try_result(id) == ExecResult(0, data=5)


# Stopped jobs.


@on_all_loops
async def test_a_stopped_job_is_none_at_once_and_so_it_is_when_it_stops_meanwhile() -> None:
    async with JobManager() as jobs:
        future = gate()
        id = jobs.spawn("work", future)
        waiters = [waiting(jobs, id), waiting(jobs, id, timeout=60)]
        await turn()
        await jobs.stop_job(id, NO_PROCESS, NO_PROCESS)
        assert await asyncio.gather(*waiters) == [None, None]
        assert await jobs.wait(id) is None
        assert waiters_of(jobs, id) == 0
        # Nothing of that is remembered.
        await jobs.resume_job(id)
        waiter = waiting(jobs, id)
        await turn()
        assert not waiter.done()
        future.set_result(7)
        assert await waiter == ExecResult(0, data=7)


@on_a_loop
async def test_a_stop_counts_for_waiters_even_if_a_resume_follows_at_once() -> None:
    async with JobManager() as jobs:
        id = await jobs.register("elsewhere", gate())
        waiter = waiting(jobs, id)
        await turn()
        await jobs.stop_job(id, NO_PROCESS, NO_PROCESS)
        await jobs.resume_job(id)
        assert await waiter is None
        assert await jobs.get_status_string(id) == "running"


@on_a_loop
async def test_an_end_that_follows_a_stop_at_once_is_the_answer() -> None:
    async with JobManager() as jobs:
        id = await jobs.register("elsewhere", gate())
        waiter = waiting(jobs, id)
        await turn()
        await jobs.stop_job(id, NO_PROCESS, NO_PROCESS)
        await jobs.finish(id, ExecResult(3))
        assert await waiter == ExecResult(3)


# Deadlines.


@on_all_loops
async def test_a_deadline_is_none_and_leaves_the_job_and_nothing_else() -> None:
    async with JobManager() as jobs:
        future = gate()
        id = jobs.spawn("work", future)
        for timeout in (0, 0.0, -1, -math.inf, 0.001):
            assert await jobs.wait(id, timeout=timeout) is None
        assert waiters_of(jobs, id) == 0
        assert await jobs.get_status_string(id) == "running"
        future.set_result(None)
        await result_of(jobs, id)
        # What is over needs no time.
        assert await jobs.wait(id, timeout=0) == ExecResult(0)
        assert await jobs.wait(id, timeout=-1) == ExecResult(0)


@on_all_loops
async def test_a_deadline_that_does_not_come_changes_nothing() -> None:
    async with JobManager() as jobs:
        future = gate()
        id = jobs.spawn("work", future)
        waiters = [waiting(jobs, id, timeout=timeout) for timeout in (60, math.inf, 1e300, None)]
        await turn()
        assert not any(waiter.done() for waiter in waiters)
        future.set_result(None)
        assert await asyncio.gather(*waiters) == [ExecResult(0)] * 4


@pytest.mark.parametrize(
    "timeout, error",
    [("1", TypeError), (b"", TypeError), ([], TypeError), (math.nan, ValueError)],
)
@on_a_loop
async def test_a_bad_deadline_is_refused_and_leaves_no_waiter(
    timeout: Any, error: type[Exception]
) -> None:
    async with JobManager() as jobs:
        id = jobs.spawn("work", endless())
        with pytest.raises(error):
            await jobs.wait(id, timeout)
        for call in (jobs.wait_all, jobs.wait_any):
            with pytest.raises(error):
                await call([id], timeout)
        assert waiters_of(jobs, id) == 0


# Waiters that go away.


@on_all_loops
async def test_a_cancelled_waiter_leaves_the_job_running_and_the_others_waiting() -> None:
    async with JobManager() as jobs:
        future = gate()
        id = jobs.spawn("work", future)
        first, second = waiting(jobs, id, timeout=60), waiting(jobs, id)
        await turn()
        await cancelled(first)
        assert waiters_of(jobs, id) == 1
        assert await jobs.get_status_string(id) == "running"
        future.set_result(None)
        assert await second == ExecResult(0)


@on_a_loop
async def test_a_waiter_that_is_cancelled_takes_nothing() -> None:
    async with JobManager(finished_retention=0) as jobs:
        id = await jobs.register("elsewhere", gate())
        waiter = waiting(jobs, id)
        await turn()
        await jobs.finish(id, ExecResult(3))
        await cancelled(waiter)
        # The result was on its way, but nobody got it.
        assert await jobs.wait(id) == ExecResult(3)


# Jobs that go away.


@on_all_loops
async def test_the_waiters_of_a_running_job_that_is_removed_get_none() -> None:
    async with JobManager() as jobs:
        id = jobs.spawn("work", endless())
        waiters = [waiting(jobs, id), waiting(jobs, id, timeout=60)]
        await turn()
        assert await jobs.remove(id)
        assert await asyncio.gather(*waiters) == [None, None]
        assert await jobs.wait(id) is None


@pytest.mark.parametrize("way", ["removed", "reaped", "dropped by retention"])
@on_all_loops
async def test_the_waiters_of_a_finished_job_that_goes_get_the_result(way: str) -> None:
    async with JobManager(finished_retention=0) as jobs:
        id = await jobs.register("elsewhere", gate())
        waiters = [waiting(jobs, id) for _ in range(3)]
        await turn()
        await jobs.finish(id, ExecResult(3, b"out"))
        if way == "removed":
            assert await jobs.remove(id)
        elif way == "reaped":
            assert [info.id for info in await jobs.reap_finished()] == [id]
        else:
            assert await jobs.try_result(id) is not None
        assert not await jobs.exists(id)
        assert await asyncio.gather(*waiters) == [ExecResult(3, b"out")] * 3


@on_a_loop
async def test_whoever_waited_gets_the_output_that_a_bound_takes_at_the_end() -> None:
    async with JobManager() as jobs:
        bound(jobs, output=10)
        id = await jobs.register("elsewhere", gate())
        waiter = waiting(jobs, id)
        gathering = asyncio.ensure_future(jobs.wait_all())
        await turn()
        await jobs.finish(id, ExecResult(0, b"x" * 100))
        await jobs.register("another", gate())
        result = await waiter
        assert result is not None
        assert (len(result.out), result.out_dropped) == (100, 0)
        assert [len(result.out) for _, result in await gathering] == [100]


@on_all_loops
async def test_the_waiters_of_a_queued_job_wait_for_its_end() -> None:
    async with JobManager(max_running=1) as jobs:
        first = jobs.spawn("first", endless())
        ended, removed = jobs.spawn("second", give(2)), jobs.spawn("third", give(3))
        waiters = [waiting(jobs, ended), waiting(jobs, removed)]
        await turn()
        await jobs.remove(removed)
        assert await waiters[1] is None
        assert not waiters[0].done()
        await jobs.kill(first)
        assert await waiters[0] == ExecResult(0, data=2)
