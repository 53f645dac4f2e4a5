"""A command of ours, stopped and resumed by what one types; beside the shells."""

from __future__ import annotations

import asyncio
import re
import signal
from pathlib import Path

import pytest

from amper import PIPE, JobId, JobManager
from tests.builtins.words import Said, typed
from tests.handshakes import said, state_of, turns_until, watching
from tests.shells import SHELLS, shell_says
from tests.unruly import unruly
from tests.work import info_of, on_a_loop, turn


@on_a_loop
async def test_what_is_stopped_is_listed_so_and_runs_on_with_bg() -> None:
    async with JobManager() as manager:
        id = await manager.start("echo ready; read line", stdin=PIPE)
        await said(manager, id)
        assert await typed(manager, "stop %1") == Said(0)
        line = "echo ready; read line"
        assert (await typed(manager, "jobs")).out == f"[1]+  Stopped                 {line}\n"
        assert (await typed(manager, "wait %1")).code == 148
        assert (await typed(manager, "bg")).out == f"[1]+ {line} &\n"
        assert (await typed(manager, "jobs")).out == f"[1]+  Running                 {line} &\n"
        assert await typed(manager, "kill -STOP %1") == Said(0)
        async with asyncio.TaskGroup() as group:
            fg = group.create_task(typed(manager, "fg"))
            await turn()
            await manager.write_stdin(id, b"x\n")
        assert fg.result() == Said(0, f"{line}\n")


@on_a_loop
async def test_a_stop_from_outside_makes_a_job_current_before_its_spec_is_read() -> None:
    async with JobManager() as manager:
        first = await manager.start(unruly("behave"))
        await said(manager, first)
        await manager.start(unruly("behave"))
        with watching((await info_of(manager, first)).pid or 0) as process:
            process.signal(signal.SIGSTOP)
            await turns_until(lambda: state_of(process.pid) == "T")
            assert await manager.resolve("%+") == first
            assert (await typed(manager, "bg")).out.startswith("[1]+ ")
            assert await manager.resolve("%+") == first


@on_a_loop
async def test_fg_returns_when_somebody_stops_the_job() -> None:
    async with JobManager() as manager:
        id = await manager.start(unruly("behave"))
        await said(manager, id)
        async with asyncio.TaskGroup() as group:
            fg = group.create_task(typed(manager, "fg"))
            await turn()
            assert await manager.stop(id)
        assert fg.result().code == 148


@on_a_loop
async def test_a_stopped_job_that_is_killed_is_dead() -> None:
    async with JobManager() as manager:
        for line in ("kill %+", "kill -9 %+", "kill --wait %+"):
            id = await manager.start(unruly("behave"))
            await said(manager, id)
            await manager.stop(id)
            assert await typed(manager, line) == Said(0)
            assert await typed(manager, f"wait %{id}") == Said(137 if "9" in line else 143)


STORY = "stop %1, jobs, bg, jobs, kill %1, wait %1"


@pytest.mark.parametrize("shell", SHELLS)
@on_a_loop
async def test_a_pipeline_goes_the_way_that_it_goes_in_the_shells(
    shell: str, tmp_path: Path
) -> None:
    script = """
    sleep 1000 | cat &
    jobs -p %1 >"$0.pid"; read pid <"$0.pid"
    kill -STOP %1; until_state $pid T; until_state $! T; jobs
    bg >/dev/null; jobs
    kill %1; wait %1 2>/dev/null; echo code $?
    """
    theirs = shell_says(shell, script, tmp_path)
    states = re.findall(r"Stopped|Running|code \d+", theirs)
    async with JobManager() as manager:
        await manager.start("sleep 1000 | cat")
        ours = []
        for line in STORY.split(", "):
            code, out, _ = await typed(manager, line)
            ours += re.findall(r"Stopped|Running", out)
        ours.append(f"code {code}")
        assert await manager.get_status_string(JobId(1)) == "killed:143"
    assert ours == states == ["Stopped", "Running", "code 143"]
