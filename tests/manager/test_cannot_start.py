"""What cannot start is a job that ended, with the reason; what is of no use raises, and is no job."""

from __future__ import annotations

import errno
import io
import os
import sys
from pathlib import Path
from typing import Any

import pytest

from amper import STDOUT, JobId, JobManager
from tests.handshakes import opened, run_script
from tests.places import everywhere
from tests.work import info_of, on_a_loop


async def check_cannot_start(jobs: JobManager, id: JobId, code: int, *reasons: str) -> None:
    """A job that has ended already, with the reason in `err`, and a full history."""
    assert await jobs.get_status_string(id) == f"failed:{code}"
    result = await jobs.wait(id)
    assert result is not None
    assert (result.code, result.out, result.ended_by) == (code, b"", None)
    for reason in reasons:
        assert reason in result.text_err()
    assert await jobs.read_stderr(id) == result.err
    assert result.err.count(b"\n") == 1
    page = await jobs.read_events()
    mine = [event for event in page.events if event.job_id == id]
    assert [event.kind for event in mine] == ["started", "ended"]
    assert mine[-1].exit_code == code
    assert await jobs.running_count() == 0
    info = await info_of(jobs, id)
    assert (info.pid, info.pgids, info.signal) == (None, (), None)
    assert not await jobs.kill(id)


@everywhere
async def test_a_program_that_is_not_there_is_a_job_that_failed_127() -> None:
    async with JobManager() as jobs:
        id = await jobs.start(["no-such-program-anywhere"])
        await check_cannot_start(jobs, id, 127, "no-such-program-anywhere", "not found on PATH")
        id = await jobs.start(["/no/such/program"])
        await check_cannot_start(jobs, id, 127, "/no/such/program: not found\n")
        id = await jobs.start(["/etc/passwd/x"])
        await check_cannot_start(jobs, id, 127, "not found")
        id = await jobs.start([""])
        await check_cannot_start(jobs, id, 127, "not found")
        result = await jobs.run("no-such-program-anywhere")
        assert result.code == 127, "the shell says it itself"


@everywhere
async def test_what_is_there_and_cannot_be_executed_is_a_job_that_failed_126(
    tmp_path: Path,
) -> None:
    plain, script, no_program = tmp_path / "plain", tmp_path / "script", tmp_path / "no_program"
    plain.write_text("echo")
    script.write_text("#!/no/such/interpreter\n")
    no_program.write_bytes(b"\0\1\2")
    for file in (script, no_program):
        file.chmod(0o755)
    async with JobManager() as jobs:
        id = await jobs.start([str(plain)])
        await check_cannot_start(jobs, id, 126, str(plain), os.strerror(errno.EACCES))
        id = await jobs.start(["plain"], env={"PATH": str(tmp_path)})
        await check_cannot_start(jobs, id, 126, "plain", os.strerror(errno.EACCES))
        id = await jobs.start([tmp_path])
        await check_cannot_start(jobs, id, 126, str(tmp_path), os.strerror(errno.EACCES))
        id = await jobs.start([no_program])
        await check_cannot_start(jobs, id, 126, str(no_program), os.strerror(errno.ENOEXEC))
        id = await jobs.start([script])
        await check_cannot_start(jobs, id, 126, str(script), "interpreter")
        id = await jobs.start(["true", "x" * 3_000_000])
        await check_cannot_start(jobs, id, 126, os.strerror(errno.E2BIG))


@everywhere
async def test_a_directory_that_is_not_there_is_a_job_that_failed_126(tmp_path: Path) -> None:
    async with JobManager() as jobs:
        for command in (["true"], "true", ["no-such-program"]):
            id = await jobs.start(command, cwd=tmp_path / "missing")
            await check_cannot_start(jobs, id, 126, "missing", "directory")
        id = await jobs.start(["true"], cwd="/etc/passwd")
        await check_cannot_start(jobs, id, 126, "/etc/passwd", os.strerror(errno.ENOTDIR))


@everywhere
async def test_a_relative_program_is_judged_where_the_command_would_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here, there = tmp_path / "here", tmp_path / "there"
    for directory, name, text in (
        (here, "tool", "#!/bin/sh\n"),
        (there, "script", "#!/no/such/interpreter\n"),
    ):
        directory.mkdir()
        (directory / name).write_text(text)
        (directory / name).chmod(0o755)
    monkeypatch.chdir(here)
    async with JobManager() as jobs:
        id = await jobs.start(["./tool"], cwd=there)
        await check_cannot_start(jobs, id, 127, "./tool: not found")
        id = await jobs.start(["./script"], cwd=there)
        await check_cannot_start(jobs, id, 126, "interpreter")


@everywhere
async def test_what_no_program_can_be_given_is_a_job_that_failed_126() -> None:
    async with JobManager() as jobs:
        for command, options in (
            ("echo a\0b", {}),
            (["echo", "a\0b"], {}),
            (["echo"], {"cwd": "/tmp\0"}),
            (["echo"], {"env": {"A": "a\0b"}}),
            (["echo"], {"env": {"A\0": "b"}}),
        ):
            id = await jobs.start(command, **options)
            await check_cannot_start(jobs, id, 126, "NUL")
        id = await jobs.start(["echo"], env={"A=B": "c"})
        await check_cannot_start(jobs, id, 126, "'A=B'")
        id = await jobs.start(["echo"], env={"": "c"})
        await check_cannot_start(jobs, id, 126, "''")
        id = await jobs.start("echo \ud800")
        await check_cannot_start(jobs, id, 126, "encoded")


@everywhere
async def test_a_descriptor_that_is_not_open_is_a_job_that_failed_126() -> None:
    async with JobManager() as jobs:
        id = await jobs.start(["cat"], stdin=987)
        await check_cannot_start(jobs, id, 126, os.strerror(errno.EBADF))


