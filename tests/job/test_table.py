"""What happens to jobs, and what the record, the log and the waiters say then."""

from __future__ import annotations

import tracemalloc

import pytest

from amper import EndedBy, ExecResult, InternalError, JobId, JobStatus
from amper.job.events import EVENTS_KEPT
from amper.job.job import Job
from amper.job.lifecycle import Happening
from amper.values import Ended
from tests.job.workbench import Workbench

KILLED = EndedBy("kill", "too slow", "somebody")


def test_ids_begin_at_1_and_are_never_used_again() -> None:
    bench = Workbench()
    assert [bench.add().id for _ in range(3)] == [1, 2, 3]
    for job in bench.table.jobs():
        bench.table.remove(job)
    assert bench.table.ids() == []
    assert bench.add().id == 4


def test_jobs_are_found_by_id_and_listed_in_its_order() -> None:
    bench = Workbench()
    first, second, third = bench.add(), bench.add(), bench.add()
    bench.table.remove(second)
    bench.end(third)
    assert bench.table.ids() == [1, 3]
    assert bench.table.jobs() == [first, third]
    assert bench.table.get(JobId(3)) is third
    assert bench.table.get(JobId(2)) is None
    assert bench.table.get(JobId(99)) is None


@pytest.mark.parametrize(
    "happening, status, event, running",
    [
        (Happening.START, "running", "started", 1),
        (Happening.QUEUE, "queued", "queued", 0),
        (Happening.STOP, "stopped", "stopped", 0),
    ],
)
def test_a_job_begins_running_queued_or_stopped(
    happening: Happening, status: str, event: str, running: int
) -> None:
    bench = Workbench()
    job = bench.add(happening)
    assert job.status_string == status
    assert bench.history(job) == [event]
    assert bench.table.running_count == running


def test_a_job_that_cannot_begin_so_is_not_there_and_costs_no_id() -> None:
    bench = Workbench()
    with pytest.raises(InternalError, match="not there yet cannot resume"):
        bench.add(Happening.RESUME)
    assert bench.table.ids() == []
    assert bench.add().id == 1


def test_a_whole_life_is_on_record() -> None:
    bench = Workbench()
    job = bench.add(Happening.QUEUE)
    counts = [bench.table.running_count]
    for happen in (bench.table.started, bench.table.stopped, bench.table.resumed, bench.end):
        happen(job)
        counts.append(bench.table.running_count)
    bench.table.remove(job)
    assert bench.history(job) == ["queued", "started", "stopped", "resumed", "ended", "removed"]
    assert counts == [0, 1, 0, 1, 0]


def test_the_last_stopped_is_the_one_stopped_last_that_still_is() -> None:
    bench = Workbench()
    first, second, third = bench.add(), bench.add(), bench.add(Happening.STOP)
    assert bench.table.last_stopped() == third.id
    bench.table.stopped(second)
    bench.table.stopped(first)
    assert bench.table.last_stopped() == first.id
    bench.table.resumed(first)
    assert bench.table.last_stopped() == second.id
    bench.end(second)
    assert bench.table.last_stopped() == third.id
    bench.table.remove(third)
    assert bench.table.last_stopped() is None


# How a job ends.


@pytest.mark.parametrize(
    "code, ended_by, status",
    [
        (0, None, "done:0"),
        (3, None, "failed:3"),
        (137, None, "failed:137"),
        (143, KILLED, "killed:143"),
        (1, EndedBy("timeout"), "killed:1"),
        # It was asked to end, and did so in its own good way.
        (0, KILLED, "done:0"),
    ],
)
def test_who_ends_a_job_decides_its_colour(
    code: int, ended_by: EndedBy | None, status: str
) -> None:
    bench = Workbench()
    job = bench.end(bench.add(), ExecResult(code, b"out"), ended_by=ended_by)
    assert job.status_string == status
    assert job.result == ExecResult(code, b"out", ended_by=ended_by)
    assert bench.table.events.read(0).events[-1].ended_by == ended_by
    assert job.runner is None


def test_the_first_who_ends_a_job_is_the_one() -> None:
    bench = Workbench()
    job = bench.add()
    assert job.runner is not None
    job.runner.claim(KILLED)
    bench.end(job, ExecResult(143), ended_by=EndedBy("close"))
    assert job.result is not None
    assert job.result.ended_by == KILLED


def test_a_result_that_was_passed_on_does_not_say_who_ended_this_job() -> None:
    """A coroutine that waits for another job, and returns what that came to, was ended by nobody."""
    bench = Workbench()
    job = bench.end(bench.add(), ExecResult(143, b"out", ended_by=KILLED))
    assert job.status_string == "failed:143"
    assert job.result == ExecResult(143, b"out")
    assert bench.table.info(job).ended_by is None


def test_a_lost_job_has_no_code() -> None:
    bench = Workbench()
    job = bench.end(bench.add(), ExecResult(1), is_lost=True)
    assert job.status_string == "lost"
    assert bench.table.info(job).exit_code is None


def test_a_stopped_job_can_end_as_it_is() -> None:
    bench = Workbench()
    job = bench.end(bench.add(Happening.STOP), ExecResult(137), ended_by=KILLED)
    assert job.status is JobStatus.KILLED
    assert bench.table.last_stopped() is None
    assert bench.table.running_count == 0


def test_a_queued_job_can_be_killed() -> None:
    bench = Workbench()
    job = bench.end(bench.add(Happening.QUEUE), ExecResult(130), ended_by=KILLED)
    assert bench.history(job) == ["queued", "ended"]
    assert bench.table.running_count == 0


