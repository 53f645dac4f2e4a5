"""`start`: an OS command becomes a job. How it begins; its output and its end have their own files."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from amper import DEVNULL, PIPE, STDOUT, JobManager, ManagerClosed
from tests.handshakes import opened, outcome, result_of, said, watching
from tests.places import everywhere
from tests.support import on_all_loops, run
from tests.unruly import unruly
from tests.work import info_of


@everywhere
async def test_a_str_is_the_shells_and_a_sequence_is_executed_as_it_is() -> None:
    async with JobManager() as jobs:
        assert (await outcome(jobs, "echo $((1 + 1)); echo no >&2; exit 3")).code == 3
        assert (await outcome(jobs, "echo a  b | tr a c")).out == b"c b\n"
        assert (await outcome(jobs, "")).code == 0
        assert (await outcome(jobs, ["echo", "a  b", "$HOME", "*"])).out == b"a  b $HOME *\n"
        assert (await outcome(jobs, ("echo", b"\xff", Path("/tmp")))).out == b"\xff /tmp\n"


@on_all_loops
async def test_a_job_shows_its_command_as_people_would_type_it() -> None:
    async with JobManager() as jobs:
        id = await jobs.start(["echo", "a b", Path("c")], name="hello", tags=("x", "y"))
        assert await jobs.get_command(id) == "echo 'a b' c"
        info = await info_of(jobs, id)
        assert (info.name, info.tags, info.containment) == ("hello", ("x", "y"), "group")
        assert info.cwd == os.getcwd()
        assert info.pgids == (info.pid,)
        assert await jobs.get_process_info(id) == (info.pid, info.pid)
        assert await jobs.job_pgids(id) == [info.pid]


@on_all_loops
async def test_a_job_shows_its_title_if_it_has_one() -> None:
    async with JobManager() as jobs:
        id = await jobs.start(["/bin/sh", "-c", "X=1\necho $X"], title="echo $X")
        assert await jobs.get_command(id) == "echo $X"
        assert await jobs.resolve("%echo") == id
        assert (await result_of(jobs, id)).out == b"1\n"
        with pytest.raises(TypeError):
            await jobs.start("true", title=1)  # type: ignore[arg-type]


@on_all_loops
async def test_commands_and_coroutines_have_ids_of_one_series() -> None:
    async with JobManager() as jobs:
        ids = [
            await jobs.start(["true"]),
            jobs.spawn("nothing", asyncio.sleep(0)),
            await jobs.start(["no-such-program"]),
            await jobs.start("true"),
        ]
        assert ids == [1, 2, 3, 4]
        await jobs.wait_all()
        page = await jobs.read_events()
        assert [event.job_id for event in page.events if event.kind == "started"] == ids
        assert len({event.seq for event in page.events}) == len(page.events) == 8


@everywhere
async def test_a_command_leads_a_session_and_a_group_of_its_own() -> None:
    async with JobManager() as jobs:
        id = await jobs.start(unruly("tell_session"))
        result = await result_of(jobs, id)
        info = await info_of(jobs, id)
        assert result.out.split() == [b"%d" % (info.pid or 0)] * 3


@everywhere
async def test_env_replaces_the_environment() -> None:
    async with JobManager() as jobs:
        assert (await outcome(jobs, ["/usr/bin/env"], env={"A": "ä=b"})).text_out() == "A=ä=b\n"
        assert (await outcome(jobs, ["/usr/bin/env"], env={})).out == b""
        inherited = (await outcome(jobs, ["/usr/bin/env"])).text_out()
        assert f"PATH={os.environ['PATH']}" in inherited.split("\n")


@everywhere
async def test_what_changes_in_our_environment_is_in_the_next_command(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with JobManager() as jobs:
        for value in ("one", "two"):
            monkeypatch.setenv("AMPER_TEST", value)
            assert (await outcome(jobs, "echo $AMPER_TEST")).text_out() == f"{value}\n"
        monkeypatch.delenv("AMPER_TEST")
        assert (await outcome(jobs, "echo ${AMPER_TEST-none}")).out == b"none\n"


@everywhere
async def test_a_program_is_looked_for_on_the_path_that_it_is_given(tmp_path: Path) -> None:
    tool = tmp_path / "tool"
    tool.write_text("#!/bin/sh\necho found\n")
    tool.chmod(0o755)
    async with JobManager() as jobs:
        assert (await outcome(jobs, ["tool"], env={"PATH": str(tmp_path)})).out == b"found\n"
        assert (await outcome(jobs, ["tool"])).code == 127
        # An empty entry is the working directory, that of the command.
        here = await outcome(jobs, ["tool"], env={"PATH": "/nowhere:"}, cwd=tmp_path)
        assert here.out == b"found\n"


@everywhere
async def test_cwd_is_where_the_command_runs(tmp_path: Path) -> None:
    async with JobManager() as jobs:
        id = await jobs.start(["pwd", "-P"], cwd=tmp_path)
        assert (await result_of(jobs, id)).out == os.fsencode(tmp_path) + b"\n"
        assert (await info_of(jobs, id)).cwd == str(tmp_path)


@on_all_loops
async def test_a_command_may_be_started_while_the_directory_we_are_in_is_gone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    async with JobManager() as jobs:
        id = await jobs.start([sys.executable, "-I", "-S", "-c", "print(5)"])
        assert (await result_of(jobs, id)).out == b"5\n"
        assert (await info_of(jobs, id)).cwd is None


@everywhere
async def test_an_exit_code_is_told_as_it_is() -> None:
    async with JobManager() as jobs:
        for code in (0, 1, 2, 124, 126, 127, 128, 130, 143, 255):
            id = await jobs.start(f"exit {code}")
            assert (await result_of(jobs, id)).code == code
            info = await info_of(jobs, id)
            assert info.status_string == (f"failed:{code}" if code else "done:0")
            assert (info.exit_code, info.signal, info.ended_by) == (code, None, None)


def test_the_constants_are_those_of_subprocess() -> None:
    assert (DEVNULL, PIPE, STDOUT) == (subprocess.DEVNULL, subprocess.PIPE, subprocess.STDOUT)


def test_start_without_an_event_loop_starts_nothing() -> None:
    coroutine = JobManager().start(["true"])
    with pytest.raises(RuntimeError):
        coroutine.send(None)


@on_all_loops
async def test_a_closed_manager_takes_no_commands() -> None:
    jobs = JobManager()
    await jobs.aclose()
    with pytest.raises(ManagerClosed):
        await jobs.start("true")


def test_a_loop_in_another_thread_can_have_commands() -> None:
    """Nothing depends on signals, which only the main thread could handle."""
    results: list[Any] = []

    async def work() -> None:
        async with JobManager() as jobs:
            results.append(await jobs.run("cat; exit 3", stdin=b"x"))
            id = await jobs.start(unruly("ignore_term"))
            await said(jobs, id)
            results.append(await jobs.kill(id, grace_period=0))

    thread = threading.Thread(target=run, args=(work(),))
    thread.start()
    thread.join()
    assert [results[0].code, results[0].out, results[1]] == [3, b"x", True]


@everywhere
async def test_a_command_gets_the_descriptors_that_are_passed_and_no_others(
    tmp_path: Path,
) -> None:
    (tmp_path / "in").write_bytes(b"passed")
    async with JobManager() as jobs:
        with opened(tmp_path / "in") as file, opened(tmp_path / "in") as other:
            command = f"cat /dev/fd/{file.fileno()}; cat /dev/fd/{other.fileno()} 2>&1"
            result = await outcome(jobs, command, pass_fds=[file.fileno()])
        assert result.out.startswith(b"passed")
        assert result.code != 0


@everywhere
async def test_a_job_tells_what_its_command_used() -> None:
    async with JobManager() as jobs:
        idle, busy = await jobs.start(["true"]), await jobs.start(unruly("be_busy"))
        await jobs.wait_all()
        usages = [(await info_of(jobs, id)).usage for id in (idle, busy)]
        assert usages[0] is not None
        assert usages[1] is not None
        assert usages[1].user > usages[0].user
        assert usages[1].max_rss >= usages[0].max_rss > 0
        never = await jobs.start(["no-such-program"])
        assert (await info_of(jobs, never)).usage is None


def test_several_threads_may_each_have_a_manager() -> None:
    """A fork in one of them comes between any two steps of another's."""

    async def work(name: str) -> None:
        async with JobManager() as jobs:
            for number in range(25):
                results = await asyncio.gather(
                    *[
                        jobs.run("cat; echo err >&2", stdin=f"{name}{number}{n}".encode())
                        for n in "ab"
                    ]
                )
                for n, result in zip("ab", results, strict=True):
                    assert (result.text_out(), result.err) == (f"{name}{number}{n}", b"err\n")
        ended.append(name)

    ended: list[str] = []
    threads = [threading.Thread(target=run, args=(work(name),)) for name in "xyz"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(ended) == ["x", "y", "z"]


# How much may begin at once.


@on_all_loops
async def test_cancelling_start_loses_no_id() -> None:
    """Whoever was cancelled has started nothing; every job in the table was returned to somebody."""
    async with JobManager() as jobs:
        tasks = [asyncio.ensure_future(jobs.start(["true"])) for _ in range(40)]
        for turn in range(4):
            await asyncio.sleep(0)
            for task in tasks[turn::5]:
                task.cancel()
        answers = await asyncio.gather(*tasks, return_exceptions=True)
        ids = [answer for answer in answers if isinstance(answer, int)]
        others = [answer for answer in answers if not isinstance(answer, int)]
        assert others
        assert all(isinstance(answer, asyncio.CancelledError) for answer in others)
        assert sorted(ids) == await jobs.list_ids()
        await jobs.wait_all()


@on_all_loops
async def test_many_starts_at_once_let_others_have_a_turn() -> None:
    order: list[str] = []

    async def starter(jobs: JobManager) -> None:
        await jobs.start(["true"])
        order.append("start")

    async def other() -> None:
        for _ in range(6):
            order.append("other")
            await asyncio.sleep(0)

    async with JobManager() as jobs:
        async with asyncio.TaskGroup() as group:
            for _ in range(30):
                group.create_task(starter(jobs))
            group.create_task(other())
        assert order.index("other") < len(order) - 7
        assert len(await jobs.wait_all()) == 30


@on_all_loops
async def test_five_hundred_quick_commands_at_once_all_have_their_own_end() -> None:
    async with JobManager(finished_retention=None) as jobs:
        ids = await asyncio.gather(
            *[jobs.start(["sh", "-c", f"exit {number % 200}"]) for number in range(500)]
        )
        results = dict(await jobs.wait_all())
        assert [results[id].code for id in ids] == [number % 200 for number in range(500)]
        assert await jobs.running_count() == 0


@on_all_loops
async def test_two_hundred_commands_with_output_keep_it_apart() -> None:
    async with JobManager(finished_retention=None) as jobs:
        ids = await asyncio.gather(
            *[
                jobs.start(f"echo {number}; head -c 100000 /dev/zero; echo e{number} >&2")
                for number in range(200)
            ]
        )
        results = dict(await jobs.wait_all())
        for number, id in enumerate(ids):
            assert results[id].out == b"%d\n" % number + bytes(100_000)
            assert results[id].err == b"e%d\n" % number


@on_all_loops
async def test_a_command_that_is_removed_runs_on_until_the_manager_ends() -> None:
    async with JobManager() as jobs:
        id = await jobs.start(unruly("handle_term_and_exit", 3))
        await said(jobs, id)
        waiting = asyncio.ensure_future(jobs.wait(id))
        await asyncio.sleep(0)
        pid, _ = await jobs.get_process_info(id) or (0, 0)
        with watching(pid) as process:
            assert await jobs.remove(id)
            assert await waiting is None
            assert not await jobs.kill(id)
            assert not await jobs.signal(id, signal.SIGKILL)
            assert not await jobs.cancel(id)
            assert not process.is_dead
            await jobs.aclose()
            assert process.is_dead
    assert [event.kind for event in (await jobs.read_events()).events] == ["started", "removed"]
