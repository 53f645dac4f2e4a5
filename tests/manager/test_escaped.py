"""Daemons of commands that are over: nothing is held for them, and they are found all the same."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal

import pytest

from amper import JobId, JobManager
from amper.manager import escaped, killing, steps
from amper.process.scan import ProcessScanner
from tests.handshakes import Process, result_of, said, turns_until, watching
from tests.places import everywhere
from tests.support import on_all_loops
from tests.survivors import runner_of
from tests.unruly import unruly
from tests.work import give


async def left_by_daemon(jobs: JobManager, stack: contextlib.ExitStack) -> tuple[JobId, Process]:
    """Start a command that leaves a daemon, and see it end."""
    id = await jobs.start(unruly("double_fork_setsid"))
    (pid,) = await said(jobs, id)
    daemon = stack.enter_context(watching(pid))
    assert (await result_of(jobs, id)).code == 0
    return id, daemon


@everywhere
async def test_a_kill_reaches_the_daemon_of_a_command_that_is_over_and_no_other() -> None:
    with contextlib.ExitStack() as stack:
        async with JobManager(grace_period=1000) as jobs:
            id, daemon = await left_by_daemon(jobs, stack)
            _, beside = await left_by_daemon(jobs, stack)
            assert await jobs.kill(id)
            assert (daemon.is_dead, beside.is_dead) == (True, False)
            assert not await jobs.kill(id)
            assert await jobs.get_status_string(id) == "done:0"


@on_all_loops
async def test_nothing_is_kept_of_what_has_been_killed() -> None:
    with contextlib.ExitStack() as stack:
        async with JobManager(grace_period=1000) as jobs:
            over, _ = await left_by_daemon(jobs, stack)
            running = await jobs.start(unruly("behave"))
            await said(jobs, running)
            assert await jobs.kill(over)
            assert await jobs.kill(running)
            core = jobs._core
            assert not core.escapes.dying()
            assert core.steps.any_cascade() is None


@everywhere
async def test_the_end_of_the_block_reaches_the_daemons_of_all_that_is_over() -> None:
    with contextlib.ExitStack() as stack:
        async with JobManager(grace_period=1000) as jobs:
            _, first = await left_by_daemon(jobs, stack)
            removed, second = await left_by_daemon(jobs, stack)
            await jobs.remove(removed)
            running = await jobs.start(unruly("behave"))
        assert (first.is_dead, second.is_dead) == (True, True)
        assert await jobs.get_status_string(running) == "killed:143"


@on_all_loops
async def test_several_who_kill_at_once_have_one_answer() -> None:
    with contextlib.ExitStack() as stack:
        async with JobManager(grace_period=1000) as jobs:
            id, daemon = await left_by_daemon(jobs, stack)
            assert await asyncio.gather(*(jobs.kill(id) for _ in range(3))) == [True] * 3
            assert daemon.is_dead


@pytest.mark.parametrize("way", ["kill", "aclose"])
@everywhere
async def test_a_kill_that_waits_for_a_daemon_is_joined_also_when_its_job_is_over(
    way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # On a machine that is very busy a look takes seconds.
    monkeypatch.setattr(killing, "KILL_LIMIT", 1000)
    async with JobManager(grace_period=1000) as jobs:
        id = await jobs.start(unruly("daemons", 1, "stubborn_daemon_child"))
        with watching(*await said(jobs, id)) as daemon:
            first = asyncio.ensure_future(jobs.kill(id, reason="first"))
            assert (await result_of(jobs, id)).code == 143
            assert not first.done()
            if way == "kill":
                assert await jobs.kill(id, grace_period=0)
            else:
                await jobs.aclose(grace_period=0)
            assert daemon.is_dead
            assert await first


@pytest.mark.parametrize("way", ["kill", "aclose"])
@everywhere
async def test_a_daemon_is_reached_also_if_its_leader_ends_just_before_the_first_step(
    way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Then nothing is left of the group, by which the job was found to be one that can be killed."""
    async with JobManager(grace_period=1000) as jobs:
        id = await jobs.start(unruly("daemons", 1))
        pid, _ = await jobs.get_process_info(id) or (0, 0)
        (left,) = await said(jobs, id)
        with watching(pid) as leader, watching(left) as daemon:
            with monkeypatch.context() as patch:
                patch.setattr(steps, "STEPS_PER_TURN", 0)
                end = jobs.kill(id) if way == "kill" else jobs.aclose()
                ending = asyncio.ensure_future(end)
                await turns_until(lambda: bool(jobs._core.steps.any_cascade()))
                leader.signal(signal.SIGKILL)
                await result_of(jobs, id)
            assert await ending is (True if way == "kill" else None)
            assert daemon.is_dead