def test_jobs_end_in_an_order_even_where_the_clock_stands_or_goes_back() -> None:
    bench = Workbench()
    jobs = [bench.finished(), bench.finished()]
    bench.clock.now -= 50
    jobs.append(bench.finished())
    assert sorted(jobs, key=lambda job: job.finished) == jobs
    assert len({job.finished for job in jobs}) == 3


def test_a_job_that_ends_twice_is_a_bug_that_tells_its_history() -> None:
    bench = Workbench()
    bench.add()
    job = bench.finished(ExecResult(3))
    with pytest.raises(InternalError, match="job 2 ended twice: it is failed:3") as caught:
        bench.end(job)
    assert job.status_string == "failed:3"
    told = [(event.kind, event.job_id) for event in caught.value.history]  # type: ignore[attr-defined]  # They are events.
    assert told == [("started", 2), ("ended", 2)]


def test_what_cannot_happen_changes_nothing() -> None:
    bench = Workbench()
    job = bench.add(Happening.QUEUE)
    waiter = bench.wait(job)
    with pytest.raises(InternalError, match="job 1: a job that is queued cannot fail"):
        bench.end(job, ExecResult(3))
    for impossible in (bench.table.stopped, bench.table.resumed):
        with pytest.raises(InternalError, match="job 1: a job that is queued cannot"):
            impossible(job)
    assert job.status_string == "queued"
    assert job.result is None
    assert bench.history(job) == ["queued"]
    assert bench.table.running_count == 0
    assert bench.table.last_stopped() is None
    assert not waiter.news
    bench.table.started(job)
    bench.end(job)
    assert waiter.news == [(job, ExecResult(0))]


# Who waits.


def test_everybody_who_waits_hears_of_the_end_once() -> None:
    bench = Workbench()
    job = bench.add()
    waiters = [bench.wait(job) for _ in range(3)]
    bench.end(job, ExecResult(3))
    bench.table.remove(job)
    assert [waiter.news for waiter in waiters] == [[(job, ExecResult(3))]] * 3


def test_whoever_waits_for_a_job_that_stops_or_is_removed_hears_that_there_is_no_result() -> None:
    bench = Workbench()
    job = bench.add()
    first = bench.wait(job)
    bench.table.stopped(job)
    assert first.news == [(job, None)]
    bench.table.resumed(job)
    second = bench.wait(job)
    bench.table.remove(job)
    assert second.news == [(job, None)]
    bench.end(job)
    assert len(first.news) == len(second.news) == 1


def test_who_waits_no_more_hears_nothing() -> None:
    bench = Workbench()
    job = bench.add()
    left, done, other = bench.wait(job), bench.wait(job), bench.wait(job)
    bench.table.leave(job, left)
    bench.table.leave(job, left)
    done.is_done = True
    bench.end(job)
    bench.table.leave(job, other)
    assert not left.news
    assert not done.news
    assert other.news


def test_whoever_hears_of_an_end_finds_all_of_it_true() -> None:
    bench = Workbench()
    job = bench.add()
    seen: list[object] = []

    class Looking:
        def set_result(self, news: object) -> None:
            info = bench.table.info(job)
            seen.extend((info.status_string, info.exit_code, info.finished_at is not None))
            seen.extend((bench.table.running_count, bench.history(job)[-1]))

    bench.table.wait(job, Looking())
    bench.end(job, ExecResult(3))
    assert seen == ["failed:3", 3, True, 0, "ended"]


# Removal.


@pytest.mark.parametrize("happening", [Happening.START, Happening.QUEUE, Happening.STOP])
def test_a_job_that_is_removed_goes_on_and_nobody_hears_of_it(happening: Happening) -> None:
    bench = Workbench()
    job = bench.add(happening)
    bench.table.remove(job)
    assert bench.removed == [job]
    if happening is not Happening.START:
        (bench.table.started if happening is Happening.QUEUE else bench.table.resumed)(job)
    bench.table.stopped(job)
    bench.table.resumed(job)
    bench.end(job, ExecResult(3))
    bench.table.take(job)
    assert bench.history(job)[1:] == ["removed"]
    assert bench.table.running_count == 0
    assert bench.table.last_stopped() is None
    assert bench.table.get(job.id) is None
    assert job.status_string == "failed:3"


def test_a_finished_job_that_is_removed_leaves_its_result_to_who_holds_it() -> None:
    bench = Workbench()
    job = bench.finished(ExecResult(3, b"out"))
    bench.table.remove(job)
    assert bench.removed == [job]
    assert job.result == ExecResult(3, b"out")
    assert bench.history(job) == ["started", "ended", "removed"]


def count(bench: Workbench, job: Job) -> tuple[int, JobId | None]:
    bench.table.remove(job)
    return bench.table.running_count, bench.table.last_stopped()


def test_removing_counts_right() -> None:
    bench = Workbench()
    running, stopped, queued = bench.add(), bench.add(Happening.STOP), bench.add(Happening.QUEUE)
    done = bench.finished()
    assert count(bench, done) == (1, stopped.id)
    assert count(bench, queued) == (1, stopped.id)
    assert count(bench, running) == (0, stopped.id)
    assert count(bench, stopped) == (0, None)


def test_a_finished_job_with_nothing_special_costs_at_most_400_bytes() -> None:
    bench = Workbench()
    report = Ended(ExecResult(0))
    jobs = [bench.add() for _ in range(EVENTS_KEPT)]
    tracemalloc.start()
    try:
        # The log is full: for each event that comes, one goes.
        for _ in range(5000):
            job = bench.add()
            bench.table.ended(job, report)
            bench.table.take(job)
        size = tracemalloc.get_traced_memory()[0] / 5000
    finally:
        tracemalloc.stop()
    assert len(bench.table.ids()) == len(jobs) + 5000
    assert size <= 400
