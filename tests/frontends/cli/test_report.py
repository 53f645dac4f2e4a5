"""`Report`: in which order a run is told, and what is left out of it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pytest

from amper import BoundedStream, ExecResult, JobManager, oneshot
from amper.frontends.cli.report import LAST_WORDS, LINES_PER_TURN, Report
from amper.values import Event, JobInfo, StreamName
from tests.work import on_a_loop, turn


class Told(Report):
    """Writes down what it is to tell; `pace` is awaited for each piece."""

    def __init__(
        self, jobs: JobManager, *, pace: Callable[[], Any] = turn, is_ending: bool = False
    ) -> None:
        super().__init__(jobs, lambda: is_ending)
        self.told: list[tuple[Any, ...]] = []
        self._pace = pace

    async def tell_event(self, event: Event, info: JobInfo) -> None:
        await self._tell(info.name, event.kind)

    async def tell_lines(self, info: JobInfo, stream: StreamName, lines: Sequence[bytes]) -> None:
        await self._tell(info.name, stream, b"".join(lines))

    async def tell_dropped(self, info: JobInfo, stream: StreamName, count: int) -> None:
        await self._tell(info.name, stream, count)

    async def summarise(self, code: int, not_run: Mapping[str, str]) -> None:
        raise NotImplementedError

    async def _tell(self, *what: Any) -> None:
        await self._pace()
        self.told.append(what)

    def of(self, *begin: Any) -> list[tuple[Any, ...]]:
        return [what[len(begin) :] for what in self.told if what[: len(begin)] == begin]


class Writing:
    """A job whose output the test writes."""

    def __init__(self, jobs: JobManager) -> None:
        self._jobs = jobs
        self._sender, self._receiver = oneshot()
        self.out = BoundedStream(1_000_000)
        self.err = BoundedStream()

    async def begin(self, name: str) -> None:
        await self._jobs.register_with_streams(name, self._receiver, self.out, self.err, name=name)

    def end(self, code: int = 0) -> None:
        self._sender.send(ExecResult(code))


async def told_in_full(jobs: JobManager, report: Report) -> None:
    """Close the manager and let the report come to its end."""
    await jobs.aclose()
    await report.tell()


@on_a_loop
async def test_a_jobs_output_comes_between_its_start_and_its_end_however_slowly_it_is_told() -> (
    None
):
    jobs, writing = JobManager(), []
    for name in ("one", "two"):
        job = Writing(jobs)
        writing.append(job)
        await job.begin(name)
        job.out.write(b"out\nmore")
        job.err.write(b"err\n")
        job.end()
    report = Told(jobs)
    await told_in_full(jobs, report)
    for name in ("one", "two"):
        first, *output, last = report.of(name)
        assert (first, last) == (("started",), ("ended",))
        assert sorted(output) == [("stderr", b"err\n"), ("stdout", b"more"), ("stdout", b"out\n")]


@on_a_loop
async def test_lines_are_told_while_the_job_runs() -> None:
    jobs = JobManager()
    job, report = Writing(jobs), Told(jobs)
    telling = asyncio.ensure_future(report.tell())
    await job.begin("job")
    job.out.write(b"one\nrest")
    while ("job", "stdout", b"one\n") not in report.told:
        await turn()
    job.out.write(b" of it\n")
    while ("job", "stdout", b"rest of it\n") not in report.told:
        await turn()
    job.end()
    await jobs.aclose()
    await telling


@on_a_loop
async def test_what_a_slow_reader_misses_is_counted_between_what_it_gets() -> None:
    jobs = JobManager()
    job = Writing(jobs)
    await job.begin("job")
    # Ten bytes more than the stream keeps.
    job.out.write(b"x" * 999_998 + b"\ny" + b"z" * 10)
    report = Told(jobs)
    job.end()
    await told_in_full(jobs, report)
    (dropped,), *pieces = report.of("job", "stdout")
    assert dropped == 10
    assert b"".join(piece for (piece,) in pieces) == b"x" * 999_988 + b"\ny" + b"z" * 10


@on_a_loop
async def test_somebody_who_wants_the_end_hears_only_the_last_words() -> None:
    jobs = JobManager()
    job = Writing(jobs)
    await job.begin("job")
    job.out.write(b"old\n" * 100_000 + b"new\n")
    job.err.write(b"little\n")
    job.end()
    report = Told(jobs, is_ending=True)
    await told_in_full(jobs, report)
    (dropped,), *pieces = report.of("job", "stdout")
    told = b"".join(piece for (piece,) in pieces)
    assert dropped + len(told) == 400_004
    assert len(told) == LAST_WORDS
    assert told.endswith(b"old\nnew\n")
    assert report.of("job", "stderr") == [(b"little\n",)]


@on_a_loop
async def test_others_have_their_turn_while_many_lines_are_told() -> None:
    jobs = JobManager()
    job = Writing(jobs)
    await job.begin("job")
    job.out.write(b"\n" * (3 * LINES_PER_TURN))
    job.end()

    async def at_once() -> None:
        pass

    report, turns = Told(jobs, pace=at_once), 0
    await jobs.aclose()
    telling = asyncio.ensure_future(report.tell())
    while len(report.of("job", "stdout")) < 3:
        await turn()
        turns += 1
    assert turns >= 3
    await telling


@on_a_loop
async def test_a_report_that_missed_events_tells_the_output_all_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    jobs = JobManager()
    monkeypatch.setattr(jobs.table.events, "_entries", type(jobs.table.events._entries)(maxlen=1))
    job = Writing(jobs)
    await job.begin("job")
    job.out.write(b"x\n")
    job.end()
    report = Told(jobs)
    await told_in_full(jobs, report)
    assert report.told == [("job", "stdout", b"x\n"), ("job", "ended")]


@on_a_loop
async def test_an_error_while_telling_ends_the_report() -> None:
    jobs = JobManager()
    job = Writing(jobs)
    await job.begin("job")
    job.out.write(b"x\n")

    async def gone() -> None:
        if report.told:
            raise BrokenPipeError

    report = Told(jobs, pace=gone)
    with pytest.RaisesGroup(BrokenPipeError):
        await report.tell()
    job.end()
    await jobs.aclose()
