"""The contract: stopping a job, and letting it run on."""

from __future__ import annotations

import asyncio

from amper import EndedBy, JobManager
from tests.contract.kinds import READY, Work
from tests.contract.support import for_each_kind
from tests.handshakes import result_of
from tests.work import history


async def stopped(kind: type[Work], jobs: JobManager) -> Work | None:
    """Return work that stands still; None if that kind cannot, which is said at once."""
    work = kind()
    await work.begin(jobs)
    stopping = asyncio.ensure_future(jobs.stop(work.id))
    await asyncio.sleep(0)
    work.come_by()
    assert await stopping is kind.can_be_stopped
    if kind.can_be_stopped:
        return work
    assert not await jobs.resume(work.id)
    assert await jobs.get_status_string(work.id) == "running"
    return None


@for_each_kind
async def test_a_stopped_job_is_waited_for_by_nobody_and_runs_on(kind: type[Work]) -> None:
    async with JobManager() as jobs:
        work = await stopped(kind, jobs)
        if work is None:
            return
        assert await jobs.get_status_string(work.id) == "stopped"
        assert (await jobs.running_count(), await jobs.last_stopped()) == (0, work.id)
        assert await jobs.wait(work.id) is None
        assert await jobs.wait_all() == []
        assert await jobs.wait_any() is None
        assert await jobs.try_result(work.id) is None
        assert await jobs.stop(work.id)
        assert await jobs.resume(work.id)
        assert await jobs.resume(work.id)
        assert (await jobs.running_count(), await jobs.last_stopped()) == (1, None)
        waiter = asyncio.ensure_future(jobs.wait(work.id))
        await work.end(3)
        result = await waiter
        assert result is not None
        assert (result.code, result.out) == (3, READY)
        assert await history(jobs, work.id) == ["started", "stopped", "resumed", "ended"]
        assert not await jobs.stop(work.id)
        assert not await jobs.resume(work.id)


@for_each_kind
async def test_whoever_waits_goes_on_when_it_stops(kind: type[Work]) -> None:
    async with JobManager() as jobs:
        work = kind()
        await work.begin(jobs)
        waiters = [asyncio.ensure_future(it) for it in (jobs.wait(work.id), jobs.wait_all())]
        stopping = asyncio.ensure_future(jobs.stop(work.id))
        await asyncio.sleep(0)
        work.come_by()
        if await stopping:
            assert await asyncio.gather(*waiters) == [None, []]
        else:
            await work.end()
            await asyncio.gather(*waiters)


@for_each_kind
async def test_a_stopped_job_is_killed_like_any_other(kind: type[Work]) -> None:
    async with JobManager() as jobs:
        work = await stopped(kind, jobs)
        if work is None:
            return
        assert await jobs.kill(work.id, by="me")
        assert work.is_gone()
        result = await result_of(jobs, work.id)
        assert (result.code, result.ended_by) == (work.code_when_asked, EndedBy("kill", by="me"))
        assert await jobs.last_stopped() is None


@for_each_kind
async def test_a_stopped_job_does_not_outlive_the_block(kind: type[Work]) -> None:
    async with JobManager() as jobs:
        tracked, untracked = await stopped(kind, jobs), await stopped(kind, jobs)
        if tracked is None or untracked is None:
            return
        assert await jobs.remove(untracked.id)
        assert await jobs.last_stopped() == tracked.id
    assert tracked.is_gone()
    assert untracked.is_gone()


@for_each_kind
async def test_a_stopped_job_keeps_its_place(kind: type[Work]) -> None:
    async with JobManager(max_running=1) as jobs:
        work = await stopped(kind, jobs)
        if work is None:
            return
        second = kind()
        second.id = await second.make(jobs)
        assert await jobs.get_status_string(second.id) == "queued"
        assert await jobs.resume(work.id)
        await work.end()
        await result_of(jobs, work.id)
        assert await jobs.get_status_string(second.id) == "running"
