"""A process that has run out of descriptors: what begins fails clearly, what runs is not harmed.

Each of these has a process of its own: without descriptors not even a failure could be shown.
"""

from __future__ import annotations

import asyncio
import errno
import os
import signal
import threading
from typing import Any

import pytest

from amper import PIPE, JobId, JobManager, output_files
from amper.manager import killing
from amper.process.group import GroupWatch, ProcessGroup
from tests.handshakes import (
    few_descriptors,
    in_a_process_of_its_own,
    is_zombie_or_gone,
    outcome,
    result_of,
    said,
    turns,
)
from tests.unruly import unruly
from tests.work import info_of


async def check_refused(jobs: JobManager) -> JobId:
    """What cannot begin for want of descriptors is a job that says so."""
    id = await jobs.start("echo never")
    assert await jobs.get_status_string(id) == "failed:126"
    result = await result_of(jobs, id)
    for word in (os.strerror(errno.EMFILE), "ulimit -n"):
        assert word in result.text_err()
    assert result.out == b""
    return id


@in_a_process_of_its_own
async def test_a_command_that_finds_none_is_a_failed_job_and_the_next_one_may_succeed() -> None:
    async with JobManager() as jobs:
        # Whoever writes files meanwhile would be counted, too.
        jobs.set_persist_output_files(False)
        assert (await outcome(jobs, ["true"])).code == 0
        before = len(os.listdir("/proc/self/fd"))
        for free in range(14):
            with few_descriptors(free):
                id = await jobs.start("echo out; echo err >&2", stdin=b"x" * 100_000)
                result = await result_of(jobs, id)
                assert result.code in (0, 126)
                assert (b"out\n" if result.code == 0 else b"") == result.out
            # Its reserve may have lost some, and makes up for them when it can.
            assert len(os.listdir("/proc/self/fd")) <= before
        assert result.code == 0, "enough for a whole command is enough"
        with few_descriptors(0):
            await check_refused(jobs)
        assert (await outcome(jobs, "echo out")).out == b"out\n"


@in_a_process_of_its_own
async def test_a_command_with_a_terminal_that_cannot_start_leaves_no_terminal_behind() -> None:
    async with JobManager() as jobs:
        jobs.set_persist_output_files(False)
        assert (await outcome(jobs, ["true"])).code == 0
        before = len(os.listdir("/proc/self/fd"))
        codes = []
        for free in range(14):
            # Others may have taken all of it.
            jobs._core.kernel.reserve.close()
            with few_descriptors(free):
                codes.append((await jobs.run("exit 3", pty=True)).code)
            assert len(os.listdir("/proc/self/fd")) <= before
        assert codes == sorted(codes, reverse=True)
        assert set(codes) == {126, 3}


@in_a_process_of_its_own
async def test_the_first_command_of_a_manager_is_refused_like_any_other() -> None:
    """It has nothing yet: no reserve, and nothing that watches."""
    for free in range(6):
        async with JobManager(max_running=1) as jobs:
            with few_descriptors(free):
                await check_refused(jobs)
                await check_refused(jobs)
                assert not await jobs.kill(JobId(1))
            assert (await outcome(jobs, "echo out")).out == b"out\n"


@in_a_process_of_its_own
async def test_what_runs_already_runs_on_as_if_nothing_were_missing() -> None:
    async with JobManager() as jobs:
        talking = await jobs.start(["cat"], stdin=PIPE)
        flooding = await jobs.start(unruly("print_then_flood_late", 1_000_000))
        timed = await jobs.start(unruly("behave"), timeout=0.05)
        await said(jobs, flooding)
        with few_descriptors(0):
            await check_refused(jobs)
            assert await jobs.write_stdin(talking, b"x" * 300_000)
            assert await jobs.close_stdin(talking)
            assert (await result_of(jobs, talking)).out == b"x" * 300_000
            assert await jobs.signal(flooding, signal.SIGUSR1)
            assert (await result_of(jobs, flooding)).out == b"ready\n" + b"x" * 1_000_000 + b"end"
            assert (await result_of(jobs, timed)).code == 124


