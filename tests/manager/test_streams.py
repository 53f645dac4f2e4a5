"""What jobs without a process print: streams of their own, given ones, and the result's."""

from __future__ import annotations

from typing import Any

import pytest

from amper import BoundedStream, ExecResult, JobManager, current_job, oneshot
from amper.job.runner import Streams
from tests.handshakes import result_of
from tests.support import on_all_loops
from tests.work import UNKNOWN, fail, gate, give, on_a_loop, turn


def pair(max_size: int = 100) -> tuple[BoundedStream, BoundedStream]:
    return BoundedStream(max_size), BoundedStream(max_size)


async def printed(jobs: JobManager, id: Any) -> tuple[bytes | None, bytes | None]:
    return await jobs.read_stdout(id), await jobs.read_stderr(id)


# Streams that an embedder gives.


@on_all_loops
async def test_given_streams_are_read_live_and_closed_at_the_end() -> None:
    async with JobManager() as jobs:
        tx, rx = oneshot()
        stdout, stderr = pair()
        stdout.write(b"before ")
        id = await jobs.register_with_streams("elsewhere", rx, stdout, stderr, name="n", tags=["a"])
        assert await jobs.streams(id) == (stdout, stderr)
        assert await printed(jobs, id) == (b"before ", b"")
        stdout.write(b"live")
        stderr.write(b"no")
        assert await printed(jobs, id) == (b"before live", b"no")
        tx.send("value")
        # What was written live is the output of a job that gives no result of its own.
        assert await result_of(jobs, id) == ExecResult(0, b"before live", b"no", "value")
        assert (stdout.stats().closed, stderr.stats().closed) == (True, True)
        stdout.write(b"too late")
        assert await printed(jobs, id) == (b"before live", b"no")


@pytest.mark.parametrize(
    "live, result, seen",
    [
        ((b"", b""), (b"out", b"err"), (b"out", b"err")),
        ((b"out", b""), (b"out", b"err"), (b"out", b"err")),
        ((b"", b"err"), (b"out", b"err"), (b"out", b"err")),
        ((b"out", b"err"), (b"out", b"err"), (b"out", b"err")),
        ((b"live", b""), (b"", b""), (b"live", b"")),
        ((b"live", b"live"), (b"other", b"other"), (b"live", b"live")),
        ((b"", b""), (b"", b""), (b"", b"")),
    ],
)
@on_a_loop
async def test_only_a_stream_that_got_nothing_is_filled_from_the_result(
    live: tuple[bytes, bytes], result: tuple[bytes, bytes], seen: tuple[bytes, bytes]
) -> None:
    async with JobManager() as jobs:
        tx, rx = oneshot()
        given = pair()
        id = await jobs.register_with_streams("elsewhere", rx, *given)
        for stream, data in zip(given, live, strict=True):
            stream.write(data)
        tx.send(ExecResult(3, *result))
        assert await result_of(jobs, id) == ExecResult(3, *result)
        assert await printed(jobs, id) == seen
        assert (given[0].read(), given[1].read()) == seen
        assert [stream.total_written for stream in given] == [len(data) for data in seen]


@on_a_loop
async def test_a_stream_counts_what_its_bound_took_of_live_output_and_of_the_results() -> None:
    async with JobManager() as jobs:
        ids = []
        for value in (None, ExecResult(0, b"0123456789")):
            tx, rx = oneshot()
            stdout, stderr = pair(4)
            ids.append(await jobs.register_with_streams("elsewhere", rx, stdout, stderr))
            if value is None:
                stdout.write(b"0123456789")
            tx.send(value)
        live, given = [await result_of(jobs, id) for id in ids]
        assert (live.out, live.out_dropped) == (b"6789", 6)
        assert (given.out, given.out_dropped) == (b"0123456789", 0)
        for id in ids:
            assert await jobs.read_stdout(id) == b"6789"
            chunk = await jobs.read_output(id)
            assert chunk is not None
            assert (chunk.data, chunk.dropped, chunk.closed) == (b"6789", 6, True)


@pytest.mark.parametrize("way", ["fails", "is cancelled", "loses its sender", "is closed"])
@on_a_loop
async def test_given_streams_are_closed_however_the_job_ends(way: str) -> None:
    given, future = pair(), gate()
    async with JobManager() as jobs:
        tx, rx = oneshot()
        channel: Any = rx if way == "loses its sender" else future
        id = await jobs.register_with_streams("elsewhere", channel, *given)
        given[0].write(b"live")
        if way == "fails":
            future.set_exception(ValueError("boom"))
        elif way == "is cancelled":
            future.cancel()
        elif way == "loses its sender":
            tx.close()
        else:
            await jobs.aclose()
        result = await result_of(jobs, id)
        assert result.out == b"live"
        assert (given[0].stats().closed, given[1].stats().closed) == (True, True)
        assert given[1].read() == result.err
        assert bool(result.err) == (result.code == 1)


