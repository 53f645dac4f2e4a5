"""`resume`: a job runs on, whoever has stopped it."""

from __future__ import annotations

import asyncio

import pytest

from amper import JobManager, JobStatus
from tests.handshakes import info_when, said, state_of
from tests.places import everywhere
from tests.support import on_all_loops
from tests.unruly import unruly
from tests.work import history


@everywhere
async def test_a_job_that_was_stopped_here_runs_on_as_a_whole() -> None:
    async with JobManager() as jobs:
        id = await jobs.start(unruly("crowd", 3))
        children = await said(jobs, id)
        for _ in range(3):
            assert await jobs.stop(id)
            assert await jobs.resume(id)
            assert "T" not in {state_of(child) for child in children}
            assert await jobs.get_status_string(id) == "running"
            assert (await jobs.running_count(), await jobs.last_stopped()) == (1, None)
        assert await history(jobs, id) == ["started", *["stopped", "resumed"] * 3]


@everywhere
async def test_a_job_that_has_stopped_itself_runs_on() -> None:
    async with JobManager() as jobs:
        id = await jobs.start(unruly("stop_self"))
        await info_when(jobs, id, lambda info: info.status is JobStatus.STOPPED)
        assert await jobs.resume(id)
        await said(jobs, id, "continued")


@on_all_loops
async def test_one_that_runs_is_running_already() -> None:
    async with JobManager() as jobs:
        id = await jobs.start(unruly("behave"))
        await said(jobs, id)
        assert await jobs.resume(id)
        assert await history(jobs, id) == ["started"]


@on_all_loops
async def test_a_stop_and_a_resume_at_once_leave_what_came_last() -> None:
    async with JobManager() as jobs:
        id = await jobs.start(unruly("crowd", 3))
        await said(jobs, id)
        stopping, resuming = (asyncio.ensure_future(it) for it in (jobs.stop(id), jobs.resume(id)))
        assert await resuming
        assert not await stopping
        assert await jobs.get_status_string(id) == "running"


@on_all_loops
async def test_a_caller_that_is_cancelled_leaves_a_job_that_runs() -> None:
    async with JobManager() as jobs:
        id = await jobs.start(unruly("behave"))
        await said(jobs, id)
        assert await jobs.stop(id)
        resuming = asyncio.ensure_future(jobs.resume(id))
        # An eager task is over already: nothing takes long.
        if resuming.cancel():
            with pytest.raises(asyncio.CancelledError):
                await resuming
            assert await jobs.get_status_string(id) == "stopped"