@everywhere
async def test_a_file_without_a_descriptor_is_refused_with_a_reason() -> None:
    async with JobManager() as jobs:
        try:
            id = await jobs.start(["cat"], stdin=io.BytesIO(b"x"))
        except (TypeError, ValueError):
            assert await jobs.list_ids() == []
        else:
            await check_cannot_start(jobs, id, 126, "fileno")


@everywhere
async def test_a_file_that_is_closed_leaves_no_job_that_runs_for_ever(tmp_path: Path) -> None:
    with opened(tmp_path / "file", "wb") as file:
        pass
    async with JobManager(grace_period=0) as jobs:
        for options in ({"stdin": file}, {"stdout": file}, {"stderr": file}):
            try:
                id = await jobs.start(["true"], **options)  # type: ignore[arg-type]  # Of three.
            except ValueError:
                assert await jobs.running_count() == 0
            else:
                await check_cannot_start(jobs, id, 126)


@pytest.mark.parametrize(
    "command, options, error",
    [
        ([], {}, ValueError),
        ((), {}, ValueError),
        (b"true", {}, TypeError),
        (5, {}, TypeError),
        (None, {}, TypeError),
        (["sleep", 5], {}, TypeError),
        (["true"], {"stdin": 1.5}, TypeError),
        (["true"], {"stdin": "text"}, TypeError),
        (["true"], {"stdin": -7}, ValueError),
        (["true"], {"stdin": STDOUT}, ValueError),
        (["true"], {"stdout": STDOUT}, ValueError),
        (["true"], {"stdout": b"x"}, TypeError),
        (["true"], {"stderr": True}, TypeError),
        (["true"], {"timeout": -1}, ValueError),
        (["true"], {"timeout": float("nan")}, ValueError),
        (["true"], {"timeout": "5"}, TypeError),
        (["true"], {"descendants": "adopt"}, ValueError),
        (["true"], {"pass_fds": [-1]}, ValueError),
        (["true"], {"pass_fds": ["1"]}, TypeError),
        (["true"], {"pass_fds": [-1], "containment": "tree"}, ValueError),
        (["true"], {"pty": True, "stdin": 0}, ValueError),
        (["true"], {"pty": True, "stdin": sys.__stdin__}, ValueError),
        (["true"], {"name": 5}, TypeError),
        (["true"], {"tags": "abc"}, TypeError),
        (["true"], {"cwd": 5}, TypeError),
        (["true"], {"env": {"A": 1}}, TypeError),
        (["true"], {"env": {1: "A"}}, TypeError),
        (["true"], {"env": [("A", "b")]}, (TypeError, AttributeError)),
    ],
)
@on_a_loop
async def test_an_argument_of_no_use_raises_and_no_job_begins(
    command: Any, options: dict[str, Any], error: type[Exception]
) -> None:
    async with JobManager(grace_period=0) as jobs:
        with pytest.raises(error):
            await jobs.start(command, **options)
        with pytest.raises(error):
            await jobs.run(command, **options)
        assert await jobs.list_ids() == []
        assert (await jobs.read_events()).events == ()


@pytest.mark.parametrize(
    "options, named",
    [
        ({"timeout": "5"}, "timeout is a number of seconds, not str"),
        ({"env": {"A": 1}}, "the environment variable A is text, bytes or a path, not int"),
        ({"cwd": 5}, "the working directory is text, bytes or a path, not int"),
        ({"command": ["sleep", 5]}, "an argument of a command is text, bytes or a path, not int"),
        ({"stdin": "text"}, "stdin is PIPE, DEVNULL, bytes or an open file, not str"),
        ({"stdout": "a.log"}, "stdout is PIPE, DEVNULL or an open file, not str"),
        ({"stderr": b"a.log"}, "stderr is PIPE, STDOUT, DEVNULL or an open file, not bytes"),
        ({"pty": 80}, r"pty is True or \(columns, rows\), not 80"),
        ({"pty": (80,)}, r"pty is True or \(columns, rows\), not \(80,\)"),
        ({"pty": "80x24"}, r"pty is True or \(columns, rows\), not '80x24'"),
    ],
)
@on_a_loop
async def test_the_error_says_which_argument_it_is_and_what_it_may_be(
    options: dict[str, Any], named: str
) -> None:
    async with JobManager(grace_period=0) as jobs:
        with pytest.raises(TypeError, match=named):
            await jobs.start(**{"command": ["true"], **options})


@on_a_loop
async def test_a_constant_in_the_wrong_place_is_called_by_its_name() -> None:
    async with JobManager(grace_period=0) as jobs:
        with pytest.raises(
            ValueError, match=r"^stdout cannot be STDOUT: it is PIPE, DEVNULL or an"
        ):
            await jobs.start("true", stdout=STDOUT)
        with pytest.raises(ValueError, match=r"^stdin cannot be -7: it is PIPE, DEVNULL, bytes or"):
            await jobs.start("true", stdin=-7)


VETO = """
import asyncio, sys
from amper import JobManager

class Veto(Exception):
    pass

def hook(event, arguments):
    if event == "subprocess.Popen":
        raise Veto

async def main():
    jobs = JobManager(grace_period=0)
    async with asyncio.timeout(20):
        try:
            id = await jobs.start(["true"])
        except Veto:
            assert await jobs.list_ids() == [], "a job that never ran is in the table for ever"
        else:
            assert await jobs.get_status_string(id) == "failed:126"
        await jobs.aclose()

sys.addaudithook(hook)
asyncio.run(main())
"""


def test_a_host_that_forbids_a_command_by_an_audit_hook_has_no_job_that_runs_for_ever() -> None:
    run_script(VETO)
