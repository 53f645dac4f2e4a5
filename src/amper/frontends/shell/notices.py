"""What a person is told before the next prompt: which jobs stopped, and which are over."""

from __future__ import annotations

from collections.abc import Mapping

from amper.builtins.listing import job_line
from amper.manager import JobManager
from amper.values import JobId, JobInfo, JobStatus


class Notices:
    """Remembers what was told."""

    def __init__(self, jobs: JobManager) -> None:
        self._jobs = jobs
        self._seen = 0
        """The number of the last event."""

    async def take(self, listed: Mapping[JobId, JobStatus]) -> str:
        """Return what is new: a line for each job that has stopped or ended since the last call.

        `listed` are those that the person has seen in a list meanwhile, as they were then.
        """
        # Looking at the jobs brings the stops that nobody has told us of.
        infos = await self._jobs.list()
        changed = await self._changed()
        lines = [
            f"{job_line(info)}\n"
            for info in infos
            if self._is_new(info, changed) and listed.get(info.id) is not info.status
        ]
        for info in infos:
            if info.status.is_final:
                # Whoever has read that it is over knows it: `jobs` need not tell it again.
                await self._jobs.try_result(info.id)
        return "".join(lines)

    async def _changed(self) -> set[JobId]:
        """Return the jobs that have stopped, also once more, or ended since the last call."""
        found: set[JobId] = set()
        while (page := await self._jobs.read_events(self._seen)).events:
            found |= {
                event.job_id
                for event in page.events
                if event.kind in ("stopped", "ended") and event.job_id is not None
            }
            self._seen = page.next
        return found

    def _is_new(self, info: JobInfo, changed: set[JobId]) -> bool:
        if info.status.is_final:
            # An event may be gone before anybody has read it. Having waited for a job is no reason
            # not to be told how it ended: other shells do so, too.
            job = self._jobs.table.get(info.id)
            return info.id in changed or (job is not None and not job.is_taken)
        return info.status is JobStatus.STOPPED and info.id in changed
