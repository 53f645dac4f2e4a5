"""Jobs with a terminal of their own, direct and contained."""

from __future__ import annotations

from typing import Any

import pytest

from amper import DEVNULL, JobId, JobManager
from amper.values import Containment
from tests.handshakes import few_descriptors, result_of, turns
from tests.support import on_all_loops
from tests.work import info_of, on_a_loop

LEVELS: list[Containment] = ["group", "tree"]


async def shows(jobs: JobManager, id: JobId, text: bytes) -> None:
    """Wait until the terminal shows a text."""
    seen = b""
    async for chunk in jobs.follow(id):
        seen += chunk.data
        if text in seen:
            return
    raise AssertionError(f"{text!r} never came, but {seen!r}")


@pytest.mark.parametrize("containment", LEVELS)
@on_all_loops
async def test_a_program_believes_its_terminal(containment: Containment) -> None:
    async with JobManager(containment=containment) as jobs:
        script = "test -t 0 -a -t 1 -a -t 2 && stty size </dev/tty; read a; echo got $a >&2"
        id = await jobs.start(script, pty=(100, 30))
        await shows(jobs, id, b"30 100\r\n")
        assert await jobs.write_stdin(id, b"hello\n")
        result = await result_of(jobs, id)
        # The terminal echoes what is typed, and errors are shown with the rest.
        assert (result.code, result.out, result.err) == (
            0,
            b"30 100\r\nhello\r\ngot hello\r\n",
            b"",
        )


@pytest.mark.parametrize("containment", LEVELS)
@on_a_loop
async def test_a_program_is_told_of_a_new_size(containment: Containment) -> None:
    async with JobManager(containment=containment) as jobs:
        script = "trap 'stty size; exit 3' WINCH; echo ready; while :; do read x; done"
        id = await jobs.start(script, pty=True)
        await shows(jobs, id, b"ready")
        assert await jobs.resize(id, 133, 50)
        await shows(jobs, id, b"50 133")
        # The shell is in a read that the signal may or may not have broken off.
        await jobs.write_stdin(id, b"\n")
        assert (await result_of(jobs, id)).code == 3
        assert not await jobs.resize(id, 80, 24)


@pytest.mark.parametrize("containment", LEVELS)
@on_a_loop
async def test_ctrl_c_and_the_end_of_the_file_are_typed(containment: Containment) -> None:
    async with JobManager(containment=containment) as jobs:
        id = await jobs.start("echo ready; exec sleep 1000", pty=True)
        await shows(jobs, id, b"ready")
        assert await jobs.write_stdin(id, b"\x03")
        assert (await result_of(jobs, id)).code == 130
        id = await jobs.start("cat", pty=True, stdin=b"line\n")
        assert (await result_of(jobs, id)).out == b"line\r\nline\r\n"


@pytest.mark.parametrize("containment", LEVELS)
@on_all_loops
async def test_ctrl_c_may_be_typed_as_soon_as_a_job_is_started(containment: Containment) -> None:
    async with JobManager(containment=containment) as jobs:
        id = await jobs.start(["sleep", "1000"], pty=True)
        assert await jobs.write_stdin(id, b"\x03")
        assert (await result_of(jobs, id)).code == 130


@pytest.mark.parametrize("containment", LEVELS)
@on_a_loop
async def test_one_that_waits_for_a_line_says_so(containment: Containment) -> None:
    async with JobManager(containment=containment) as jobs:
        id = await jobs.start("echo name?; read a; echo ready; exec sleep 1000", pty=True)
        await shows(jobs, id, b"name?")
        while not (await info_of(jobs, id)).waits_for_input:
            await turns(1)
        assert (await info_of(jobs, id)).to_dict()["waits_for_input"] is True
        assert await jobs.write_stdin(id, b"Ada\n")
        await shows(jobs, id, b"ready")
        assert (await info_of(jobs, id)).waits_for_input is False
        other = await jobs.start("read a")
        assert (await info_of(jobs, other)).waits_for_input is None
        assert await jobs.kill(id)
        assert (await info_of(jobs, id)).waits_for_input is None


@on_a_loop
async def test_whether_it_waits_for_input_is_unknown_without_a_descriptor_to_look_with() -> None:
    async with JobManager() as jobs:
        id = await jobs.start("read a", pty=True)
        while not (await info_of(jobs, id)).waits_for_input:
            await turns(1)
        for free in range(4):
            with few_descriptors(free):
                answer = (await info_of(jobs, id)).waits_for_input
            assert answer is (True if free else None)


@on_a_loop
async def test_a_queued_job_gets_its_terminal_when_it_starts() -> None:
    async with JobManager(max_running=1) as jobs:
        first = await jobs.start("read a", pty=True)
        second = await jobs.start("tty; exit 4", pty=True)
        assert await jobs.get_status_string(second) == "queued"
        assert not await jobs.resize(second, 80, 24)
        assert await jobs.write_stdin(first, b"\n")
        result = await result_of(jobs, second)
        assert result.code == 4
        assert result.out.startswith(b"/dev/")


@pytest.mark.parametrize(
    "options",
    [
        {"pty": (0, 24)},
        {"pty": (80, 70000)},
        {"pty": True, "stdout": DEVNULL},
        {"pty": True, "stderr": DEVNULL},
        {"pty": True, "foreground": True},
    ],
)
@on_a_loop
async def test_what_makes_no_sense_is_refused(options: dict[str, Any]) -> None:
    async with JobManager() as jobs:
        with pytest.raises(ValueError, match=r"terminal"):
            await jobs.start("true", **options)
        assert await jobs.list() == []
        assert not await jobs.resize(JobId(7), 80, 24)
        with pytest.raises(ValueError, match="0 columns"):
            await jobs.resize(JobId(7), 0, 24)
