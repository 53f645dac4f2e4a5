"""`events` and `read_events`: everything that happened, in order, for anybody to replay."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, AsyncIterator
from datetime import UTC, datetime
from typing import Any, cast

import pytest

from amper import EndedBy, Event, EventPage, ExecResult, JobId, JobManager, JobStatus
from amper.job.events import EVENTS_KEPT, EventLog
from tests.handshakes import result_of
from tests.support import cancelled, on_all_loops
from tests.work import NO_PROCESS, endless, gate, give, on_a_loop, turn

Told = tuple[JobId | None, str]


def told(event: Event) -> Told:
    return event.job_id, event.kind


async def everything(jobs: JobManager) -> list[Told]:
    page = await jobs.read_events()
    return [told(event) for event in page.events]


async def collect(events: AsyncIterator[Event]) -> list[Told]:
    return [told(event) async for event in events]


def keep_few(jobs: JobManager, kept: int) -> None:
    jobs.table.events = EventLog(kept)


async def happen(jobs: JobManager, count: int) -> None:
    """Let so many things happen, all of the kind `started`."""
    for _ in range(count):
        await jobs.register("elsewhere", gate())


# What is told.


@on_all_loops
async def test_a_whole_life_is_told_in_order_and_removal_is_its_last_word() -> None:
    async with JobManager(max_running=1) as jobs:
        first, second = jobs.spawn("first", endless()), jobs.spawn("second", endless())
        await jobs.kill(first, reason="because", by="me")
        await jobs.stop_job(second, NO_PROCESS, NO_PROCESS)
        await jobs.resume_job(second)
        await jobs.cancel(second)
        await result_of(jobs, second)
        await jobs.remove(first)
        await jobs.reap_finished()
        assert await everything(jobs) == [
            (first, "started"),
            (second, "queued"),
            (first, "ended"),
            (second, "started"),
            (second, "stopped"),
            (second, "resumed"),
            (second, "ended"),
            (first, "removed"),
            (second, "removed"),
        ]


@on_a_loop
async def test_an_event_says_what_who_and_why() -> None:
    before = datetime.now(UTC)
    async with JobManager() as jobs:
        id = jobs.spawn("work", endless())
        await jobs.kill(id, reason="because", by="me")
        await jobs.remove(id)
        started, ended, removed = (await jobs.read_events()).events
        assert (started.seq, started.kind, started.job_id) == (1, "started", id)
        assert (started.command, started.status) == ("work", JobStatus.RUNNING)
        assert (started.exit_code, started.ended_by, started.count) == (None, None, None)
        assert (ended.status, ended.exit_code) == (JobStatus.KILLED, 130)
        assert ended.ended_by == EndedBy("kill", "because", "me")
        assert (removed.seq, removed.status, removed.exit_code) == (3, JobStatus.KILLED, 130)
        times = [started.time, ended.time, removed.time]
        assert before <= times[0] <= times[1] <= times[2] <= datetime.now(UTC)
        assert {time.tzinfo for time in times} == {UTC}
        assert json.loads(json.dumps(ended.to_dict()))["ended_by"]["reason"] == "because"


@on_a_loop
async def test_the_end_of_a_failure_tells_its_code_and_of_nobody() -> None:
    async with JobManager() as jobs:
        await jobs.wait(jobs.spawn("work", give(ExecResult(3, b"out"))))
        _, ended = (await jobs.read_events()).events
        assert (ended.status, ended.exit_code, ended.ended_by) == (JobStatus.FAILED, 3, None)


@pytest.mark.parametrize("ending", ["ends", "is killed with the manager"])
@on_all_loops
async def test_a_job_that_was_removed_while_it_ran_is_not_heard_of_again(ending: str) -> None:
    async with JobManager() as jobs:
        go_on = gate()
        id = jobs.spawn("work", endless() if ending != "ends" else asyncio.wait_for(go_on, 60))
        await turn()
        await jobs.remove(id)
        if ending == "ends":
            go_on.set_result(None)
            await turn()
            await turn()
        await jobs.aclose()
        assert await everything(jobs) == [(id, "started"), (id, "removed")]


@on_a_loop
async def test_a_queued_job_that_never_starts_is_told_so() -> None:
    async with JobManager(max_running=1) as jobs:
        jobs.spawn("first", endless())
        ended, removed = jobs.spawn("second", endless()), jobs.spawn("third", endless())
        await jobs.cancel(ended, reason="no need")
        await jobs.remove(removed)
        page = await jobs.read_events(since=1)
        assert [told(event) for event in page.events] == [
            (ended, "queued"),
            (removed, "queued"),
            (ended, "ended"),
            (removed, "removed"),
        ]
        assert page.events[2].ended_by == EndedBy("cancel", "no need")
        assert page.events[3].status is JobStatus.QUEUED


# A stream of events.


@on_all_loops
async def test_a_reader_gets_what_was_and_what_comes_until_the_managers_last_event() -> None:
    jobs = JobManager()
    first = jobs.spawn("first", give())
    await result_of(jobs, first)
    readers = [asyncio.ensure_future(collect(jobs.events(since))) for since in (0, 1, 2, None)]
    await turn()
    second = jobs.spawn("second", endless())
    await jobs.aclose()
    whole: list[Told] = [
        (first, "started"),
        (first, "ended"),
        (second, "started"),
        (second, "ended"),
    ]
    seen = await asyncio.gather(*readers)
    assert seen == [whole, whole[1:], whole[2:], whole[2:]]
    # Whoever comes after the end can still read it all.
    assert await collect(jobs.events()) == whole
    assert await collect(jobs.events(None)) == []
    assert await collect(jobs.events(99)) == []


@on_a_loop
async def test_only_what_is_new_begins_with_the_call_and_not_with_the_first_step() -> None:
    async with JobManager() as jobs:
        await happen(jobs, 1)
        events, page = jobs.events(None), await jobs.read_events(None)
        assert page == EventPage((), 1)
        await happen(jobs, 1)
        assert (await anext(events)).seq == 2
        assert [event.seq for event in (await jobs.read_events(page.next)).events] == [2]
        await cast(AsyncGenerator[Any, None], events).aclose()


@on_a_loop
async def test_a_number_that_was_not_given_yet_means_what_is_new() -> None:
    async with JobManager() as jobs:
        await happen(jobs, 2)
        assert await jobs.read_events(99) == EventPage((), 2)


@on_all_loops
async def test_a_reader_that_stops_early_or_is_cancelled_leaves_nothing_behind() -> None:
    async with JobManager() as jobs:
        await happen(jobs, 1)
        events = jobs.events()
        async for event in events:
            assert event.seq == 1
            break
        await events.aclose()
        reading = asyncio.ensure_future(collect(jobs.events()))
        await turn()
        assert len(jobs.table.events.waiters) == 1
        await cancelled(reading)
        assert not jobs.table.events.waiters


# Pages.


@on_a_loop
async def test_pages_follow_each_other_without_gap_or_repetition() -> None:
    async with JobManager() as jobs:
        await happen(jobs, 5)
        pages = [await jobs.read_events(limit=2)]
        while pages[-1].events:
            pages.append(await jobs.read_events(pages[-1].next, limit=2))
        assert [[event.seq for event in page.events] for page in pages] == [[1, 2], [3, 4], [5], []]
        assert [page.next for page in pages] == [2, 4, 5, 5]
        assert await jobs.read_events(2, limit=0) == EventPage((), 2)


@on_a_loop
async def test_an_empty_log_is_an_empty_page() -> None:
    async with JobManager() as jobs:
        assert await jobs.read_events() == EventPage((), 0)


@on_a_loop
async def test_a_reader_that_comes_too_late_is_told_how_much_it_missed() -> None:
    async with JobManager() as jobs:
        keep_few(jobs, 3)
        await happen(jobs, 10)
        page = await jobs.read_events(2)
        assert (page.events[0].kind, page.events[0].count) == ("missed", 5)
        assert [event.seq for event in page.events] == [7, 8, 9, 10]
        assert (page.missed, page.next) == (5, 10)
        # In time is in time, also at the edge.
        assert (await jobs.read_events(7)).missed == 0
        # A small page tells of the loss first.
        small = await jobs.read_events(0, limit=1)
        assert [(event.kind, event.count) for event in small.events] == [("missed", 7)]
        assert [event.seq for event in (await jobs.read_events(small.next)).events] == [8, 9, 10]


@on_all_loops
async def test_an_iteration_that_is_overtaken_goes_on_with_what_is_left() -> None:
    async with JobManager() as jobs:
        keep_few(jobs, 3)
        await happen(jobs, 1)
        events = jobs.events()
        assert (await anext(events)).seq == 1
        await happen(jobs, 9)
        missed, *seen = [await anext(events) for _ in range(4)]
        assert (missed.kind, missed.count) == ("missed", 6)
        assert [event.seq for event in seen] == [8, 9, 10]
        await events.aclose()


@on_a_loop
async def test_ten_thousand_events_are_kept() -> None:
    async with JobManager() as jobs:
        assert EVENTS_KEPT == 10_000
        job = jobs.table.get(await jobs.register("elsewhere", gate()))
        assert job is not None
        for _ in range(EVENTS_KEPT):
            jobs.table.events.append("started", job)
        page = await jobs.read_events(limit=20_000)
        assert (page.missed, page.next) == (1, 10_001)
        assert len(page.events) == 10_001


@on_a_loop
async def test_bad_numbers_are_refused() -> None:
    text: Any = "1"
    async with JobManager() as jobs:
        with pytest.raises(ValueError, match="negative"):
            jobs.events(-1)
        with pytest.raises(ValueError, match="negative"):
            await jobs.read_events(-1)
        with pytest.raises(ValueError, match="negative"):
            await jobs.read_events(limit=-1)
        for numbers in ((text,), (0, text)):
            with pytest.raises(TypeError):
                await jobs.read_events(*numbers)


@on_a_loop
async def test_a_removed_jobs_output_is_not_kept_by_its_events() -> None:
    async with JobManager() as jobs:
        id = await jobs.register("elsewhere", gate())
        out = b"x" * 1000
        await jobs.finish(id, ExecResult(0, out))
        await jobs.remove(id)
        kept: list[tuple[object, ...]] = list(jobs.table.events._entries)
        assert not any(out in entry for entry in kept)
        assert [event.exit_code for event in (await jobs.read_events()).events] == [None, 0, 0]
