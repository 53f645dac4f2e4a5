"""A command's output: what is read, when it ends, what a bound takes, and what comes too late."""

from __future__ import annotations

import asyncio
import gc
import signal
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from amper import DEVNULL, STDOUT, BoundedStream, ExecResult, JobId, JobInfo, JobManager
from amper.job.table import JobTable
from tests.handshakes import info_when, opened, outcome, result_of, said, watching
from tests.support import on_all_loops
from tests.unruly import unruly
from tests.work import info_of

BOUND = BoundedStream().stats().max_size
"""Bytes of output that are kept."""

MUCH = 1_000_000
"""More than a pipe holds."""


def has_at_least(late: int, info: JobInfo) -> bool:
    return info.output_late >= late


@on_all_loops
async def test_out_and_err_are_kept_apart_and_byte_for_byte() -> None:
    async with JobManager() as jobs:
        result = await outcome(jobs, unruly("half_utf8"))
        assert result == ExecResult(0, b"\xc3", b"\xff\xfe")
        assert result.text_out() == "\N{REPLACEMENT CHARACTER}"
        assert result.text_err() == "\N{REPLACEMENT CHARACTER}" * 2


@on_all_loops
async def test_a_character_that_comes_in_two_halves_is_one_line_of_text() -> None:
    async with JobManager() as jobs:
        id = await jobs.start(unruly("half_utf8_when_told"))
        streams = await jobs.streams(id)
        assert streams is not None
        lines = streams.stdout.lines()
        assert await anext(lines) == "ready"
        rest = asyncio.ensure_future(anext(lines))
        await streams.stdout.changed_since(len(b"ready\n"))
        assert await jobs.signal(id, signal.SIGUSR1)
        assert await rest == "ä"
        await result_of(jobs, id)


@on_all_loops
async def test_stderr_as_stdout_is_one_pipe_in_exact_order() -> None:
    async with JobManager() as jobs:
        result = await outcome(jobs, unruly("alternate", 500), stderr=STDOUT)
        assert result.out == b"".join(b"%d\n" % number for number in range(500))
        assert result.err == b""


@on_all_loops
async def test_output_can_go_nowhere_or_to_files(tmp_path: Path) -> None:
    command = "echo out; echo err >&2"
    async with JobManager() as jobs:
        assert await outcome(jobs, command, stdout=DEVNULL) == ExecResult(0, b"", b"err\n")
        assert await outcome(jobs, command, stderr=DEVNULL) == ExecResult(0, b"out\n", b"")
        assert await outcome(jobs, command, stdout=DEVNULL, stderr=STDOUT) == ExecResult(0)
        with opened(tmp_path / "both", "wb") as file:
            assert await outcome(jobs, command, stdout=file, stderr=STDOUT) == ExecResult(0)
            assert await outcome(jobs, command, stdout=file.fileno()) == ExecResult(
                0, b"", b"err\n"
            )
        assert (tmp_path / "both").read_bytes() == b"out\nerr\nout\n"


@on_all_loops
async def test_output_can_be_read_while_the_command_runs() -> None:
    async with JobManager() as jobs:
        id = await jobs.start(unruly("print_then_flood_late", 0))
        assert await jobs.read_stdout(id) is not None
        await said(jobs, id)
        assert await jobs.read_stdout(id) == b"ready\n"
        assert await jobs.read_stderr(id) == b""
        chunk = await jobs.read_output(id, 2, limit=3)
        assert chunk is not None
        assert (chunk.data, chunk.next, chunk.closed) == (b"ady", 5, False)
        await jobs.signal(id, signal.SIGUSR1)
        assert (await result_of(jobs, id)).out == b"ready\nend"
        assert await jobs.read_stdout(id) == b"ready\nend"
        chunk = await jobs.read_output(id, 6)
        assert chunk is not None
        assert (chunk.data, chunk.next, chunk.closed) == (b"end", 9, True)


