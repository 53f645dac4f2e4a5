"""Job specs: which job is meant, which are meant equally well, and what is no job spec."""

from __future__ import annotations

import pytest

from amper import AmbiguousJobSpec, InvalidJobSpec, NoSuchJob
from amper.job.job import Facts
from amper.job.jobspec import find_job
from amper.job.lifecycle import Happening
from tests.job.workbench import Workbench


def bench_with(*commands: str) -> Workbench:
    bench = Workbench()
    for command in commands:
        bench.add(command=command)
    return bench


@pytest.mark.parametrize("spec", ["%%", "%+", "%"])
def test_the_current_job(spec: str) -> None:
    bench = bench_with("make", "vi")
    assert find_job(bench.table, spec).id == 2
    bench.table.stopped(bench.table.jobs()[0])
    assert find_job(bench.table, spec).id == 1


def test_the_previous_job() -> None:
    assert find_job(bench_with("make", "vi", "cat").table, "%-").id == 2


@pytest.mark.parametrize("spec", ["%2", "2", "%02"])
def test_a_job_by_its_id(spec: str) -> None:
    assert find_job(bench_with("make", "vi", "cat").table, spec).id == 2


def test_a_job_by_the_beginning_of_its_command() -> None:
    bench = bench_with("make -j8", "vi make", "cat")
    assert find_job(bench.table, "%make").id == 1
    assert find_job(bench.table, "%make -j").id == 1
    assert find_job(bench.table, "%c").id == 3


@pytest.mark.parametrize("command", ["2to3 x", "-v", "+x", "%d", "?x"])
def test_a_command_that_begins_like_another_spec_is_found_by_more_of_it(command: str) -> None:
    bench = bench_with("other", command, "last")
    spec = f"%?{command[1:]}" if command.startswith("?") else f"%{command}"
    assert find_job(bench.table, spec).id == 2


def test_a_job_by_any_part_of_its_command() -> None:
    bench = bench_with("make -j8", "vi notes")
    assert find_job(bench.table, "%?-j8").id == 1
    assert find_job(bench.table, "%?note").id == 2


def test_a_job_by_its_name_which_must_be_whole_and_comes_before_a_command() -> None:
    bench = bench_with("web --port 80", "web --port 81")
    bench.add(command="python -m http.server", facts=Facts("web"))
    assert find_job(bench.table, "%web").id == 3
    with pytest.raises(NoSuchJob):
        find_job(bench.table, "%python -m x")
    bench.add(command="x", facts=Facts("worker"))
    with pytest.raises(NoSuchJob):
        find_job(bench.table, "%work")


def test_a_job_that_is_not_over_comes_before_those_that_are() -> None:
    bench = Workbench()
    for _ in range(3):
        bench.end(bench.add(command="make", facts=Facts("make")))
    for happening in (Happening.START, Happening.STOP, Happening.QUEUE):
        job = bench.add(happening, command="make")
        assert find_job(bench.table, "%make") is job
        assert find_job(bench.table, "%?ake") is job
        bench.table.remove(job)


def test_a_job_that_is_over_is_found_too() -> None:
    bench = bench_with("make", "vi")
    bench.end(bench.table.jobs()[0])
    for spec in ("%1", "%make", "%?ak"):
        assert find_job(bench.table, spec).id == 1


@pytest.mark.parametrize("spec", ["%make", "%?ake"])
def test_an_ambiguous_spec_lists_the_candidates(spec: str) -> None:
    bench = bench_with("make all", "vi", "make   install\n" + "x" * 100)
    with pytest.raises(AmbiguousJobSpec) as caught:
        find_job(bench.table, spec)
    assert caught.value.spec == spec
    assert caught.value.candidates == ((1, "make all"), (3, "make   install\n" + "x" * 100))
    assert str(caught.value) == (
        f"{spec} is ambiguous: choose one of "
        "%1 (make all), %3 (make install xxxxxxxxxxxxxxxxxxxxxxxxxx…)"
    )


def test_names_and_finished_jobs_can_be_ambiguous_too() -> None:
    bench = Workbench()
    for _ in range(2):
        bench.end(bench.add(command="ls"))
        bench.add(command="x", facts=Facts("web"))
    for spec, ids in (("%ls", [1, 3]), ("%web", [2, 4])):
        with pytest.raises(AmbiguousJobSpec) as caught:
            find_job(bench.table, spec)
        assert [id for id, _ in caught.value.candidates] == ids


def test_an_error_names_a_few_of_many_candidates_and_carries_all() -> None:
    bench = bench_with(*["make"] * 30)
    with pytest.raises(AmbiguousJobSpec, match=r"%10 \(make\), 20 more$") as caught:
        find_job(bench.table, "%make")
    assert len(caught.value.candidates) == 30


@pytest.mark.parametrize("spec", ["%0", "%3", "3", "%vim", "%?vim", "%" + "9" * 5000])
def test_a_spec_that_fits_nothing(spec: str) -> None:
    with pytest.raises(NoSuchJob, match="no such job") as caught:
        find_job(bench_with("make", "vi").table, spec)
    assert caught.value.spec == spec


@pytest.mark.parametrize(
    "spec, what", [("%", "current"), ("%%", "current"), ("%+", "current"), ("%-", "previous")]
)
def test_where_there_is_no_current_or_previous_job_the_error_says_so(spec: str, what: str) -> None:
    bench = bench_with("make")
    if what == "current":
        bench.end(bench.table.jobs()[0])
    with pytest.raises(NoSuchJob, match=f"there is no {what} job"):
        find_job(bench.table, spec)


@pytest.mark.parametrize("spec", ["", "make", "%?", "-1", "+", "1.0", " 1", "\N{SUPERSCRIPT TWO}"])
def test_what_is_no_job_spec(spec: str) -> None:
    with pytest.raises(InvalidJobSpec, match="is no job spec") as caught:
        find_job(bench_with("make").table, spec)
    assert caught.value.spec == spec
