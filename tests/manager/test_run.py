"""`run`: start a command and wait for it."""

from __future__ import annotations

import asyncio
import signal

import pytest

from amper import EndedBy, ExecResult, JobId, JobManager, ManagerClosed
from tests.handshakes import said, watching
from tests.support import cancelled, on_all_loops
from tests.unruly import unruly
from tests.work import endless, turn


@on_all_loops
async def test_run_gives_the_result_and_takes_the_options_of_start() -> None:
    async with JobManager() as jobs:
        assert await jobs.run("cat; echo no >&2; exit 3", stdin=b"x") == ExecResult(
            3, b"x", b"no\n"
        )
        assert (await jobs.run(["no-such-program"])).code == 127
        id = (await jobs.list_ids())[-1]
        await jobs.run(["true"], name="named")
        assert [info.name for info in await jobs.list()][-1] == "named"
        assert await jobs.list_ids() == [1, id, 3]


@on_all_loops
async def test_a_caller_that_is_cancelled_has_its_job_killed() -> None:
    async with JobManager(grace_period=0.05) as jobs:
        running = asyncio.ensure_future(jobs.run(unruly("ignore_term")))
        await asyncio.sleep(0)
        id = JobId(1)
        (pid,) = await said(jobs, id)
        with watching(pid) as process:
            await cancelled(running)
            result = await jobs.wait(id)
            assert result is not None
            assert result.code == 137
            assert result.ended_by == EndedBy("kill", "whoever ran it was cancelled")
            assert process.is_dead


@on_all_loops
async def test_a_caller_that_is_cancelled_while_its_job_is_queued_never_starts_it() -> None:
    async with JobManager(max_running=1) as jobs:
        first = await jobs.start(unruly("behave"))
        running = asyncio.ensure_future(jobs.run(["true"]))
        await said(jobs, first)
        assert await jobs.get_status_string(JobId(2)) == "queued"
        await cancelled(running)
        assert await jobs.get_status_string(JobId(2)) == "killed:130"


@on_all_loops
async def test_run_has_its_result_also_when_somebody_removes_its_job() -> None:
    async with JobManager() as jobs:
        running = asyncio.ensure_future(jobs.run(unruly("print_then_flood_late", 3)))
        await asyncio.sleep(0)
        id = JobId(1)
        await said(jobs, id)
        (_, pgid) = await jobs.get_process_info(id) or (0, 0)
        with watching(pgid) as process:
            assert await jobs.remove(id)
            process.signal(signal.SIGUSR1)
            assert await running == ExecResult(0, b"ready\nxxxend")


@on_all_loops
async def test_run_has_its_result_when_its_job_is_removed_and_ends_at_once() -> None:
    """Its waiter has been woken for the one, and goes on after the other."""
    async with JobManager() as jobs:
        running = asyncio.ensure_future(jobs.run(unruly("print_then_flood_late", 3)))
        await asyncio.sleep(0)
        await said(jobs, JobId(1))
        pid, _ = await jobs.get_process_info(JobId(1)) or (0, 0)
        with watching(pid) as process:
            process.signal(signal.SIGUSR1)
            process.wait()
            # Its end is what the loop will see next.
            removing = asyncio.ensure_future(jobs.remove(JobId(1)))
            assert await running == ExecResult(0, b"ready\nxxxend")
            assert await removing


@pytest.mark.parametrize("is_caller_cancelled", [False, True])
@on_all_loops
async def test_run_ends_when_its_job_is_removed_from_the_queue(is_caller_cancelled: bool) -> None:
    async with JobManager(max_running=1) as jobs:
        jobs.spawn("work", endless())
        running = asyncio.ensure_future(jobs.run(["true"]))
        await turn()
        assert await jobs.get_status_string(JobId(2)) == "queued"
        assert await jobs.remove(JobId(2))
        if is_caller_cancelled:
            running.cancel()
            with pytest.raises(asyncio.CancelledError):
                await running
        else:
            reason = "it was removed before it was started"
            assert await running == ExecResult(130, ended_by=EndedBy("cancel", reason))


@on_all_loops
async def test_a_closed_manager_runs_nothing() -> None:
    jobs = JobManager()
    await jobs.aclose()
    with pytest.raises(ManagerClosed):
        await jobs.run("true")


@on_all_loops
async def test_the_end_of_the_manager_ends_a_run() -> None:
    jobs = JobManager(grace_period=0.05)
    running = asyncio.ensure_future(jobs.run(unruly("behave")))
    await asyncio.sleep(0)
    await said(jobs, JobId(1))
    await jobs.aclose(reason="enough")
    result = await running
    assert (result.code, result.ended_by) == (143, EndedBy("close", "enough"))
