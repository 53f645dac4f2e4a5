"""What runs a job: the half of it that exists only while it is not over.

A runner starts one piece of work and reports to the table what became of it. The manager has three
(a coroutine, a command, something that runs elsewhere); an engine is one more, from outside.

1. A runner reports `ended` exactly once after it was started, and nothing after that.
2. Every method returns at once. What takes time shows in the reports.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, NamedTuple

from amper.flow.cancel import CancellationToken
from amper.flow.settle import Waiter
from amper.flow.stream import BoundedStream
from amper.values import EndedBy, ExecResult

if TYPE_CHECKING:
    from amper.job.job import Job


class Streams(NamedTuple):
    """The two outputs of a job."""

    stdout: BoundedStream
    stderr: BoundedStream

    @classmethod
    def empty(cls) -> Streams:
        """Return two new streams of the usual size."""
        return cls(BoundedStream(), BoundedStream())


News = tuple["Job", ExecResult | None]
"""What a waiter is told when a job has ended, stopped, or left the table: the job, and its result if it
has ended."""


class Runner(ABC):
    """One job's execution, with who waits for it and who asked it to end.

    What is asked of every run stands in the run itself: from Python 3.12 on, an attribute for which
    the class has a default too is found, and set, ten times slower.
    """

    def __init__(self, streams: Streams | None = None) -> None:
        self.is_over = False
        self.persists_output = False
        self.ended_by: EndedBy | None = None
        self.streams = streams
        self.token: CancellationToken | None = None
        self.waiters: Waiter[News] | set[Waiter[News]] | None = None
        """One, or a set: most have one, for which a set would be the largest thing of all."""

    @abstractmethod
    def start(self) -> None:
        """Begin. Called once, when the job may run."""

    def discard(self) -> None:
        """Give up what was never started, and never will be."""
        self.is_over = True
        for stream in self.streams or ():
            stream.close()

    def ask_to_end(self) -> None:
        """Ask the work to end in its own way; its process groups are asked by the manager."""

    def insist(self) -> None:
        """Ask once more, after the grace period."""

    def give_up(self) -> None:
        """Report the end of work that does not react to being asked."""

    def waits_for_input(self) -> bool | None:
        """Return whether the job sleeps until somebody types; None if it has no terminal.

        Any thread may ask.
        """
        return None

    @property
    def has_work(self) -> bool:
        """Whether something beside process groups has to end before the job is dead."""
        return not self.is_over

    def read_stop(self) -> bool | None:
        """Return whether the work is stopped, where only the kernel knows; None where it is told.

        Any thread may ask.
        """
        return None

    def stop_notice(self) -> bool | None:
        """Return what `read_stop` does, where that can be told for next to nothing."""
        return None

    def claim(self, ended_by: EndedBy) -> None:
        """Put on record who ends the job. The first who asked is the one."""
        if self.ended_by is None:
            self.ended_by = ended_by
