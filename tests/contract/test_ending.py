"""The contract: ending a job, and whose end it was."""

from __future__ import annotations

import asyncio

import pytest

from amper import CancellationToken, EndedBy, JobManager, JobStatus
from tests.contract.kinds import Asked, Work
from tests.contract.support import for_each_kind
from tests.handshakes import result_of
from tests.support import cancelled


async def begun(kind: type[Work], jobs: JobManager, asked: Asked = Asked.ENDS) -> Work:
    work = kind()
    await work.begin(jobs, asked)
    return work


@for_each_kind
async def test_kill_returns_when_it_is_dead_and_says_who_did_it(kind: type[Work]) -> None:
    async with JobManager() as jobs:
        work = await begun(kind, jobs)
        assert await jobs.kill(work.id, reason="because", by="me")
        assert work.is_gone()
        result = await result_of(jobs, work.id)
        assert (result.code, result.ended_by) == (
            work.code_when_asked,
            EndedBy("kill", "because", "me"),
        )
        assert await jobs.get_status_string(work.id) == f"killed:{work.code_when_asked}"
        assert not await jobs.kill(work.id)


@for_each_kind
async def test_cancel_asks_and_returns_at_once(kind: type[Work]) -> None:
    async with JobManager() as jobs:
        work = await begun(kind, jobs)
        assert await jobs.cancel(work.id, reason="because")
        assert await jobs.get_status_string(work.id) == "running"
        result = await result_of(jobs, work.id)
        assert (result.code, result.ended_by) == (
            work.code_when_asked,
            EndedBy("cancel", "because"),
        )
        assert await jobs.get_status_string(work.id) == f"killed:{work.code_when_asked}"
        assert not await jobs.cancel(work.id)


@pytest.mark.parametrize("verb", ["kill", "cancel", "aclose"])
@pytest.mark.parametrize("asked, status", [(Asked.SUCCEEDS, "done:0"), (Asked.FAILS, "killed:3")])
@for_each_kind
async def test_what_the_work_makes_of_being_asked_is_the_truth(
    kind: type[Work], asked: Asked, status: str, verb: str
) -> None:
    jobs = JobManager()
    work = await begun(kind, jobs, asked)
    if verb == "kill":
        assert await jobs.kill(work.id)
    elif verb == "cancel":
        assert await jobs.cancel(work.id)
        await result_of(jobs, work.id)
    await jobs.aclose()
    expected = status if kind.is_ours or verb != "aclose" else "killed:130"
    assert await jobs.get_status_string(work.id) == expected


@pytest.mark.parametrize("code, status", [(0, "done:0"), (3, "failed:3"), (143, "failed:143")])
@for_each_kind
async def test_an_end_of_its_own_is_nobodys(kind: type[Work], code: int, status: str) -> None:
    async with JobManager() as jobs:
        work = await begun(kind, jobs)
        await work.end(code)
        result = await result_of(jobs, work.id)
        assert (result.code, result.ended_by) == (code, None)
        assert await jobs.get_status_string(work.id) == status
        info = await jobs.get(work.id)
        assert info is not None
        assert (info.exit_code, info.ended_by) == (code, None)


@for_each_kind
async def test_a_token_that_was_set_is_all_that_cancel_trips(kind: type[Work]) -> None:
    async with JobManager() as jobs:
        work, token = await begun(kind, jobs), CancellationToken()
        await jobs.set_cancel_token(work.id, token)
        assert await jobs.cancel(work.id, reason="because")
        assert token.reason == "because"
        assert await jobs.wait(work.id, timeout=0) is None
        await work.end(3)
        assert (await result_of(jobs, work.id)).ended_by == EndedBy("cancel", "because")
        assert await jobs.get_status_string(work.id) == "killed:3"


@for_each_kind
async def test_killers_join(kind: type[Work]) -> None:
    async with JobManager() as jobs:
        work = await begun(kind, jobs)
        assert await asyncio.gather(*(jobs.kill(work.id, by=by) for by in "ab")) == [True, True]
        assert (await result_of(jobs, work.id)).ended_by == EndedBy("kill", by="a")


@for_each_kind
async def test_a_killer_that_is_cancelled_does_not_stop_the_killing(kind: type[Work]) -> None:
    async with JobManager() as jobs:
        work = await begun(kind, jobs)
        killing = asyncio.ensure_future(jobs.kill(work.id))
        await asyncio.sleep(0)
        await cancelled(killing)
        assert (await result_of(jobs, work.id)).code == work.code_when_asked


@for_each_kind
async def test_nothing_outlives_the_managers_block(kind: type[Work]) -> None:
    async with JobManager() as jobs:
        tracked, untracked = await begun(kind, jobs), await begun(kind, jobs)
        await jobs.remove(untracked.id)
        await jobs.aclose(reason="good night")
    assert tracked.is_gone()
    assert untracked.is_gone()
    info = await jobs.get(tracked.id)
    assert info is not None
    assert (info.status, info.ended_by) == (JobStatus.KILLED, EndedBy("close", "good night"))


@for_each_kind
async def test_a_queued_job_is_ended_before_it_begins(kind: type[Work]) -> None:
    async with JobManager(max_running=1) as jobs:
        first, second = await begun(kind, jobs), kind()
        second.id = await second.make(jobs)
        if second.takes_place:
            assert await jobs.get_status_string(second.id) == "queued"
            assert await jobs.kill(second.id)
            assert await jobs.get_status_string(second.id) == "killed:130"
        else:
            assert await jobs.get_status_string(second.id) == "running"
        await first.end()
        await result_of(jobs, first.id)
