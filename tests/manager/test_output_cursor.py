"""`read_output` and `follow`: a cursor over what a job prints."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from typing import Any, cast

import pytest

from amper import BoundedStream, Chunk, ExecResult, JobId, JobManager, Sender, oneshot
from tests.handshakes import result_of
from tests.support import cancelled, on_all_loops
from tests.work import UNKNOWN, endless, gate, give, on_a_loop, turn


class Printing:
    """A registered job that prints what the test says."""

    def __init__(self, id: JobId, tx: Sender[Any], out: BoundedStream, err: BoundedStream) -> None:
        self.id = id
        self.tx = tx
        self.out = out
        self.err = err

    @property
    def followers(self) -> int:
        return len(self.out._waiters or ())


async def printing(jobs: JobManager, max_size: int = 1000) -> Printing:
    tx, rx = oneshot()
    out, err = BoundedStream(max_size), BoundedStream(max_size)
    return Printing(await jobs.register_with_streams("elsewhere", rx, out, err), tx, out, err)


async def collect(chunks: AsyncIterator[Chunk]) -> list[Chunk]:
    return [chunk async for chunk in chunks]


def joined(chunks: list[Chunk]) -> bytes:
    return b"".join(chunk.data for chunk in chunks)


async def close(iterator: AsyncIterator[Any]) -> None:
    await cast(AsyncGenerator[Any, None], iterator).aclose()


# One look.


@on_a_loop
async def test_a_cursor_gives_what_is_new_at_once_and_says_where_to_go_on() -> None:
    async with JobManager() as jobs:
        job = await printing(jobs)
        assert await jobs.read_output(job.id) == Chunk(b"", 0)
        job.out.write(b"0123456789")
        job.err.write(b"error")
        assert await jobs.read_output(job.id) == Chunk(b"0123456789", 10)
        assert await jobs.read_output(job.id, 4, limit=3) == Chunk(b"456", 7)
        assert await jobs.read_output(job.id, limit=0) == Chunk(b"", 0)
        assert await jobs.read_output(job.id, 10) == Chunk(b"", 10)
        assert await jobs.read_output(job.id, 99) == Chunk(b"", 10)
        assert await jobs.read_output(job.id, stream="stderr") == Chunk(b"error", 5)
        job.tx.send(None)
        await result_of(jobs, job.id)
        # Only what reaches the end is the last.
        assert await jobs.read_output(job.id, 8, limit=1) == Chunk(b"8", 9)
        assert await jobs.read_output(job.id, 8) == Chunk(b"89", 10, closed=True)
        assert await jobs.read_output(job.id, 10) == Chunk(b"", 10, closed=True)


@on_a_loop
async def test_what_a_bound_took_before_a_piece_is_counted() -> None:
    async with JobManager() as jobs:
        job = await printing(jobs, max_size=4)
        job.out.write(b"0123456789")
        assert await jobs.read_output(job.id) == Chunk(b"6789", 10, dropped=6)
        assert await jobs.read_output(job.id, 5, limit=2) == Chunk(b"67", 8, dropped=1)
        assert await jobs.read_output(job.id, 8) == Chunk(b"89", 10)


@on_a_loop
async def test_a_job_that_printed_nothing_reads_empty_and_an_unknown_one_is_none() -> None:
    async with JobManager() as jobs:
        running, over = jobs.spawn("work", endless()), jobs.spawn("work", give())
        await result_of(jobs, over)
        assert await jobs.read_output(running) == Chunk(b"", 0)
        assert await jobs.read_output(over) == Chunk(b"", 0, closed=True)
        assert await jobs.read_output(UNKNOWN) is None


@on_a_loop
async def test_bad_cursors_are_refused() -> None:
    name: Any = "output"
    async with JobManager() as jobs:
        id = jobs.spawn("work", endless())
        for options in ({"since": -1}, {"limit": -1}, {"stream": name}):
            with pytest.raises(ValueError, match=r"negative|stdout"):
                await jobs.read_output(id, **options)
        for options in ({"since": -1}, {"stream": name}):
            with pytest.raises(ValueError, match=r"negative|stdout"):
                await collect(jobs.follow(id, **options))


# Following.


@on_all_loops
async def test_a_follower_gets_everything_as_it_comes_and_then_the_end() -> None:
    async with JobManager() as jobs:
        job = await printing(jobs)
        job.out.write(b"early ")
        chunks = jobs.follow(job.id)
        assert await anext(chunks) == Chunk(b"early ", 6)
        coming = asyncio.ensure_future(anext(chunks))
        await turn()
        assert not coming.done()
        job.out.write(b"live")
        assert await coming == Chunk(b"live", 10)
        job.tx.send(None)
        assert await collect(chunks) == [Chunk(b"", 10, closed=True)]


@on_all_loops
async def test_a_follower_may_begin_anywhere_and_choose_the_stream() -> None:
    async with JobManager() as jobs:
        job = await printing(jobs)
        job.out.write(b"0123456789")
        job.err.write(b"error")
        followers = [
            asyncio.ensure_future(collect(jobs.follow(job.id, since))) for since in (0, 4, 10)
        ]
        errors = jobs.follow(job.id, stream="stderr")
        followers.append(asyncio.ensure_future(collect(errors)))
        await turn()
        job.tx.send(None)
        seen = [joined(await follower) for follower in followers]
        assert seen == [b"0123456789", b"456789", b"", b"error"]
        # What is over can be followed just as well.
        assert await collect(jobs.follow(job.id, 8)) == [Chunk(b"89", 10, closed=True)]


@on_a_loop
async def test_a_follower_that_is_overtaken_is_told_how_much_it_lost() -> None:
    async with JobManager() as jobs:
        job = await printing(jobs, max_size=4)
        job.out.write(b"01")
        chunks = jobs.follow(job.id)
        assert await anext(chunks) == Chunk(b"01", 2)
        job.out.write(b"23456789")
        assert await anext(chunks) == Chunk(b"6789", 10, dropped=4)
        await close(chunks)


@on_all_loops
async def test_a_follower_of_a_job_without_streams_gets_its_results_output() -> None:
    async with JobManager() as jobs:
        future = gate()
        id = jobs.spawn("work", future)
        both = [
            asyncio.ensure_future(collect(jobs.follow(id, stream=stream)))
            for stream in ("stdout", "stderr")
        ]
        await turn()
        future.set_result(ExecResult(0, b"out", b"err"))
        assert [joined(await chunks) for chunks in both] == [b"out", b"err"]
        assert [(await chunks)[-1].closed for chunks in both] == [True, True]


@pytest.mark.parametrize("ending", ["kill", "cancel", "remove", "remove and end", "aclose"])
@on_all_loops
async def test_a_follower_ends_with_the_job_however_that_ends(ending: str) -> None:
    jobs = JobManager()
    id = jobs.spawn("work", endless())
    following = asyncio.ensure_future(collect(jobs.follow(id)))
    await turn()
    if ending == "kill":
        await jobs.kill(id)
    elif ending == "cancel":
        await jobs.cancel(id)
    elif ending.startswith("remove"):
        await jobs.remove(id)
    await jobs.aclose()
    assert await following == [Chunk(b"", 0, closed=True)]


@on_a_loop
async def test_an_unknown_job_has_nothing_to_follow() -> None:
    async with JobManager() as jobs:
        assert await collect(jobs.follow(UNKNOWN)) == []


@on_all_loops
async def test_a_follower_that_stops_early_or_is_cancelled_leaves_nothing_behind() -> None:
    async with JobManager() as jobs:
        job = await printing(jobs)
        job.out.write(b"early")
        async for chunk in (chunks := jobs.follow(job.id)):
            assert chunk.data == b"early"
            break
        await close(chunks)
        following = asyncio.ensure_future(collect(jobs.follow(job.id)))
        await turn()
        assert job.followers == 1
        await cancelled(following)
        assert job.followers == 0
        assert await jobs.get_status_string(job.id) == "running"
