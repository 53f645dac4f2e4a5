"""What can be asked of a manager: the half of `JobManager` that looks, and changes nothing.

It needs no running loop, and it goes on when the manager is closed. An unknown id is answered with
`None`, `[]` or nothing.
"""

from __future__ import annotations

import os
from collections.abc import AsyncGenerator

from amper.flow.stream import BoundedStream
from amper.job.job import Job
from amper.job.jobspec import find_job
from amper.job.outputs import closed_streams, output_of
from amper.job.runner import Streams
from amper.job.table import JobTable
from amper.manager.arguments import absolute, checked_offset, checked_status
from amper.manager.core import Core, local_runner
from amper.manager.coroutines import own_streams
from amper.manager.waiting import follow, replay
from amper.values import Chunk, Event, EventPage, JobId, JobInfo, JobStatus, StreamName

Infos = list[JobInfo]
Ids = list[JobId]
Numbers = list[int]
"""Named here because `list` is a method of the class."""


class Lookups:
    """What jobs there are, how they are, and what they have written."""

    def __init__(self, core: Core) -> None:
        self._core = core
        self._table = core.table

    # Jobs.

    async def exists(self, id: JobId) -> bool:
        """Return whether the job is in the table."""
        return self._lookup(id) is not None

    async def get(self, id: JobId) -> JobInfo | None:
        """Return a snapshot of a job."""
        job = self._current(id)
        if job is None:
            return None
        return self._table.info(job) if self._core.states.can_tell else self._table.info_now(job)

    async def list(
        self,
        *,
        status: JobStatus | str | None = None,
        name: str | None = None,
        tag: str | None = None,
        cwd: str | os.PathLike[str] | None = None,
    ) -> Infos:
        """Return snapshots of the jobs that match all that is asked for, by id.

        Raises ValueError for a status that does not exist.
        """
        self._core.catch_up()
        self._core.states.look_at_all()
        wanted = checked_status(status)
        directory = None if cwd is None else absolute(cwd)
        return [
            self._table.info(job)
            for job in self._table.jobs()
            if (wanted is None or job.status is wanted)
            and (name is None or job.known.name == name)
            and (tag is None or tag in job.known.tags)
            and (directory is None or job.cwd == directory)
        ]

    async def list_ids(self) -> Ids:
        """Return the ids of all jobs in ascending order."""
        self._core.catch_up()
        return self._table.ids()

    async def resolve(self, spec: str) -> JobId:
        """Return the job that a job spec means: `%+`, `%-`, `%3` or `3`, `%name`, `%?text`.

        `%name` is the job with exactly that name, or whose command begins so. Jobs that are not
        over come before those that are.

        Raises:
            InvalidJobSpec: it is no job spec.
            NoSuchJob: no job is meant.
            AmbiguousJobSpec: it fits several jobs, which the error lists.
        """
        if not isinstance(spec, str):
            raise TypeError(f"a job spec is a str, not {type(spec).__name__}")
        self._core.catch_up()
        # Which job is current depends on which are stopped.
        self._core.states.look_at_all()
        return find_job(self._table, spec).id

    async def running_count(self) -> int:
        """Return how many jobs are running: neither stopped nor queued."""
        self._core.catch_up()
        self._core.states.look_at_all()
        return self._table.running_count

    async def last_stopped(self) -> JobId | None:
        """Return the job that was stopped last and still is."""
        self._core.catch_up()
        self._core.states.look_at_all()
        return self._table.last_stopped()

    async def get_command(self, id: JobId) -> str | None:
        """Return the command as people read it."""
        job = self._lookup(id)
        return None if job is None else job.command

    async def get_status_string(self, id: JobId) -> str | None:
        """Return `queued`, `running`, `stopped`, `done:0`, `failed:CODE`, `killed:CODE` or `lost`."""
        job = self._current(id)
        if job is None or self._core.states.can_tell:
            return None if job is None else job.status_string
        return self._table.info_now(job).status_string

    async def get_process_info(self, id: JobId) -> tuple[int, int] | None:
        """Return the pid and the process group of a job that has a process."""
        job = self._lookup(id)
        await confirmed(job)
        if job is None or job.pid is None:
            return None
        return job.pid, job.pgid or job.pid

    async def job_pgids(self, id: JobId) -> Numbers:
        """Return the process groups of a job in the order in which they were recorded."""
        job = self._lookup(id)
        await confirmed(job)
        return [] if job is None else list(job.pgids)

    # Output.

    async def streams(self, id: JobId) -> Streams | None:
        """Return the two live outputs of a job, made now if it had none; closed if it is over."""
        job = self._lookup(id)
        return None if job is None else self._streams_of(job)

    async def read_stdout(self, id: JobId) -> bytes | None:
        """Return a copy of a job's output so far; None if it is unknown or has no stream."""
        streams = self._attached_streams(id)
        return None if streams is None else streams.stdout.read()

    async def read_stderr(self, id: JobId) -> bytes | None:
        """Return a copy of a job's errors so far; None if it is unknown or has no stream."""
        streams = self._attached_streams(id)
        return None if streams is None else streams.stderr.read()

    async def read_output(
        self, id: JobId, since: int = 0, *, stream: StreamName = "stdout", limit: int | None = None
    ) -> Chunk | None:
        """Return at once what a job wrote from byte `since` on, at most `limit` bytes.

        Go on with `since=chunk.next`. None for an unknown job.
        """
        chosen = self._stream_of(id, stream)
        return None if chosen is None else chosen.read_from(since, limit)

    def follow(
        self, id: JobId, since: int = 0, *, stream: StreamName = "stdout"
    ) -> AsyncGenerator[Chunk, None]:
        """Iterate over a job's output from byte `since` on, as it comes, until the stream is closed.

        The last chunk has `closed` set, and may be empty. An unknown job gives nothing.
        """
        return follow(self._stream_of(id, stream), checked_offset(since))

    # Events.

    def events(self, since: int | None = 0) -> AsyncGenerator[Event, None]:
        """Iterate over everything that happens, from the event after number `since` on.

        None is only what happens after this call. The last 10,000 events are kept; for a reader
        that comes too late a `missed` event counts those that are gone. It ends after the manager's
        last event.
        """
        self._core.catch_up()
        log = self._table.events
        first = log.last if since is None else checked_offset(since)
        return replay(self._core.enter, log, first)

    async def read_events(self, since: int | None = 0, limit: int = 1000) -> EventPage:
        """Return at once a page of at most `limit` events; go on with `since=page.next`."""
        self._core.catch_up()
        log = self._table.events
        return log.read(log.last if since is None else since, limit)

    @property
    def table(self) -> JobTable:
        """The table underneath, whose reading half any thread may use. It is not to be changed."""
        return self._table

    # Records.

    def _lookup(self, id: JobId) -> Job | None:
        self._core.catch_up()
        return self._table.get(id)

    def _current(self, id: JobId) -> Job | None:
        """Look a job up, and bring it up to date."""
        job = self._lookup(id)
        self._core.states.look_closely(job)
        return job

    def _streams_of(self, job: Job) -> Streams:
        if job.runner is not None:
            return own_streams(local_runner(job))
        assert job.result is not None
        return output_of(job) or closed_streams(job.result)

    def _attached_streams(self, id: JobId) -> Streams | None:
        job = self._lookup(id)
        return None if job is None else output_of(job)

    def _stream_of(self, id: JobId, name: StreamName) -> BoundedStream | None:
        if name not in ("stdout", "stderr"):
            raise ValueError(f'a stream is "stdout" or "stderr", not {name!r}')
        job = self._lookup(id)
        if job is None:
            return None
        streams = self._streams_of(job)
        return streams.stdout if name == "stdout" else streams.stderr


async def confirmed(job: Job | None) -> None:
    """Wait until it is known which process a job has that was just started under a shim."""
    if job is None or job.runner is None or job.status is JobStatus.QUEUED:
        return
    runner = local_runner(job)
    if not runner.is_confirmed:
        await runner.confirmed()
