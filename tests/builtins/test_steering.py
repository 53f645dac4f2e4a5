"""`fg`, `bg`, `stop` and `disown`: letting jobs run on, holding them, forgetting them."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from amper import PIPE, ExecResult, JobId, JobManager
from tests.builtins.words import Said, typed
from tests.handshakes import leading, result_of, said, state_of, turns_until
from tests.shells import SHELLS, shell_says
from tests.unruly import unruly
from tests.work import NO_PROCESS, endless, give, on_a_loop, turn


@contextlib.asynccontextmanager
async def stopped(manager: JobManager) -> AsyncIterator[tuple[JobId, int]]:
    """Give a process of ours that is stopped, as a job, with its pid."""
    with leading("echo ready; exec sleep 1000") as (pid, _):
        os.kill(pid, signal.SIGSTOP)
        await state(pid, "T")
        id = await manager.register_stopped("cat", pid, pid)
        yield id, pid
    await manager.finish(id, ExecResult(137))


async def state(pid: int, *letters: str) -> None:
    """Let the loop turn until the kernel shows one of these states."""
    await turns_until(lambda: state_of(pid) in letters)


@on_a_loop
async def test_bg_lets_a_stopped_job_run_on_and_says_which() -> None:
    async with JobManager() as manager, stopped(manager) as (id, pid):
        assert await typed(manager, "bg") == Said(0, "[1]+ cat &\n")
        await state(pid, "S", "R")
        assert await manager.get_status_string(id) == "running"
        assert await typed(manager, "bg %1") == Said(0, "", "bg: job 1 already in background\n")


@on_a_loop
async def test_bg_takes_several_jobs_and_tells_of_those_that_cannot() -> None:
    async with JobManager() as manager:
        manager.spawn("over", give())
        manager.spawn("vi", endless())
        await typed(manager, "wait %over")
        await manager.stop_job(JobId(2), os.getpid(), NO_PROCESS)
        await manager.resume_job(JobId(2))
        async with stopped(manager) as (_, pid):
            code, out, err = await typed(manager, "bg %over %cat %9 %vi")
            await state(pid, "S", "R")
        assert (code, out) == (1, "[3]+ cat &\n")
        assert [line.split(": ")[1] for line in err.splitlines()] == [
            "%9",
            "job 1 has terminated",
            "job 2 already in background",
        ]


@on_a_loop
async def test_fg_lets_a_stopped_job_run_on_and_returns_its_code() -> None:
    async with JobManager() as manager:
        async with stopped(manager) as (id, pid), asyncio.TaskGroup() as group:
            fg = group.create_task(typed(manager, "fg"))
            await state(pid, "S", "R")
            await turn()
            await manager.finish(id, ExecResult(3))
        assert fg.result() == Said(3, "cat\n")


@on_a_loop
async def test_fg_returns_when_the_job_stops() -> None:
    async with JobManager() as manager:
        async with stopped(manager) as (id, pid), asyncio.TaskGroup() as group:
            fg = group.create_task(typed(manager, "fg %cat"))
            await state(pid, "S", "R")
            await turn()
            await manager.stop_job(id, pid, pid)
        assert fg.result() == Said(148, "cat\n")


@on_a_loop
async def test_fg_waits_for_a_job_that_runs() -> None:
    async with JobManager() as manager:
        await manager.start("exit 5")
        assert await typed(manager, "fg") == Said(5, "exit 5\n")


@on_a_loop
async def test_fg_lets_a_job_run_on_that_nobody_knows_yet_to_be_stopped() -> None:
    async with JobManager() as manager:
        id = await manager.start("echo ready; read line", stdin=PIPE)
        await said(manager, id)
        assert await typed(manager, "kill -STOP %1") == Said(0)
        async with asyncio.TaskGroup() as group:
            fg = group.create_task(typed(manager, "fg"))
            await turn()
            await manager.write_stdin(id, b"x\n")
        assert fg.result() == Said(0, "echo ready; read line\n")


@on_a_loop
async def test_fg_of_a_job_that_is_over_or_not_there_fails() -> None:
    async with JobManager() as manager:
        assert (await typed(manager, "fg")).code == 1
        await result_of(manager, manager.spawn("over", give()))
        code, out, err = await typed(manager, "fg %1")
        assert (code, out) == (1, "")
        assert err == "fg: job 1 has terminated: wait %1 returns its code\n"
        assert (await typed(manager, "fg %1 %2")).code == 2


@on_a_loop
async def test_fg_that_is_cancelled_leaves_the_job_running() -> None:
    async with JobManager() as manager:
        id = manager.spawn("work", endless())
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0):
                await typed(manager, "fg")
        assert await manager.get_status_string(id) == "running"


@pytest.mark.parametrize(
    "line, what",
    [
        ("fg", "cannot be resumed"),
        ("bg", "cannot be resumed: it is stopped"),
        ("stop %1", "cannot be stopped"),
    ],
)
@on_a_loop
async def test_a_job_of_which_there_is_nothing_to_signal(line: str, what: str) -> None:
    async with JobManager() as manager:
        id = await manager.register_stopped("vi", NO_PROCESS, NO_PROCESS)
        verb = line.partition(" ")[0]
        assert await typed(manager, line) == Said(1, "", f"{verb}: job 1 {what}\n")
        assert await manager.get_status_string(id) == "stopped"


@on_a_loop
async def test_stop_holds_jobs_where_they_are() -> None:
    async with JobManager() as manager:
        pids = []
        for _ in range(2):
            id = await manager.start(unruly("behave"))
            pids += (await said(manager, id))[:1]
        assert await typed(manager, "stop %1 %2") == Said(0)
        for pid in pids:
            await state(pid, "T")


@on_a_loop
async def test_stop_tells_of_those_that_it_cannot_hold() -> None:
    async with JobManager() as manager:
        await result_of(manager, manager.spawn("over", give()))
        code, out, err = await typed(manager, "stop %1 %9")
        assert (code, out) == (1, "")
        assert [line.split(": ")[1] for line in err.splitlines()] == ["%9", "job 1 has terminated"]
        code, _, err = await typed(manager, "stop")
        assert (code, err.splitlines()[0]) == (2, "stop: which job? %+ is the current one")


@pytest.mark.parametrize(
    "line, left",
    [
        ("disown", ["over", "make", "vi"]),
        ("disown %make", ["over", "vi", "cat"]),
        ("disown %1 %cat", ["make", "vi"]),
        ("disown -r", ["over", "vi"]),
        ("disown -r %vi %make", ["over", "vi", "cat"]),
        ("disown -a", []),
        ("disown -ar", ["over", "vi"]),
        ("disown -a %1", ["over", "make", "vi", "cat"]),
    ],
)
@on_a_loop
async def test_disown_takes_jobs_out_of_the_table(line: str, left: list[str]) -> None:
    async with JobManager() as manager:
        await result_of(manager, manager.spawn("over", give()))
        for command in ("make", "vi", "cat"):
            manager.spawn(command, endless())
        await manager.stop_job(JobId(3), os.getpid(), NO_PROCESS)
        if line == "disown":
            await manager.resume_job(JobId(3))
            await manager.stop_job(JobId(4), os.getpid(), NO_PROCESS)
        code, out, err = await typed(manager, line)
        assert (code, out, bool(err)) == (
            (2, "", True) if line == "disown -a %1" else (0, "", False)
        )
        assert [info.command for info in await manager.list()] == left


@on_a_loop
async def test_what_is_disowned_goes_on() -> None:
    async with JobManager() as manager:
        ended = asyncio.get_running_loop().create_future()
        gate: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        async def work() -> None:
            await gate
            ended.set_result(True)

        manager.spawn("work", work())
        assert await typed(manager, "disown") == Said(0)
        gate.set_result(None)
        assert await ended


@on_a_loop
async def test_a_line_of_bg_is_that_of_bash(tmp_path: Path) -> None:
    script = """
    sleep 1000 & pid=$!
    kill -STOP $pid; until_state $pid T; jobs
    bg; jobs; bg %1 2>&1; kill -9 $pid; until_state $pid Z
    """
    theirs = shell_says("bash", script, tmp_path).replace("sleep 1000", "cat").splitlines()
    async with JobManager() as manager:
        ours = []
        async with stopped(manager):
            for line in ("jobs", "bg", "jobs", "bg %1"):
                _, out, err = await typed(manager, line)
                ours.append((out + err).rstrip("\n"))
    assert ours[:3] == theirs[:3]
    assert theirs[3].endswith(ours[3])


@pytest.mark.parametrize("shell", SHELLS)
@on_a_loop
async def test_the_code_of_fg_is_that_of_the_shells(shell: str, tmp_path: Path) -> None:
    commands = ["exit 0", "exit 3", "kill -TERM $$"]
    # It must not be over before `fg` comes.
    script = "".join(
        f"sh -c 'kill -STOP $$; {command}' & until_state $! T; fg >/dev/null; echo code $?\n"
        for command in commands
    )
    theirs = [
        int(line.split()[1])
        for line in shell_says(shell, script, tmp_path).splitlines()
        if line.startswith("code ")
    ]
    async with JobManager() as manager:
        ours = []
        for command in commands:
            await manager.start(f"read line; {command}", stdin=PIPE)
            async with asyncio.TaskGroup() as group:
                fg = group.create_task(typed(manager, "fg"))
                await turn()
                await manager.close_stdin(await manager.resolve("%+"))
            ours.append(fg.result().code)
    assert ours == theirs == [0, 3, 143]
