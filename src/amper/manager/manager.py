"""JobManager: the one object that an embedder holds. It checks arguments and turns ids into records.

What happens to a record is done by `core`, and every mechanism behind it has a file of its own. An
unknown id is an answer (`None`, `False`, `[]`); a bad value raises.
"""

from __future__ import annotations

import asyncio
import os
import signal as signals
from collections.abc import AsyncGenerator, Awaitable, Iterable, Mapping
from types import CoroutineType, TracebackType
from typing import Any, Final, Self

from amper.flow.cancel import CancellationToken
from amper.flow.stream import BoundedStream
from amper.job.job import CommandJob, Job
from amper.job.jobspec import find_job
from amper.job.lifecycle import Happening
from amper.job.runner import News, Streams
from amper.job.table import STOPPED, JobTable, closed_streams, output_of
from amper.manager.admission import Pace
from amper.manager.arguments import (
    absolute,
    check_pgid,
    check_process,
    checked_bound,
    checked_command,
    checked_containment,
    checked_facts,
    checked_offset,
    checked_pty,
    checked_seconds,
    checked_signal,
    checked_size,
    checked_timeout,
    checked_title,
    usual_streams,
)
from amper.manager.channels import Channel, ChannelRunner, check_channel
from amper.manager.closing import Closing
from amper.manager.commands import CommandOptions, CommandRunner, Descendants
from amper.manager.contained import ContainedRunner
from amper.manager.core import Core, local_runner
from amper.manager.coroutines import CoroutineRunner, check_awaitable, dispose, own_streams
from amper.manager.foreground import TerminalRunner
from amper.manager.runner import LocalRunner
from amper.manager.waiting import Gathering, completions, follow, replay, wake
from amper.process.command import HasFileno, Input
from amper.process.group import ProcessGroup
from amper.process.spawn import CommandLine, Program
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

NO_TERMINAL: Final = "this process has no terminal that could be given to a job"

