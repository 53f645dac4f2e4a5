"""Which job is current and which previous, alone and beside the shells that set the example."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

import pytest

from amper.job.job import Job
from amper.job.lifecycle import Happening
from tests.job.workbench import Workbench
from tests.shells import shell_says


def marks(bench: Workbench) -> dict[int, str]:
    infos = [bench.table.info(job) for job in bench.table.jobs()]
    return {info.id: info.mark for info in infos if info.mark is not None}


def first_two(bench: Workbench) -> tuple[int | None, int | None]:
    return bench.table.order.first_two


def act(bench: Workbench, step: str) -> None:
    """Do what a step like `stop 2` says."""
    verb, _, number = step.partition(" ")
    job = None if verb == "start" else bench.table.jobs()[int(number) - 1]
    match verb, job:
        case "start", _:
            bench.add()
        case "stop", Job():
            bench.table.stopped(job)
        case "resume", Job():
            bench.table.resumed(job)
        case "end", Job():
            bench.end(job)
        case _:
            raise AssertionError(step)


def test_where_nothing_runs_there_is_no_current_job() -> None:
    bench = Workbench()
    assert first_two(bench) == (None, None)
    bench.add(Happening.QUEUE)
    bench.finished()
    assert marks(bench) == {}


def test_the_only_job_is_current_and_there_is_no_previous_one() -> None:
    bench = Workbench()
    bench.add()
    assert marks(bench) == {1: "+"}


# What dash shows after each of these is what this shows.
STORIES: Final = {
    "the one started last is current": "start, start, start",
    "the one stopped last is current": "start, start, start, stop 1, stop 2",
    "a stopped one stays before one started later": "start, stop 1, start, start",
    "two that are stopped are both marked": "start, stop 1, start, stop 2, start",
    "one resumed last is the first of those that run": "start, start, start, stop 1, resume 1",
    "one resumed comes after those still stopped": "start, start, start, stop 2, stop 1, resume 1",
    "the previous one becomes current": "start, start, start, end 3, end 2, end 1",
    "a stopped one that ends gives way to the other": "start, start, stop 1, stop 2, end 2, end 1",
    "the end of one without a mark changes nothing": "start, start, start, end 1",
    "stopped and resumed again and again": (
        "start, start, stop 1, resume 1, stop 2, stop 1, resume 2, resume 1, stop 2, end 1, end 2"
    ),
    "the previous one ends": "start, start, start, start, end 3, end 4",
}


@pytest.mark.parametrize("story", STORIES.values(), ids=STORIES)
def test_the_order_is_that_of_dash(story: str, tmp_path: Path) -> None:
    bench = Workbench()
    ours: list[dict[int, str]] = []
    script = ""
    started = 0
    for step in story.split(", "):
        act(bench, step)
        ours.append(marks(bench))
        started += step == "start"
        script += dash_step(step, started)
    script += "kill -9 " + " ".join(f"$pid{n}" for n in range(1, started + 1)) + "; wait"
    shown = shell_says("dash", script, tmp_path).split("-----\n")[:-1]
    assert [dict_of_marks(page) for page in shown] == ours


def dash_step(step: str, started: int) -> str:
    verb, _, number = step.partition(" ")
    pid = f"$pid{number}"
    return {
        "start": f"sleep 1000 & pid{started}=$!",
        "stop": f"kill -STOP {pid}; until_state {pid} T",
        "resume": f"bg %{number} >/dev/null",
        "end": f"kill -9 {pid}; until_state {pid} Z; wait {pid} 2>/dev/null",
    }[verb] + "; jobs; echo -----\n"


def dict_of_marks(page: str) -> dict[int, str]:
    """Return the marks of the jobs that are not over: dash shows a dead one once more."""
    found = re.findall(r"^\[(\d+)\] ([+-]) (?:Running|Stopped)", page, re.MULTILINE)
    return {int(number): mark for number, mark in found}


def test_a_queued_job_has_its_place_from_its_start_on() -> None:
    bench = Workbench()
    queued = bench.add(Happening.QUEUE)
    bench.add()
    assert marks(bench) == {2: "+"}
    bench.table.started(queued)
    assert marks(bench) == {1: "+", 2: "-"}


def test_a_job_that_begins_stopped_is_current() -> None:
    bench = Workbench()
    bench.add(Happening.STOP)
    bench.add()
    assert marks(bench) == {1: "+", 2: "-"}


@pytest.mark.parametrize("happening", [Happening.START, Happening.STOP])
def test_a_job_out_of_the_table_has_no_mark(happening: Happening) -> None:
    bench = Workbench()
    bench.add()
    gone = bench.add(happening)
    bench.table.remove(gone)
    assert marks(bench) == {1: "+"}
    assert bench.table.info(gone).mark is None


def test_what_happens_to_a_job_out_of_the_table_gives_nobody_a_mark() -> None:
    bench = Workbench()
    gone = bench.add()
    bench.table.remove(gone)
    bench.table.stopped(gone)
    bench.table.resumed(gone)
    bench.end(gone)
    assert first_two(bench) == (None, None)


def test_a_waiter_that_hears_of_the_end_finds_the_previous_job_current() -> None:
    bench = Workbench()
    bench.add()
    job = bench.add()
    seen: list[dict[int, str]] = []

    class Looking:
        def set_result(self, news: object) -> None:
            seen.append(marks(bench))

    bench.table.wait(job, Looking())
    bench.end(job)
    assert seen == [{1: "+"}]


@pytest.mark.parametrize("order", ["first in, first out", "last in, first out", "one at a time"])
def test_ended_jobs_leave_nothing_behind(order: str) -> None:
    bench = Workbench()
    bench.add()
    jobs: list[Job] = []
    for _ in range(2000):
        jobs.append(bench.add())
        if order == "one at a time" or (order == "first in, first out" and len(jobs) > 10):
            bench.end(jobs.pop(0))
    while jobs:
        bench.end(jobs.pop())
    assert marks(bench) == {1: "+"}
    assert len(bench.table.order._background) <= 300


def test_a_job_that_stops_and_goes_on_for_ever_takes_no_more_room() -> None:
    bench = Workbench()
    bench.add(Happening.STOP)
    bench.add(Happening.STOP)
    job = bench.add()
    for _ in range(2000):
        bench.table.stopped(job)
        bench.table.resumed(job)
    assert len(bench.table.order._background) <= 300


def test_where_jobs_end_in_the_order_of_their_start_the_last_are_still_known() -> None:
    bench = Workbench()
    jobs = [bench.add() for _ in range(30)]
    bench.table.stopped(jobs[25])
    bench.table.resumed(jobs[25])
    for job in jobs[:20]:
        bench.end(job)
    jobs += [bench.add() for _ in range(50)]
    left = []
    while (id := first_two(bench)[0]) is not None:
        left.append(id)
        bench.end(bench.table.jobs()[id - 1])
    assert left == [*range(80, 30, -1), 26, 30, 29, 28, 27, *range(25, 20, -1)]


def test_a_job_that_was_stopped_and_resumed_counts_once() -> None:
    bench = Workbench()
    others = [bench.add(), bench.add(Happening.STOP), bench.add(Happening.STOP)]
    job = bench.add()
    # While two others are stopped nobody looks at those that run.
    bench.table.stopped(job)
    bench.table.resumed(job)
    for other in others[1:]:
        bench.end(other)
    assert marks(bench) == {1: "-", 4: "+"}
