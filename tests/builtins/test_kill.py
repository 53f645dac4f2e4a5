"""`kill`: what its words mean, whom it reaches, and what it says of those it does not."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path

import pytest

from amper import PIPE, EndedBy, JobId, JobManager
from amper.builtins.kill import Order, read_order
from amper.builtins.manual import UsageError
from tests.builtins.words import Said, typed
from tests.handshakes import leading, result_of, said, state_of, turns_until, watching
from tests.shells import SHELLS, shell_says
from tests.unruly import unruly
from tests.work import NO_PROCESS, be_deaf, endless, give, info_of, on_a_loop, turn

# Words.


@pytest.mark.parametrize(
    "line, order",
    [
        ("%1 12", Order(targets=["%1", "12"])),
        ("-s TERM %1", Order(15, targets=["%1"])),
        ("-sTERM %1", Order(15, targets=["%1"])),
        ("-s 15 %1", Order(15, targets=["%1"])),
        ("-n 9 %1", Order(9, targets=["%1"])),
        ("-n9 %1", Order(9, targets=["%1"])),
        ("-9 %1", Order(9, targets=["%1"])),
        ("-TERM %1", Order(15, targets=["%1"])),
        ("-SIGTERM %1", Order(15, targets=["%1"])),
        ("-term %1", Order(15, targets=["%1"])),
        ("-stop %1", Order(signal.SIGSTOP, targets=["%1"])),
        ("-SYS %1", Order(signal.SIGSYS, targets=["%1"])),
        ("-0 %1", Order(0, targets=["%1"])),
        ("-- -12", Order(targets=["-12"])),
        ("-9 -12 -13", Order(9, targets=["-12", "-13"])),
        ("-s KILL -- -12", Order(9, targets=["-12"])),
        ("12 -9", Order(targets=["12", "-9"])),
        ("--wait %1", Order(waits=True, targets=["%1"])),
        ("--wait --grace 0.5 %1", Order(waits=True, grace=0.5, targets=["%1"])),
        ("--grace=1 --wait -- %1", Order(waits=True, grace=1.0, targets=["%1"])),
        ("-l", Order(lists=True)),
        ("-L 9 -x", Order(lists=True, targets=["9", "-x"])),
    ],
)
def test_words_are_read_as_shells_read_them(line: str, order: Order) -> None:
    assert read_order(line.split()) == order


@pytest.mark.parametrize(
    "line, message",
    [
        ("", "whom"),
        ("-9", "whom"),
        ("--", "whom"),
        ("-s", "-s needs a value"),
        ("-n", "-n needs a value"),
        ("--grace", "--grace needs a value"),
        ("- %1", "no such signal"),
        ("-s FOO %1", "FOO: no such signal"),
        ("-FOO %1", "FOO: no such signal"),
        ("-99 %1", "99: no such signal"),
        ("-n TERM %1", "TERM: no such signal"),
        ("--wait --grace soon %1", "--grace soon"),
        ("--wait --grace -1 %1", "--grace -1"),
        ("--wait --grace nan %1", "--grace nan"),
        ("--grace 1 %1", "--grace is for --wait"),
        ("--wait -9 %1", "name no signal"),
    ],
)
def test_words_that_make_no_sense(line: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        read_order(line.split())


@on_a_loop
async def test_signals_are_listed_and_translated() -> None:
    async with JobManager() as manager:
        listed = (await typed(manager, "kill -l")).out.split("\n")
        assert (listed[0], listed[8], listed[-2:]) == ("HUP", "KILL", ["RTMAX", ""])
        assert await typed(manager, "kill -l 9 137 TERM sigint 0") == Said(
            0, "KILL\nKILL\n15\n2\nEXIT\n"
        )
        code, out, err = await typed(manager, "kill -l 999 9 FOO")
        assert (code, out, len(err.splitlines())) == (1, "KILL\n", 2)


# Jobs.


@on_a_loop
async def test_a_plain_kill_sends_and_returns() -> None:
    async with JobManager() as manager:
        id = await manager.start(unruly("handle_term_and_exit", 3))
        await said(manager, id)
        assert await typed(manager, "kill %1") == Said(0)
        assert (await result_of(manager, id)).code == 3
        assert (await info_of(manager, id)).ended_by == EndedBy("signal", "SIGTERM")


@pytest.mark.parametrize("word", ["-9", "-KILL", "-s kill", "-n 9"])
@on_a_loop
async def test_the_signal_is_the_one_that_is_named(word: str) -> None:
    async with JobManager() as manager:
        id = await manager.start(unruly("ignore_term"))
        await said(manager, id)
        assert await typed(manager, f"kill {word} %+") == Said(0)
        assert (await result_of(manager, id)).code == 137


@on_a_loop
async def test_a_target_that_fails_does_not_stop_the_rest() -> None:
    async with JobManager() as manager:
        for _ in range(2):
            await manager.start(["cat"], stdin=PIPE)
        line = f"kill -9 %1 %9 {NO_PROCESS} -{NO_PROCESS} x %2"
        code, out, err = await typed(manager, line)
        assert (code, out) == (1, "")
        assert err.splitlines() == [
            "kill: %9: no such job: list the jobs to see which there are",
            f"kill: ({NO_PROCESS}) - No such process",
            f"kill: (-{NO_PROCESS}) - No such process",
            "kill: x: neither a pid nor a job (a job is %x)",
        ]
        assert [result.code for _, result in await manager.wait_all()] == [137, 137]


@on_a_loop
async def test_a_job_without_a_process_is_cancelled_by_what_would_end_one() -> None:
    async with JobManager(max_running=5) as manager:
        for name in ("HUP", "INT", "QUIT", "TERM", "KILL"):
            id = manager.spawn("work", endless())
            assert await typed(manager, f"kill -0 %{id}") == Said(0)
            code, _, err = await typed(manager, f"kill -USR1 %{id}")
            assert (code, "no process that USR1 could reach" in err) == (1, True)
            assert await typed(manager, f"kill -{name} %{id}") == Said(0)
            result = await result_of(manager, id)
            assert (result.code, result.ended_by) == (130, EndedBy("cancel", f"kill -{name}"))


@on_a_loop
async def test_a_job_in_the_queue_never_starts() -> None:
    async with JobManager(max_running=1) as manager:
        manager.spawn("first", endless())
        id = await manager.start("exit 0")
        assert await typed(manager, f"kill %{id}") == Said(0)
        assert await manager.get_status_string(id) == "killed:130"


@pytest.mark.parametrize("word", ["-0", "-9", "--wait"])
@on_a_loop
async def test_a_job_that_is_over_cannot_be_killed(word: str) -> None:
    async with JobManager() as manager:
        await manager.wait(manager.spawn("work", give()))
        code, out, err = await typed(manager, f"kill {word} %1")
        assert (code, out) == (1, "")
        assert err == "kill: %1: no such process: the job is over\n"


@on_a_loop
async def test_what_a_job_has_left_behind_is_reached_by_its_number() -> None:
    async with JobManager() as manager:
        id = await manager.start(unruly("fork_and_leave"))
        (child, *_) = await said(manager, id)
        with watching(child) as process:
            await manager.wait(id)
            assert await typed(manager, "kill -9 %1") == Said(0)
            await process.death()


@pytest.mark.parametrize("name", ["TERM", "HUP"])
@on_a_loop
async def test_a_stopped_job_runs_on_to_take_the_signal_that_ends_it(name: str) -> None:
    async with JobManager() as manager:
        handling = "trap 'exit 3' TERM HUP; echo ready; kill -STOP $$; read line"
        with leading(handling) as (pid, _), watching(pid) as process:
            await turns_until(lambda: state_of(pid) == "T")
            await manager.register_stopped("sh", pid, pid)
            assert await typed(manager, f"kill -{name} %1") == Said(0)
            await process.death()
        await manager.remove(JobId(1))


# Processes.


@on_a_loop
async def test_a_process_is_signalled_by_its_pid() -> None:
    async with JobManager() as manager:
        with leading(["sleep", "1000"], speaks=False) as (pid, _), watching(pid) as process:
            assert await typed(manager, f"kill -0 {pid}") == Said(0)
            assert await typed(manager, f"kill {pid}") == Said(0)
            await process.death()


@on_a_loop
async def test_the_pid_of_a_job_is_the_job() -> None:
    async with JobManager() as manager:
        for line in ("kill", "kill --wait"):
            id = await manager.start(["sleep", "1000"])
            pid = (await info_of(manager, id)).pid
            assert await typed(manager, f"{line} {pid}") == Said(0)
            assert (await result_of(manager, id)).code == 143
            assert await typed(manager, f"kill {pid}") == Said(
                1, "", f"kill: {pid}: no such process: the job is over\n"
            )


@on_a_loop
async def test_a_job_without_a_process_has_no_pid() -> None:
    async with JobManager() as manager:
        manager.spawn("work", endless())
        for line in ("kill None", "kill --wait None"):
            assert (await typed(manager, line)).code == 1
        assert await manager.get_status_string(JobId(1)) == "running"


@on_a_loop
async def test_a_negative_number_is_a_process_group() -> None:
    async with JobManager() as manager:
        with (
            leading("sleep 1000 & echo ready $!; wait") as (pid, (child,)),
            watching(pid) as leader,
            watching(child) as follower,
        ):
            assert await typed(manager, f"kill -TERM -{pid}") == Said(0)
            await leader.death()
            await follower.death()


@on_a_loop
async def test_every_process_there_is_cannot_be_meant() -> None:
    async with JobManager() as manager:
        code, _, err = await typed(manager, "kill -0 -- -1")
        assert (code, err) == (1, "kill: (-1) - that is every process there is: not from here\n")


@pytest.mark.parametrize("number", ["9" * 10, "9" * 5000])
@on_a_loop
async def test_a_number_too_large_for_a_pid_is_no_process(number: str) -> None:
    async with JobManager() as manager:
        assert await typed(manager, f"kill -0 {number}") == Said(
            1, "", f"kill: ({number}) - No such process\n"
        )


# Ending.


@on_a_loop
async def test_with_wait_jobs_are_dead_when_it_returns() -> None:
    async with JobManager() as manager:
        pids = []
        for _ in range(2):
            id = await manager.start(unruly("ignore_term"))
            await said(manager, id)
            pids.append((await info_of(manager, id)).pid or 0)
        vi = manager.spawn("vi", endless())
        line = "kill --wait --grace 0 %1 %2 %vi %1"
        assert await typed(manager, line) == Said(0)
        assert [state_of(pid) for pid in pids] == ["X", "X"]
        assert await manager.get_status_string(vi) == "killed:130"
        assert await manager.running_count() == 0


@on_a_loop
async def test_with_wait_a_target_that_fails_does_not_stop_the_rest() -> None:
    async with JobManager() as manager:
        until = asyncio.get_running_loop().create_future()
        manager.spawn("deaf", be_deaf(until))
        manager.spawn("work", endless())
        await turn()
        code, _, err = await typed(manager, f"kill --wait --grace 0 %9 {os.getpid()} %1 %2")
        assert code == 1
        assert [line.split(":")[1] for line in err.splitlines()] == [
            " %9",
            f" {os.getpid()}",
            " %1",
        ]
        assert await manager.get_status_string(JobId(2)) == "killed:130"
        until.set_result(None)
        await turn()


@on_a_loop
async def test_a_kill_that_is_cancelled_ends_the_jobs_all_the_same() -> None:
    async with JobManager() as manager:
        id = manager.spawn("work", endless())
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0):
                await typed(manager, "kill --wait %1")
        assert (await result_of(manager, id)).code == 130


# Beside the shells.


@pytest.mark.parametrize("shell", SHELLS)
@on_a_loop
async def test_the_codes_are_those_of_the_shells(shell: str, tmp_path: Path) -> None:
    lines = ["kill -0 $$", f"kill -0 {NO_PROCESS}", "kill", "kill -9", "kill -l 9", "kill -s 0 $$"]
    script = "".join(f"({line}) >/dev/null 2>&1; echo $?\n" for line in lines)
    theirs = [int(code) for code in shell_says(shell, script, tmp_path).split()]
    async with JobManager() as manager:
        pid = str(os.getpid())
        ours = [(await typed(manager, line.replace("$$", pid))).code for line in lines]
    assert ours == theirs == [0, 1, 2, 2, 0, 0]
