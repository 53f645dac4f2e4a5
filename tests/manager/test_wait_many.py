"""`wait_all`, `wait_any` and `as_completed`: many jobs at once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from typing import Any, cast

import pytest

from amper import ExecResult, JobId, JobManager
from tests.handshakes import result_of
from tests.support import cancelled, on_all_loops
from tests.work import NO_PROCESS, UNKNOWN, endless, gate, on_a_loop, turn, waiters_of


async def elsewhere(jobs: JobManager, count: int) -> list[JobId]:
    """Return jobs that the test ends with `finish`, at once."""
    return [await jobs.register("elsewhere", gate()) for _ in range(count)]


async def end(jobs: JobManager, *ids: JobId) -> None:
    """End jobs in this order, each with its id as the code."""
    for id in ids:
        assert await jobs.finish(id, ExecResult(id))


def ids_of(outcomes: list[tuple[JobId, ExecResult]]) -> list[JobId]:
    assert all(result.code == id for id, result in outcomes)
    return [id for id, _ in outcomes]


async def collect(outcomes: AsyncIterator[tuple[JobId, ExecResult]]) -> list[JobId]:
    return ids_of([outcome async for outcome in outcomes])


def in_background(coroutine: Any) -> asyncio.Task[Any]:
    return asyncio.ensure_future(coroutine)


# wait_all


@on_all_loops
async def test_wait_all_gives_the_jobs_of_the_moment_in_order_of_completion() -> None:
    async with JobManager() as jobs:
        a, b, c, d = await elsewhere(jobs, 4)
        await end(jobs, c, a)
        waiting = in_background(jobs.wait_all())
        await turn()
        (late,) = await elsewhere(jobs, 1)
        await end(jobs, late, d)
        await turn()
        assert not waiting.done()
        await end(jobs, b)
        assert ids_of(await waiting) == [c, a, d, b]
        assert ids_of(await jobs.wait_all()) == [c, a, late, d, b]


@on_a_loop
async def test_wait_all_takes_ids_once_each_and_skips_those_unknown() -> None:
    async with JobManager() as jobs:
        a, b, c = await elsewhere(jobs, 3)
        await end(jobs, b, a)
        assert ids_of(await jobs.wait_all([a, UNKNOWN, b, a])) == [b, a]
        assert ids_of(await jobs.wait_all(iter((a,)))) == [a]
        assert await jobs.wait_all([]) == []
        assert await jobs.wait_all([UNKNOWN]) == []
        assert await jobs.running_count() == 1
        assert await jobs.exists(c)


@on_a_loop
async def test_without_jobs_there_is_nothing_to_wait_for() -> None:
    async with JobManager() as jobs:
        assert await jobs.wait_all() == []
        assert await jobs.wait_any() is None
        assert await collect(jobs.as_completed()) == []


@on_all_loops
async def test_jobs_that_are_stopped_or_stop_meanwhile_are_left_out() -> None:
    async with JobManager() as jobs:
        a, b, c = await elsewhere(jobs, 3)
        await jobs.stop_job(a, NO_PROCESS, NO_PROCESS)
        waiting = [
            in_background(jobs.wait_all()),
            in_background(jobs.wait_any([a, b])),
            in_background(collect(jobs.as_completed())),
        ]
        await turn()
        await jobs.stop_job(b, NO_PROCESS, NO_PROCESS)
        assert await waiting[1] is None
        # One that went on is not among them any more, whenever it ends.
        await jobs.resume_job(b)
        await end(jobs, b, c)
        assert [ids_of(await waiting[0]), await waiting[2]] == [[c], [c]]
        assert await jobs.wait_all([a]) == []
        assert await jobs.wait_any([a]) is None


@on_all_loops
async def test_jobs_that_are_removed_before_they_end_are_left_out() -> None:
    async with JobManager() as jobs:
        a, b = await elsewhere(jobs, 2)
        waiting = [
            in_background(jobs.wait_all()),
            in_background(jobs.wait_any([a])),
            in_background(collect(jobs.as_completed())),
        ]
        await turn()
        await jobs.remove(a)
        assert await waiting[1] is None
        await end(jobs, b)
        assert [ids_of(await waiting[0]), await waiting[2]] == [[b], [b]]


@pytest.mark.parametrize("way", ["remove", "reap"])
@on_a_loop
async def test_jobs_that_are_removed_after_their_end_are_in(way: str) -> None:
    async with JobManager(finished_retention=0) as jobs:
        a, b = await elsewhere(jobs, 2)
        waiting = [in_background(jobs.wait_all()), in_background(collect(jobs.as_completed()))]
        await turn()
        await end(jobs, b)
        if way == "remove":
            await jobs.remove(b)
        else:
            await jobs.reap_finished()
        await end(jobs, a)
        assert [ids_of(await waiting[0]), await waiting[1]] == [[b, a], [b, a]]


@pytest.mark.parametrize("timeout", [0, -1, 0.001])
@on_all_loops
async def test_at_the_deadline_wait_all_gives_what_is_over(timeout: float) -> None:
    async with JobManager() as jobs:
        a, b, c = await elsewhere(jobs, 3)
        await end(jobs, c, b)
        assert ids_of(await jobs.wait_all(timeout=timeout)) == [c, b]
        assert await jobs.wait_all([a], timeout=timeout) == []
        assert await jobs.wait_any([a], timeout=timeout) is None
        assert waiters_of(jobs, a) == 0


@on_a_loop
async def test_what_nobody_got_is_not_taken() -> None:
    async with JobManager(finished_retention=0) as jobs:
        a, b, c = await elsewhere(jobs, 3)
        waiting = in_background(jobs.wait_all())
        await turn()
        await end(jobs, a, b)
        await cancelled(waiting)
        assert waiters_of(jobs, c) == 0
        first = await jobs.wait_any()
        assert first is not None
        assert await jobs.list_ids() == [b, c]
        # All that is given at once is given, also where each one goes when it is taken.
        await end(jobs, c)
        assert ids_of(await jobs.wait_all()) == [b, c]
        assert await jobs.list_ids() == []


# wait_any


@on_all_loops
async def test_wait_any_gives_the_first_to_end() -> None:
    async with JobManager() as jobs:
        a, b, c = await elsewhere(jobs, 3)
        waiting = in_background(jobs.wait_any([a, b], timeout=60))
        await turn()
        await end(jobs, c)
        await turn()
        assert not waiting.done()
        await end(jobs, b, a)
        assert await waiting == (b, ExecResult(b))
        assert await jobs.wait_any() == (c, ExecResult(c))
        assert await jobs.wait_any([a, b]) == (b, ExecResult(b))
        assert await jobs.wait_any([a, UNKNOWN]) == (a, ExecResult(a))


@on_a_loop
async def test_wait_any_without_anything_to_come_is_none_at_once() -> None:
    async with JobManager() as jobs:
        (a,) = await elsewhere(jobs, 1)
        assert await jobs.wait_any([]) is None
        assert await jobs.wait_any([UNKNOWN]) is None
        await jobs.remove(a)
        assert await jobs.wait_any([a]) is None


@on_all_loops
async def test_wait_any_leaves_no_waiter_on_the_others_nor_when_it_is_cancelled() -> None:
    async with JobManager() as jobs:
        a, b = await elsewhere(jobs, 2)
        waiting = in_background(jobs.wait_any())
        await turn()
        assert waiters_of(jobs, a) == waiters_of(jobs, b) == 1
        await end(jobs, a)
        assert await waiting == (a, ExecResult(a))
        assert waiters_of(jobs, b) == 0
        waiting = in_background(jobs.wait_any([b]))
        await turn()
        await cancelled(waiting)
        assert waiters_of(jobs, b) == 0


# as_completed


@on_all_loops
async def test_as_completed_gives_each_job_once_as_it_ends() -> None:
    async with JobManager(finished_retention=0) as jobs:
        a, b, c = await elsewhere(jobs, 3)
        await end(jobs, c)
        outcomes = jobs.as_completed([a, b, c, a, UNKNOWN])
        assert await anext(outcomes) == (c, ExecResult(c))
        coming = in_background(anext(outcomes))
        await turn()
        assert not coming.done()
        await end(jobs, b, a)
        assert await coming == (b, ExecResult(b))
        # What was not given yet was not taken either.
        assert await jobs.list_ids() == [a]
        assert await collect(outcomes) == [a]


@on_a_loop
async def test_as_completed_is_about_the_jobs_of_the_call() -> None:
    async with JobManager() as jobs:
        a, b = await elsewhere(jobs, 2)
        outcomes, again = jobs.as_completed(), jobs.as_completed()
        (late,) = await elsewhere(jobs, 1)
        await end(jobs, late, b, a)
        assert await collect(outcomes) == [b, a]
        assert await collect(again) == [b, a]


@pytest.mark.parametrize("is_queued", [False, True])
@on_a_loop
async def test_a_job_that_was_removed_before_the_first_step_is_not_waited_for(
    is_queued: bool,
) -> None:
    async with JobManager(max_running=1) as jobs:
        ids = [jobs.spawn("first", endless()), jobs.spawn("second", endless())]
        gone = ids[is_queued]
        outcomes = jobs.as_completed([gone])
        await jobs.remove(gone)
        assert await collect(outcomes) == []


@on_all_loops
async def test_an_iteration_that_ends_early_or_is_cancelled_leaves_no_waiter() -> None:
    async with JobManager() as jobs:
        a, b = await elsewhere(jobs, 2)
        await end(jobs, a)
        outcomes = cast(AsyncGenerator[Any, None], jobs.as_completed())
        async for id, _ in outcomes:
            assert id == a
            break
        assert waiters_of(jobs, b) == 1
        await outcomes.aclose()
        assert waiters_of(jobs, b) == 0
        waiting = in_background(collect(jobs.as_completed([b])))
        await turn()
        await cancelled(waiting)
        assert waiters_of(jobs, b) == 0


@on_all_loops
async def test_the_end_of_the_manager_is_the_end_of_every_wait() -> None:
    jobs = JobManager()
    a, b = await elsewhere(jobs, 2)
    waiting = [
        in_background(jobs.wait_all()),
        in_background(jobs.wait_any([b])),
        in_background(jobs.wait(a)),
    ]
    await turn()
    await jobs.aclose()
    everything, first, one = await asyncio.gather(*waiting)
    assert [(id, result.code) for id, result in everything] == [(a, 130), (b, 130)]
    assert (first[0], first[1].code, one.code) == (b, 130, 130)


@pytest.mark.parametrize("bad", [5, JobId(1), object()])
@on_a_loop
async def test_ids_are_several(bad: Any) -> None:
    async with JobManager() as jobs:
        for call in (jobs.wait_all, jobs.wait_any):
            with pytest.raises(TypeError):
                await call(bad)
        with pytest.raises(TypeError):
            await collect(jobs.as_completed(bad))


@on_a_loop
async def test_completion_has_an_order_even_within_one_turn() -> None:
    async with JobManager() as jobs:
        ids = await elsewhere(jobs, 50)
        await end(jobs, *reversed(ids))
        assert ids_of(await jobs.wait_all()) == ids[::-1]
        records = [jobs.table.get(id) for id in reversed(ids)]
        times = [job.finished for job in records if job is not None]
        assert times == sorted(set(times))
        assert (await result_of(jobs, ids[0])).code == ids[0]
