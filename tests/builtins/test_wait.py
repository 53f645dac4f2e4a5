"""`wait`: the codes of jobs, of those that are not there, and of those that stop; beside the shells."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path

import pytest

from amper import ExecResult, JobId, JobManager, builtins
from tests.builtins.words import Said, typed
from tests.shells import SHELLS, shell_says
from tests.work import NO_PROCESS, endless, give, on_a_loop, turn


@on_a_loop
async def test_the_code_is_that_of_the_last_one_named() -> None:
    async with JobManager() as manager:
        for code in (3, 0, 5):
            manager.spawn(f"exit {code}", give(ExecResult(code)))
        assert await typed(manager, "wait %1 %3") == Said(5)
        assert await typed(manager, "wait %3 %2") == Said(0)
        assert await typed(manager, "wait %3") == Said(5)


@on_a_loop
async def test_without_names_it_waits_for_all_and_succeeds() -> None:
    async with JobManager() as manager:
        assert await typed(manager, "wait") == Said(0)
        for code in (3, 5):
            manager.spawn("exit", give(ExecResult(code)))
        assert await typed(manager, "wait") == Said(0)
        assert [info.status_string for info in await manager.list()] == ["failed:3", "failed:5"]


@on_a_loop
async def test_what_is_not_there_has_code_127_and_the_others_are_waited_for() -> None:
    async with JobManager() as manager:
        manager.spawn("exit 3", give(ExecResult(3)))
        code, out, err = await typed(manager, "wait %9 %1")
        assert (code, out) == (3, "")
        assert err.startswith("wait: %9: no such job")
        assert (await typed(manager, "wait %1 %9")).code == 127
        code, _, err = await typed(manager, "wait 1")
        assert (code, err) == (127, "wait: pid 1 is no job of this shell (a job is %1)\n")


@on_a_loop
async def test_a_bare_number_is_a_pid_and_the_youngest_job_with_it() -> None:
    async with JobManager() as manager:
        for code in (3, 5):
            id = await manager.register_stopped("vi", NO_PROCESS, NO_PROCESS)
            await manager.finish(id, ExecResult(code))
        assert await typed(manager, f"wait {NO_PROCESS}") == Said(5)
        id = await manager.start("exit 7")
        pid, _ = await manager.get_process_info(id) or (0, 0)
        assert await typed(manager, f"wait {pid}") == Said(7)


@on_a_loop
async def test_a_job_that_is_stopped_or_stops_has_code_148() -> None:
    async with JobManager() as manager:
        id = manager.spawn("vi", endless())
        told = Said(148, "", "wait: job 1 is stopped: bg %1 lets it run on\n")
        async with asyncio.TaskGroup() as group:
            waiting = group.create_task(typed(manager, "wait %vi"))
            await turn()
            await manager.stop_job(id, NO_PROCESS, NO_PROCESS)
        assert waiting.result() == told
        assert await typed(manager, "wait %vi") == told
        assert await typed(manager, "wait -n %vi") == told
        assert await typed(manager, "wait -n") == told
        assert await typed(manager, "wait") == Said(0)


@on_a_loop
async def test_a_job_that_leaves_the_table_meanwhile_is_not_there() -> None:
    async with JobManager() as manager:
        id = manager.spawn("vi", endless())
        async with asyncio.TaskGroup() as group:
            waiting = group.create_task(typed(manager, "wait %vi"))
            await turn()
            await manager.remove(id)
        assert waiting.result() == Said(127)


@on_a_loop
async def test_a_job_that_ends_with_code_148_is_not_called_stopped() -> None:
    async with JobManager() as manager:
        manager.spawn("exit 148", give(ExecResult(148)))
        assert await typed(manager, "wait %1") == Said(148)


@on_a_loop
async def test_the_next_is_the_first_to_end_and_each_is_the_next_once() -> None:
    async with JobManager() as manager:
        gates: list[asyncio.Future[ExecResult]] = [
            asyncio.get_running_loop().create_future() for _ in range(3)
        ]
        for gate in gates:
            manager.spawn("work", gate)
        gates[1].set_result(ExecResult(3))
        result = await builtins.wait(manager, ["-n"])
        assert (result.code, result.data) == (3, JobId(2))
        gates[0].set_result(ExecResult(4))
        gates[2].set_result(ExecResult(5))
        assert await typed(manager, "wait -n %3 %9") == Said(
            5, "", "wait: %9: no such job: list the jobs to see which there are\n"
        )
        assert await typed(manager, "wait -n") == Said(4)
        assert await typed(manager, "wait -n") == Said(127)
        # Asked for by name it is there still.
        assert await typed(manager, "wait -n %2") == Said(3)


@on_a_loop
async def test_a_wait_that_is_cancelled_leaves_the_jobs_running() -> None:
    async with JobManager() as manager:
        manager.spawn("work", endless())
        for line in ("wait", "wait %1", "wait -n"):
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0):
                    await typed(manager, line)
        assert await manager.get_status_string(JobId(1)) == "running"


ENDINGS = [
    "exit 0",
    "exit 3",
    "exit 255",
    "kill -TERM $$",
    "kill -KILL $$",
    "kill -HUP $$",
    "kill -USR1 $$",
    "/nowhere/to/be/found",
    "exec /",
]


@pytest.mark.parametrize("shell", SHELLS)
@on_a_loop
async def test_the_codes_are_those_of_the_shells(shell: str, tmp_path: Path) -> None:
    script = "".join(f"sh -c '{ending}' & wait $!; echo code $?\n" for ending in ENDINGS)
    script += "wait 4194305; echo code $?; wait; echo code $?\n"
    theirs = re.findall(r"^code (\d+)$", shell_says(shell, script, tmp_path), re.MULTILINE)
    async with JobManager() as manager:
        ours = []
        for number, ending in enumerate(ENDINGS, 1):
            await manager.start(ending)
            ours.append((await typed(manager, f"wait %{number}")).code)
        ours.append((await typed(manager, f"wait {NO_PROCESS}")).code)
        ours.append((await typed(manager, "wait")).code)
    assert ours == [int(code) for code in theirs]
