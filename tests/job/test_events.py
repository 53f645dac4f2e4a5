"""The log of what happened: bounded, numbered, and honest about what it has forgotten."""

from __future__ import annotations

import gc
import weakref
from datetime import UTC, datetime

import pytest

from amper import EndedBy, Event, ExecResult
from amper.job.events import EVENTS_KEPT, EventLog
from amper.job.lifecycle import Happening
from tests.job.workbench import Workbench


def log_of(count: int, kept: int) -> EventLog:
    """Return a log that keeps `kept` events, after `count` of them."""
    log = EventLog(kept)
    job = Workbench().add()
    for _ in range(count):
        log.append("started", job)
    return log


def numbers(events: tuple[Event, ...]) -> list[int]:
    return [event.seq for event in events]


def test_an_event_says_what_happened_to_which_job_and_when() -> None:
    bench = Workbench()
    before = datetime.now(UTC)
    job = bench.add_command(Happening.QUEUE)
    killed = EndedBy("kill", "too slow", "somebody")
    bench.table.started(job)
    bench.end(job, ExecResult(137), ended_by=killed, signal=9)
    bench.table.remove(job)
    queued, started, ended, removed = bench.table.events.read(0).events
    assert queued == Event(1, queued.time, "queued", job.id, "make", queued.status)
    assert started == Event(2, started.time, "started", job.id, "make", started.status)
    assert ended == Event(
        3, ended.time, "ended", job.id, "make", ended.status, 137, signal=9, ended_by=killed
    )
    statuses = [str(event.status) for event in (queued, started, ended, removed)]
    assert statuses == ["queued", "running", "killed", "killed"]
    assert before <= queued.time <= started.time <= ended.time <= datetime.now(UTC)


def test_ten_thousand_events_are_kept() -> None:
    assert EVENTS_KEPT == 10_000
    assert EventLog()._entries.maxlen == 10_000


def test_numbers_begin_at_1_and_grow_by_1() -> None:
    log = log_of(3, kept=10)
    assert numbers(log.read(0).events) == [1, 2, 3]
    assert log.last == 3


def test_nothing_has_happened_yet() -> None:
    log = log_of(0, kept=10)
    page = log.read(0)
    assert (page.events, page.next, page.missed) == ((), 0, 0)
    assert log.last == 0


@pytest.mark.parametrize("since, seen", [(0, [1, 2, 3]), (1, [2, 3]), (3, []), (1000, [])])
def test_since_is_the_last_number_seen_and_not_included(since: int, seen: list[int]) -> None:
    page = log_of(3, kept=10).read(since)
    assert numbers(page.events) == seen
    # Whoever comes from another manager's numbers goes on with ours.
    assert (page.next, page.missed) == (3, 0)


def test_a_page_has_at_most_so_many_and_says_where_to_go_on() -> None:
    log = log_of(5, kept=10)
    first = log.read(0, limit=2)
    second = log.read(first.next, limit=2)
    third = log.read(second.next, limit=2)
    assert [numbers(page.events) for page in (first, second, third)] == [[1, 2], [3, 4], [5]]
    assert [page.next for page in (first, second, third)] == [2, 4, 5]
    assert log.read(2, limit=0).next == 2


@pytest.mark.parametrize(
    "since, limit, missed, seen, following",
    [
        (0, None, 4, [4, 5, 6, 7], 7),
        (3, None, 1, [4, 5, 6, 7], 7),
        (4, None, 0, [5, 6, 7], 7),
        (0, 1, 4, [4], 4),
        (0, 2, 4, [4, 5], 5),
        (0, 0, 4, [], 0),
    ],
)
def test_a_reader_that_comes_too_late_is_told_how_much_it_missed(
    since: int, limit: int | None, missed: int, seen: list[int], following: int
) -> None:
    page = log_of(7, kept=3).read(since, limit)
    assert (page.missed, numbers(page.events), page.next) == (missed, seen, following)
    for event in page.events:
        if event.seq == 4:
            assert event == Event(4, event.time, "missed", count=missed)
        else:
            assert event.kind == "started"


@pytest.mark.parametrize("since, limit", [(-1, None), (0, -1)])
def test_a_negative_number_is_refused(since: int, limit: int | None) -> None:
    with pytest.raises(ValueError, match="negative"):
        log_of(1, kept=3).read(since, limit)


def test_the_log_keeps_no_output_of_a_job_that_is_gone() -> None:
    class Data:
        """Something that can be seen to go."""

    bench = Workbench()
    data = Data()
    gone = weakref.ref(data)
    bench.table.remove(bench.finished(ExecResult(0, data=data)))
    bench.removed.clear()
    del data
    gc.collect()
    assert gone() is None
    assert [event.kind for event in bench.table.events.read(0).events][-2:] == ["ended", "removed"]
