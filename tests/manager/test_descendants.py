"""`descendants=`: what becomes of processes that outlive their leader."""

from __future__ import annotations

import asyncio
import contextlib
import signal

import pytest

from amper import EndedBy, ExecResult, JobManager
from amper.manager import killing
from amper.manager.options import Descendants
from amper.process.group import GroupWatch, ProcessGroup
from tests.handshakes import left_by, result_of, said, watching
from tests.places import everywhere
from tests.support import on_all_loops
from tests.unruly import unruly
from tests.work import info_of


@everywhere
async def test_they_are_left_running_unless_something_else_is_asked_for() -> None:
    async with JobManager() as jobs:
        leaving = unruly("fork_and_leave", 3)
        for start in (jobs.start(leaving), jobs.start(leaving, descendants="leave")):
            id = await start
            with watching(*await said(jobs, id)) as left:
                assert (await result_of(jobs, id)).code == 3
                assert await jobs.get_status_string(id) == "failed:3"
                assert not left.is_dead


@everywhere
async def test_a_job_may_last_as_long_as_they_do() -> None:
    async with JobManager() as jobs:
        id = await jobs.start(unruly("fork_talking_and_leave", 3), descendants="wait")
        with watching(*await left_by(jobs, id)) as left:
            left.signal(signal.SIGUSR1)
            await said(jobs, id, "late")
            info = await info_of(jobs, id)
            assert (info.status_string, info.output_late) == ("running", 0)
            assert await jobs.wait(id, timeout=0) is None
            left.signal(signal.SIGUSR2)
            # All that was printed while the job lasted is its output, and the code is its leader's.
            assert await result_of(jobs, id) == ExecResult(3, b"ready %d\nlate\n" % left.pid)
            assert left.is_dead
        info = await info_of(jobs, id)
        assert (info.status_string, info.output_open, info.ended_by) == ("failed:3", False, None)


@everywhere
async def test_a_job_waits_for_all_of_them_also_for_those_that_come_later() -> None:
    async with JobManager() as jobs:
        id = await jobs.start(unruly("leave_a_relay", 3), descendants="wait")
        result = await result_of(jobs, id)
        assert result.out.split() == [b"leader", b"3", b"2", b"1", b"0"]


@everywhere
async def test_they_may_be_killed_with_the_leaders_end() -> None:
    async with JobManager(grace_period=0.02) as jobs:
        for child, code in (("quiet_child", 0), ("quiet_child", 3), ("stubborn_child", 3)):
            id = await jobs.start(unruly("leave_when_told", 1, child, code), descendants="kill")
            pid, _ = await jobs.get_process_info(id) or (0, 0)
            with watching(*await said(jobs, id)) as left, watching(pid) as leader:
                leader.signal(signal.SIGUSR1)
                result = await result_of(jobs, id)
                # The leader ended by itself: nobody killed the job.
                assert (result.code, result.ended_by) == (code, None)
                assert await jobs.get_status_string(id) == (f"failed:{code}" if code else "done:0")
                assert left.is_dead
            assert not await jobs.kill(id)


@everywhere
async def test_a_leader_that_leaves_nobody_is_over_at_once_whatever_is_asked_for() -> None:
    async with JobManager(grace_period=1000) as jobs:
        for descendants in ("leave", "wait", "kill"):
            result = await jobs.run("echo out; exit 3", descendants=descendants)
            assert result == ExecResult(3, b"out\n")


@everywhere
async def test_a_job_that_waits_for_its_descendants_can_be_killed() -> None:
    async with JobManager() as jobs:
        id = await jobs.start(unruly("fork_and_leave", 3), descendants="wait")
        with watching(*await left_by(jobs, id)) as left:
            assert await jobs.kill(id, reason="enough")
            assert left.is_dead
        result = await result_of(jobs, id)
        assert (result.code, result.ended_by) == (3, EndedBy("kill", "enough"))
        assert await jobs.get_status_string(id) == "killed:3"


@on_all_loops
async def test_a_job_that_waits_for_its_descendants_ends_with_the_manager() -> None:
    async with JobManager(grace_period=0.02) as jobs:
        id = await jobs.start(unruly("fork_stubborn_and_leave"), descendants="wait")
        with watching(*await left_by(jobs, id)) as left:
            waiting = asyncio.ensure_future(jobs.wait(id))
            await jobs.aclose()
            assert left.is_dead
            result = await waiting
        assert result is not None
        # The truth: its leader was a success. Who ended the rest is on record.
        assert (result.code, result.ended_by) == (0, EndedBy("close"))


@on_all_loops
async def test_the_last_one_may_go_between_two_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is there when the leader's end is heard of, and gone when the wait for it begins."""
    answers = [False]
    is_gone = ProcessGroup.is_gone
    monkeypatch.setattr(
        ProcessGroup, "is_gone", lambda group: answers.pop() if answers else is_gone(group)
    )
    async with JobManager() as jobs:
        assert (await jobs.run("exit 3", descendants="wait")).code == 3
        assert not answers


@on_all_loops
async def test_a_removed_job_with_descendants_still_ends_with_the_manager() -> None:
    async with JobManager() as jobs:
        id = await jobs.start(unruly("fork_and_leave"), descendants="wait")
        with watching(*await said(jobs, id)) as left:
            assert await jobs.remove(id)
            await jobs.aclose()
            assert left.is_dead


@pytest.mark.parametrize("descendants", ["wait", "kill"])
@on_all_loops
async def test_descendants_that_cannot_be_killed_do_not_make_a_job_last_for_ever(
    descendants: Descendants, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process in the D state takes no signal; here the signals are lost on the way."""
    monkeypatch.setattr(killing, "KILL_LIMIT", 0.02)
    async with JobManager(grace_period=0) as jobs:
        with monkeypatch.context() as lost, contextlib.ExitStack() as stack:
            lost.setattr(ProcessGroup, "signal", lambda *_: True)
            lost.setattr(GroupWatch, "signal_members", lambda *_: None)
            id = await jobs.start(unruly("fork_and_leave"), descendants=descendants)
            left = stack.enter_context(watching(*await left_by(jobs, id)))
            if descendants == "wait":
                assert not await jobs.kill(id)
            assert (await result_of(jobs, id)).code == 0
            assert not left.is_dead
            left.signal(signal.SIGKILL)
            await left.death()