@pytest.mark.parametrize("bad", [None, b"", "text", [], BoundedStream])
@on_a_loop
async def test_only_bounded_streams_are_taken(bad: Any) -> None:
    async with JobManager() as jobs:
        for streams in ((bad, BoundedStream()), (BoundedStream(), bad)):
            with pytest.raises(TypeError, match="BoundedStream"):
                await jobs.register_with_streams("elsewhere", gate(), *streams)
        assert await jobs.list_ids() == []


# Streams of a job's own.


@on_all_loops
async def test_a_job_without_output_has_no_streams_until_somebody_asks() -> None:
    async with JobManager() as jobs:
        future = gate()
        for id in (jobs.spawn("work", future), await jobs.register("elsewhere", future)):
            assert await printed(jobs, id) == (None, None)
            streams = await jobs.streams(id)
            assert isinstance(streams, Streams)
            assert await printed(jobs, id) == (b"", b"")
            streams.stdout.write(b"given later")
            assert await jobs.read_stdout(id) == b"given later"
            assert await jobs.streams(id) == streams
        future.set_result(None)
        assert [result.out for _, result in await jobs.wait_all()] == [b"given later"] * 2


@on_all_loops
async def test_what_a_coroutine_writes_is_there_at_once_and_in_its_result() -> None:
    go_on = gate()

    async def work() -> int:
        job = current_job()
        assert job is not None
        job.streams.stdout.write(b"out ")
        job.streams.stderr.write(b"err")
        await go_on
        job.streams.stdout.write(b"more")
        return 7

    async with JobManager() as jobs:
        id = jobs.spawn("work", work())
        await turn()
        assert await printed(jobs, id) == (b"out ", b"err")
        go_on.set_result(None)
        assert await result_of(jobs, id) == ExecResult(0, b"out more", b"err", 7)
        assert await printed(jobs, id) == (b"out more", b"err")


@pytest.mark.parametrize(
    "result, seen",
    [
        (ExecResult.success("out"), (b"out", b"")),
        (ExecResult.failure(3, "err"), (b"", b"err")),
        (ExecResult(0), (None, None)),
        (ExecResult(3), (None, None)),
        ("data only", (None, None)),
    ],
)
@on_a_loop
async def test_a_job_that_ends_with_output_has_streams_then(
    result: Any, seen: tuple[bytes | None, bytes | None]
) -> None:
    async with JobManager() as jobs:
        tx, rx = oneshot()
        ids = [jobs.spawn("work", give(result)), await jobs.register("elsewhere", rx)]
        tx.send(result)
        for id in ids:
            await result_of(jobs, id)
            assert await printed(jobs, id) == seen
            streams = await jobs.streams(id)
            assert streams is not None
            assert (streams.stdout.read(), streams.stderr.read()) == tuple(it or b"" for it in seen)
            assert (streams.stdout.stats().closed, streams.stderr.stats().closed) == (True, True)


@on_a_loop
async def test_streams_that_somebody_asked_for_are_filled_from_the_result() -> None:
    async with JobManager() as jobs:
        future = gate()
        id = jobs.spawn("work", future)
        streams = await jobs.streams(id)
        assert streams is not None
        future.set_result(ExecResult(0, b"out", b"err"))
        await result_of(jobs, id)
        assert (streams.stdout.read(), streams.stderr.read()) == (b"out", b"err")


@on_a_loop
async def test_an_error_is_told_after_what_was_written_live() -> None:
    async with JobManager() as jobs:
        future = gate()
        id = jobs.spawn("work", future)
        streams = await jobs.streams(id)
        assert streams is not None
        streams.stderr.write(b"warning\n")
        future.set_exception(ValueError("boom"))
        result = await result_of(jobs, id)
        assert result.err.startswith(b"warning\nValueError: boom")
        assert await jobs.read_stderr(id) == result.err
        alone = jobs.spawn("work", fail(ValueError("boom")))
        assert await jobs.read_stderr(alone) is None
        assert (await result_of(jobs, alone)).err == await jobs.read_stderr(alone)


@on_a_loop
async def test_the_memory_of_a_stream_becomes_the_results_and_is_no_copy() -> None:
    async with JobManager() as jobs:
        tx, rx = oneshot()
        stdout, stderr = pair()
        id = await jobs.register_with_streams("elsewhere", rx, stdout, stderr)
        stdout.write(b"x" * 50)
        tx.send(None)
        result = await result_of(jobs, id)
        assert stdout.freeze() is result.out


@on_a_loop
async def test_a_copy_does_not_change_when_more_is_written() -> None:
    async with JobManager() as jobs:
        stdout, stderr = pair()
        id = await jobs.register_with_streams("elsewhere", gate(), stdout, stderr)
        stdout.write(b"one")
        copy = await jobs.read_stdout(id)
        stdout.write(b"two")
        assert copy == b"one"
        assert isinstance(copy, bytes)


@on_a_loop
async def test_an_unknown_job_has_no_streams() -> None:
    async with JobManager() as jobs:
        assert await jobs.streams(UNKNOWN) is None
        assert await printed(jobs, UNKNOWN) == (None, None)
