"""The contract: results, waiters, events, output and what is known of a job while it lives and after."""

from __future__ import annotations

import asyncio
from datetime import UTC

import pytest

from amper import JobManager, JobStatus
from tests.contract.kinds import READY, Work
from tests.contract.support import for_each_kind
from tests.handshakes import result_of


@for_each_kind
async def test_every_waiter_gets_the_result(kind: type[Work]) -> None:
    async with JobManager() as jobs:
        work = kind()
        await work.begin(jobs)
        waiters = [asyncio.ensure_future(jobs.wait(work.id)) for _ in range(5)]
        assert await jobs.wait(work.id, timeout=0) is None
        waiters[0].cancel()
        await work.end(3, "out", "err")
        results = await asyncio.gather(*waiters[1:])
        late = await result_of(jobs, work.id)
        assert (late.code, late.out, late.err) == (3, READY + b"out", b"err")
        assert results == [late] * 4


@for_each_kind
async def test_output_is_live_and_whole_when_the_status_is_final(kind: type[Work]) -> None:
    async with JobManager() as jobs:
        work = kind()
        await work.begin(jobs)
        assert await jobs.read_stdout(work.id) == READY
        assert await jobs.read_stderr(work.id) == b""

        async def follow() -> tuple[bytes, bool]:
            chunks = [chunk async for chunk in jobs.follow(work.id)]
            return b"".join(chunk.data for chunk in chunks), chunks[-1].closed

        following = asyncio.ensure_future(follow())
        await work.end(0, "out", "err")
        async for event in jobs.events():
            if event.kind == "ended":
                break
        assert await jobs.read_stdout(work.id) == READY + b"out"
        assert await jobs.read_stderr(work.id) == b"err"
        assert await following == (READY + b"out", True)
        chunk = await jobs.read_output(work.id, len(READY), limit=2)
        assert chunk is not None
        assert (chunk.data, chunk.next, chunk.closed) == (b"ou", len(READY) + 2, False)
        streams = await jobs.streams(work.id)
        assert streams is not None
        assert (streams.stdout.stats().closed, streams.stderr.stats().closed) == (True, True)


@for_each_kind
async def test_everything_that_happens_is_told_in_order(kind: type[Work]) -> None:
    async with JobManager() as jobs:
        work = kind()
        await work.begin(jobs)
        await jobs.kill(work.id, by="me")
        await jobs.remove(work.id)
        events = (await jobs.read_events()).events
        assert [(event.seq, event.kind) for event in events] == [
            (1, "started"),
            (2, "ended"),
            (3, "removed"),
        ]
        assert {(event.job_id, event.command) for event in events} == {(work.id, events[0].command)}
        ended = events[1]
        assert (ended.status, ended.exit_code) == (JobStatus.KILLED, work.code_when_asked)
        assert ended.ended_by is not None
        assert ended.ended_by.by == "me"


@for_each_kind
async def test_a_snapshot_says_what_it_is_called_and_when_it_was(kind: type[Work]) -> None:
    async with JobManager() as jobs:
        work = kind()
        await work.begin(jobs, name="n", tags=("a",))
        info = await jobs.get(work.id)
        assert info is not None
        assert (info.id, info.name, info.tags) == (work.id, "n", ("a",))
        assert (info.status_string, info.exit_code, info.finished_at) == ("running", None, None)
        assert info.started_at is not None
        assert info.started_at.tzinfo is UTC
        assert [found.id for found in await jobs.list(name="n", tag="a")] == [work.id]
        assert await jobs.running_count() == 1
        await work.end(3)
        await result_of(jobs, work.id)
        over = await jobs.get(work.id)
        assert over is not None
        assert (over.status_string, over.exit_code, over.command) == ("failed:3", 3, info.command)
        assert over.finished_at is not None
        assert info.created_at <= info.started_at <= over.finished_at
        assert over.elapsed >= info.elapsed
        assert await jobs.running_count() == 0


@for_each_kind
async def test_jobs_are_waited_for_together_in_order_of_completion(kind: type[Work]) -> None:
    async with JobManager() as jobs:
        works = [kind() for _ in range(3)]
        for work in works:
            await work.begin(jobs)
        waiting = asyncio.ensure_future(jobs.wait_all())
        for work in reversed(works):
            await work.end(work.id)
            assert await jobs.wait_any([work.id]) == (work.id, await jobs.wait(work.id))
        outcomes = await waiting
        assert [id for id, _ in outcomes] == [work.id for work in reversed(works)]
        assert all(result.code == id for id, result in outcomes)


@for_each_kind
async def test_a_running_job_that_is_removed_runs_on_and_nobody_waits_for_it(
    kind: type[Work],
) -> None:
    async with JobManager() as jobs:
        work = kind()
        await work.begin(jobs)
        waiters = [
            asyncio.ensure_future(jobs.wait(work.id)),
            asyncio.ensure_future(jobs.wait_any([work.id])),
        ]
        await asyncio.sleep(0)
        assert await jobs.remove(work.id)
        assert await asyncio.gather(*waiters) == [None, None]
        assert not await jobs.exists(work.id)
        assert not await jobs.kill(work.id)
        assert not work.is_gone()


@pytest.mark.parametrize("way", ["removed", "reaped", "taken"])
@for_each_kind
async def test_a_finished_job_that_goes_is_a_result_for_who_waited(
    kind: type[Work], way: str
) -> None:
    async with JobManager(finished_retention=0) as jobs:
        work = kind()
        await work.begin(jobs)

        async def go() -> None:
            async for event in jobs.events():
                if event.kind == "ended":
                    break
            if way == "removed":
                await jobs.remove(work.id)
            elif way == "reaped":
                await jobs.reap_finished()

        waiter, going = asyncio.ensure_future(jobs.wait(work.id)), asyncio.ensure_future(go())
        await asyncio.sleep(0)
        await work.end(3)
        result = await waiter
        assert result is not None
        assert result.code == 3
        await going
        assert await jobs.list_ids() == []


@for_each_kind
async def test_a_job_takes_a_place_until_it_is_over(kind: type[Work]) -> None:
    async with JobManager(max_running=1) as jobs:
        first, second = kind(), kind()
        await first.begin(jobs)
        second.id = await second.make(jobs)
        expected = "queued" if kind.takes_place else "running"
        assert await jobs.get_status_string(second.id) == expected
        await first.end()
        await result_of(jobs, first.id)
        assert await jobs.get_status_string(second.id) == "running"
