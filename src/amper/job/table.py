"""The job table: all that happens to jobs, as plain calls. It opens nothing and awaits nothing.

Events go in here and nowhere else; what comes out is the record, the log, and waiters that go on.
One thread writes. Any thread may read (`get`, `ids`, `jobs`, `info`): each of those is one step for
the interpreter, and a record turns final only when everything else in it is in place.

1. A status changes only through `lifecycle.next_status`.
2. `finished` grows strictly: sorting by it is the order of completion, also where the clock stands.
3. Waiters go on after the record and the log are true, and hold the record itself: a job that is
   removed under a waiter takes nothing away from it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import count
from math import inf, nextafter
from time import time
from typing import Final

from amper.errors import InternalError
from amper.flow.settle import Waiter, settle
from amper.job.current import JobOrder
from amper.job.events import EventLog
from amper.job.job import Job
from amper.job.lifecycle import TRANSITIONS, Happening, next_status
from amper.job.outputs import can_be_made_again, drop_output, output_size_of
from amper.job.retention import Retention
from amper.job.runner import News, Runner
from amper.values import Ended, EndedBy, ExecResult, JobId, JobInfo, JobStatus, utc

# A name of the module is found faster than a member of an enum.
QUEUED: Final = JobStatus.QUEUED
RUNNING: Final = JobStatus.RUNNING
STOPPED: Final = JobStatus.STOPPED
_STOPPABLE: Final = frozenset({RUNNING, STOPPED})
START: Final = Happening.START
SUCCEED: Final = Happening.SUCCEED

_NAMES: Final = {status: status.value for status in JobStatus}
"""Found faster than the value in the member."""


class JobTable:
    """Jobs by id, their life cycles, and who waits for them."""

    __slots__ = (
        "_clock",
        "_jobs",
        "_last_finished",
        "_new_id",
        "_on_removed",
        "_running",
        "events",
        "order",
        "retention",
    )

    def __init__(
        self,
        clock: Callable[[], float],
        finished_retention: int | None = 100,
        on_removed: Callable[[Job], None] = lambda job: None,
    ) -> None:
        self._clock = clock
        self._jobs: dict[JobId, Job] = {}
        self._new_id: Callable[[], JobId] = map(JobId, count(1)).__next__
        self._last_finished = 0.0
        self._running = 0
        self._on_removed = on_removed
        self.events = EventLog()
        self.order = JobOrder(self._jobs)
        self.retention = Retention(self._jobs, finished_retention)

    # Reading: any thread.

    @property
    def running_count(self) -> int:
        """How many jobs are running: not stopped, not queued, not over."""
        return self._running

    def get(self, id: JobId) -> Job | None:
        """Return the record, or None."""
        return self._jobs.get(id)

    def ids(self) -> list[JobId]:
        """Return the ids in ascending order."""
        return list(self._jobs)

    def jobs(self) -> list[Job]:
        """Return the records, by id."""
        return list(self._jobs.values())

    def status_now(self, job: Job) -> JobStatus:
        """Return a job's status with what the kernel says of a stop that nobody has recorded yet.

        Only reading is done: the record, the log and those who wait learn of it when somebody asks
        the manager.
        """
        status, runner = job.status, job.runner
        stopped = None if runner is None or status not in _STOPPABLE else runner.read_stop()
        if stopped is None or job.status is not status:
            return job.status
        return STOPPED if stopped else RUNNING

    def info_now(self, job: Job) -> JobInfo:
        """Return a snapshot with `status_now`."""
        info = self.info(job)
        if info.status not in _STOPPABLE:
            return info
        status = self.status_now(job)
        return replace(info, status=status) if status in _STOPPABLE else self.info(job)

    def last_stopped(self) -> JobId | None:
        """Return the job that was stopped last and still is."""
        return self.order.last_stopped()

    # What happens to jobs: one thread.

    def add(self, job: Job, happening: Happening = START) -> JobId:
        """Number a job, which starts, is queued, or begins its life stopped."""
        status = next_status(None, happening)
        job.status = status
        job.id = id = self._new_id()
        job.created_at = now = time()
        job.created = self._clock()
        if status is QUEUED:
            job.own_facts().queued_for = inf
        self._jobs[id] = job
        if status is RUNNING:
            self._running += 1
            self.order.start(id)
            self.events.record(now, "started", id, job.command, "running", None, None, None)
        elif status is QUEUED:
            self.events.record(now, "queued", id, job.command, "queued", None, None, None)
        else:
            self.order.stop(id)
            self.events.record(now, "stopped", id, job.command, "stopped", None, None, None)
        return id

    def started(self, job: Job) -> None:
        """A queued job runs now."""
        status = self._next_status(job, Happening.START)
        job.own_facts().queued_for = self._clock() - job.created
        job.status = status
        if job.id in self._jobs:
            self._running += 1
            self.order.start(job.id)
            self.events.append("started", job)

    def stopped(self, job: Job) -> None:
        """A running job was stopped: nobody can wait for its end now."""
        job.status = self._next_status(job, Happening.STOP)
        if job.id in self._jobs:
            self._running -= 1
            self.order.stop(job.id)
            self.events.append("stopped", job)
            if job.runner is not None:
                self._wake(job, job.runner)

    def resumed(self, job: Job) -> None:
        """A stopped job runs on."""
        job.status = self._next_status(job, Happening.RESUME)
        if job.id in self._jobs:
            self._running += 1
            self.order.resume(job.id)
            self.events.append("resumed", job)

    def ended(self, job: Job, report: Ended) -> None:
        """A job is over. The report's streams are closed already."""
        runner = job.runner
        if runner is None or runner.is_over:
            raise self._bug(job, f"job {job.id} ended twice: it is {job.status_string}")
        ended_by, before = runner.ended_by, job.status
        result, signal, usage = report.result, report.signal, report.usage
        code = result.code
        is_success = code == 0 and not report.is_lost
        happening = SUCCEED if is_success else _failure(report, ended_by)
        try:
            status = TRANSITIONS[before][happening]
        except KeyError:
            status = self._next_status(job, happening)  # It raises, with the job's history.
        if ended_by is not result.ended_by:
            # A result that was passed on may tell who ended another job.
            result = _with_ended_by(result, ended_by)
        now = self._clock()
        if now <= self._last_finished:
            now = nextafter(self._last_finished, inf)
        self._last_finished = job.finished = now
        job.result = result
        streams = runner.streams
        if usage is not None or signal is not None:
            job.keep_end(signal, usage)
        if streams is not None and not can_be_made_again(streams, job, result):
            job.own_facts().streams = streams
        # Whoever sees a final status sees everything else.
        job.status = status
        runner.is_over = True
        is_known = job.id in self._jobs
        if is_known:
            self._running -= before is RUNNING
            self.order.leave(job.id)
            has_output = result.out or result.err or job.facts is not None
            is_too_much = self.retention.finished(job, output_size_of(job) if has_output else 0)
            # Whoever died of a signal did not succeed.
            signal = signal if code else None
            self.events.record(
                time(), "ended", job.id, job.command, _NAMES[status], code, signal, ended_by
            )
        if runner.waiters is not None:
            self._wake(job, runner)
        job.runner = None
        if is_known and is_too_much:
            self._enforce_retention()

    def take(self, job: Job) -> None:
        """Somebody got the result of a finished job: it may go when newer ones are taken."""
        if job.is_taken or job.id not in self._jobs:
            return
        job.is_taken = True
        surplus = self.retention.taken(job)
        if surplus is not None:
            self._remove_finished(surplus)

    def remove(self, job: Job) -> None:
        """Take a job out of the table. If it is not over it runs on, and nobody will hear of it."""
        if job.result is not None:
            self._remove_finished(job)
            self.retention.withdrawn(job)
            return
        del self._jobs[job.id]
        if job.status is RUNNING:
            self._running -= 1
        self.order.leave(job.id)
        self.events.append("removed", job)
        if job.runner is not None:
            self._wake(job, job.runner)
        self._on_removed(job)

    def _remove_finished(self, job: Job) -> None:
        """Take one out that does not count any more among those that stay."""
        id, result = job.id, job.result
        assert result is not None
        del self._jobs[id]
        if self.retention.output_size:
            self.retention.output_gone(output_size_of(job))
        code = result.code
        signal = job.signal if code else None
        self.events.record(
            time(), "removed", id, job.command, _NAMES[job.status], code, signal, None
        )
        self._on_removed(job)

    def wait(self, job: Job, waiter: Waiter[News]) -> None:
        """Let `waiter` go on when the job ends, stops or leaves the table."""
        runner = job.runner
        assert runner is not None
        waiters = runner.waiters
        if waiters is None:
            runner.waiters = waiter
        elif isinstance(waiters, set):
            waiters.add(waiter)
        else:
            runner.waiters = {waiters, waiter}

    def leave(self, job: Job, waiter: Waiter[News]) -> None:
        """Forget a waiter that waits no more."""
        runner = job.runner
        if runner is None:
            return
        waiters = runner.waiters
        if isinstance(waiters, set):
            waiters.discard(waiter)
        elif waiters is waiter:
            runner.waiters = None

    def info(self, job: Job) -> JobInfo:
        """Return a snapshot. Any thread may ask."""
        status = job.status
        facts, runner = job.known, job.runner
        # What comes with the end is there a moment before the status says so.
        result = job.result if status.is_final else None
        queued_for, started_at, elapsed = facts.queued_for, None, 0.0
        if status is not QUEUED and queued_for < inf:
            started_at = utc(job.created_at + queued_for)
            until = self._clock() if result is None else job.finished
            elapsed = max(0.0, until - job.created - queued_for)
        if result is not None:
            ended_by = result.ended_by
        else:
            ended_by = None if runner is None else runner.ended_by
        return JobInfo(
            id=job.id,
            command=job.command,
            name=facts.name,
            tags=facts.tags,
            cwd=job.cwd,
            status=status,
            exit_code=None if result is None or status is JobStatus.LOST else result.code,
            signal=None if result is None else job.signal,
            pid=job.pid,
            pgids=job.pgids,
            output_file=facts.output_file,
            output_open=facts.late is not None and facts.late.open_pipes > 0,
            output_late=0 if facts.late is None else facts.late.received,
            containment=job.containment,
            created_at=utc(job.created_at),
            started_at=started_at,
            finished_at=None
            if result is None
            else utc(job.created_at + job.finished - job.created),
            elapsed=elapsed,
            usage=None if result is None else job.usage,
            ended_by=ended_by,
            mark=None if result is not None else self.order.mark(job.id),
            waits_for_input=None if runner is None else runner.waits_for_input(),
        )

    def _next_status(self, job: Job, happening: Happening) -> JobStatus:
        try:
            return next_status(job.status, happening)
        except InternalError as error:
            raise self._bug(job, f"job {job.id}: {error.what}") from None

    def _bug(self, job: Job, what: str) -> InternalError:
        events = self.events.read(0).events
        return InternalError(what, [event for event in events if event.job_id == job.id])

    def _wake(self, job: Job, runner: Runner) -> None:
        waiters, runner.waiters = runner.waiters, None
        news = (job, job.result)
        if isinstance(waiters, set):
            for waiter in waiters:
                settle(waiter, news)
        elif waiters is not None:
            settle(waiters, news)

    def _enforce_retention(self) -> None:
        while (job := self.retention.surplus()) is not None:
            self._remove_finished(job)
        while (job := self.retention.surplus_output()) is not None:
            self.retention.output_gone(output_size_of(job))
            drop_output(job)


def _with_ended_by(result: ExecResult, ended_by: EndedBy | None) -> ExecResult:
    # `dataclasses.replace` costs ten times that.
    return ExecResult(
        result.code,
        result.out,
        result.err,
        result.data,
        result.out_dropped,
        result.err_dropped,
        ended_by,
    )


def _failure(report: Ended, ended_by: EndedBy | None) -> Happening:
    if report.is_lost:
        return Happening.BE_LOST
    return Happening.FAIL if ended_by is None else Happening.BE_KILLED
