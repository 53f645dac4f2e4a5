"""What a person is told before the next prompt: which jobs stopped, and which are over."""

from __future__ import annotations

from amper.builtins.listing import job_line
from amper.manager import JobManager
from amper.values import JobId, JobInfo, JobStatus


class Notices:
    """Remembers what was told."""

    def __init__(self, jobs: JobManager) -> None:
        self._jobs = jobs
        self._told: dict[JobId, JobStatus] = {}

    async def take(self) -> str:
        """Return what is new: a line for each job that has stopped or ended since the last call."""
        infos = await self._jobs.list()
        lines = [job_line(info) + "\n" for info in infos if self._is_new(info)]
        for info in infos:
            if info.status.is_final:
                # Whoever has read that it is over knows it: `jobs` need not tell it again.
                await self._jobs.try_result(info.id)
        self._told = {info.id: info.status for info in infos}
        return "".join(lines)

    def _is_new(self, info: JobInfo) -> bool:
        if info.status is self._told.get(info.id):
            return False
        if info.status.is_final:
            # Whoever has waited for it, or listed it, knows already.
            job = self._jobs.table.get(info.id)
            return job is not None and not job.is_taken
        return info.status is JobStatus.STOPPED