@on_all_loops
async def test_a_caller_that_is_cancelled_leaves_a_kill_that_goes_on() -> None:
    with contextlib.ExitStack() as stack:
        async with JobManager(grace_period=1000) as jobs:
            id, daemon = await left_by_daemon(jobs, stack)
            killing = asyncio.ensure_future(jobs.kill(id))
            await asyncio.sleep(0)
            killing.cancel()
            with pytest.raises(asyncio.CancelledError):
                await killing
            await asyncio.to_thread(daemon.wait)


@on_all_loops
async def test_a_job_that_never_was_a_process_is_not_looked_for() -> None:
    async with JobManager() as jobs:
        await result_of(jobs, await jobs.start(["true"]))
        id = jobs.spawn("work", give())
        await result_of(jobs, id)
        with pytest.MonkeyPatch.context() as patch:
            patch.delattr(ProcessScanner, "ask_for_marks")
            assert not await jobs.kill(id)
        await jobs.aclose()
        assert not await jobs.kill(JobId(1))


@on_all_loops
async def test_where_a_shim_has_them_nobody_looks() -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.delattr(ProcessScanner, "ask_for_marks")
        async with JobManager(containment="tree") as jobs:
            id = await jobs.start(["true"])
            await result_of(jobs, id)


@pytest.mark.parametrize("way", ["kill", "aclose"])
@on_all_loops
async def test_nobody_looks_where_a_shim_ends_just_before_the_first_step(way: str) -> None:
    async with JobManager(grace_period=1000, containment="tree") as jobs:
        id = await jobs.start(unruly("behave"))
        pid, _ = await jobs.get_process_info(id) or (0, 0)
        runner = runner_of(jobs, id)
        with watching(pid) as leader, pytest.MonkeyPatch.context() as patch:
            patch.delattr(ProcessScanner, "ask_for_marks")
            with pytest.MonkeyPatch.context() as held:
                held.setattr(steps, "STEPS_PER_TURN", 0)
                ending = asyncio.ensure_future(jobs.kill(id) if way == "kill" else jobs.aclose())
                await turns_until(lambda: runner.cascade is not None)
                leader.signal(signal.SIGKILL)
                await turns_until(lambda: not runner.has_remains)
            assert await ending is (True if way == "kill" else None)


@on_all_loops
async def test_where_nobody_can_look_the_manager_ends_all_the_same() -> None:
    with pytest.MonkeyPatch.context() as patch:
        jobs = JobManager(grace_period=0)
        await result_of(jobs, await jobs.start(["true"]))
        patch.setattr(escaped, "KILL_LIMIT", 0.01)
        patch.setattr(ProcessScanner, "ask_for_marks", lambda *_: None)
        assert not await jobs.kill(JobId(1))
        await jobs.aclose()


@on_all_loops
async def test_a_mark_that_somebody_has_made_up_is_no_jobs() -> None:
    async with JobManager(grace_period=1000) as jobs:
        shown = await jobs.run(["printenv", "AMPER_JOB"])
        prefix = shown.text_out().rpartition("-")[0]
        for number in ("", "0", "x", "-1", "9" * 5000):
            mark = {"AMPER_JOB": f"{prefix}-{number}"}
            await jobs.start(unruly("behave"), env=dict(os.environ) | mark)
        assert not await jobs.kill(JobId(1))