Infos = list[JobInfo]
Ids = list[JobId]
Numbers = list[int]
Outcomes = list[tuple[JobId, ExecResult]]
"""Named here because `list` is a method of the class."""

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
        first. `grace_period` is the time in seconds between SIGTERM and SIGKILL. `containment` is how
        commands are held together, where `start` does not say it. `max_running`
        bounds the commands and coroutines that run at once; more of them are queued. The next one
        starts with the end of another, before those who wait for that one go on. A job that is
        stopped keeps its place.
        """
        self._containment: Containment = checked_containment(containment)
        self._core = Core(
            finished_retention=checked_bound(finished_retention, "finished_retention", 0),
            grace_period=checked_seconds(grace_period, "grace_period"),
            max_running=checked_bound(max_running, "max_running", 1),
        )
        self._table = self._core.table
        self._closing = Closing(self._core)
        self._pace = Pace()

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
            facts = checked_facts(command, name, tags)
            loop = self._core.enter_open()
        except BaseException:
            dispose(future)
            raise
        runner = CoroutineRunner(loop, future)
        return self._core.begin(Job(command, runner, facts), runner)

    async def register(
        self, command: str, rx: Channel, *, name: str | None = None, tags: Iterable[str] = ()
    ) -> JobId:
        """Make a job of something that runs already, and reports its result through `rx`.

        `rx` is the receiver of `oneshot()` or an `asyncio.Future`. A sender that goes away without
        a result ends the job `failed:1`.
        """
        runner = ChannelRunner(check_channel(rx))
        return self._register(command, runner, name, tags).id

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
        runner = ChannelRunner(check_channel(rx), Streams(stdout, stderr))
        return self._register(command, runner, name, tags).id

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
        check_process(pid, pgid)
        runner = ChannelRunner(None if rx is None else check_channel(rx))
        job = self._register(command, runner, name, tags, Happening.STOP)
        self._set_process(job, pid, pgid)
        return job.id

    async def start(
        self,
        command: CommandLine,
        *,
        cwd: str | os.PathLike[str] | None = None,
        env: Mapping[str, str] | None = None,
        stdin: Input | bytearray | memoryview | None = None,
        stdout: int | HasFileno | None = None,
        stderr: int | HasFileno | None = None,
        timeout: float | None = None,
        descendants: Descendants = "leave",
        pass_fds: Iterable[int] = (),
        title: str | None = None,
        containment: Containment | None = None,
        foreground: bool | None = None,
        pty: bool | tuple[int, int] = False,
        name: str | None = None,
        tags: Iterable[str] = (),
    ) -> JobId:
        """Start an OS command in a session of its own: a `str` with `/bin/sh -c`, a sequence as it is.

        `env` replaces the environment; one that is inherited gets an `AMPER_JOB`, by which `kill`
        knows the command's descendants. `stdin` is `DEVNULL` (unless said otherwise), `PIPE` (for
        `write_stdin`), `bytes` (fed, then closed), or a file. `stdout` and `stderr` are `PIPE` (kept,
        to be read; unless said otherwise), `DEVNULL` or a file; `stderr` may be `STDOUT`: one pipe,
        in exact order. Of our other descriptors the command gets `pass_fds`, under their own
        numbers, and no more.

        After `timeout` seconds the job is killed, with code 124. `descendants` says what becomes of
        processes that outlive the leader: they are left running (`kill` reaches them), or the job
        lasts as long as they do, or they are killed with its end. `title` is what people read instead
        of the command.

        With containment `group` a kill reaches the command's process group and, as far as they are
        found, its descendants. With `tree` it runs under a shim, which reaches all that it ever
        started and proves that nothing is left; it ends with this process, even by `kill -9`.
        Which process it is is known a few milliseconds after the start.

        `foreground` makes it a command of our own session and terminal, and thus of containment
        `tree`. True: it is in front of the terminal from its first instruction, with our three
        standard streams, until it ends or stops; `foreground(id)` waits for that. False: it is in the
        background, its input is ours, and it stops when it reads from the terminal.

        With `pty` it gets a terminal of its own, of so many columns and rows (True: 80 and 24). What
        it shows is its `stdout`, and `write_stdin` types.

        A command that cannot start is a job that has ended: `failed:127` if it was not found, else
        `failed:126`, with the reason in `err`. Cancelling the caller loses no job: either nothing
        was started, or the id was returned.

        Raises:
            ManagerClosed: the manager takes no new jobs.
            TypeError, ValueError: an argument is of no use.
        """
        executed, text = checked_command(command)
        text = checked_title(title, text)
        facts = checked_facts(text, name, tags)
        program = Program(executed, cwd, env, pass_fds, "own" if foreground is None else "ours")
        size = checked_pty(pty, foreground)
        if stdin is not None and isinstance(stdin, bytearray | memoryview):
            # Its owner may go on to change it.
            stdin = bytes(stdin)
        usual = usual_streams(foreground, size)
        options = CommandOptions(
            program,
            usual[0] if stdin is None else stdin,
            usual[1] if stdout is None else stdout,
            usual[2] if stderr is None else stderr,
            timeout,
            descendants,
            size,
        )
        directory = absolute(cwd)
        level = self._containment if containment is None else checked_containment(containment)
        core = self._core
        loop = core.enter_open()
        if not self._pace.has_room(loop):
            await self._pace.turn(loop)
            core.enter_open()
        core.sweep_remains()
        if foreground is not None:
            level = "tree"
        runner = self._new_runner(options, level, foreground)
        job = CommandJob(text, runner, facts, containment=level, cwd=directory)
        return core.begin(job, runner)

    async def run(self, command: CommandLine, **options: Any) -> ExecResult:
        """Start a command and wait for it; the options are those of `start`.

        If the caller is cancelled the job is killed. If the job is stopped this goes on waiting.
        """
        id = await self.start(command, **options)
        loop = self._core.enter()
        job = self._table.get(id)
        assert job is not None
        result = job.result
        try:
            while result is None:
                # It is this call's own job, so that no waiter is left behind for long.
                _, result = await self._change_of(job, loop)
                # It may have ended after the stop, or the removal, that has woken us.
                result = result or job.result
        except asyncio.CancelledError:
            self._core.end(job, EndedBy("kill", "whoever ran it was cancelled"))
            raise
        self._table.take(job)
        return result

    # Waiting.

    async def wait(self, id: JobId, timeout: float | None = None) -> ExecResult | None:
        """Wait until a job ends; return its result to every waiter, any number of times.

        None for an unknown id, for a job that is stopped or stops meanwhile, for one that is
        removed before it ends, and after `timeout` seconds. A cancelled waiter leaves the job
        running.
        """
        seconds = None if timeout is None else checked_timeout(timeout)
        loop = self._core.enter()
        job = self._table.get(id)
        if job is None:
            return None
        if job.result is None:
            self._core.states.look(job)
            if job.status is STOPPED:
                return None
            waiter = self._change_of(job, loop, seconds)
            try:
                news = await waiter
            except BaseException:
                self._table.leave(job, waiter)
                raise
            if news is None:
                self._table.leave(job, waiter)
            # Also one that came after the stop, or the timeout, that has woken us.
            result = job.result if news is None or news[1] is None else news[1]
            if result is not None:
                self._table.take(job)
            return result
        self._table.take(job)
        return job.result

    async def wait_all(
        self, ids: Iterable[JobId] | None = None, timeout: float | None = None
    ) -> Outcomes:
        """Wait for the jobs that are there now, or those named; return results in order of completion.

        Stopped jobs are left out, also when they stop meanwhile. After `timeout` seconds: those
        that have ended by then.
        """
        seconds = checked_timeout(timeout)
        self._core.enter()
        gathering = Gathering(self._table, self._awaited(ids))
        try:
            return await gathering.all(seconds)
        finally:
            gathering.close()

    async def wait_any(
        self, ids: Iterable[JobId] | None = None, timeout: float | None = None
    ) -> tuple[JobId, ExecResult] | None:
        """Wait for the first of the jobs to end; one that is over already is the first.

        None at the deadline, and when there is none to wait for.
        """
        seconds = checked_timeout(timeout)
        self._core.enter()
        gathering = Gathering(self._table, self._awaited(ids))
        try:
            return await gathering.next(seconds)
        finally:
            gathering.close()

    def as_completed(
        self, ids: Iterable[JobId] | None = None
    ) -> AsyncGenerator[tuple[JobId, ExecResult], None]:
        """Iterate over the jobs that are there now, or those named, as they end; each once."""
        return completions(self._core.enter, self._table, self._awaited(ids))

    async def try_result(self, id: JobId) -> ExecResult | None:
        """Return the result of a job that is over; None at once for any other."""
        job = self._lookup(id)
        if job is None or job.result is None:
            return None
        self._table.take(job)
        return job.result

    # Looking.

    async def exists(self, id: JobId) -> bool:
        """Return whether the job is in the table."""
        return self._lookup(id) is not None

    async def get(self, id: JobId) -> JobInfo | None:
        """Return a snapshot of a job."""
        job = self._current(id)
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
        self._core.catch_up()
        self._core.states.look_at_all()
        wanted = None if status is None else JobStatus(status)
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

    async def get_command(self, id: JobId) -> str | None:
        """Return the command as people read it."""
        job = self._lookup(id)
        return None if job is None else job.command

    async def get_status_string(self, id: JobId) -> str | None:
        """Return `queued`, `running`, `stopped`, `done:0`, `failed:CODE`, `killed:CODE` or `lost`."""
        job = self._current(id)
        return None if job is None else job.status_string

    async def get_process_info(self, id: JobId) -> tuple[int, int] | None:
        """Return the pid and the process group of a job that has a process."""
        job = self._lookup(id)
        await _confirmed(job)
        if job is None or job.pid is None:
            return None
        return job.pid, job.pgid or job.pid

    async def job_pgids(self, id: JobId) -> Numbers:
        """Return the process groups of a job in the order in which they were recorded."""
        job = self._lookup(id)
        await _confirmed(job)
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
        self._core.enter()
        job, runner = self._reachable(id)
        if runner is None:
            return False
        ended_by = EndedBy("kill", reason, by)
        if job is not None and job.status is JobStatus.QUEUED:
            self._core.end_queued(job, ended_by)
            return True
        if not runner.is_killable:
            return False
        runner.claim(ended_by)
        return await self._core.cascade(runner, grace).waiter()

    async def cancel(self, id: JobId, *, reason: str | None = None) -> bool:
        """Ask a job to end by its cancellation token, and return at once.

        True if there was a token to cancel. The job's own token cancels its task, or starts for a
        command what `kill` does.
        """
        self._core.enter()
        job = self._table.get(id)
        if job is None or job.runner is None:
            return False
        runner = local_runner(job)
        if job.status is JobStatus.QUEUED:
            self._core.end_queued(job, EndedBy("cancel", reason))
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
        job = self._lookup(id)
        if job is not None and job.runner is not None:
            job.runner.token = token

    async def signal(self, id: JobId, sig: int) -> bool:
        """Signal every process group that is provably still the job's; False if there is none.

        A job that ends by a deadly signal sent here counts as ended through amper. Raises
        ValueError for a number that is no signal.
        """
        number = checked_signal(sig)
        await _confirmed(self._lookup(id))
        job, runner = self._reachable(id)
        if runner is None:
            return False
        sent = [group.signal(number) for group in runner.groups]
        if any(sent) and number not in _NOT_DEADLY:
            runner.signals_sent |= {number}
        if any(sent) and job is not None:
            self._core.stopping.signalled(job, number)
        return any(sent)

    async def stop(self, id: JobId) -> bool:
        """Stop a job with SIGSTOP to its process groups; return when the kernel has confirmed it.

        True also if it was stopped already; False if it is over, unknown, or has nothing to stop,
        or if something of it does not stop within 5 s. A coroutine is asked, and stops at its next
        `current_job().checkpoint()`; if it comes to none within the grace period, the request is
        taken back: False. If the caller is cancelled, the job is stopped all the same.
        """
        self._core.enter()
        job = self._table.get(id)
        await _confirmed(job)
        return False if job is None else await self._core.stopping.stop(job)

    async def resume(self, id: JobId) -> bool:
        """Let a stopped job run on, whoever has stopped it; return when it does.

        True also if it ran already; False if it is over, unknown, or has nothing to resume.
        """
        self._core.enter()
        job = self._table.get(id)
        await _confirmed(job)
        return False if job is None else await self._core.stopping.resume(job)

    async def foreground(self, id: JobId) -> ExecResult | None:
        """Give our terminal to a job, let it run on if it is stopped, and wait until it ends or stops.

        Returns its result, or None if it stopped, was removed, or is unknown. The terminal is ours
        again then, with its modes as they were; a job that stopped gets its own back the next time. A
        job that is not of our terminal (`start(..., foreground=...)`) runs on and is waited for. If
        the caller is cancelled, the job runs on in the background.
        """
        self._core.enter()
        job = self._table.get(id)
        await _confirmed(job)
        if job is None:
            return None
        runner = job.runner
        if isinstance(runner, TerminalRunner):
            runner.come_to_front()
        try:
            result = job.result or await self._follow_up(job)
        finally:
            # Of one that has ended or stopped it was taken back already.
            if isinstance(runner, TerminalRunner):
                runner.step_back()
        if result is not None:
            self._table.take(job)
        return result

    async def _follow_up(self, job: Job) -> ExecResult | None:
        """Let a job run on, and wait until it ends, stops or leaves the table."""
        loop = self._core.enter()
        is_resumed = False
        while job.result is None and self._table.get(job.id) is job:
            waiter = self._change_of(job, loop)
            try:
                if not is_resumed:
                    is_resumed = True
                    if not await self._core.stopping.resume(job) and job.status is STOPPED:
                        # There is nothing that a signal could reach, and it stays as it is.
                        return None
                news: News = await waiter
            finally:
                self._table.leave(job, waiter)
            # One that runs has gone on since whoever told us of its stop saw it.
            if news[1] is not None or job.status is STOPPED:
                return news[1]
        return job.result

    async def resize(self, id: JobId, columns: int, rows: int) -> bool:
        """Change the size of a job's own terminal (`pty`), which tells it so; False if it has none."""
        size = checked_size(columns, rows)
        runner = self._command_runner(id)
        return runner is not None and runner.resize(size)

    async def finish(self, id: JobId, result: ExecResult) -> bool:
        """Record the result of a job that runs elsewhere; False if it is unknown, over, or our own."""
        job = self._lookup(id)
        if job is None or not isinstance(job.runner, ChannelRunner):
            return False
        job.runner.finish(result)
        return True

    async def remove(self, id: JobId) -> bool:
        """Take a job out of the table; False if it is not there.

        One that runs goes on untracked: its waiters get None, and only the manager's end reaches it.
        """
        job = self._lookup(id)
        if job is None:
            return False
        self._core.remove(job)
        return True

    async def reap_finished(self) -> Infos:
        """Remove all jobs that are over and return what they were, by id."""
        self._core.catch_up()
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
        check_process(pid, pgid)
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
        self._core.catch_up()
        self._core.states.look_at_all()
        return self._table.last_stopped()

    async def add_pgid(self, id: JobId, pgid: int) -> None:
        """Record a process group that works for a job, once, in order.

        `signal` and `kill` reach it as long as it is provably the same group. Raises ValueError for
        a process group of 1 or below.
        """
        check_pgid(pgid)
        job = self._lookup(id)
        if job is None or job.runner is None:
            return
        self._add_group(job, pgid)

    # Events and output files.

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

    def set_persist_output_files(self, on: bool) -> None:
        """Choose whether jobs that are registered from now on leave their output in a file."""
        self._core.persists_output = bool(on)

    def persist_output_files(self) -> bool:
        """Return whether jobs that are registered now leave their output in a file."""
        return self._core.persists_output

    # The end.

    async def __aenter__(self) -> Self:
        self._core.enter()
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
        await self._closing.close(self._checked_grace(grace_period), reason)

    @property
    def table(self) -> JobTable:
        """The table underneath, whose reading half any thread may use. It is not to be changed."""
        return self._table

    # Records and runners.

    def _lookup(self, id: JobId) -> Job | None:
        self._core.catch_up()
        return self._table.get(id)

    def _current(self, id: JobId) -> Job | None:
        """Look a job up, and bring it up to date."""
        job = self._lookup(id)
        self._core.states.look_closely(job)
        return job

    def _awaited(self, ids: Iterable[JobId] | None) -> Iterable[Job]:
        """Return the jobs that somebody waits for, brought up to date."""
        jobs = self._jobs(ids)
        self._core.states.look_at(jobs)
        return jobs

    def _jobs(self, ids: Iterable[JobId] | None) -> Iterable[Job]:
        self._core.catch_up()
        if ids is None:
            return self._table.jobs()
        return [job for id in dict.fromkeys(ids) if (job := self._table.get(id)) is not None]

    def _reachable(self, id: JobId) -> tuple[Job | None, LocalRunner | None]:
        """Return a job, if it is in the table, and what runs it or still holds what it left behind."""
        job = self._lookup(id)
        if job is not None and job.runner is not None:
            return job, local_runner(job)
        left = self._core.remains.get(id)
        if left is not None:
            left.forget_dead_and_zombies()
        return job, left

    def _register(
        self,
        command: str,
        runner: ChannelRunner,
        name: str | None,
        tags: Iterable[str],
        happening: Happening = Happening.START,
    ) -> Job:
        facts = checked_facts(command, name, tags)
        self._core.enter_open()
        job = Job(command, runner, facts)
        self._core.add(job, runner, happening)
        runner.start()
        return job

    def _recordable(self, id: JobId) -> Job | None:
        """Return a job whose stops the embedder records: not a command of ours, and not over."""
        job = self._lookup(id)
        if job is None or job.runner is None or isinstance(job.runner, CommandRunner):
            return None
        return job

    def _command_runner(self, id: JobId) -> CommandRunner | None:
        job = self._lookup(id)
        runner = None if job is None else job.runner
        return runner if isinstance(runner, CommandRunner) else None

    def _new_runner(
        self, options: CommandOptions, level: Containment, foreground: bool | None
    ) -> CommandRunner:
        if level == "group":
            return CommandRunner(options)
        if foreground is None:
            return ContainedRunner(options)
        terminal = self._core.terminal
        if terminal is None:
            options.program.reason = options.program.reason or NO_TERMINAL
            return ContainedRunner(options)
        return TerminalRunner(options, terminal, in_front=foreground)

    def _set_process(self, job: Job, pid: int, pgid: int) -> None:
        facts = job.own_facts()
        facts.pid, facts.pgid = pid, pgid
        self._add_group(job, pgid, pid)

    def _add_group(self, job: Job, pgid: int, member: int | None = None) -> None:
        facts = job.own_facts()
        if pgid in facts.pgids or (pgid == job.pgid and isinstance(job.runner, CommandRunner)):
            return
        facts.pgids = (*facts.pgids, pgid)
        try:
            group = ProcessGroup.find(pgid, self._core.kernel.reserve, member)
        except OSError:
            # Without a descriptor nobody can prove whose group it is, and nobody will signal it.
            return
        if group is not None:
            local_runner(job).add_group(group)

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

    def _checked_grace(self, grace_period: float | None) -> float:
        if grace_period is None:
            return self._core.grace_period
        return checked_seconds(grace_period, "grace_period")


async def _confirmed(job: Job | None) -> None:
    """Wait until it is known which process a job has that was just started under a shim."""
    if job is None or job.runner is None or job.status is JobStatus.QUEUED:
        return
    runner = local_runner(job)
    if not runner.is_confirmed:
        await runner.confirmed()
