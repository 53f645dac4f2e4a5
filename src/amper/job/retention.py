"""Which finished jobs stay in the table, and how much of their output.

It keeps three orders of completion and decides who goes next; each decision costs the same however
many jobs there are. It reads records and never changes one.

1. Results are mostly taken in the order of completion: `_taken` is in that order, and those that came
   too late for their place in it are in the heap `_late`.
2. Entries of jobs that went another way are skipped when their turn comes, and thrown out when they
   are the majority.
"""

from __future__ import annotations

import heapq
import math
from collections import deque
from typing import Final

from amper.job.job import Job
from amper.values import JobId

UNTAKEN_KEPT: Final = 10_000
OUTPUT_KEPT: Final = 256 * 1024 * 1024

STALE_ALLOWED: Final = 64
"""Entries without a job that are not worth a look through all of them."""

_Completion = tuple[float, JobId]
"""When a job was over, and which: the order of completion."""


class Retention:
    """Bounds on finished jobs. `None` is no bound."""

    __slots__ = (
        "_jobs",
        "_last_taken",
        "_late",
        "_output",
        "_output_kept",
        "_taken",
        "_taken_count",
        "_taken_kept",
        "_untaken",
        "_untaken_count",
        "_untaken_kept",
        "output_size",
    )

    def __init__(
        self,
        jobs: dict[JobId, Job],
        taken_kept: int | None,
        untaken_kept: int | None = UNTAKEN_KEPT,
        output_kept: int | None = OUTPUT_KEPT,
    ) -> None:
        self._jobs = jobs
        self._taken_kept = math.inf if taken_kept is None else taken_kept
        self._untaken_kept = math.inf if untaken_kept is None else untaken_kept
        self._output_kept = math.inf if output_kept is None else output_kept
        self._untaken: deque[JobId] = deque()
        self._untaken_count = 0
        self._taken: deque[JobId] = deque()
        self._last_taken = 0.0
        """When the last of those was over."""
        self._late: list[_Completion] = []
        self._taken_count = 0
        self._output: deque[JobId] = deque()
        self.output_size = 0
        """How much output the finished jobs have."""

    def finished(self, job: Job, output_size: int) -> bool:
        """Count a job that has just ended; return whether a bound is exceeded now."""
        self._untaken_count += 1
        self._untaken.append(job.id)
        if output_size:
            self._output.append(job.id)
            self.output_size += output_size
        return self._untaken_count > self._untaken_kept or self.output_size > self._output_kept

    def taken(self, job: Job) -> Job | None:
        """Count a finished job whose result somebody got first; return the one that must go for it."""
        id = job.id
        self._untaken_count -= 1
        if self._untaken[0] == id:
            self._untaken.popleft()
        else:
            self._forget_stale_untaken()
        self._taken_count += 1
        if job.finished > self._last_taken:
            self._last_taken = job.finished
            self._taken.append(id)
        else:
            heapq.heappush(self._late, (job.finished, id))
        return self.surplus() if self._taken_count > self._taken_kept else None

    def withdrawn(self, job: Job) -> None:
        """Count out a finished job that has left the table, and not because it was the surplus."""
        if not job.is_taken:
            self._untaken_count -= 1
            self._forget_stale_untaken()
            return
        self._taken_count -= 1
        if len(self._taken) + len(self._late) > 2 * self._taken_count + STALE_ALLOWED:
            self._taken = deque(id for id in self._taken if id in self._jobs)
            self._late = [entry for entry in self._late if entry[1] in self._jobs]
            heapq.heapify(self._late)

    def output_gone(self, size: int) -> None:
        """Count output that is kept no more."""
        self.output_size -= size
        if len(self._output) > 2 * len(self._jobs) + STALE_ALLOWED:
            self._output = deque(id for id in self._output if id in self._jobs)

    def surplus(self) -> Job | None:
        """Count out the oldest job that must go, and return it, for the table to remove."""
        while self._taken_count > self._taken_kept:
            job = self._pop_late() if self._late else self._jobs.get(self._taken.popleft())
            if job is not None:
                self._taken_count -= 1
                return job
        while self._untaken_count > self._untaken_kept:
            job = self._jobs.get(self._untaken.popleft())
            if job is not None and not job.is_taken:
                self._untaken_count -= 1
                return job
        return None

    def surplus_output(self) -> Job | None:
        """Return the oldest job whose output must go; it has to be dropped before the next call."""
        while self.output_size > self._output_kept:
            job = self._jobs.get(self._output.popleft())
            if job is not None:
                return job
        return None

    def _pop_late(self) -> Job | None:
        """Return the oldest of those that were taken, late or not; None for one that has left."""
        first = self._jobs.get(self._taken[0]) if self._taken else None
        if not self._taken or (first and self._late[0][0] < first.finished):
            return self._jobs.get(heapq.heappop(self._late)[1])
        self._taken.popleft()
        return first

    def _forget_stale_untaken(self) -> None:
        if len(self._untaken) > 2 * self._untaken_count + STALE_ALLOWED:
            self._untaken = deque(id for id in self._untaken if self._is_untaken(id))

    def _is_untaken(self, id: JobId) -> bool:
        job = self._jobs.get(id)
        return job is not None and not job.is_taken
