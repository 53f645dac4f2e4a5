"""Which finished jobs stay, how much of their output, and what it costs to decide."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Final

import pytest

from amper import ExecResult, Streams
from amper.job.job import Job
from amper.job.lifecycle import Happening
from amper.job.outputs import output_of
from amper.job.retention import OUTPUT_KEPT, UNTAKEN_KEPT, Retention
from amper.job.table import JobTable
from tests.job.workbench import Clock, Workbench


def take(bench: Workbench, *jobs: Job) -> None:
    for job in jobs:
        bench.table.take(job)


def test_the_bounds_are_those_that_were_promised() -> None:
    table = JobTable(Clock())
    retention = table.retention
    assert (retention._taken_kept, retention._untaken_kept) == (100, UNTAKEN_KEPT)
    assert retention._output_kept == OUTPUT_KEPT
    assert (UNTAKEN_KEPT, OUTPUT_KEPT) == (10_000, 256 * 1024 * 1024)


def test_of_the_jobs_that_were_taken_the_newest_stay() -> None:
    bench = Workbench(taken=2)
    for _ in range(5):
        bench.taken()
    assert bench.table.ids() == [4, 5]
    assert [job.id for job in bench.removed] == [1, 2, 3]


def test_newest_is_by_time_of_completion_and_not_of_the_taking() -> None:
    bench = Workbench(taken=2)
    first, second, third, fourth = (bench.finished() for _ in range(4))
    take(bench, fourth, third, second)
    assert bench.table.ids() == [1, 3, 4]
    take(bench, first)
    assert bench.table.ids() == [3, 4]


def test_what_was_taken_late_goes_in_its_turn() -> None:
    bench = Workbench(taken=3)
    first, second, third, fourth = (bench.finished() for _ in range(4))
    take(bench, first, third, second, fourth)
    assert bench.table.ids() == [2, 3, 4]
    bench.taken()
    assert bench.table.ids() == [3, 4, 5]


def test_newest_is_by_time_of_completion_and_not_by_id() -> None:
    bench = Workbench(taken=1)
    first, second = bench.add(), bench.add()
    take(bench, bench.end(second))
    take(bench, bench.end(first))
    assert bench.table.ids() == [1]


def test_jobs_that_nobody_has_looked_at_stay_up_to_a_bound_of_their_own() -> None:
    bench = Workbench(taken=0, untaken=3)
    jobs = [bench.finished() for _ in range(3)]
    assert bench.table.ids() == [1, 2, 3]
    # Who takes one makes room for another.
    take(bench, jobs[1])
    bench.finished()
    assert bench.table.ids() == [1, 3, 4]
    bench.finished()
    assert bench.table.ids() == [3, 4, 5]


def test_a_job_that_was_taken_out_of_turn_does_not_go_with_those_that_nobody_looked_at() -> None:
    bench = Workbench(untaken=2)
    jobs = [bench.finished() for _ in range(2)]
    take(bench, jobs[1])
    for _ in range(4):
        bench.finished()
    assert bench.table.ids() == [2, 5, 6]


def test_taking_twice_counts_once() -> None:
    bench = Workbench(taken=2)
    first, second = bench.finished(), bench.finished()
    take(bench, first, first, second, second)
    assert bench.table.ids() == [1, 2]


def test_with_no_bound_everything_stays() -> None:
    bench = Workbench()
    for _ in range(300):
        bench.taken(ExecResult(0, b"output"))
    assert len(bench.table.ids()) == 300


def test_jobs_that_are_not_over_are_not_counted_and_never_go() -> None:
    bench = Workbench(taken=0, untaken=0, output=0)
    bench.add()
    bench.add(Happening.QUEUE)
    bench.add(Happening.STOP)
    bench.finished(ExecResult(0, b"output"))
    assert bench.table.ids() == [1, 2, 3]


def test_what_was_removed_makes_room() -> None:
    bench = Workbench(taken=2, untaken=2, output=4)
    first, second = bench.taken(ExecResult(0, b"ab")), bench.taken()
    bench.table.remove(first)
    bench.taken()
    bench.table.remove(bench.finished())
    bench.finished(ExecResult(0, b"abcd"))
    bench.finished()
    assert bench.table.ids() == [2, 3, 5, 6]
    assert second.result == ExecResult(0)
    fifth = bench.table.jobs()[2]
    assert fifth.result is not None
    assert fifth.result.out == b"abcd"


def test_a_job_that_goes_is_removed_like_any_other() -> None:
    bench = Workbench(taken=0)
    job = bench.taken(ExecResult(3, b"out"))
    assert bench.history(job) == ["started", "ended", "removed"]
    # Whoever has the record has the result.
    assert job.result == ExecResult(3, b"out")


# Output.


def test_beyond_the_bound_the_oldest_output_goes_and_is_counted() -> None:
    bench = Workbench(output=10)
    first = bench.finished(ExecResult(0, b"1234", b"56", out_dropped=100))
    second = bench.finished(ExecResult(0, b"789", data="data"))
    assert first.result == ExecResult(0, b"1234", b"56", out_dropped=100)
    bench.finished(ExecResult(0, b"ab"))
    assert first.result == ExecResult(0, out_dropped=104, err_dropped=2)
    assert second.result == ExecResult(0, b"789", data="data")
    assert bench.table.ids() == [1, 2, 3]


def test_output_that_is_too_much_by_itself_goes_at_once() -> None:
    bench = Workbench(output=10)
    job = bench.add()
    waiter = bench.wait(job)
    result = ExecResult(0, b"12345678901")
    bench.end(job, result)
    assert job.result == ExecResult(0, out_dropped=11)
    # Whoever waited has it.
    assert waiter.news == [(job, result)]


def test_output_that_went_is_not_counted_again_when_its_job_goes() -> None:
    bench = Workbench(output=4)
    first = bench.finished(ExecResult(0, b"abcd"))
    second = bench.finished(ExecResult(0, b"ef"))
    bench.table.remove(first)
    third = bench.finished(ExecResult(0, b"gh"))
    assert (second.result, third.result) == (ExecResult(0, b"ef"), ExecResult(0, b"gh"))
    fourth = bench.finished(ExecResult(0, b"i"))
    assert second.result == ExecResult(0, out_dropped=2)
    assert fourth.result == ExecResult(0, b"i")


def test_streams_beside_the_result_are_counted_and_dropped_like_it() -> None:
    bench = Workbench(output=10)
    streams = Streams.empty()
    job = bench.add(streams=streams)
    streams.stdout.write(b"live")
    for stream in streams:
        stream.freeze()
    bench.end(job, ExecResult(0, b"other"))
    bench.finished(ExecResult(0, b"ab"))
    assert job.result == ExecResult(0, out_dropped=5)
    after = output_of(job)
    assert after is not None
    assert after.stdout.read_from(0).dropped == 4


# What it costs.


class CountingJobs(dict[Any, Any]):
    """A dictionary of jobs that counts how many of them somebody has looked at."""

    looks = 0

    def get(self, *args: Any) -> Any:
        self.looks += 1
        return super().get(*args)

    def __contains__(self, key: object) -> bool:
        self.looks += 1
        return super().__contains__(key)

    def __iter__(self) -> Iterator[Any]:
        self.looks += len(self)
        return super().__iter__()

    def values(self) -> Any:
        self.looks += len(self)
        return super().values()


def in_order(bench: Workbench, count: int) -> None:
    for _ in range(count):
        bench.taken(ExecResult(0, b"output"))


def in_reverse(bench: Workbench, count: int) -> None:
    take(bench, *reversed([bench.finished() for _ in range(count)]))


def from_both_ends(bench: Workbench, count: int) -> None:
    jobs = [bench.finished() for _ in range(count)]
    take(
        bench,
        *(job for pair in zip(jobs[: count // 2], reversed(jobs), strict=False) for job in pair),
    )


def never(bench: Workbench, count: int) -> None:
    for _ in range(count):
        bench.finished(ExecResult(0, b"output"))


def behind_one_that_is_never_taken(bench: Workbench, count: int) -> None:
    bench.finished(ExecResult(0, b"output"))
    in_order(bench, count)


def removed_at_once(bench: Workbench, count: int) -> None:
    for number in range(count):
        job = bench.finished(ExecResult(0, b"output"))
        if number % 2:
            bench.table.take(job)
        bench.table.remove(job)


def while_others_run(bench: Workbench, count: int) -> None:
    running = [bench.add() for _ in range(count)]
    in_order(bench, count)
    for job in running:
        bench.table.remove(job)


WAYS: Final[list[Callable[[Workbench, int], None]]] = [
    in_order,
    in_reverse,
    from_both_ends,
    never,
    behind_one_that_is_never_taken,
    removed_at_once,
    while_others_run,
]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("bounds", [{}, {"taken": 10, "untaken": 10, "output": 60}])
def test_each_decision_costs_the_same_however_many_jobs_there_are(
    way: Callable[[Workbench, int], None], bounds: dict[str, int]
) -> None:
    bench = Workbench()
    jobs = bench.table._jobs = CountingJobs()
    bench.table.retention = Retention(
        jobs, bounds.get("taken"), bounds.get("untaken"), bounds.get("output")
    )
    way(bench, 5000)
    assert jobs.looks < 10 * 5000


@pytest.mark.parametrize("way", WAYS)
def test_what_is_kept_for_the_decisions_is_bounded_by_the_jobs_that_are_there(
    way: Callable[[Workbench, int], None],
) -> None:
    bench = Workbench(taken=10, untaken=10, output=60)
    way(bench, 5000)
    retention = bench.table.retention
    for entries in (retention._taken, retention._late, retention._untaken, retention._output):
        assert len(entries) < 200
