"""Which finished jobs stay, and how much of their output. Small bounds stand for the promised ones."""

from __future__ import annotations

from typing import Any

import pytest

from amper import ExecResult, JobId, JobManager, oneshot
from amper.flow.stream import BoundedStream
from amper.job import retention
from tests.handshakes import result_of
from tests.support import on_all_loops
from tests.work import bound, endless, gate, give, history, on_a_loop, turn


async def finished(jobs: JobManager, count: int, out: bytes = b"") -> list[JobId]:
    """Return jobs that have ended, in the order of their ids, and that nobody has looked at."""
    ids = []
    for _ in range(count):
        ids.append(await jobs.register("elsewhere", gate()))
        await jobs.finish(ids[-1], ExecResult(0, out))
    return ids


def test_the_promised_bounds_are_these() -> None:
    assert retention.UNTAKEN_KEPT == 10_000
    assert retention.OUTPUT_KEPT == 256 * 1024 * 1024
    kept = JobManager().table.retention
    assert (kept._taken_kept, kept._untaken_kept) == (100, retention.UNTAKEN_KEPT)
    assert kept._output_kept == retention.OUTPUT_KEPT


# Jobs whose result was taken.


@on_all_loops
async def test_of_the_jobs_that_were_taken_the_newest_stay() -> None:
    async with JobManager(finished_retention=2) as jobs:
        ids = await finished(jobs, 5)
        for id in ids:
            await result_of(jobs, id)
        assert await jobs.list_ids() == ids[3:]
        assert await history(jobs, ids[0]) == ["started", "ended", "removed"]
        assert await jobs.wait(ids[0]) is None


@on_a_loop
async def test_newest_is_by_completion_whatever_the_order_of_taking() -> None:
    async with JobManager(finished_retention=2) as jobs:
        a, b, c, d, e = [await jobs.register("elsewhere", gate()) for _ in range(5)]
        for id in (c, a, e, b, d):
            await jobs.finish(id, ExecResult(0))
        seen = []
        for id in (d, b, e, c, a):
            await result_of(jobs, id)
            seen.append(await jobs.list_ids())
        assert seen == [[a, b, c, d, e], [a, b, c, d, e], [a, b, c, d], [a, b, d], [b, d]]


@pytest.mark.parametrize("way", ["wait", "wait_all", "wait_any", "as_completed", "try_result"])
@on_a_loop
async def test_a_result_is_taken_by_whatever_hands_it_out(way: str) -> None:
    async with JobManager(finished_retention=0) as jobs:
        (id,) = await finished(jobs, 1)
        if way == "as_completed":
            assert [outcome async for outcome in jobs.as_completed()] == [(id, ExecResult(0))]
        elif way in ("wait_all", "wait_any"):
            assert await getattr(jobs, way)()
        else:
            assert await getattr(jobs, way)(id) == ExecResult(0)
        assert await jobs.list_ids() == []


@on_a_loop
async def test_looking_at_a_job_takes_nothing() -> None:
    async with JobManager(finished_retention=0) as jobs:
        (id,) = await finished(jobs, 1, b"out")
        await jobs.get(id)
        await jobs.list()
        await jobs.get_status_string(id)
        assert await jobs.read_stdout(id) == b"out"
        await jobs.read_output(id)
        assert [chunk.data async for chunk in jobs.follow(id)] == [b"out"]
        assert await jobs.exists(id)
        assert await jobs.wait(id) == ExecResult(0, b"out")
        assert not await jobs.exists(id)


@on_a_loop
async def test_no_bound_keeps_every_job() -> None:
    async with JobManager(finished_retention=None) as jobs:
        ids = await finished(jobs, 300)
        assert len(await jobs.wait_all()) == 300
        assert await jobs.list_ids() == ids
        assert [info.id for info in await jobs.reap_finished()] == ids


@on_all_loops
async def test_what_is_not_over_is_never_dropped() -> None:
    async with JobManager(finished_retention=0, max_running=1) as jobs:
        running, queued = jobs.spawn("work", endless()), jobs.spawn("work", give())
        registered = await jobs.register("elsewhere", gate())
        for id in await finished(jobs, 10):
            await result_of(jobs, id)
        assert await jobs.list_ids() == [running, queued, registered]


