"""Snapshots of jobs and of their output, also for another thread."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import NamedTuple

import pytest

from amper import BoundedStream, EndedBy, ExecResult, JobInfo, Streams, Usage
from amper.job.job import Facts, Job
from amper.job.lifecycle import Happening
from amper.job.outputs import output_of
from tests.interleaving import at_every_step
from tests.job.workbench import Workbench

USAGE = Usage(0.5, 0.25, 1024)


def test_a_job_with_nothing_special_is_told_in_a_few_words() -> None:
    bench = Workbench()
    before = datetime.now(UTC)
    info = bench.table.info(bench.add(command="make -j8"))
    assert before <= info.created_at <= datetime.now(UTC)
    assert info == JobInfo(
        id=info.id,
        command="make -j8",
        status=info.status,
        created_at=info.created_at,
        started_at=info.created_at,
        mark="+",
    )


def test_what_is_known_of_a_job_is_told() -> None:
    bench = Workbench()
    facts = Facts("build", ("ci",))
    facts.output_file = "/tmp/x"
    facts.pgids = (4711, 4712)
    job = bench.add_command(facts=facts)
    job.pid = 4711
    info = bench.table.info(job)
    assert (info.name, info.tags, info.cwd, info.containment) == ("build", ("ci",), "/src", "group")
    assert (info.pid, info.pgids, info.output_file) == (4711, (4711, 4712), "/tmp/x")


def test_the_end_of_a_job_is_told_with_how_and_why() -> None:
    bench = Workbench()
    ended_by = EndedBy("kill", "too slow")
    job = bench.end(bench.add_command(), ExecResult(137), ended_by=ended_by, signal=9, usage=USAGE)
    info = bench.table.info(job)
    assert info.status_string == "killed:137"
    assert (info.exit_code, info.signal, info.usage) == (137, 9, USAGE)
    assert info.ended_by == ended_by
    event = bench.table.events.read(0).events[-1]
    assert (event.exit_code, event.signal, event.ended_by) == (137, 9, ended_by)


def test_who_asked_a_job_to_end_is_told_before_it_has_ended() -> None:
    bench = Workbench()
    job = bench.add()
    assert job.runner is not None
    job.runner.claim(EndedBy("cancel", "enough"))
    assert bench.table.info(job).ended_by == EndedBy("cancel", "enough")
    assert bench.table.info(job).exit_code is None


def test_time_in_the_queue_is_no_time_of_work() -> None:
    bench = Workbench()
    job = bench.add(Happening.QUEUE)
    bench.clock.now += 10
    queued = bench.table.info(job)
    assert (queued.started_at, queued.elapsed) == (None, 0.0)
    bench.table.started(job)
    bench.clock.now += 2.5
    running = bench.table.info(job)
    assert running.started_at == queued.created_at + timedelta(seconds=10)
    assert (running.elapsed, running.finished_at) == (2.5, None)
    bench.clock.now += 1.5
    bench.end(job)
    bench.clock.now += 1000
    over = bench.table.info(job)
    assert over.elapsed == 4.0
    assert over.finished_at == queued.created_at + timedelta(seconds=14)


def test_a_job_that_never_started_took_no_time() -> None:
    bench = Workbench()
    job = bench.add(Happening.QUEUE)
    bench.clock.now += 10
    bench.end(job, ExecResult(130), ended_by=EndedBy("cancel"))
    assert bench.table.info(job).elapsed == 0.0


def test_late_output_is_told_as_it_comes() -> None:
    class Late:
        open_pipes = 1
        received = 7

    bench = Workbench()
    job = bench.finished()
    late = job.own_facts().late = Late()
    info = bench.table.info(job)
    assert (info.output_open, info.output_late) == (True, 7)
    late.open_pipes = 0
    assert not bench.table.info(job).output_open


# Output.


def streams_with(out: bytes, err: bytes = b"") -> Streams:
    streams = Streams.empty()
    streams.stdout.write(out)
    streams.stderr.write(err)
    return streams


def frozen_result(streams: Streams, code: int = 0) -> ExecResult:
    return ExecResult(code, streams.stdout.freeze(), streams.stderr.freeze())


def test_a_job_without_streams_has_no_output_until_it_ends_with_some() -> None:
    bench = Workbench()
    job = bench.add()
    assert output_of(job) is None
    bench.end(job, ExecResult(0, b"out", b"err", out_dropped=5))
    streams = output_of(job)
    assert streams is not None
    assert (streams.stdout.read(), streams.stderr.read()) == (b"out", b"err")
    assert streams.stdout.read_from(0).dropped == 5
    assert streams.stdout.stats().closed
    assert output_of(bench.finished()) is None


def test_the_output_of_a_job_is_its_live_streams_and_then_its_result() -> None:
    bench = Workbench()
    streams = streams_with(b"so far")
    job = bench.add(streams=streams)
    assert output_of(job) is streams
    bench.end(job, frozen_result(streams))
    after = output_of(job)
    assert after is not None
    assert job.result is not None
    assert after.stdout.read() is job.result.out
    # Nothing else is kept: the result alone is enough.
    assert job.facts is None


def test_live_output_that_is_not_the_results_stays_what_it_was() -> None:
    bench = Workbench()
    streams = streams_with(b"live")
    job = bench.add(streams=streams)
    streams.stdout.freeze()
    streams.stderr.freeze()
    bench.end(job, ExecResult(0, b"in the result"))
    after = output_of(job)
    assert after is not None
    assert after.stdout.read() == b"live"


# Another thread may look at any moment.


class Life(NamedTuple):
    bench: Workbench
    job: Job

    @classmethod
    def queued(cls) -> Life:
        bench = Workbench()
        return cls(bench, bench.add_command(Happening.QUEUE))

    @classmethod
    def running(cls) -> Life:
        bench = Workbench()
        return cls(bench, bench.add_command())

    def start(self) -> None:
        self.bench.table.started(self.job)

    def end(self) -> None:
        result = ExecResult(137, b"out")
        self.bench.end(self.job, result, ended_by=EndedBy("kill"), signal=9, usage=USAGE)

    def remove(self) -> None:
        self.bench.table.remove(self.job)

    def info(self) -> JobInfo:
        return self.bench.table.info(self.job)


def check_is_of_one_moment(info: JobInfo) -> None:
    started = info.status_string != "queued"
    over = info.status.is_final
    assert (info.started_at is not None) == started
    if over:
        assert (info.exit_code, info.signal, info.usage) == (137, 9, USAGE)
        assert info.finished_at is not None
        assert info.ended_by == EndedBy("kill")
    else:
        assert (info.exit_code, info.signal, info.usage, info.finished_at) == (None,) * 4


def test_a_snapshot_in_another_thread_is_of_one_moment() -> None:
    for _ in at_every_step(
        Life.queued, Life.start, lambda life: check_is_of_one_moment(life.info())
    ):
        pass
    for _ in at_every_step(
        Life.running, Life.end, lambda life: check_is_of_one_moment(life.info())
    ):
        pass


@pytest.mark.parametrize("happen", [Life.end, Life.remove])
def test_a_snapshot_that_is_overtaken_is_of_one_moment(happen: object) -> None:
    assert callable(happen)
    infos: list[JobInfo] = []
    for _ in at_every_step(Life.running, lambda life: infos.append(life.info()), happen):
        check_is_of_one_moment(infos.pop())


def test_whoever_sees_a_final_status_sees_the_whole_output() -> None:
    seen: list[bytes] = []

    def look(life: Life) -> None:
        if life.job.status.is_final:
            streams = output_of(life.job)
            assert streams is not None
            seen.append(streams.stdout.read())

    for _ in at_every_step(Life.running, Life.end, look):
        pass
    assert seen
    assert set(seen) == {b"out"}


def test_the_list_of_jobs_is_whole_whatever_happens_meanwhile() -> None:
    def look(life: Life) -> None:
        ids = life.bench.table.ids()
        assert ids in ([1], [1, 2], [])
        assert [job.id for job in life.bench.table.jobs()] == ids
        for id in ids:
            job = life.bench.table.get(id)
            assert job is not None
            assert life.bench.table.info(job).id == id

    for happen in (Life.end, Life.remove, lambda life: life.bench.add_command()):
        for _ in at_every_step(Life.running, happen, look):
            pass


def test_streams_that_nobody_wrote_to_are_empty_afterwards() -> None:
    bench = Workbench()
    streams = Streams(BoundedStream(), BoundedStream())
    job = bench.add(streams=streams)
    bench.end(job, frozen_result(streams))
    after = output_of(job)
    assert after is not None
    assert after.stdout.read() == b""
