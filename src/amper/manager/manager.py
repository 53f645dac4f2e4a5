"""JobManager: the facade over the job table, the runners and the kernel.

It translates ids into records, decides who may run, and passes reports from runners to the table.
Every mechanism behind it has a file of its own.

1. One thread, one event loop at a time. `_enter` is the first step of whatever needs the loop.
2. An unknown id is an answer (`None`, `False`, `[]`); a bad value raises.
3. No job is lost between two awaits: what is started is in the table before anything is awaited.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import shlex
import signal as signals
import time
import weakref
from collections.abc import AsyncIterator, Awaitable, Iterable, Mapping, Sequence
from types import CoroutineType, TracebackType
from typing import Any, Final, Self

from amper.errors import InternalError, ManagerClosed, WrongLoop
from amper.flow.cancel import CancellationToken
from amper.flow.stream import BoundedStream
from amper.job.job import Facts, Job
from amper.job.lifecycle import Happening
from amper.job.runner import Ended, Runner, Streams
from amper.job.table import STOPPED, JobTable, closed_streams, output_of
from amper.manager.admission import Admission
from amper.manager.channels import Channel, ChannelRunner, check_channel
from amper.manager.commands import CommandOptions, CommandRunner, Descendants
from amper.manager.coroutines import (
    CANCELLED,
    CoroutineRunner,
    check_awaitable,
    closed,
    dispose,
    own_streams,
)
from amper.manager.killing import STEPS_PER_TURN, Cascade, Slices
from amper.manager.runner import LocalRunner
from amper.manager.waiting import Gathering, completions, loop_turn, replay, wake
from amper.output_files import OutputFiles
from amper.process.command import HasFileno, Input
from amper.process.group import ProcessGroup
from amper.process.kernel import Kernel
from amper.process.spawn import DEVNULL, PIPE, Program
from amper.values import (
    Chunk,
    Containment,
    EndedBy,
    Event,
    EventPage,
    ExecResult,
    JobId,
    JobInfo,
    JobStatus,
    StreamName,
)

GRACE_PERIOD: Final = 2.0

STARTS_PER_TURN: Final = 8
"""Forks in one turn of the loop before `start` lets others have a turn: about a millisecond."""

Infos = list[JobInfo]
Ids = list[JobId]
Numbers = list[int]
Outcomes = list[tuple[JobId, ExecResult]]
"""Named here because `list` is a method of the class."""

Command = str | Sequence[str | bytes | os.PathLike[str]]

FOLLOW_SIZE: Final = 256 * 1024
"""Bytes in one chunk for a follower that has to catch up."""

_ASKS_TO_END: Final = frozenset(
    {signals.SIGTERM, signals.SIGINT, signals.SIGHUP, signals.SIGQUIT, signals.SIGKILL}
)
"""A process that handles one of these and fails was ended by it all the same."""

_NOT_DEADLY: Final = frozenset(
    {0, signals.SIGCHLD, signals.SIGCONT, signals.SIGURG, signals.SIGWINCH}
    | {signals.SIGSTOP, signals.SIGTSTP, signals.SIGTTIN, signals.SIGTTOU}
)


class JobManager:
    """A table of jobs: coroutines, OS commands and work that runs elsewhere, with one vocabulary.

    Use it as an async context manager: nothing that was started in the block outlives it. All
    methods belong to one event loop and its thread. Ids that are not in the table are answered
    with `None`, `False` or an empty list.
    """

    def __init__(
        self,
        *,
        finished_retention: int | None = 100,
        grace_period: float = GRACE_PERIOD,
        max_running: int | None = None,
        containment: Containment = "group",
    ) -> None:
        """Make an empty manager; no loop needs to run yet.

        `finished_retention` is how many finished jobs stay after somebody got their result, newest
        first. `grace_period` is the time in seconds between SIGTERM and SIGKILL. `max_running`
        bounds the commands and coroutines that run at once; more of them are queued.
        """
        if finished_retention is not None and finished_retention < 0:
            raise ValueError("finished_retention must not be negative; None keeps every job")
        if containment != "group":
            raise ValueError('containment must be "group": no other level is there yet')
        self._grace_period = _checked_seconds(grace_period, "grace_period")
        self._containment: Containment = containment
        self._admission = Admission(max_running)
        self._files = OutputFiles()
        self._table = JobTable(time.monotonic, finished_retention, self._files.delete)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._kernel: Kernel | None = None
        self._slices: Slices | None = None
        self._persists_output = True
        self._untracked: set[LocalRunner] = set()
        self._remains: dict[JobId, LocalRunner] = {}
        self._starts_in_turn = 0
        self._is_starting = False
        self._close_grace = 0.0
        self._loop_ends: bool | None = None
        self._closing: asyncio.Task[None] | None = None
        self._is_closed = False
        weakref.finalize(self, self._files.close)

    # New jobs.

    def spawn(
        self,
        command: str,
        future: Awaitable[Any],
        *,
        name: str | None = None,
        tags: Iterable[str] = (),
    ) -> JobId:
        """Run a coroutine, or any awaitable, as a job; `command` is what people read.

        The job is in the table when this returns, before the coroutine's first step. The value is
        the job's result if it is an `ExecResult`, and else the `data` of a success. An exception
        ends the job `failed:1`, a cancellation by whomever `killed:130`.

        Raises:
            RuntimeError: no event loop runs here. The coroutine is closed.
            ManagerClosed: the manager takes no new jobs. The coroutine is closed.
            TypeError: `future` cannot be awaited.
        """
        try:
            if not isinstance(future, CoroutineType):
                check_awaitable(future)
            facts = _facts(command, name, tags)
            loop = self._enter_open()
        except BaseException:
            dispose(future)
            raise
        runner = CoroutineRunner(loop, future)
        return self._begin(command, runner, facts)

    async def register(
        self, command: str, rx: Channel, *, name: str | None = None, tags: Iterable[str] = ()
    ) -> JobId:
        """Make a job of something that runs already, and reports its result through `rx`.

        `rx` is the receiver of `oneshot()` or an `asyncio.Future`. A sender that goes away without
        a result ends the job `failed:1`.
        """
        return self._register(command, rx, None, name, tags).id

    async def register_with_streams(
        self,
        command: str,
        rx: Channel,
        stdout: BoundedStream,
        stderr: BoundedStream,
        *,
        name: str | None = None,
        tags: Iterable[str] = (),
    ) -> JobId:
        """Do as `register` does, with two streams that whoever does the work writes to live.

        They are closed when the job ends. One that got nothing until then is filled from the
        result.
        """
        for stream in (stdout, stderr):
            if not isinstance(stream, BoundedStream):
                raise TypeError(f"a job's output is a BoundedStream, not {type(stream).__name__}")
        return self._register(command, rx, Streams(stdout, stderr), name, tags).id

    async def register_stopped(
        self,
        command: str,
        pid: int,
        pgid: int,
        rx: Channel | None = None,
        *,
        name: str | None = None,
        tags: Iterable[str] = (),
    ) -> JobId:
        """Make a job of a foreground process of the caller's that was stopped, as by Ctrl-Z.

        It ends through `rx` or `finish`. Raises ValueError for a process group of 1 or below.
        """
        _check_pgid(pgid)
        job = self._register(command, rx, None, name, tags, Happening.STOP)
        self._set_process(job, pid, pgid)
        return job.id

    async def start(
        self,
        command: Command,
        *,
        cwd: str | os.PathLike[str] | None = None,
        env: Mapping[str, str] | None = None,
        stdin: Input = DEVNULL,
        stdout: int | HasFileno = PIPE,
        stderr: int | HasFileno = PIPE,
        timeout: float | None = None,
        descendants: Descendants = "leave",
        name: str | None = None,
        tags: Iterable[str] = (),
    ) -> JobId:
        """Start an OS command in a session of its own: a `str` with `/bin/sh -c`, a sequence as it is.

        `env` replaces the environment. `stdin` is `DEVNULL`, `PIPE` (for `write_stdin`), `bytes`
        (fed, then closed), or a file. `stdout` and `stderr` are `PIPE` (kept, to be read),
        `DEVNULL` or a file; `stderr` may be `STDOUT`: one pipe, in exact order.

        After `timeout` seconds the job is killed, with code 124. `descendants` says what becomes of
        processes that outlive the leader: they are left running (`kill` reaches them), or the job
        lasts as long as they do, or they are killed with its end.

        A command that cannot start is a job that has ended: `failed:127` if it was not found, else
        `failed:126`, with the reason in `err`. Cancelling the caller loses no job: either nothing
        was started, or the id was returned.

        Raises:
            ManagerClosed: the manager takes no new jobs.
            TypeError, ValueError: an argument is of no use.
        """
        text = _as_text(command)
        facts = _facts(text, name, tags) or Facts()
        program = Program(command, cwd, env)
        options = CommandOptions(program, stdin, stdout, stderr, timeout, descendants)
        loop = self._enter_open()
        while self._starts_in_turn >= STARTS_PER_TURN:
            await asyncio.sleep(0)
            loop = self._enter_open()
        if self._starts_in_turn == 0:
            loop.call_soon(self._forget_starts)
        self._starts_in_turn += 1
        facts.cwd = _directory(cwd)
        facts.containment = self._containment
        if self._remains:
            self._sweep_remains()
        runner = CommandRunner(self._open_kernel(loop), options)
        return self._begin(text, runner, facts)

    async def run(self, command: Command, **options: Any) -> ExecResult:
        """Start a command and wait for it; the options are those of `start`.

        If the caller is cancelled the job is killed. If the job is stopped this goes on waiting.
        """
        id = await self.start(command, **options)
        loop = self._enter()
        job = self._existing(id)
        try:
            while job.result is None:
                # It is this call's own job, so that no waiter is left behind for long.
                await self._change_of(job, loop)
        except asyncio.CancelledError:
            self._end(job, EndedBy("kill", "whoever ran it was cancelled"))
            raise
        self._table.take(job)
        return job.result

    # Waiting.

    async def wait(self, id: JobId, timeout: float | None = None) -> ExecResult | None:
        """Wait until a job ends; return its result to every waiter, any number of times.

        None for an unknown id, for a job that is stopped or stops meanwhile, for one that is
        removed before it ends, and after `timeout` seconds. A cancelled waiter leaves the job
        running.
        """
        loop = self._enter()
        job = self._table.get(id)
        if job is None:
            return None
        if job.result is None:
            if job.status is STOPPED:
                return None
            waiter = self._change_of(job, loop, timeout)
            try:
                await waiter
            finally:
                self._table.leave(job, waiter)
            if job.result is None:
                return None
        self._table.take(job)
        return job.result

    async def wait_all(
        self, ids: Iterable[JobId] | None = None, timeout: float | None = None
    ) -> Outcomes:
        """Wait for the jobs that are there now, or those named; return results in order of completion.

        Stopped jobs are left out, also when they stop meanwhile. After `timeout` seconds: those
        that have ended by then.
        """
        self._enter()
        gathering = Gathering(self._table, self._jobs(ids))
        try:
            return await gathering.all(timeout)
        finally:
            gathering.close()

    async def wait_any(
        self, ids: Iterable[JobId] | None = None, timeout: float | None = None
    ) -> tuple[JobId, ExecResult] | None:
        """Wait for the first of the jobs to end; one that is over already is the first.

        None at the deadline, and when there is none to wait for.
        """
        self._enter()
        gathering = Gathering(self._table, self._jobs(ids))
        try:
            return await gathering.next(timeout)
        finally:
            gathering.close()

    def as_completed(
        self, ids: Iterable[JobId] | None = None
    ) -> AsyncIterator[tuple[JobId, ExecResult]]:
        """Iterate over the jobs that are there now, or those named, as they end; each once."""
        return completions(self._table, self._jobs(ids))

    async def try_result(self, id: JobId) -> ExecResult | None:
        """Return the result of a job that is over; None at once for any other."""
        job = self._table.get(id)
        if job is None or job.result is None:
            return None
        self._table.take(job)
        return job.result

    # Looking.

    async def exists(self, id: JobId) -> bool:
        """Return whether the job is in the table."""
        return self._table.get(id) is not None

    async def get(self, id: JobId) -> JobInfo | None:
        """Return a snapshot of a job."""
        job = self._lookup(id)
        return None if job is None else self._table.info(job)

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
        self._catch_up()
        wanted = None if status is None else JobStatus(status)
        directory = None if cwd is None else _directory(cwd)
        return [
            self._table.info(job)
            for job in self._table.jobs()
            if (wanted is None or job.status is wanted)
            and (name is None or job.known.name == name)
            and (tag is None or tag in job.known.tags)
            and (directory is None or job.known.cwd == directory)
        ]

    async def list_ids(self) -> Ids:
        """Return the ids of all jobs in ascending order."""
        return self._table.ids()

    async def running_count(self) -> int:
        """Return how many jobs are running: neither stopped nor queued."""
        self._catch_up()
        return self._table.running_count

    async def get_command(self, id: JobId) -> str | None:
        """Return the command as people read it."""
        job = self._table.get(id)
        return None if job is None else job.command

    async def get_status_string(self, id: JobId) -> str | None:
        """Return `queued`, `running`, `stopped`, `done:0`, `failed:CODE`, `killed:CODE` or `lost`."""
        job = self._lookup(id)
        return None if job is None else job.status_string

    async def get_process_info(self, id: JobId) -> tuple[int, int] | None:
        """Return the pid and the process group of a job that has a process."""
        job = self._table.get(id)
        if job is None or job.known.pid is None:
            return None
        return job.known.pid, job.known.pgids[0] if job.known.pgids else job.known.pid

    async def job_pgids(self, id: JobId) -> Numbers:
        """Return the process groups of a job in the order in which they were recorded."""
        job = self._table.get(id)
        return [] if job is None else list(job.known.pgids)

    # Output.

    async def streams(self, id: JobId) -> Streams | None:
        """Return the two live outputs of a job, made now if it had none; closed if it is over."""
        job = self._table.get(id)
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
    ) -> AsyncIterator[Chunk]:
        """Iterate over a job's output from byte `since` on, as it comes, until the stream is closed.

        The last chunk has `closed` set, and may be empty. An unknown job gives nothing.
        """
        return _follow(self._stream_of(id, stream), since)

    async def write_stdin(self, id: JobId, data: bytes) -> bool:
        """Write to the standard input of a command started with `stdin=PIPE`.

        Returns when the command's pipe took all of it: True, or False if there is no open stdin.
        If the caller is cancelled, what was handed over is still written.
        """
        runner = self._command_runner(id)
        if not isinstance(data, bytes | bytearray | memoryview):
            raise TypeError(f"data must be bytes, not {type(data).__name__}")
        return False if runner is None else await runner.write_stdin(bytes(data))

    async def close_stdin(self, id: JobId) -> bool:
        """Close a command's standard input after all that was written; False if there is none open."""
        runner = self._command_runner(id)
        return False if runner is None else await runner.close_stdin()

    # Ending jobs.

    async def kill(
        self,
        id: JobId,
        *,
        grace_period: float | None = None,
        reason: str | None = None,
        by: str | None = None,
    ) -> bool:
        """End a job and return when nothing of it is left: SIGTERM, grace period, SIGKILL.

        It works on stopped and queued jobs, on coroutines, and on what a finished job left behind.
        False if there was nothing to kill, or if something is left 5 s after SIGKILL. A coroutine
        that swallows its cancellation twice is recorded as killed and abandoned: False. If the
        caller is cancelled, the job is killed all the same.
        """
        grace = self._checked_grace(grace_period)
        self._enter()
        job = self._table.get(id)
        runner = self._remains.get(id) if job is None or job.runner is None else job.runner
        if runner is None:
            return False
        ended_by = EndedBy("kill", reason, by)
        if job is not None and job.status is JobStatus.QUEUED:
            self._end_queued(job, ended_by)
            return True
        assert isinstance(runner, LocalRunner)
        if not runner.is_killable:
            return False
        runner.claim(ended_by)
        return await asyncio.shield(self._cascade(runner, grace).outcome)

    async def cancel(self, id: JobId, *, reason: str | None = None) -> bool:
        """Ask a job to end by its cancellation token, and return at once.

        True if there was a token to cancel. The job's own token cancels its task, or starts for a
        command what `kill` does.
        """
        self._enter()
        job = self._table.get(id)
        if job is None or job.runner is None:
            return False
        runner = self._local(job.runner)
        if job.status is JobStatus.QUEUED:
            self._end_queued(job, EndedBy("cancel", reason))
            return True
        if runner.token is None and isinstance(runner, ChannelRunner):
            return False
        token = runner.own_token()
        runner.claim(EndedBy("cancel", reason))
        token.cancel(reason)
        return True

    async def set_cancel_token(self, id: JobId, token: CancellationToken) -> None:
        """Let `cancel` trip `token` from now on, and nothing else. The last one that is set counts."""
        if not isinstance(token, CancellationToken):
            raise TypeError(f"a token is a CancellationToken, not {type(token).__name__}")
        job = self._table.get(id)
        if job is not None and job.runner is not None:
            job.runner.token = token

    async def signal(self, id: JobId, sig: int) -> bool:
        """Signal every process group that is provably still the job's; False if there is none.

        A job that ends by a deadly signal sent here counts as ended through amper. Raises
        ValueError for a number that is no signal.
        """
        number = signals.Signals(sig)
        job = self._table.get(id)
        runner = self._remains.get(id) if job is None or job.runner is None else job.runner
        if runner is None:
            return False
        sent = [group.signal(number) for group in self._local(runner).groups]
        if any(sent) and number not in _NOT_DEADLY:
            self._local(runner).signals_sent |= {number}
        return any(sent)

    async def finish(self, id: JobId, result: ExecResult) -> bool:
        """Record the result of a job that runs elsewhere; False if it is unknown, over, or our own."""
        job = self._table.get(id)
        if job is None or not isinstance(job.runner, ChannelRunner):
            return False
        job.runner.finish(result)
        return True

    async def remove(self, id: JobId) -> bool:
        """Take a job out of the table; False if it is not there.

        One that runs goes on untracked: its waiters get None, and only the manager's end reaches it.
        """
        job = self._table.get(id)
        if job is None:
            return False
        if job.status is JobStatus.QUEUED:
            # Nobody could ever see it again, or end it, so it must not start either.
            self._admission.withdraw(job)
            assert job.runner is not None
            job.runner.discard()
        elif job.runner is not None:
            self._untracked.add(self._local(job.runner))
        self._table.remove(job)
        return True

    async def reap_finished(self) -> Infos:
        """Remove all jobs that are over and return what they were, by id."""
        finished = [job for job in self._table.jobs() if job.status.is_final]
        infos = [self._table.info(job) for job in finished]
        for job in finished:
            self._table.remove(job)
        return infos

    # What happens to an embedder's own processes.

    async def stop_job(self, id: JobId, pid: int, pgid: int) -> None:
        """Record that the embedder's process of a job was stopped. No signal is sent.

        It does nothing to a command of ours, whose own watcher is the truth, or to a job that is
        over. Raises ValueError for a process group of 1 or below.
        """
        _check_pgid(pgid)
        job = self._recordable(id)
        if job is None:
            return
        self._set_process(job, pid, pgid)
        if job.status is JobStatus.RUNNING:
            self._table.stopped(job)

    async def resume_job(self, id: JobId) -> None:
        """Record that the embedder's process of a job runs again. No signal is sent."""
        job = self._recordable(id)
        if job is not None and job.status is JobStatus.STOPPED:
            self._table.resumed(job)

    async def last_stopped(self) -> JobId | None:
        """Return the job that was stopped last and still is."""
        return self._table.last_stopped()

    async def add_pgid(self, id: JobId, pgid: int) -> None:
        """Record a process group that works for a job, once, in order.

        `signal` and `kill` reach it as long as it is provably the same group. Raises ValueError for
        a process group of 1 or below.
        """
        _check_pgid(pgid)
        job = self._table.get(id)
        if job is None or job.runner is None or pgid in job.known.pgids:
            return
        job.own_facts().pgids.append(pgid)
        self._add_group(job, pgid)

    # Events and output files.

    def events(self, since: int | None = 0) -> AsyncIterator[Event]:
        """Iterate over everything that happens, from the event after number `since` on.

        None is only what happens after this call. The last 10,000 events are kept; for a reader
        that comes too late a `missed` event counts those that are gone. It ends after the manager's
        last event.
        """
        log = self._table.events
        return replay(log, log.last if since is None else _checked_since(since))

    async def read_events(self, since: int | None = 0, limit: int = 1000) -> EventPage:
        """Return at once a page of at most `limit` events; go on with `since=page.next`."""
        log = self._table.events
        return log.read(log.last if since is None else since, limit)

    def set_persist_output_files(self, on: bool) -> None:
        """Choose whether jobs that are registered from now on leave their output in a file."""
        self._persists_output = bool(on)

    def persist_output_files(self) -> bool:
        """Return whether jobs that are registered now leave their output in a file."""
        return self._persists_output

    # The end.

    async def __aenter__(self) -> Self:
        self._enter()
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.aclose()

    async def aclose(self, *, grace_period: float | None = None, reason: str | None = None) -> None:
        """End every job and close the manager: nothing that it started is left when this returns.

        It takes at most the grace period and 5 s. Lookups go on; new jobs raise `ManagerClosed`.
        A caller that is cancelled shortens the grace period to nothing, and gets its
        `CancelledError` when all is over.
        """
        grace = self._checked_grace(grace_period)
        loop = self._enter()
        self._is_closed = True
        if self._closing is None:
            self._closing = loop.create_task(self._close(grace, reason))
        elif not self._closing.done():
            self._hurry(grace)
        cancelled: asyncio.CancelledError | None = None
        while not self._closing.done():
            try:
                await asyncio.shield(self._closing)
            except asyncio.CancelledError as error:
                cancelled = error
                self._hurry(0.0)
        if cancelled is not None:
            raise cancelled
        self._closing.result()

    @property
    def table(self) -> JobTable:
        """The table underneath, whose reading half any thread may use. It is not to be changed."""
        return self._table

    # What runners report.

    def job_ended(self, runner: LocalRunner, report: Ended) -> None:
        """Take the end of a job from its runner."""
        job = runner.job
        if runner.ended_by is None and report.result.code != 0:
            _claim_for_sender(runner, report)
        self._table.ended(job, report)
        if self._untracked:
            self._untracked.discard(runner)
        if runner.has_remains:
            self._remains[job.id] = runner
        if runner.cascade is not None:
            runner.cascade.work_ended()
        has_output = runner.streams is not None or report.result.has_output
        if has_output and runner.persists_output and self._table.get(job.id) is job:
            self._files.write(job)
        if runner.has_place:
            self._admission.take_place(runner)
            self._start_queued()

    def kill_soon(self, runner: LocalRunner) -> None:
        """Begin the cascade for a runner that was told to end."""
        self._cascade(runner, self._grace_period)

    def is_loop_ending(self) -> bool:
        """Return whether every task of the loop is being cancelled, as `asyncio.run` does at its end."""
        loop = asyncio.get_running_loop()
        if self._loop_ends is None:
            # Looked at once per turn: all of them are cancelled in the same one.
            self._loop_ends = all(task.cancelling() for task in asyncio.all_tasks(loop))
            loop.call_soon(self._forget_loop_end)
        return self._loop_ends

    def _forget_loop_end(self) -> None:
        self._loop_ends = None

    # The event loop.

    def _enter(self) -> asyncio.AbstractEventLoop:
        """Return the running loop, to which the manager moves if it was on one that is over."""
        loop = asyncio.get_running_loop()
        if loop is not self._loop:
            self._move(loop)
        return loop

    def _enter_open(self) -> asyncio.AbstractEventLoop:
        """Do as `_enter` does, for a new job."""
        loop = asyncio.get_running_loop()
        if loop is not self._loop:
            self._move(loop)
        if self._is_closed:
            raise ManagerClosed
        return loop

    def _catch_up(self) -> None:
        """Before a lookup: what the end of the last loop did to coroutines is to be seen."""
        if self._loop is not None and self._loop.is_closed():
            self._enter()

    def _move(self, loop: asyncio.AbstractEventLoop) -> None:
        before, self._loop = self._loop, loop
        if before is not None and before.is_running():
            self._loop = before
            raise WrongLoop
        self._slices = Slices(loop)
        self._starts_in_turn = 0
        if self._kernel is not None:
            self._kernel.attach(loop)
        if before is None or not before.is_closed():
            return
        # Whoever waited on a loop that is closed will never go on, and must not be called.
        self._table.events.waiters.clear()
        for runner in self._unfinished():
            runner.waiters = None
            runner.loop_closed()

    def _open_kernel(self, loop: asyncio.AbstractEventLoop) -> Kernel:
        if self._kernel is None:
            self._kernel = Kernel(loop)
        return self._kernel

    # Starting.

    def _forget_starts(self) -> None:
        self._starts_in_turn = 0

    def _begin(self, command: str, runner: LocalRunner, facts: Facts | None) -> JobId:
        """Start a job if there is a place for it, or queue it."""
        admission = self._admission
        if admission.max_running is not None and runner.needs_place:
            if admission.is_full:
                runner.hold()
                job = self._add(command, runner, facts, Happening.QUEUE)
                admission.queue(job)
                return job.id
            admission.give_place(runner)
        job = self._add(command, runner, facts)
        runner.start()
        return job.id

    def _start_queued(self) -> None:
        if self._is_starting:
            return
        # A command that cannot start ends at once, and its place is free for the next.
        self._is_starting = True
        try:
            while (job := self._admission.next()) is not None:
                assert job.runner is not None
                self._admission.give_place(self._local(job.runner))
                self._table.started(job)
                job.runner.start()
        finally:
            self._is_starting = False

    def _register(
        self,
        command: str,
        rx: Channel | None,
        streams: Streams | None,
        name: str | None,
        tags: Iterable[str],
        happening: Happening = Happening.START,
    ) -> Job:
        facts = _facts(command, name, tags)
        channel = None if rx is None and happening is Happening.STOP else check_channel(rx)
        self._enter_open()
        runner = ChannelRunner(channel, streams)
        job = self._add(command, runner, facts, happening)
        runner.start()
        return job

    def _add(
        self,
        command: str,
        runner: LocalRunner,
        facts: Facts | None,
        happening: Happening = Happening.START,
    ) -> Job:
        job = self._table.add(command, happening, runner, facts)
        runner.job = job
        runner.reports = self
        runner.persists_output = self._persists_output
        return job

    # Ending.

    def _cascade(self, runner: LocalRunner, grace_period: float) -> Cascade:
        """Return the job's one cascade, with no more than this grace period left."""
        loop = self._enter()
        if runner.cascade is None:
            assert self._slices is not None
            runner.cascade = Cascade(runner, loop, self._kernel, self._slices, grace_period)
        else:
            runner.cascade.hurry(grace_period)
        return runner.cascade

    def _end(self, job: Job, ended_by: EndedBy) -> None:
        """Begin to end a job, if it is not over."""
        if job.status is JobStatus.QUEUED:
            self._end_queued(job, ended_by)
        elif job.runner is not None:
            job.runner.claim(ended_by)
            self.kill_soon(self._local(job.runner))

    def _end_queued(self, job: Job, ended_by: EndedBy) -> None:
        self._admission.withdraw(job)
        runner = job.runner
        assert runner is not None
        runner.claim(ended_by)
        runner.discard()
        self.job_ended(self._local(runner), Ended(closed(runner.streams, CANCELLED)))

    async def _close(self, grace_period: float, reason: str | None) -> None:
        """End everything. This task is cancelled by the end of its loop alone, and hurries then."""
        self._close_grace = grace_period
        ended_by = EndedBy("close", reason)
        for job in self._admission.queued():
            self._end_queued(job, ended_by)
        cascades = []
        for count, runner in enumerate(self._unfinished(), 1):
            runner.claim(ended_by)
            if isinstance(runner, ChannelRunner):
                runner.close()
            if runner.is_killable:
                cascades.append(self._cascade(runner, self._close_grace))
            if count % STEPS_PER_TURN == 0:
                await self._until(loop_turn(self._enter()))
        for cascade in cascades:
            await self._until(cascade.outcome)
        for runner in self._remains.values():
            runner.let_go()
        self._remains.clear()
        await self._until(self._files.drain(self._enter()))
        self._table.events.close()
        if self._kernel is not None:
            self._kernel.close()

    def _hurry(self, grace_period: float) -> None:
        """Let what is being closed insist no later than `grace_period` from now."""
        self._close_grace = min(self._close_grace, grace_period)
        for runner in self._unfinished():
            if runner.cascade is not None:
                runner.cascade.hurry(grace_period)

    async def _until(self, future: asyncio.Future[Any]) -> None:
        while not future.done():
            try:
                await asyncio.shield(future)
            except asyncio.CancelledError:
                self._hurry(0.0)

    def _sweep_remains(self) -> None:
        """Look whether what some finished jobs had left behind is gone; two for each new command."""
        for id in list(itertools.islice(self._remains, 2)):
            runner = self._remains.pop(id)
            runner.forget_dead_groups()
            if runner.has_remains:
                self._remains[id] = runner

    # Records and runners.

    def _lookup(self, id: JobId) -> Job | None:
        self._catch_up()
        return self._table.get(id)

    def _existing(self, id: JobId) -> Job:
        job = self._table.get(id)
        if job is None:
            raise InternalError(f"job {id} is not in the table")
        return job

    def _jobs(self, ids: Iterable[JobId] | None) -> Iterable[Job]:
        self._catch_up()
        if ids is None:
            return self._table.jobs()
        return [job for id in dict.fromkeys(ids) if (job := self._table.get(id)) is not None]

    def _unfinished(self) -> Iterable[LocalRunner]:
        """Return the runners of which something may be left."""
        tracked = [self._local(job.runner) for job in self._table.jobs() if job.runner is not None]
        return [*tracked, *self._untracked, *self._remains.values()]

    def _local(self, runner: Runner) -> LocalRunner:
        assert isinstance(runner, LocalRunner)
        return runner

    def _recordable(self, id: JobId) -> Job | None:
        """Return a job whose stops the embedder records: not a command of ours, and not over."""
        job = self._table.get(id)
        if job is None or job.runner is None or isinstance(job.runner, CommandRunner):
            return None
        return job

    def _command_runner(self, id: JobId) -> CommandRunner | None:
        job = self._table.get(id)
        runner = None if job is None else job.runner
        return runner if isinstance(runner, CommandRunner) else None

    def _set_process(self, job: Job, pid: int, pgid: int) -> None:
        facts = job.own_facts()
        facts.pid = pid
        if pgid not in facts.pgids:
            facts.pgids.insert(0, pgid)
            self._add_group(job, pgid)

    def _add_group(self, job: Job, pgid: int) -> None:
        group = ProcessGroup.find(pgid, self._open_kernel(self._enter()).reserve)
        if group is not None and job.runner is not None:
            self._local(job.runner).add_group(group)

    def _change_of(
        self, job: Job, loop: asyncio.AbstractEventLoop, timeout: float | None = None
    ) -> asyncio.Future[Any]:
        """Return a future that is done when a job ends, stops or leaves the table, or at a timeout."""
        waiter = loop.create_future()
        self._table.wait(job, waiter)
        if timeout is not None:
            timer = loop.call_later(timeout, wake, waiter)
            waiter.add_done_callback(lambda _: timer.cancel())
        return waiter

    def _streams_of(self, job: Job) -> Streams:
        if job.runner is not None:
            return own_streams(self._local(job.runner))
        assert job.result is not None
        return output_of(job) or closed_streams(job.result)

    def _attached_streams(self, id: JobId) -> Streams | None:
        job = self._table.get(id)
        return None if job is None else output_of(job)

    def _stream_of(self, id: JobId, name: StreamName) -> BoundedStream | None:
        if name not in ("stdout", "stderr"):
            raise ValueError(f'a stream is "stdout" or "stderr", not {name!r}')
        job = self._table.get(id)
        if job is None:
            return None
        streams = self._streams_of(job)
        return streams.stdout if name == "stdout" else streams.stderr

    def _checked_grace(self, grace_period: float | None) -> float:
        if grace_period is None:
            return self._grace_period
        return _checked_seconds(grace_period, "grace_period")


