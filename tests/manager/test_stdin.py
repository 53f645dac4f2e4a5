"""A command's standard input: what `start` feeds it, and `write_stdin` and `close_stdin`."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path
from typing import Any

import pytest

from amper import DEVNULL, PIPE, JobId, JobManager
from tests.handshakes import opened, outcome, result_of, said
from tests.places import everywhere
from tests.support import cancelled, on_all_loops
from tests.unruly import unruly
from tests.work import on_a_loop

MUCH = 1_000_000
"""More than a pipe holds."""


# What is given at the start.


@on_all_loops
async def test_standard_input_is_empty_unless_something_is_given() -> None:
    async with JobManager() as jobs:
        assert (await outcome(jobs, ["cat"])).out == b""
        assert (await outcome(jobs, ["cat"], stdin=DEVNULL)).out == b""


@everywhere
async def test_bytes_are_fed_and_then_the_input_ends() -> None:
    async with JobManager() as jobs:
        for size in (0, 1, 4096, 65536, 65537, 3_000_000):
            data = bytes(range(256)) * (size // 256) + bytes(size % 256)
            result = await outcome(jobs, unruly("echo_stdin"), stdin=data)
            assert result.code == 0
            assert result.out == data


@on_all_loops
async def test_bytes_that_are_changed_after_the_start_are_fed_as_they_were() -> None:
    data = bytearray(b"x" * 200_000)
    async with JobManager() as jobs:
        id = await jobs.start(unruly("echo_stdin"), stdin=data)
        data[-1:] = b"y"
        assert (await result_of(jobs, id)).out == b"x" * 200_000
        every_second = memoryview(b"abcdef")[::2]
        assert (await outcome(jobs, ["cat"], stdin=every_second)).out == b"ace"


@on_all_loops
async def test_a_file_can_be_the_input(tmp_path: Path) -> None:
    (tmp_path / "in").write_bytes(b"from a file")
    async with JobManager() as jobs:
        with opened(tmp_path / "in", "rb") as file:
            assert (await outcome(jobs, ["cat"], stdin=file)).out == b"from a file"
            assert file.seek(0) == 0
            assert (await outcome(jobs, ["cat"], stdin=file.fileno())).out == b"from a file"
            # It is the caller's, and stays open.
            assert os.fstat(file.fileno()).st_size == 11


@on_all_loops
async def test_a_command_that_does_not_read_what_it_is_fed_ends_as_it_likes() -> None:
    async with JobManager() as jobs:
        assert (await outcome(jobs, ["true"], stdin=b"x" * MUCH)).code == 0


@on_all_loops
async def test_a_command_that_is_fed_reads_at_its_own_speed() -> None:
    async with JobManager() as jobs:
        id = await jobs.start(unruly("count_stdin_when_told"), stdin=b"x" * MUCH)
        await said(jobs, id)
        assert await jobs.signal(id, signal.SIGUSR1)
        assert (await result_of(jobs, id)).out == b"ready\nread %d\n" % MUCH


@on_all_loops
async def test_whoever_waits_for_its_descendants_feeds_them_to_the_end() -> None:
    """The leader hands its input on and leaves; a job that is not over still has an input."""
    command = "exec 3<&0; wc -c <&3 & exit 0"
    async with JobManager() as jobs:
        result = await outcome(jobs, command, stdin=b"x" * MUCH, descendants="wait")
        assert result.out.split() == [b"%d" % MUCH]


# What is written later.


@on_all_loops
async def test_what_is_written_is_read_until_the_input_is_closed() -> None:
    async with JobManager() as jobs:
        id = await jobs.start(["cat"], stdin=PIPE)
        assert await jobs.write_stdin(id, b"one ")
        assert await jobs.write_stdin(id, b"")
        assert await jobs.write_stdin(id, b"x" * MUCH)
        assert await jobs.close_stdin(id)
        assert (await result_of(jobs, id)).out == b"one " + b"x" * MUCH


@on_all_loops
async def test_a_write_waits_until_the_command_has_taken_it() -> None:
    async with JobManager() as jobs:
        id = await jobs.start(unruly("count_stdin_when_told"), stdin=PIPE)
        writing = asyncio.ensure_future(jobs.write_stdin(id, b"x" * MUCH))
        await said(jobs, id)
        assert not writing.done()
        assert await jobs.signal(id, signal.SIGUSR1)
        assert await writing
        assert await jobs.close_stdin(id)
        assert (await result_of(jobs, id)).out == b"ready\nread %d\n" % MUCH


@on_all_loops
async def test_writers_take_turns_and_no_write_is_cut() -> None:
    async with JobManager() as jobs:
        id = await jobs.start(["cat"], stdin=PIPE)
        letters = b"abcdefgh"
        writing = [
            asyncio.ensure_future(jobs.write_stdin(id, bytes([letter]) * 200_000))
            for letter in letters
        ]
        assert await asyncio.gather(*writing) == [True] * len(letters)
        assert await jobs.close_stdin(id)
        out = (await result_of(jobs, id)).out
        assert out == b"".join(bytes([letter]) * 200_000 for letter in letters)


@on_all_loops
async def test_nobody_who_writes_on_and_on_keeps_another_writer_waiting() -> None:
    async with JobManager() as jobs:
        id = await jobs.start(unruly("echo_stdin"), stdin=PIPE)

        async def write_on() -> None:
            for letter in b"acd":
                assert await jobs.write_stdin(id, bytes([letter]) * 200_000)

        async with asyncio.TaskGroup() as group:
            group.create_task(write_on())
            group.create_task(jobs.write_stdin(id, b"b" * 200_000))
        assert await jobs.close_stdin(id)
        out = (await result_of(jobs, id)).out
        assert out == b"".join(bytes([letter]) * 200_000 for letter in b"abcd")


@on_all_loops
async def test_closing_waits_for_all_who_write_already() -> None:
    async with JobManager() as jobs:
        id = await jobs.start(unruly("count_stdin_when_told"), stdin=PIPE)
        await said(jobs, id)
        writing = [asyncio.ensure_future(jobs.write_stdin(id, b"x" * MUCH)) for _ in range(3)]
        closing = asyncio.ensure_future(jobs.close_stdin(id))
        await asyncio.sleep(0)
        await jobs.signal(id, signal.SIGUSR1)
        assert await asyncio.gather(*writing, closing) == [True] * 4
        assert (await result_of(jobs, id)).out == b"ready\nread %d\n" % (3 * MUCH)


@on_all_loops
async def test_closing_comes_after_all_that_was_handed_over() -> None:
    async with JobManager() as jobs:
        id = await jobs.start(unruly("count_stdin_when_told"), stdin=PIPE)
        writing = asyncio.ensure_future(jobs.write_stdin(id, b"x" * MUCH))
        await said(jobs, id)
        assert await jobs.close_stdin(id)
        assert not await jobs.close_stdin(id)
        assert not await jobs.write_stdin(id, b"more")
        await jobs.signal(id, signal.SIGUSR1)
        assert await writing
        assert (await result_of(jobs, id)).out == b"ready\nread %d\n" % MUCH


@on_all_loops
async def test_a_writer_that_is_cancelled_leaves_behind_what_it_handed_over() -> None:
    async with JobManager() as jobs:
        id = await jobs.start(unruly("count_stdin_when_told"), stdin=PIPE)
        writing = asyncio.ensure_future(jobs.write_stdin(id, b"x" * MUCH))
        await said(jobs, id)
        await cancelled(writing)
        assert await jobs.close_stdin(id)
        await jobs.signal(id, signal.SIGUSR1)
        assert (await result_of(jobs, id)).out == b"ready\nread %d\n" % MUCH


@on_all_loops
async def test_a_command_that_closes_its_input_lets_the_writer_go_on() -> None:
    async with JobManager() as jobs:
        id = await jobs.start(unruly("close_stdin_keep_running"), stdin=PIPE)
        await said(jobs, id)
        writing = asyncio.ensure_future(jobs.write_stdin(id, b"x" * MUCH))
        await asyncio.sleep(0)
        await jobs.signal(id, signal.SIGUSR1)
        assert not await writing
        assert not await jobs.write_stdin(id, b"x")
        assert not await jobs.close_stdin(id)
        assert await jobs.get_status_string(id) == "running"


@on_all_loops
async def test_a_write_to_an_input_that_was_closed_meanwhile_is_false_and_not_an_error() -> None:
    async with JobManager() as jobs:
        id = await jobs.start(unruly("close_stdin_keep_running"), stdin=PIPE)
        await said(jobs, id)
        await jobs.signal(id, signal.SIGUSR1)
        await said(jobs, id, "closed")
        assert not await jobs.write_stdin(id, b"x")


@pytest.mark.parametrize("ending", ["dies", "is killed", "ends with the manager"])
@on_all_loops
async def test_a_writer_is_not_left_waiting_when_the_command(ending: str) -> None:
    jobs = JobManager(grace_period=0.05)
    id = await jobs.start(unruly("behave"), stdin=PIPE)
    writing = [asyncio.ensure_future(jobs.write_stdin(id, b"x" * MUCH)) for _ in range(2)]
    await said(jobs, id)
    if ending == "dies":
        await jobs.signal(id, signal.SIGKILL)
    elif ending == "is killed":
        assert await jobs.kill(id)
    else:
        await jobs.aclose()
    assert await asyncio.gather(*writing) == [False, False]
    assert not await jobs.write_stdin(id, b"x")
    await jobs.aclose()


@on_all_loops
async def test_without_an_open_input_the_answer_is_false() -> None:
    async with JobManager() as jobs:
        id = await jobs.start(unruly("behave"))
        fed = await jobs.start(unruly("behave"), stdin=b"x")
        over = await jobs.start(["true"], stdin=PIPE)
        failed = await jobs.start(["no-such-program"], stdin=PIPE)
        await result_of(jobs, over)
        other = jobs.spawn("coroutine", asyncio.sleep(0))
        for any_id in (id, fed, over, failed, other, JobId(99)):
            assert not await jobs.write_stdin(any_id, b"x")
            assert not await jobs.close_stdin(any_id)


@on_a_loop
async def test_only_bytes_can_be_written() -> None:
    async with JobManager() as jobs:
        nothing: Any
        for nothing in ("text", None, 5):
            with pytest.raises(TypeError):
                await jobs.write_stdin(JobId(99), nothing)


# Queued commands.


@on_all_loops
async def test_a_write_to_a_queued_command_waits_for_its_start() -> None:
    async with JobManager(max_running=1) as jobs:
        first = await jobs.start(unruly("behave"))
        await said(jobs, first)
        second = await jobs.start(["cat"], stdin=PIPE)
        writing = asyncio.ensure_future(jobs.write_stdin(second, b"early"))
        await asyncio.sleep(0)
        assert not writing.done()
        assert await jobs.kill(first)
        assert await writing
        assert await jobs.close_stdin(second)
        assert (await result_of(jobs, second)).out == b"early"


@pytest.mark.parametrize("ending", ["kill", "cancel", "remove", "aclose", "cannot start"])
@on_all_loops
async def test_a_write_to_a_queued_command_that_never_runs_is_false(ending: str) -> None:
    jobs = JobManager(max_running=1, grace_period=0.05)
    first = await jobs.start(unruly("behave"))
    await said(jobs, first)
    program = "no-such-program" if ending == "cannot start" else "cat"
    second = await jobs.start([program], stdin=PIPE)
    writing = asyncio.ensure_future(jobs.write_stdin(second, b"early"))
    closing = asyncio.ensure_future(jobs.close_stdin(second))
    await asyncio.sleep(0)
    if ending == "kill":
        assert await jobs.kill(second)
    elif ending == "cancel":
        assert await jobs.cancel(second)
    elif ending == "remove":
        assert await jobs.remove(second)
    elif ending == "cannot start":
        assert await jobs.kill(first)
    await jobs.aclose()
    assert not await writing
    assert not await closing