@pytest.mark.parametrize("kept, error", [(-1, ValueError), ("5", TypeError), ([], TypeError)])
def test_a_bad_retention_is_refused(kept: Any, error: type[Exception]) -> None:
    with pytest.raises(error):
        JobManager(finished_retention=kept)


# Jobs that nobody has looked at.


@on_a_loop
async def test_jobs_that_nobody_has_looked_at_stay_whatever_is_taken() -> None:
    async with JobManager(finished_retention=1) as jobs:
        untaken = await finished(jobs, 50)
        taken = await finished(jobs, 50)
        for id in taken:
            await result_of(jobs, id)
        assert await jobs.list_ids() == [*untaken, taken[-1]]


@on_a_loop
async def test_beyond_their_bound_the_oldest_of_them_go() -> None:
    async with JobManager() as jobs:
        bound(jobs, untaken=3)
        ids = await finished(jobs, 3)
        assert await jobs.list_ids() == ids
        ids += await finished(jobs, 2)
        assert await jobs.list_ids() == ids[2:]
        assert await history(jobs, ids[0]) == ["started", "ended", "removed"]
        # One that is taken or removed makes room.
        await result_of(jobs, ids[2])
        await jobs.remove(ids[3])
        ids += await finished(jobs, 2)
        assert await jobs.list_ids() == [ids[2], *ids[4:]]


# Output.


@on_all_loops
async def test_beyond_the_bound_the_oldest_output_goes_and_is_counted() -> None:
    async with JobManager() as jobs:
        bound(jobs, output=25)
        a, b, c = await finished(jobs, 3, b"0123456789")
        assert await jobs.list_ids() == [a, b, c]
        result = await result_of(jobs, a)
        assert (result.code, result.out, result.out_dropped) == (0, b"", 10)
        assert (await result_of(jobs, b)).out == b"0123456789"
        # The stream was there, and has lost its bytes.
        assert await jobs.read_stdout(a) == b""
        chunk = await jobs.read_output(a)
        assert chunk is not None
        assert (chunk.data, chunk.next, chunk.dropped, chunk.closed) == (b"", 10, 10, True)


@on_a_loop
async def test_output_that_is_in_given_streams_counts_and_goes_too() -> None:
    async with JobManager() as jobs:
        bound(jobs, output=25)
        tx, rx = oneshot()
        stdout, stderr = BoundedStream(), BoundedStream(5)
        id = await jobs.register_with_streams("elsewhere", rx, stdout, stderr)
        stdout.write(b"0123456789")
        stderr.write(b"0123456789")
        tx.send(ExecResult(3))
        await turn()
        await turn()
        assert await jobs.read_stderr(id) == b"56789"
        await finished(jobs, 1, b"0123456789abcdef")
        assert (await jobs.read_stdout(id), await jobs.read_stderr(id)) == (b"", b"")
        assert (stdout.stats().bytes_evicted, stderr.stats().bytes_evicted) == (10, 10)
        assert (await result_of(jobs, id)).code == 3


@on_a_loop
async def test_output_of_a_job_that_went_makes_room() -> None:
    async with JobManager(finished_retention=0) as jobs:
        bound(jobs, output=25, taken=0)
        a, b = await finished(jobs, 2, b"0123456789")
        await result_of(jobs, a)
        (c,) = await finished(jobs, 1, b"0123456789")
        assert (await result_of(jobs, b)).out == b"0123456789"
        assert (await result_of(jobs, c)).out == b"0123456789"


@on_a_loop
async def test_one_output_beyond_the_bound_goes_alone() -> None:
    async with JobManager() as jobs:
        bound(jobs, output=25)
        (huge,) = await finished(jobs, 1, b"x" * 100)
        (small,) = await finished(jobs, 1, b"x" * 25)
        result = await result_of(jobs, huge)
        assert (result.out, result.out_dropped) == (b"", 100)
        assert len((await result_of(jobs, small)).out) == 25


@on_a_loop
async def test_what_was_dropped_before_is_counted_with_the_rest() -> None:
    async with JobManager() as jobs:
        bound(jobs, output=10)
        id = await jobs.register("elsewhere", gate())
        await jobs.finish(id, ExecResult(0, b"12345", b"678901", None, 100, 200))
        result = await result_of(jobs, id)
        assert (result.out_dropped, result.err_dropped) == (105, 206)