@in_a_process_of_its_own
async def test_kill_still_works_whatever_is_free() -> None:
    """For a leader, for more members than the reserve has descriptors, for what was left behind."""
    async with JobManager(grace_period=0.02) as jobs:
        for free in (0, 1, 2, 3):
            ids = [
                await jobs.start(unruly("ignore_term")),
                await jobs.start(unruly("crowd", 20)),
                await jobs.start(unruly("crowd", 20, "stubborn_child")),
                await jobs.start(unruly("fork_stubborn_and_leave")),
            ]
            pids = [pid for id in ids for pid in await said(jobs, id)]
            await result_of(jobs, ids[-1])
            with few_descriptors(free):
                assert await asyncio.gather(*[jobs.kill(id) for id in ids]) == [True] * len(ids)
                assert all(is_zombie_or_gone(pid) for pid in pids)


@in_a_process_of_its_own
async def test_the_end_of_the_block_still_ends_everything() -> None:
    jobs = JobManager(grace_period=0.02)
    ids = [await jobs.start(unruly("crowd", 5, "stubborn_child")) for _ in range(10)]
    pids = [pid for id in ids for pid in await said(jobs, id)]
    with few_descriptors(0):
        await jobs.aclose()
        assert all(is_zombie_or_gone(pid) for pid in pids)
    assert await jobs.running_count() == 0


@in_a_process_of_its_own
async def test_a_job_that_waits_for_its_descendants_still_learns_of_their_end() -> None:
    async with JobManager() as jobs:
        id = await jobs.start(unruly("leave_when_told", 20), descendants="wait")
        pids = await said(jobs, id)
        leader, _ = await jobs.get_process_info(id) or (0, 0)
        with few_descriptors(0):
            os.kill(leader, signal.SIGUSR1)
            await turns(50)
            assert await jobs.get_status_string(id) == "running"
            for pid in pids:
                os.kill(pid, signal.SIGKILL)
            assert (await result_of(jobs, id)).code == 0


@in_a_process_of_its_own
async def test_what_cannot_be_killed_is_still_admitted() -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(killing, "KILL_LIMIT", 0.02)
        async with JobManager(grace_period=0) as jobs:
            id = await jobs.start(unruly("behave"))
            await said(jobs, id)
            with patch.context() as lost, few_descriptors(0):
                lost.setattr(ProcessGroup, "signal", lambda *_: True)
                lost.setattr(GroupWatch, "signal_members", lambda *_: None)
                assert not await jobs.kill(id)


@in_a_process_of_its_own
async def test_recording_somebodys_process_without_descriptors_is_no_error() -> None:
    """It cannot be held, so that it cannot be signalled; the record is there all the same."""
    async with JobManager() as jobs:
        with few_descriptors(0):
            id = await jobs.register_stopped("vim", os.getpid(), os.getpgrp())
            await jobs.add_pgid(id, os.getpgrp() + 1)
            assert (await info_of(jobs, id)).status == "stopped"
            assert len(await jobs.job_pgids(id)) == 2


@in_a_process_of_its_own
async def test_an_output_file_that_cannot_be_opened_is_no_failure() -> None:
    """The writer is held back until nothing is free and nothing will be."""
    go_on = threading.Event()
    describe = output_files._described

    def described(*arguments: Any) -> bytes:
        go_on.wait()
        return describe(*arguments)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(output_files, "_described", described)
        async with JobManager() as jobs:
            id = await jobs.start(["echo", "x"])
            assert (await result_of(jobs, id)).out == b"x\n"
            with few_descriptors(0):
                go_on.set()
                # What looks at processes meanwhile opens the reserve, and the writer might take from it.
                await jobs._core.files.drain(asyncio.get_running_loop())
        info = await info_of(jobs, id)
        assert (info.status_string, info.output_file) == ("done:0", None)
