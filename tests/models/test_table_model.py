"""The job table as a state machine, against a naive one: any order of everything that can happen."""

from __future__ import annotations

from random import Random
from typing import Any, Final

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from amper import EndedBy, ExecResult, InternalError, JobId
from amper.job.events import EventLog
from amper.job.job import Job
from amper.job.lifecycle import Happening
from tests.job.workbench import Listener, Workbench
from tests.models.naive_table import NaiveJob, NaiveTable

# To find the smallest example of a failure takes longer than to find one.
pytestmark = pytest.mark.timeout(400)

EVENTS_KEPT: Final = 12

BEGINNINGS: Final = {
    "running": Happening.START,
    "queued": Happening.QUEUE,
    "stopped": Happening.STOP,
}

WHICH = st.integers(0, 1000)
OUTPUT = st.binary(max_size=9)


class TableModel(RuleBasedStateMachine):
    """Each rule happens to both tables; after each of them both have to say the same."""

    @initialize(taken=st.integers(0, 4), untaken=st.integers(0, 4), output=st.integers(0, 30))
    def begin(self, taken: int, untaken: int, output: int) -> None:
        self.bench = Workbench(taken=taken, untaken=untaken, output=output)
        self.table = self.bench.table
        self.table.events = EventLog(EVENTS_KEPT)
        self.naive = NaiveTable(taken, untaken, output)
        self.naive.now = self.bench.clock.now
        # Those that were removed live on, and things happen to them.
        self.all: list[tuple[Job, NaiveJob]] = []
        self.waiters: dict[int, tuple[Listener, Job]] = {}

    def jobs(self, *statuses: str) -> list[tuple[Job, NaiveJob]]:
        return [pair for pair in self.all if pair[1].status in statuses]

    def choose(self, which: int, *statuses: str) -> tuple[Job, NaiveJob] | None:
        candidates = self.jobs(*statuses)
        return candidates[which % len(candidates)] if candidates else None

    @rule(status=st.sampled_from(sorted(BEGINNINGS)))
    def add(self, status: str) -> None:
        job = self.bench.add(BEGINNINGS[status])
        assert job.id == len(self.all) + 1
        self.all.append((job, self.naive.add(job.id, status)))

    @rule(
        outputs=st.lists(OUTPUT, min_size=1, max_size=4), orders=st.randoms(use_true_random=False)
    )
    def some_come_and_go_and_are_taken(self, outputs: list[bytes], orders: Random) -> None:
        count = len(outputs)
        for _ in outputs:
            self.add("running")
        for (job, naive), out in zip(self.all[-count:], outputs, strict=True):
            self.bench.end(job, ExecResult(0, out))
            self.naive.end(naive, ExecResult(0, out))
        for job, naive in orders.sample(self.all[-count:], count):
            self.table.take(job)
            self.naive.take(naive)

    @rule(seconds=st.sampled_from([0.25, 1, 3600]))
    def let_time_pass(self, seconds: float) -> None:
        self.bench.clock.now += seconds
        self.naive.now += seconds

    @rule(which=WHICH)
    def start(self, which: int) -> None:
        if pair := self.choose(which, "queued"):
            self.table.started(pair[0])
            self.naive.start(pair[1])

    @rule(which=WHICH)
    def stop(self, which: int) -> None:
        if pair := self.choose(which, "running"):
            self.table.stopped(pair[0])
            self.naive.stop(pair[1])

    @rule(which=WHICH)
    def resume(self, which: int) -> None:
        if pair := self.choose(which, "stopped"):
            self.table.resumed(pair[0])
            self.naive.resume(pair[1])

    @rule(which=WHICH, cause=st.sampled_from(["kill", "cancel", "close"]))
    def ask_to_end(self, which: int, cause: Any) -> None:
        if pair := self.choose(which, "queued", "running", "stopped"):
            assert pair[0].runner is not None
            pair[0].runner.claim(EndedBy(cause))
            pair[1].ended_by = pair[1].ended_by or EndedBy(cause)

    @rule(which=WHICH, code=st.integers(0, 2), out=OUTPUT, err=OUTPUT, is_lost=st.booleans())
    def end(self, which: int, code: int, out: bytes, err: bytes, is_lost: bool) -> None:
        if pair := self.choose(which, "running", "stopped"):
            result = ExecResult(code, out, err)
            self.bench.end(pair[0], result, is_lost=is_lost)
            self.naive.end(pair[1], result, is_lost=is_lost)

    @rule(which=WHICH)
    def give_up_in_the_queue(self, which: int) -> None:
        if pair := self.choose(which, "queued"):
            self.bench.end(pair[0], ExecResult(130), ended_by=EndedBy("cancel"))
            pair[1].ended_by = pair[1].ended_by or EndedBy("cancel")
            self.naive.end(pair[1], ExecResult(130))

    @rule(which=WHICH)
    def take(self, which: int) -> None:
        if pair := self.choose(which, "done", "failed", "killed", "lost"):
            self.table.take(pair[0])
            self.naive.take(pair[1])

    @rule(which=WHICH)
    def remove(self, which: int) -> None:
        pairs = [pair for pair in self.all if self.naive.has(pair[1])]
        if pairs:
            job, naive = pairs[which % len(pairs)]
            self.table.remove(job)
            self.naive.remove(naive)

    @rule(which=WHICH)
    def wait(self, which: int) -> None:
        pair = self.choose(which, "queued", "running")
        if pair is not None and self.naive.has(pair[1]):
            number = len(self.waiters)
            self.waiters[number] = self.bench.wait(pair[0]), pair[0]
            pair[1].waiters[number] = None

    @rule(which=WHICH)
    def wait_no_more(self, which: int) -> None:
        if self.waiters:
            number = which % len(self.waiters)
            listener, job = self.waiters[number]
            self.table.leave(job, listener)
            self.all[job.id - 1][1].waiters.pop(number, None)

    @rule(which=WHICH, happening=st.sampled_from(["stopped", "resumed", "started", "ended"]))
    def try_what_cannot_happen(self, which: int, happening: str) -> None:
        impossible = {
            "started": ("running", "stopped", "done", "failed", "killed", "lost"),
            "stopped": ("queued", "stopped", "done", "failed", "killed", "lost"),
            "resumed": ("queued", "running", "done", "failed", "killed", "lost"),
            "ended": ("done", "failed", "killed", "lost"),
        }
        if pair := self.choose(which, *impossible[happening]):
            happen = self.bench.end if happening == "ended" else getattr(self.table, happening)
            with pytest.raises(InternalError, match=f"job {pair[0].id}"):
                happen(pair[0])

    @rule(since=st.integers(0, 80), limit=st.none() | st.integers(0, 20))
    def read_events(self, since: int, limit: int | None) -> None:
        page = self.table.events.read(since, limit)
        last = len(self.naive.told)
        forgotten = max(0, last - EVENTS_KEPT)
        since = min(since, last)
        assert page.missed == max(0, forgotten - since)
        told: list[tuple[int, str, int | None]] = []
        if page.missed:
            told.append((forgotten, "missed", None))
        begin = max(since, forgotten)
        told += [(n, *self.naive.told[n - 1]) for n in range(begin + 1, last + 1)]
        told = told[:limit]
        assert [(event.seq, event.kind, event.job_id) for event in page.events] == told
        assert page.next == (told[-1][0] if told else since)

    @invariant()
    def both_have_the_same_jobs(self) -> None:
        assert self.table.ids() == sorted(self.naive.jobs)
        assert self.table.running_count == self.naive.running_count
        assert self.table.last_stopped() == self.naive.last_stopped
        assert self.table.order.first_two == self.naive.first_two
        removed = sorted(job.id for job in self.bench.removed)
        assert removed == [naive.id for _, naive in self.all if not self.naive.has(naive)]
        for job, naive in self.all:
            assert self.table.get(JobId(naive.id)) is (job if self.naive.has(naive) else None)

    @invariant()
    def both_say_the_same_of_each(self) -> None:
        for job, naive in self.all:
            info = self.table.info(job)
            assert info.status_string == job.status_string == naive.status_string
            assert job.result == naive.result
            assert info.ended_by == naive.ended_by
            assert (info.started_at is None) == (naive.started is None)
            end = self.naive.now if naive.finished is None else naive.finished
            elapsed = 0.0 if naive.started is None else end - naive.started
            assert info.elapsed == pytest.approx(elapsed, abs=1e-6)

    @invariant()
    def both_tell_the_same(self) -> None:
        assert self.table.events.last == len(self.naive.told)
        for number, (listener, job) in self.waiters.items():
            told = [self.naive.news[number]] if number in self.naive.news else []
            assert listener.news == [(job, result) for result in told]

    @invariant()
    def those_that_ended_are_in_order(self) -> None:
        over = [job for job, naive in self.all if naive.result is not None]
        by_time = sorted(over, key=lambda job: job.finished)
        assert [job.id for job in by_time] == self.naive.completed


TestTableModel = TableModel.TestCase
