"""Which finished jobs stay in the table, and how much of their output.

It keeps three orders of completion and decides who goes next; each decision costs the same however
many jobs there are. It reads records and never changes one.

1. A job is in `_untaken` or in `_taken` once; entries of jobs that went another way are skipped when
   their turn comes, and thrown out when they are the majority.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Iterator
from typing import Final

from amper.job.job import Job
from amper.values import JobId

UNTAKEN_KEPT: Final = 10_000
OUTPUT_KEPT: Final = 256 * 1024 * 1024


class Retention:
    """Bounds on finished jobs. `None` is no bound."""

    __slots__ = (
        "_jobs",
        "_output",
        "_output_size",
        "_taken",
        "_taken_count",
        "_untaken",
        "_untaken_count",
        "output_kept",
        "taken_kept",
        "untaken_kept",
    )

    def __init__(
        self,
        jobs: dict[JobId, Job],
        taken_kept: int | None,
        untaken_kept: int | None = UNTAKEN_KEPT,
        output_kept: int | None = OUTPUT_KEPT,
    ) -> None:
        self._jobs = jobs
        self.taken_kept = taken_kept
        self.untaken_kept = untaken_kept
        self.output_kept = output_kept
        self._untaken: deque[JobId] = deque()
        self._untaken_count = 0
        self._taken: list[tuple[float, JobId]] = []
        self._taken_count = 0
        self._output: deque[JobId] = deque()
        self._output_size = 0

    def finished(self, job: Job, output_size: int) -> None:
        """Count a job that has just ended."""
        self._untaken_count += 1
        if self.untaken_kept is not None:
            self._untaken.append(job.id)
        if output_size and self.output_kept is not None:
            self._output.append(job.id)
            self._output_size += output_size

    def taken(self, job: Job) -> None:
        """Count a finished job whose result somebody got for the first time."""
        self._untaken_count -= 1
        self._taken_count += 1
        if self.taken_kept is not None:
            assert job.finished is not None
            heapq.heappush(self._taken, (job.finished, job.id))

    def removed(self, job: Job, output_size: int) -> None:
        """Count a finished job that has left the table."""
        if job.is_taken:
            self._taken_count -= 1
            if len(self._taken) > 2 * self._taken_count + 64:
                self._taken = [entry for entry in self._taken if entry[1] in self._jobs]
                heapq.heapify(self._taken)
        else:
            self._untaken_count -= 1
        self.output_dropped(output_size)

    def output_dropped(self, size: int) -> None:
        """Count output that is kept no more."""
        if self.output_kept is not None:
            self._output_size -= size

    def surplus(self) -> Iterator[Job]:
        """Yield the jobs that must go, oldest first; each has to be removed before the next is asked for."""
        while self.taken_kept is not None and self._taken_count > self.taken_kept:
            job = self._jobs.get(heapq.heappop(self._taken)[1])
            if job is not None:
                yield job
        while self.untaken_kept is not None and self._untaken_count > self.untaken_kept:
            job = self._jobs.get(self._untaken.popleft())
            if job is not None and not job.is_taken:
                yield job
        if len(self._untaken) > 2 * self._untaken_count + 64:
            self._untaken = deque(id for id in self._untaken if self._is_untaken(id))

    def surplus_output(self) -> Iterator[Job]:
        """Yield the jobs whose output must go, oldest first; it has to be dropped before the next."""
        while self.output_kept is not None and self._output_size > self.output_kept:
            job = self._jobs.get(self._output.popleft())
            if job is not None:
                yield job
        if len(self._output) > 2 * len(self._jobs) + 64:
            self._output = deque(id for id in self._output if id in self._jobs)

    def _is_untaken(self, id: JobId) -> bool:
        job = self._jobs.get(id)
        return job is not None and not job.is_taken
