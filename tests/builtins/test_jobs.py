"""`jobs`: what is listed, how, and how often; beside bash."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from amper import ExecResult, JobId, JobManager, builtins
from tests.builtins.words import Said, typed
from tests.handshakes import info_when, result_of
from tests.shells import shell_says
from tests.work import NO_PROCESS, endless, give, on_a_loop


@on_a_loop
async def test_each_job_is_a_line_with_number_mark_state_and_command() -> None:
    async with JobManager(max_running=2) as manager:
        await manager.register_stopped("vi", NO_PROCESS, NO_PROCESS)
        for command in ("make", "cat", "ls"):
            manager.spawn(command, endless())
        assert await typed(manager, "jobs") == Said(
            0,
            "[1]+  Stopped                 vi\n"
            "[2]   Running                 make &\n"
            "[3]-  Running                 cat &\n"
            "[4]   Queued                  ls\n",
        )
        assert await typed(manager, "jobs -r") == Said(
            0, "[2]   Running                 make &\n[3]-  Running                 cat &\n"
        )
        assert await typed(manager, "jobs -s") == Said(0, "[1]+  Stopped                 vi\n")
        assert await typed(manager, "jobs %cat 1 %3") == Said(
            0, "[3]-  Running                 cat &\n[1]+  Stopped                 vi\n"
        )
        assert await typed(manager, "jobs -p") == Said(0, f"{NO_PROCESS}\n")
        assert await typed(manager, "jobs -p %make") == Said(0)


@on_a_loop
async def test_with_no_jobs_nothing_is_printed() -> None:
    async with JobManager() as manager:
        assert await typed(manager, "jobs") == Said(0)
        assert await typed(manager, "jobs --json") == Said(0, "[]\n")


@on_a_loop
async def test_a_job_that_is_over_is_listed_once_unless_it_is_asked_for() -> None:
    async with JobManager() as manager:
        for code in (0, 3):
            manager.spawn(f"exit {code}", give(ExecResult(code)))
        manager.spawn("more", endless())
        for id in (1, 2):
            await info_when(manager, JobId(id), lambda info: info.status.is_final)
        assert await typed(manager, "jobs -p") == Said(0)
        first = await typed(manager, "jobs")
        assert first.out == (
            "[1]   Done                    exit 0\n"
            "[2]   Done(3)                 exit 3\n"
            "[3]+  Running                 more &\n"
        )
        assert (await typed(manager, "jobs")).out == "[3]+  Running                 more &\n"
        assert await typed(manager, "jobs -a") == first
        assert await typed(manager, "jobs --all") == first
        assert (await typed(manager, "jobs %2")).out == "[2]   Done(3)                 exit 3\n"
        # The result is not gone, as it would be in a shell.
        assert await typed(manager, "wait %2") == Said(3)


@on_a_loop
async def test_a_job_that_was_waited_for_is_not_listed() -> None:
    async with JobManager() as manager:
        await result_of(manager, manager.spawn("make", give()))
        assert await typed(manager, "jobs") == Said(0)


@on_a_loop
async def test_as_json_all_is_known_that_a_snapshot_has() -> None:
    async with JobManager() as manager:
        manager.spawn("make", endless(), name="build")
        manager.spawn("vi", endless())
        result = await builtins.jobs(manager, ["--json", "%build"])
        (shown,) = json.loads(result.text_out())
        assert (shown["id"], shown["name"], shown["mark"]) == (1, "build", "-")
        assert result.data == [shown]
        listed = await builtins.jobs(manager, [])
        assert [job["id"] for job in listed.data] == [1, 2]


@pytest.mark.parametrize("options", ["-l -p", "-p --json", "-r -s", "-l --json"])
@on_a_loop
async def test_options_that_exclude_each_other(options: str) -> None:
    async with JobManager() as manager:
        assert (await typed(manager, f"jobs {options}")).code == 2


@on_a_loop
async def test_the_lists_are_those_of_bash(tmp_path: Path) -> None:
    options = ["", "-r", "-s", "-l", "-l %2", "%1 %3", "%?1002", "-p", "-p %-"]
    script = "sleep 1001 & sleep 1002 & sleep 1003 &\n"
    script += "".join(f"jobs {words}; echo -----\n" for words in options)
    script += "kill -9 %1 %2 %3"
    theirs = shell_says("bash", script, tmp_path).split("-----\n")[:-1]
    async with JobManager() as manager:
        for number in (1, 2, 3):
            await manager.start(["sleep", f"100{number}"])
        ours = [(await typed(manager, f"jobs {words}".strip())).out for words in options]
    assert [without_pids(text) for text in ours] == [without_pids(text) for text in theirs]


def without_pids(text: str) -> str:
    return re.sub(r"(?m) {1,5}\d+(?= Running)|^\d+$", "PID", text)
