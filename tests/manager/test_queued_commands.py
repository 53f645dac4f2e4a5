"""`max_running` with commands: they wait in order, and start as they were asked for."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path
from typing import Any

import pytest

from amper import EndedBy, ExecResult, JobId, JobManager, JobStatus
from tests.handshakes import left_by, opened, result_of, said, watching
from tests.support import on_all_loops
from tests.unruly import unruly
from tests.work import history, info_of


async def blocked(jobs: JobManager) -> JobId:
    """Fill the only place of a manager with a command that keeps it."""
    id = await jobs.start(unruly("behave"))
    await said(jobs, id)
    return id


@on_all_loops
async def test_a_queued_command_exists_and_has_no_process_yet() -> None:
    async with JobManager(max_running=1) as jobs:
        first = await blocked(jobs)
        second = await jobs.start(["echo", "x"], name="later", tags=("a",), timeout=1000)
        info = await info_of(jobs, second)
        assert (info.status_string, info.pid, info.pgids) == ("queued", None, ())
        assert (info.name, info.tags, info.started_at, info.elapsed) == ("later", ("a",), None, 0)
        assert await jobs.get_process_info(second) is None
        assert await jobs.running_count() == 1
        assert await jobs.read_stdout(second) == b""
        assert await jobs.wait(second, timeout=0) is None
        assert not await jobs.signal(second, signal.SIGTERM)
        assert await history(jobs, second) == ["queued"]
        assert await jobs.kill(first)
        assert (await result_of(jobs, second)).out == b"x\n"
        assert await history(jobs, second) == ["queued", "started", "ended"]
        info = await info_of(jobs, second)
        assert info.pid is not None
        assert info.started_at is not None
        assert info.started_at >= info.created_at


@on_all_loops
async def test_commands_and_coroutines_start_in_the_order_in_which_they_were_asked_for() -> None:
    order: list[JobId] = []

    async def work() -> None:
        await asyncio.sleep(0)

    async with JobManager(max_running=2, finished_retention=None) as jobs:
        ids = []
        for number in range(30):
            if number % 3:
                ids.append(await jobs.start(["true"]))
            else:
                ids.append(jobs.spawn("work", work()))
        assert len(await jobs.list(status=JobStatus.QUEUED)) > 0
        await jobs.wait_all()
        events = (await jobs.read_events()).events
        order = [event.job_id for event in events if event.kind == "started" and event.job_id]
        assert order == ids
        running = 0
        for event in events:
            running += {"started": 1, "ended": -1}.get(event.kind, 0)
            assert running <= 2


@on_all_loops
async def test_one_that_is_killed_or_cancelled_in_the_queue_never_starts(tmp_path: Path) -> None:
    async with JobManager(max_running=1) as jobs:
        first = await blocked(jobs)
        ids = [await jobs.start(["mkdir", tmp_path / str(number)]) for number in range(3)]
        assert await jobs.kill(ids[0], reason="no", by="me")
        assert await jobs.cancel(ids[1], reason="no")
        assert await jobs.remove(ids[2])
        for id, ended_by in zip(
            ids, (EndedBy("kill", "no", "me"), EndedBy("cancel", "no")), strict=False
        ):
            assert await result_of(jobs, id) == ExecResult(130, ended_by=ended_by)
            assert await jobs.get_status_string(id) == "killed:130"
            assert await history(jobs, id) == ["queued", "ended"]
            assert not await jobs.kill(id)
        assert await jobs.kill(first)
        # If one of them were to start, it would before this one.
        assert (await jobs.run(["true"])).code == 0
        assert os.listdir(tmp_path) == []


@on_all_loops
async def test_the_end_of_the_manager_starts_none_of_them(tmp_path: Path) -> None:
    async with JobManager(max_running=1) as jobs:
        await blocked(jobs)
        ids = [await jobs.start(["mkdir", tmp_path / str(number)]) for number in range(3)]
    for id in ids:
        assert await result_of(jobs, id) == ExecResult(130, ended_by=EndedBy("close"))
    assert os.listdir(tmp_path) == []


@on_all_loops
async def test_a_place_is_free_again_however_a_command_ends() -> None:
    async with JobManager(max_running=1, grace_period=0) as jobs:
        for command, options in (
            ("exit 3", {}),
            (["no-such-program"], {}),
            (["true"], {"cwd": "/no/such/directory"}),
            (unruly("die_by", int(signal.SIGKILL)), {}),
            (unruly("ignore_term"), {"timeout": 0.02}),
            (unruly("fork_and_leave"), {}),
            (unruly("fork_and_leave"), {"descendants": "kill"}),
            (unruly("hold_pipe"), {}),
        ):
            id = await jobs.start(command, **options)
            last = await jobs.start(["true"])
            assert (await result_of(jobs, last)).code == 0
            assert (await info_of(jobs, id)).status.is_final


@on_all_loops
async def test_a_job_that_waits_for_its_descendants_keeps_its_place_until_they_are_gone() -> None:
    async with JobManager(max_running=1) as jobs:
        id = await jobs.start(unruly("fork_and_leave"), descendants="wait")
        with watching(*await left_by(jobs, id)) as left:
            second = await jobs.start(["true"])
            assert await jobs.get_status_string(second) == "queued"
            left.signal(signal.SIGKILL)
            assert (await result_of(jobs, second)).code == 0


@on_all_loops
async def test_a_removed_command_keeps_its_place_while_it_runs() -> None:
    async with JobManager(max_running=1) as jobs:
        first = await blocked(jobs)
        pid, _ = await jobs.get_process_info(first) or (0, 0)
        assert await jobs.remove(first)
        second = await jobs.start(["true"])
        assert await jobs.get_status_string(second) == "queued"
        with watching(pid) as process:
            process.signal(signal.SIGKILL)
            assert (await result_of(jobs, second)).code == 0


@on_all_loops
async def test_a_long_queue_of_commands_that_cannot_start_is_worked_off() -> None:
    async with JobManager(max_running=1, finished_retention=None) as jobs:
        first = await blocked(jobs)
        ids = [await jobs.start(["no-such-program"], cwd="/") for _ in range(300)]
        assert await jobs.kill(first)
        outcomes = dict(await jobs.wait_all(ids))
        assert list(outcomes) == ids
        assert {result.code for result in outcomes.values()} == {127}


# A queued command starts as it was asked for, whatever has changed since.


@on_all_loops
async def test_its_arguments_and_its_environment_are_those_of_the_call(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with JobManager(max_running=1) as jobs:
        first = await blocked(jobs)
        command = ["sh", "-c", "echo $A $1", "sh", "one"]
        env = {"A": "a", "PATH": os.environ["PATH"]}
        data = bytearray(b"x")
        given = await jobs.start(command, env=env)
        fed = await jobs.start(["cat"], stdin=data)
        monkeypatch.setenv("AMPER_TEST", "before")
        ambient = await jobs.start("echo $AMPER_TEST")
        command[-1], env["A"], data[:] = "two", "b", b"y"
        monkeypatch.setenv("AMPER_TEST", "after")
        assert await jobs.kill(first)
        assert (await result_of(jobs, given)).out == b"a one\n"
        assert (await result_of(jobs, fed)).out == b"x"
        assert (await result_of(jobs, ambient)).out == b"before\n"


@pytest.mark.parametrize("cwd", [None, "inner"])
@on_all_loops
async def test_it_runs_in_the_directory_that_its_record_says(
    cwd: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "there" / "inner").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "there")
    async with JobManager(max_running=1) as jobs:
        first = await blocked(jobs)
        id = await jobs.start(["pwd", "-P"], cwd=cwd)
        monkeypatch.chdir("/")
        assert await jobs.kill(first)
        result = await result_of(jobs, id)
        assert result.text_out() == f"{(await info_of(jobs, id)).cwd}\n"
        assert result.text_out().startswith(str(tmp_path / "there"))


@pytest.mark.parametrize("form", ["file", "descriptor"])
@on_all_loops
async def test_its_files_may_be_closed_by_whoever_opened_them(form: str, tmp_path: Path) -> None:
    """As after a start that did not have to wait: the command has its own copy."""
    (tmp_path / "in").write_bytes(b"as it was")
    (tmp_path / "other").write_bytes(b"somebody else's")
    async with JobManager(max_running=1) as jobs:
        first = await blocked(jobs)

        def given(file: Any) -> Any:
            return file if form == "file" else file.fileno()

        with (
            opened(tmp_path / "in") as source,
            opened(tmp_path / "out", "wb") as out,
            opened(tmp_path / "err", "wb") as err,
        ):
            id = await jobs.start(
                "cat; echo no >&2", stdin=given(source), stdout=given(out), stderr=given(err)
            )
        # The numbers are free, and the next who opens files gets them.
        with opened(tmp_path / "other"), opened(tmp_path / "other"), opened(tmp_path / "other"):
            assert await jobs.kill(first)
            assert (await result_of(jobs, id)).code == 0
        assert (tmp_path / "out").read_bytes() == b"as it was"
        assert (tmp_path / "err").read_bytes() == b"no\n"


@on_all_loops
async def test_one_that_never_starts_lets_go_of_its_files() -> None:
    """The other end of a pipe hears of it."""
    async with JobManager(max_running=1) as jobs:
        await blocked(jobs)
        ids = []
        readers = []
        for _ in range(3):
            read_end, write_end = os.pipe()
            os.set_blocking(read_end, False)
            ids.append(await jobs.start(["true"], stdout=write_end))
            os.close(write_end)
            readers.append(read_end)
        await jobs.kill(ids[0])
        await jobs.remove(ids[1])
    for reader in readers:
        assert os.read(reader, 1) == b""
        os.close(reader)