@on_all_loops
async def test_whoever_closes_its_outputs_is_not_over() -> None:
    async with JobManager() as jobs:
        id = await jobs.start(unruly("close_stdout_keep_running"))
        await said(jobs, id)
        assert await jobs.get_status_string(id) == "running"
        assert await jobs.signal(id, signal.SIGUSR1)
        assert await result_of(jobs, id) == ExecResult(0, b"ready\n")
        assert not (await info_of(jobs, id)).output_open


@on_all_loops
async def test_all_that_a_command_wrote_is_there_when_it_is_over() -> None:
    async with JobManager() as jobs:
        for size in (0, 65535, 65536, 65537, MUCH):
            result = await outcome(jobs, unruly("flood", size))
            assert result.out == b"x" * size + b"end"


@on_all_loops
async def test_a_status_turns_terminal_only_after_the_streams_are_closed_and_complete(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ends: list[tuple[bytes, bool, bool]] = []
    ended = JobTable.ended

    def watched(table: JobTable, job: Any, report: Any) -> None:
        assert not job.status.is_final
        stdout, stderr = job.runner.streams
        ends.append((stdout.read(), stdout.stats().closed, stderr.stats().closed))
        ended(table, job, report)

    monkeypatch.setattr(JobTable, "ended", watched)
    async with JobManager() as jobs:
        id = await jobs.start(unruly("flood", 100_000))
        await result_of(jobs, id)
        with_holder = await jobs.start(unruly("hold_pipe"))
        (pid,) = await said(jobs, with_holder)
        await result_of(jobs, with_holder)
    assert ends == [(b"x" * 100_000 + b"end", True, True), (b"ready %d\n" % pid, True, True)]


@on_all_loops
async def test_a_follower_gets_all_of_it_and_then_its_end() -> None:
    async with JobManager() as jobs:
        id = await jobs.start(unruly("flood", MUCH))
        chunks = [chunk async for chunk in jobs.follow(id)]
        assert b"".join(chunk.data for chunk in chunks) == b"x" * MUCH + b"end"
        assert [chunk.closed for chunk in chunks] == [False] * (len(chunks) - 1) + [True]
        assert [chunk async for chunk in jobs.follow(id, stream="stderr")][-1].closed


# What a bound takes.


@on_all_loops
async def test_a_flood_without_a_newline_is_kept_to_its_end_and_the_rest_is_counted() -> None:
    size = 100_000_000
    async with JobManager() as jobs:
        id = await jobs.start(unruly("flood", size))
        streams = await jobs.streams(id)
        assert streams is not None
        largest = 0
        while not (stats := streams.stdout.stats()).closed:
            largest = max(largest, stats.current_size)
            await streams.stdout.changed_since(stats.total_written)
        result = await result_of(jobs, id)
        assert largest <= BOUND
        assert len(result.out) == BOUND
        assert result.out.endswith(b"xend")
        assert result.out_dropped == size + 3 - BOUND
        assert result.err_dropped == 0
        chunk = await jobs.read_output(id, 5)
        assert chunk is not None
        assert (chunk.dropped, chunk.next) == (result.out_dropped - 5, size + 3)


@on_all_loops
async def test_a_reader_that_never_reads_holds_up_nobody() -> None:
    """A follower that stands still loses bytes, and is told how many."""
    async with JobManager() as jobs:
        id = await jobs.start(unruly("print_then_flood_late", 2 * BOUND))
        follower = jobs.follow(id)
        first = await anext(follower)
        assert await jobs.signal(id, signal.SIGUSR1)
        result = await result_of(jobs, id)
        second = await anext(follower)
        assert second.dropped == result.out_dropped - first.next > 0
        assert second.data[:1] == b"x"
        rest = [chunk async for chunk in follower]
        assert sum(len(chunk.data) for chunk in (second, *rest)) == BOUND


# Whoever holds the pipe when the leader is gone.


@on_all_loops
async def test_a_grandchild_that_holds_the_pipe_holds_up_nobody() -> None:
    async with JobManager() as jobs:
        id = await jobs.start(unruly("hold_pipe"))
        (pid,) = await said(jobs, id)
        with watching(pid) as holder:
            result = await result_of(jobs, id)
            assert result == ExecResult(0, b"ready %d\n" % pid)
            info = await info_of(jobs, id)
            assert (info.status_string, info.output_open, info.output_late) == ("done:0", True, 0)
            chunks = [chunk async for chunk in jobs.follow(id)]
            assert chunks[-1].closed
            for late in (5, 10):
                holder.signal(signal.SIGUSR1)
                info = await info_when(jobs, id, partial(has_at_least, late))
                assert (info.output_late, info.output_open) == (late, True)
                assert not holder.is_dead
            holder.signal(signal.SIGUSR2)
            info = await info_when(jobs, id, lambda info: not info.output_open)
            assert info.output_late == 10
            assert not holder.is_dead
        assert await jobs.try_result(id) == result
        assert await jobs.read_stdout(id) == result.out


@on_all_loops
async def test_a_grandchild_meets_neither_sigpipe_nor_a_full_pipe(tmp_path: Path) -> None:
    async with JobManager() as jobs:
        id = await jobs.start(unruly("hold_pipe_and_flood_late", MUCH, tmp_path / "done"))
        (pid,) = await said(jobs, id)
        with watching(pid) as holder:
            await result_of(jobs, id)
            holder.signal(signal.SIGUSR1)
            await holder.death()
        info = await info_when(jobs, id, lambda info: not info.output_open)
        assert info.output_late == MUCH + len(b"end")
        assert (tmp_path / "done").exists()


@on_all_loops
async def test_a_grandchild_that_never_stops_writing_holds_up_nobody() -> None:
    async with JobManager() as jobs:
        id = await jobs.start(unruly("leave_a_flood"))
        (pid,) = await said(jobs, id, stream="stderr")
        with watching(pid) as holder:
            result = await result_of(jobs, id)
            assert result.code == 0
            assert set(result.out) <= set(b"x")
            await info_when(jobs, id, lambda info: info.output_late > 2 * MUCH)
            assert await jobs.read_stdout(id) == result.out
            assert not holder.is_dead
            assert await jobs.kill(id)
            assert holder.is_dead
        await info_when(jobs, id, lambda info: not info.output_open)


@on_all_loops
async def test_what_was_written_before_the_leader_ended_is_not_late() -> None:
    """The leader ends while the loop does something else; then all of it is in the pipe."""
    async with JobManager() as jobs:
        id = await jobs.start(unruly("hold_pipe_after", 50_000))
        (pid,) = await said(jobs, id, stream="stderr")
        leader, _ = await jobs.get_process_info(id) or (0, 0)
        with watching(pid) as holder, watching(leader) as process:
            process.signal(signal.SIGUSR1)
            # The loop stands still until the leader is dead.
            process.wait()
            result = await result_of(jobs, id)
            assert result.out == b"x" * 50_000 + b"end"
            assert (await info_of(jobs, id)).output_late == 0
            assert not holder.is_dead


@on_all_loops
async def test_a_pipe_stays_drained_when_its_job_was_removed(tmp_path: Path) -> None:
    async with JobManager() as jobs:
        id = await jobs.start(unruly("hold_pipe_and_flood_late", MUCH, tmp_path / "done"))
        (pid,) = await said(jobs, id)
        with watching(pid) as holder:
            await result_of(jobs, id)
            assert await jobs.remove(id)
            gc.collect()
            holder.signal(signal.SIGUSR1)
            await holder.death()
        assert (tmp_path / "done").exists()


@on_all_loops
async def test_an_unknown_job_has_no_output() -> None:
    async with JobManager() as jobs:
        nobody = JobId(99)
        assert await jobs.read_stdout(nobody) is None
        assert await jobs.read_stderr(nobody) is None
        assert await jobs.read_output(nobody) is None
        assert await jobs.streams(nobody) is None
        assert [chunk async for chunk in jobs.follow(nobody)] == []
