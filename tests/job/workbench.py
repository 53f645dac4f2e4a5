"""A job table with nothing around it: what happens to jobs is what the test says."""

from __future__ import annotations

import asyncio

from amper import EndedBy, ExecResult, Streams, Usage
from amper.job.job import CommandJob, Facts, Job
from amper.job.lifecycle import Happening
from amper.job.retention import Retention
from amper.job.runner import News, Runner
from amper.job.table import JobTable
from amper.values import Ended


class Work(Runner):
    """Work that the test itself does."""

    def start(self) -> None:
        """Nothing begins by itself."""

    def discard(self) -> None:
        """There is nothing to give up."""


class Clock:
    """Stands until somebody sets it."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


class Listener:
    """A waiter that keeps what it is told."""

    def __init__(self) -> None:
        self.news: list[News] = []
        self.is_done = False

    def set_result(self, news: News) -> None:
        if self.is_done:
            raise asyncio.InvalidStateError
        self.news.append(news)


class Workbench:
    """A table, its clock, and the verbs in which tests are written."""

    def __init__(
        self,
        *,
        taken: int | None = None,
        untaken: int | None = None,
        output: int | None = None,
    ) -> None:
        self.clock = Clock()
        self.removed: list[Job] = []
        self.table = JobTable(self.clock, taken, self.removed.append)
        self.table.retention = Retention(self.table._jobs, taken, untaken, output)

    def add(
        self,
        happening: Happening = Happening.START,
        *,
        command: str = "work",
        facts: Facts | None = None,
        streams: Streams | None = None,
    ) -> Job:
        job = Job(command, Work(streams), facts)
        self.table.add(job, happening)
        return job

    def add_command(
        self, happening: Happening = Happening.START, *, facts: Facts | None = None
    ) -> CommandJob:
        job = CommandJob("make", Work(None), facts, containment="group", cwd="/src")
        self.table.add(job, happening)
        return job

    def end(
        self,
        job: Job,
        result: ExecResult | None = None,
        *,
        ended_by: EndedBy | None = None,
        signal: int | None = None,
        usage: Usage | None = None,
        is_lost: bool = False,
    ) -> Job:
        if ended_by is not None:
            assert job.runner is not None
            job.runner.claim(ended_by)
        self.table.ended(job, Ended(result or ExecResult(0), signal, usage, is_lost))
        return job

    def finished(self, result: ExecResult | None = None) -> Job:
        return self.end(self.add(), result)

    def taken(self, result: ExecResult | None = None) -> Job:
        job = self.finished(result)
        self.table.take(job)
        return job

    def wait(self, job: Job) -> Listener:
        listener = Listener()
        self.table.wait(job, listener)
        return listener

    def history(self, job: Job) -> list[str]:
        """Return the kinds of what the log knows of a job, in order."""
        return [event.kind for event in self.table.events.read(0).events if event.job_id == job.id]
