"""The record of one job. What lives only as long as the job runs is in its `runner`.

A manager may hold many thousands of finished ones, so the record is small: what most jobs do not have
stands in `Facts`, which most jobs do not have either.
"""

from __future__ import annotations

from struct import Struct
from typing import Final, Protocol

from amper.job.runner import Runner, Streams
from amper.values import (
    Containment,
    ExecResult,
    JobId,
    JobStatus,
    Usage,
    status_string,
)

_END: Final = Struct("=iBddq")
"""How a command ended: its pid, the signal or 0, what it used. Packed it takes a third of the objects."""


class LateCount(Protocol):
    """How much came through a job's output after it had ended, and whether more may come."""

    open_pipes: int
    received: int


class Facts:
    """What few jobs have: a name, tags, a time in the queue, recorded processes, what outlives them."""

    __slots__ = (
        "late",
        "name",
        "output_file",
        "pgid",
        "pgids",
        "pid",
        "queued_for",
        "streams",
        "tags",
    )

    def __init__(self, name: str | None = None, tags: tuple[str, ...] = ()) -> None:
        self.name = name
        self.tags = tags
        self.pid: int | None = None
        """The process of an embedder's, and its group; a command of ours knows its own."""
        self.pgid: int | None = None
        self.pgids: tuple[int, ...] = ()
        self.queued_for = 0.0
        """Seconds between the creation and the start; infinite before the start."""
        self.late: LateCount | None = None
        self.streams: Streams | None = None
        self.output_file: str | None = None


QUEUED: Final = JobStatus.QUEUED
"""A name of the module is found faster than a member of an enum."""

UNNUMBERED: Final = JobId(0)
"""Of a job that no table has yet."""

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

    containment: Containment | None = None
    cwd: str | None = None

    def __init__(self, command: str, runner: Runner, facts: Facts | None = None) -> None:
        self.id = UNNUMBERED
        self.command = command
        self.status = QUEUED
        self.runner: Runner | None = runner
        self.result: ExecResult | None = None
        self.created_at = 0.0
        self.created = 0.0
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
    def pid(self) -> int | None:
        """Its process, if it has one."""
        return self.known.pid

    @property
    def pgid(self) -> int | None:
        """The process group of its process."""
        return self.known.pgid

    @property
    def pgids(self) -> tuple[int, ...]:
        """Its process groups, in the order in which they became known."""
        recorded, pgid = self.known.pgids, self.pgid
        return recorded if pgid is None or pgid in recorded else (pgid, *recorded)

    @property
    def signal(self) -> int | None:
        """The signal that its leader died of."""
        return None

    @property
    def usage(self) -> Usage | None:
        """What its leader used."""
        return None

    def keep_end(self, signal: int | None, usage: Usage | None) -> None:
        """Take how the leader ended and what it used; a job without one of ours has neither."""

    @property
    def has_output(self) -> bool:
        """Whether it has ended with anything to read."""
        result, facts = self.result, self.facts
        if result is not None and (result.out or result.err):
            return True
        if facts is None or facts.streams is None:
            return False
        return any(stream.total_written for stream in facts.streams)

    @property
    def status_string(self) -> str:
        """`running`, `done:0`, ..."""
        return status_string(self.status, None if self.result is None else self.result.code)


class CommandJob(Job):
    """A job whose process is ours: a command."""

    __slots__ = ("_end", "_pid", "containment", "cwd")

    def __init__(
        self,
        command: str,
        runner: Runner,
        facts: Facts | None,
        *,
        containment: Containment,
        cwd: str | None,
    ) -> None:
        super().__init__(command, runner, facts)
        self.containment = containment
        self.cwd = cwd
        self._pid: int | None = None
        self._end: bytes | None = None

    @property
    def pid(self) -> int | None:
        pid, end = self._pid, self._end
        return pid if pid is not None or end is None else _END.unpack(end)[0] or None

    @pid.setter
    def pid(self, pid: int) -> None:
        self._pid = pid

    @property
    def pgid(self) -> int | None:
        # It leads a group of its own.
        return self.pid

    @property
    def signal(self) -> int | None:
        return None if self._end is None else _END.unpack(self._end)[1] or None

    @property
    def usage(self) -> Usage | None:
        if self._end is None:
            return None
        _, _, user, system, max_rss = _END.unpack(self._end)
        return None if max_rss < 0 else Usage(user, system, max_rss)

    def keep_end(self, signal: int | None, usage: Usage | None) -> None:
        user, system, max_rss = (
            (0.0, 0.0, -1) if usage is None else (usage.user, usage.system, usage.max_rss)
        )
        self._end = _END.pack(self._pid or 0, signal or 0, user, system, max_rss)
        # Last: another thread that does not find it here any more finds it there.
        self._pid = None