async def _follow(stream: BoundedStream | None, since: int) -> AsyncIterator[Chunk]:
    """Yield what a stream holds from `since` on, and what comes, until it is closed."""
    while stream is not None:
        chunk = stream.read_from(since, FOLLOW_SIZE)
        since = chunk.next
        if chunk.data or chunk.closed:
            yield chunk
        if chunk.closed:
            return
        if not chunk.data:
            await stream.changed_since(since)


def _claim_for_sender(runner: LocalRunner, report: Ended) -> None:
    """Put down who ended a job that nobody claimed: its token, or a signal that was sent here."""
    if runner.token is not None and runner.token.is_cancelled:
        runner.claim(EndedBy("cancel", runner.token.reason))
        return
    for number in runner.signals_sent:
        if report.result.code == 128 + number or number in _ASKS_TO_END:
            runner.claim(EndedBy("signal", signals.Signals(number).name))


def _facts(command: str, name: str | None, tags: Iterable[str]) -> Facts | None:
    """Check what a job is called; None if that is all there is to say about it."""
    if not isinstance(command, str):
        raise TypeError(f"a command is a str, not {type(command).__name__}")
    if name is not None and not isinstance(name, str):
        raise TypeError(f"a name is a str, not {type(name).__name__}")
    if name is None and not tags:
        return None
    if isinstance(tags, str):
        raise TypeError("tags are several: give a tuple of str, not one str")
    all_tags = tuple(tags)
    if not all(isinstance(tag, str) for tag in all_tags):
        raise TypeError("a tag is a str")
    return Facts(name, all_tags)


def _as_text(command: Command) -> str:
    """Return a command as people read it."""
    if isinstance(command, str):
        return command
    if not isinstance(command, list | tuple) and not isinstance(command, Iterable):
        raise TypeError(f"a command is a str or a sequence of str, not {type(command).__name__}")
    return shlex.join(map(os.fsdecode, command))


def _directory(cwd: str | os.PathLike[str] | None) -> str | None:
    try:
        return os.getcwd() if cwd is None else os.path.abspath(os.fsdecode(cwd))
    except FileNotFoundError:
        return None  # Somebody has deleted the directory that we are in.


def _check_pgid(pgid: int) -> None:
    """Refuse what `kill` would take for something else: every process, or our own group."""
    if not isinstance(pgid, int):
        raise TypeError(f"a process group is an int, not {type(pgid).__name__}")
    if pgid <= 1:
        raise ValueError(f"{pgid} is no process group of a job")


def _checked_seconds(seconds: float, name: str) -> float:
    if not seconds >= 0:
        raise ValueError(f"{name} must not be negative")
    return float(seconds)


def _checked_since(since: int) -> int:
    if since < 0:
        raise ValueError("since must not be negative")
    return since
