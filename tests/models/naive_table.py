"""A job table as one would write it who has few jobs and no hurry: it looks at everything, always.

It is the other half of the state machine in `test_table_model`.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from amper import EndedBy, ExecResult

Told = tuple[str, int]
"""What happened, and to which job."""


@dataclass
class NaiveJob:
    id: int
    status: str
    ended_by: EndedBy | None = None
    result: ExecResult | None = None
    is_taken: bool = False
    waiters: dict[int, None] = field(default_factory=dict)
    created: float = 0.0
    started: float | None = None
    finished: float | None = None

    @property
    def status_string(self) -> str:
        code = f":{self.result.code}" if self.result is not None and self.status != "lost" else ""
        return self.status + code

    @property
    def output(self) -> int:
        return 0 if self.result is None else len(self.result.out) + len(self.result.err)


class NaiveTable:
    """The rules of the life cycle and of retention, word for word."""

    def __init__(self, taken_kept: int, untaken_kept: int, output_kept: int) -> None:
        self.jobs: dict[int, NaiveJob] = {}
        self.completed: list[int] = []
        """All that ever ended, in that order."""
        self.stops: list[int] = []
        """All that ever stopped, in that order; each counts where it stands last."""
        self.starts: list[int] = []
        """All that ever began to run, or to run again, in that order; as above."""
        self.told: list[Told] = []
        self.news: dict[int, ExecResult | None] = {}
        """What each waiter was told."""
        self.bounds = (taken_kept, untaken_kept, output_kept)
        self.now = 0.0

    def add(self, id: int, status: str) -> NaiveJob:
        job = self.jobs[id] = NaiveJob(id, status, created=self.now)
        job.started = None if status == "queued" else self.now
        if status == "stopped":
            self.stops.append(id)
        elif status == "running":
            self.starts.append(id)
        self.tell({"running": "started"}.get(status, status), job)
        return job

    def start(self, job: NaiveJob) -> None:
        job.status, job.started = "running", self.now
        self.starts.append(job.id)
        self.tell("started", job)

    def stop(self, job: NaiveJob) -> None:
        job.status = "stopped"
        self.stops.append(job.id)
        self.tell("stopped", job)
        if self.has(job):
            self.wake(job, None)

    def resume(self, job: NaiveJob) -> None:
        job.status = "running"
        self.starts.append(job.id)
        self.tell("resumed", job)

    def end(self, job: NaiveJob, result: ExecResult, *, is_lost: bool = False) -> None:
        if is_lost:
            job.status = "lost"
        elif result.code == 0:
            job.status = "done"
        else:
            job.status = "failed" if job.ended_by is None else "killed"
        job.result = ExecResult(
            result.code, result.out, result.err, result.data, ended_by=job.ended_by
        )
        job.finished = self.now
        self.completed.append(job.id)
        self.tell("ended", job)
        self.wake(job, job.result)
        self.enforce_bounds()

    def take(self, job: NaiveJob) -> None:
        job.is_taken = True
        self.enforce_bounds()

    def remove(self, job: NaiveJob) -> None:
        self.tell("removed", job)
        del self.jobs[job.id]
        self.wake(job, None)

    def has(self, job: NaiveJob) -> bool:
        return self.jobs.get(job.id) is job

    def tell(self, what: str, job: NaiveJob) -> None:
        if self.has(job):
            self.told.append((what, job.id))

    def wake(self, job: NaiveJob, result: ExecResult | None) -> None:
        for waiter in job.waiters:
            self.news[waiter] = result
        job.waiters.clear()

    def finished_jobs(self) -> list[NaiveJob]:
        return [self.jobs[id] for id in self.completed if id in self.jobs]

    @property
    def running_count(self) -> int:
        return sum(job.status == "running" for job in self.jobs.values())

    @property
    def last_stopped(self) -> int | None:
        still = self.still("stopped", self.stops)
        return still[0] if still else None

    @property
    def first_two(self) -> tuple[int | None, int | None]:
        order = [*self.still("stopped", self.stops), *self.still("running", self.starts)]
        return (order[0] if order else None, order[1] if len(order) > 1 else None)

    def still(self, status: str, history: list[int]) -> list[int]:
        """Return those that are in this state, the last one of a history first."""
        last_first = dict.fromkeys(reversed(history))
        return [id for id in last_first if id in self.jobs and self.jobs[id].status == status]

    def enforce_bounds(self) -> None:
        taken_kept, untaken_kept, output_kept = self.bounds
        taken = [job for job in self.finished_jobs() if job.is_taken]
        untaken = [job for job in self.finished_jobs() if not job.is_taken]
        for job in taken[: max(0, len(taken) - taken_kept)]:
            self.remove(job)
        for job in untaken[: max(0, len(untaken) - untaken_kept)]:
            self.remove(job)
        for job in self.finished_jobs():
            if sum(other.output for other in self.finished_jobs()) <= output_kept:
                return
            assert job.result is not None
            code, out, err, by = job.result.code, job.result.out, job.result.err, job.ended_by
            dropped = (job.result.out_dropped + len(out), job.result.err_dropped + len(err))
            job.result = ExecResult(
                code, out_dropped=dropped[0], err_dropped=dropped[1], ended_by=by
            )
