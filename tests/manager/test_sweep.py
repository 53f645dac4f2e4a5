"""Whom a kill reaches beside the groups: by the session, by the mark, and nobody else."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys

import pytest

from amper import JobManager
from amper.process.procfs import read_stat, ticks_now
from tests.handshakes import (
    is_zombie_or_gone,
    leading,
    outcome,
    result_of,
    said,
    turns,
    turns_until,
    watching,
)
from tests.places import everywhere
from tests.support import on_all_loops
from tests.unruly import unruly
from tests.work import on_a_loop

BARE = {"PATH": os.environ["PATH"]}


@everywhere
async def test_daemons_are_killed_with_their_job_and_an_equal_group_beside_it_is_not() -> None:
    async with JobManager(grace_period=1000) as jobs:
        id = await jobs.start(unruly("daemons", 3))
        beside = await jobs.start(unruly("daemons", 3))
        with leading(unruly("daemons", 3)) as (_, strangers), contextlib.ExitStack() as stack:
            ours = [stack.enter_context(watching(pid)) for pid in await said(jobs, id)]
            others = [*await said(jobs, beside), *strangers]
            bystanders = [stack.enter_context(watching(pid)) for pid in others]
            assert await jobs.kill(id)
            assert all(process.is_dead for process in ours)
            assert not any(process.is_dead for process in bystanders)
            assert await jobs.kill(beside)
            assert [process.is_dead for process in bystanders] == [True] * 3 + [False] * 3


@everywhere
async def test_a_daemon_that_ignores_sigterm_gets_sigkill() -> None:
    async with JobManager(grace_period=0.02) as jobs:
        id = await jobs.start(unruly("daemons", 1, "stubborn_daemon_child"))
        with watching(*await said(jobs, id)) as daemon:
            assert await jobs.kill(id)
            assert daemon.is_dead
        result = await result_of(jobs, id)
        assert result.code == 143


@on_all_loops
async def test_one_that_is_found_in_two_ways_is_asked_once() -> None:
    """Many programs take a second SIGTERM for impatience, and leave their work undone."""
    async with JobManager(grace_period=1000) as jobs:
        id = await jobs.start(unruly("ignore_term_beside_a_group"))
        await said(jobs, id)
        killing = asyncio.ensure_future(jobs.kill(id))
        await said(jobs, id, "ignored")
        # When another kill is over, the look that both have asked for is over, too.
        assert await jobs.kill(await jobs.start(unruly("behave")))
        await turns(50)
        assert (await jobs.read_stdout(id) or b"").count(b"ignored") == 1
        assert await jobs.kill(id, grace_period=0)
        assert await killing


@everywhere
async def test_one_that_a_handler_of_sigterm_has_started_is_found_too() -> None:
    async with JobManager(grace_period=10) as jobs:
        id = await jobs.start(unruly("daemon_at_term"))
        await said(jobs, id)
        assert await jobs.kill(id)
        assert is_zombie_or_gone((await said(jobs, id, "left"))[0])


@everywhere
async def test_without_a_mark_the_session_tells() -> None:
    async with JobManager(grace_period=1000) as jobs:
        id = await jobs.start(unruly("orphan_in_own_group"), env=BARE)
        beside = await jobs.start(unruly("orphan_in_own_group"), env=BARE)
        (orphan,), (other,) = await said(jobs, id), await said(jobs, beside)
        with watching(orphan) as ours, watching(other) as bystander:
            stat = read_stat(orphan, None)
            assert stat is not None
            # One that is as young as a tick of the kernel's clock cannot be told from a stranger.
            await turns_until(lambda: ticks_now() > stat.started)
            assert await jobs.kill(id)
            assert ours.is_dead
            assert not bystander.is_dead


@on_a_loop
async def test_an_environment_that_is_given_is_left_as_it_is() -> None:
    async with JobManager() as jobs:
        shown = await outcome(jobs, ["env"], env=BARE | {"A": "ä"})
        assert shown.text_out() == f"PATH={BARE['PATH']}\nA=ä\n"


@on_a_loop
async def test_one_that_is_inherited_gets_a_mark_of_the_job_in_place_of_ours(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("AMPER_JOB", "the job that we are")
    async with JobManager(max_running=1) as jobs, JobManager() as others:
        ids = [await jobs.start(["env"]) for _ in range(2)]
        results = [await result_of(jobs, id) for id in ids]
        results.append(await outcome(others, ["env"]))
        lines = [result.text_out().splitlines() for result in results]
        marks = [[line for line in it if line.startswith("AMPER_JOB=")] for it in lines]
        assert [len(it) for it in marks] == [1, 1, 1]
        assert len({mark for it in marks for mark in it} | {"AMPER_JOB=the job that we are"}) == 4
        expected = {f"{name}={value}" for name, value in os.environ.items() if "\n" not in value}
        assert expected - set(lines[0]) == {"AMPER_JOB=the job that we are"}


@on_all_loops
async def test_the_end_of_the_block_reaches_them_all_at_once() -> None:
    with contextlib.ExitStack() as stack:
        async with JobManager(grace_period=1000) as jobs:
            ids = [await jobs.start(unruly("daemons", 2)) for _ in range(5)]
            pids = [pid for id in ids for pid in await said(jobs, id)]
            daemons = [stack.enter_context(watching(pid)) for pid in pids]
        assert all(daemon.is_dead for daemon in daemons)


@on_all_loops
async def test_a_normal_end_looks_for_nobody() -> None:
    async with JobManager() as jobs:
        id = await jobs.start(unruly("double_fork_setsid"))
        with watching(*await said(jobs, id)) as daemon:
            assert (await result_of(jobs, id)).code == 0
            assert not daemon.is_dead


@on_all_loops
async def test_one_that_cannot_be_ended_is_named() -> None:
    """Its signals are lost on the way, as for a process in the D state."""
    async with JobManager(grace_period=0) as jobs:
        id = await jobs.start(unruly("daemons", 1))
        with watching(*await said(jobs, id)) as daemon, pytest.MonkeyPatch.context() as lost:
            lost.setattr("amper.process.sweep._send", lambda *_: None)
            lost.setattr("amper.manager.killing.KILL_LIMIT", 0.02)
            assert not await jobs.kill(id)
            assert not daemon.is_dead


@on_a_loop
async def test_what_is_called_like_a_mark_inside_of_a_value_is_none() -> None:
    async with JobManager(grace_period=1000) as jobs:
        id = await jobs.start(unruly("behave"))
        await said(jobs, id)
        mark = (await outcome(jobs, ["env"])).text_out().split("AMPER_JOB=")[1].split("\n")[0]
        prefix = mark.rpartition("-")[0]
        forged = BARE | {"X": f"AMPER_JOB={prefix}-{id}", "XAMPER_JOB": f"{prefix}-{id}"}
        beside = await jobs.start(
            [sys.executable, "-c", "import time; time.sleep(1000)"], env=forged
        )
        pid, _ = await jobs.get_process_info(beside) or (0, 0)
        with watching(pid) as bystander:
            assert await jobs.kill(id)
            assert not bystander.is_dead
            bystander.signal(signal.SIGKILL)
            await asyncio.wait_for(jobs.wait(beside), None)
