"""Which job is the current one (`%+`), and which the previous (`%-`): the order that POSIX gives them.

Stopped jobs come before those that run in the background, and among equals the one that stopped,
started or was resumed last. Queued and finished jobs have no place. One thread writes; any thread
may read `first_two`, which is always a pair that was true.

1. Each step is O(1) amortised: what is in `_background` is dropped once, from its end or all at once.
2. In `_background` a job counts where it stands last, and only while it runs and is in the table.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from typing import Final

from amper.job.job import Job
from amper.values import JobId, JobStatus, Mark

RUNNING: Final = JobStatus.RUNNING

_Two = tuple[JobId | None, JobId | None]
NOBODY: Final[_Two] = (None, None)

_ROOM: Final = 64
"""Entries of jobs that are gone, beside as many as there are jobs that run."""


class JobOrder:
    """The jobs that are not over, in the order in which `fg` and `bg` would take them."""

    __slots__ = ("_background", "_jobs", "_room", "_stopped", "first_two")

    def __init__(self, jobs: Mapping[JobId, Job]) -> None:
        self._jobs = jobs
        self._background: list[JobId] = []
        self._room = _ROOM
        # A plain dict would look for its last key in all the holes that others have left.
        self._stopped: OrderedDict[JobId, None] = OrderedDict()
        self.first_two: _Two = NOBODY
        """The current job and the previous one."""

    def mark(self, id: JobId) -> Mark | None:
        """Return `+` for the current job and `-` for the previous one."""
        current, previous = self.first_two
        if id == current:
            return "+"
        return "-" if id == previous else None

    def last_stopped(self) -> JobId | None:
        """Return the job that was stopped last and still is."""
        current = self.first_two[0]
        return current if current in self._stopped else None

    # Each of these is called when the job's record is true already.

    def start(self, id: JobId) -> None:
        """Let in a job that has begun to run."""
        self._background.append(id)
        if self._stopped or len(self._background) > self._room:
            self._choose()
        else:
            # Most jobs come this way.
            self.first_two = (id, self.first_two[0])

    def stop(self, id: JobId) -> None:
        """A job has stopped, whether it ran before or begins so."""
        self._stopped[id] = None
        self._choose()

    def resume(self, id: JobId) -> None:
        """A stopped job runs on, in the background."""
        del self._stopped[id]
        self._background.append(id)
        self._choose()

    def leave(self, id: JobId) -> None:
        """A job is over, or out of the table; one that has no place here changes nothing."""
        if self._stopped:
            self._stopped.pop(id, None)
        background = self._background
        if background and background[-1] == id:
            background.pop()
        if id in self.first_two:
            if background or self._stopped:
                self._choose()
            else:
                self.first_two = NOBODY

    def _choose(self) -> None:
        if len(self._background) > self._room:
            self._compact()
        if not self._stopped:
            self.first_two = self._last_two_running()
            return
        newest = reversed(self._stopped)
        first, second = next(newest), next(newest, None)
        self.first_two = (first, self._last_running() if second is None else second)

    def _last_two_running(self) -> _Two:
        first = self._last_running()
        if first is None:
            return NOBODY
        background = self._background
        background.pop()
        while (second := self._last_running()) == first:
            # Here it stood before it was stopped and resumed.
            background.pop()
        background.append(first)
        return (first, second)

    def _last_running(self) -> JobId | None:
        """Return the last job that runs; those behind it are dropped."""
        background, jobs = self._background, self._jobs
        while background:
            job = jobs.get(background[-1])
            if job is not None and job.status is RUNNING:
                return job.id
            background.pop()
        return None

    def _compact(self) -> None:
        """Drop those that do not run, if they end in the order in which they started."""
        last_first = dict.fromkeys(reversed(self._background))
        jobs = self._jobs
        running = [id for id in last_first if id in jobs and jobs[id].status is RUNNING]
        running.reverse()
        self._background = running
        self._room = 2 * len(running) + _ROOM
