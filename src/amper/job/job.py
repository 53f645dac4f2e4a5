"""The record of one job. What lives only as long as the job runs is in its `runner`.

A manager may hold many thousands of finished ones, so the record is small, and facts that most jobs
do not have stand in `Facts`, which most jobs do not have either.
"""

from __future__ import annotations

from typing import Protocol

from amper.job.runner import Runner, Streams
from amper.values import Containment, ExecResult, JobId, JobStatus, Usage, status_string


class LateCount(Protocol):
    """How much came through a job's output after it had ended, and whether more may come."""

    open_pipes: int
    received: int


class Facts:
    """What some jobs have: a name, processes, usage, files."""

    __slots__ = (
        "containment",
        "cwd",
        "late",
        "name",
        "output_file",
        "pgid",
        "pgids",
        "pid",
        "queued_for",
        "signal",
        "streams",
        "tags",
        "usage",
    )

    def __init__(self, name: str | None = None, tags: tuple[str, ...] = ()) -> None:
        self.name = name
        self.tags = tags
        self.cwd: str | None = None
        self.containment: Containment | None = None
        self.pid: int | None = None
        self.pgid: int | None = None
        self.pgids: tuple[int, ...] = ()
        """Those that were recorded; the group of a command of ours goes without saying."""
        self.queued_for = 0.0
        """Seconds between the creation and the start; infinite before the start."""
        self.signal: int | None = None
        self.late: LateCount | None = None
        self.usage: Usage | None = None
        self.streams: Streams | None = None
        self.output_file: str | None = None

    @property
    def all_pgids(self) -> tuple[int, ...]:
        """The job's process groups, in the order in which they became known."""
        pgid = self.pgid
        return self.pgids if pgid is None or pgid in self.pgids else (pgid, *self.pgids)


NO_FACTS = Facts()
"""Read for a job that has none. Never written."""


class Job:
    """One job of a table.

    `created_at` is wall time; `created` and `finished` are the loop's clock. `finished` is larger
    for each job that ends than for the one before: it is also the order of completion.
    """

    __slots__ = (
        "command",
        "created",
        "created_at",
        "facts",
        "finished",
        "id",
        "is_taken",
        "result",
        "runner",
        "status",
    )

    def __init__(
        self,
        id: JobId,
        command: str,
        status: JobStatus,
        runner: Runner,
        created_at: float,
        created: float,
        facts: Facts | None,
    ) -> None:
        self.id = id
        self.command = command
        self.status = status
        self.runner: Runner | None = runner
        self.result: ExecResult | None = None
        self.created_at = created_at
        self.created = created
        self.finished = 0.0
        self.is_taken = False
        self.facts = facts

    @property
    def known(self) -> Facts:
        """Its facts, to be read."""
        return NO_FACTS if self.facts is None else self.facts

    def own_facts(self) -> Facts:
        """Return its facts, to be written."""
        if self.facts is None:
            self.facts = Facts()
        return self.facts

    @property
    def has_output(self) -> bool:
        """Whether it has ended with anything to read."""
        result, facts = self.result, self.facts
        if result is not None and result.has_output:
            return True
        streams = None if facts is None else facts.streams
        return streams is not None and any(stream.total_written for stream in streams)

    @property
    def status_string(self) -> str:
        """`running`, `done:0`, ..."""
        return status_string(self.status, None if self.result is None else self.result.code)
