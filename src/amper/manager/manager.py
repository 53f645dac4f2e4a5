"""JobManager: the one object that an embedder holds. It checks arguments and turns ids into records.

What starts, waits, steers and ends is here; what only looks is in `lookups`. What happens to a record
is done by `core`, and every mechanism behind it has a file of its own. An unknown id is an answer
(`None`, `False`, `[]`); a bad value raises.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncGenerator, Awaitable, Iterable, Mapping
from contextlib import closing
from types import CoroutineType, TracebackType
from typing import Any, Final, Self

from amper.flow.cancel import CancellationToken
from amper.flow.stream import BoundedStream
from amper.job.job import CommandJob, Job
from amper.job.lifecycle import Happening
from amper.job.runner import Streams
from amper.job.table import STOPPED
from amper.manager.admission import Pace
from amper.manager.arguments import (
    absolute,
    check_pgid,
    check_process,
    checked_bound,
    checked_command,
    checked_containment,
    checked_facts,
    checked_pty,
    checked_seconds,
    checked_signal,
    checked_size,
    checked_timeout,
    checked_title,
    checked_words,
    usual_streams,
)
from amper.manager.channels import Channel, ChannelRunner, check_channel
from amper.manager.closing import Closing
from amper.manager.commands import CommandRunner
from amper.manager.contained import ContainedRunner
from amper.manager.core import Core, local_runner
from amper.manager.coroutines import CANCELLED, CoroutineRunner, check_awaitable, dispose
from amper.manager.foreground import bring_to_front, terminal_runner
from amper.manager.lookups import Lookups, confirmed
from amper.manager.options import CommandOptions, Descendants
from amper.manager.runner import LocalRunner
from amper.manager.waiting import Gathering, change_of, completions
from amper.process.command import HasFileno, Input
from amper.process.spawn import CommandLine, Program
from amper.values import Containment, EndedBy, ExecResult, JobId, JobInfo, JobStatus

GRACE_PERIOD: Final = 2.0


NEVER_STARTED: Final = ExecResult(
    CANCELLED, ended_by=EndedBy("cancel", "it was removed before it was started")
)
"""What `run` returns of a job that was in the queue, and is in no table now that could tell."""


class JobManager(Lookups):
    """A table of jobs: coroutines, OS commands and work that runs elsewhere, with one vocabulary.

    Use it as an async context manager: nothing that was started in the block outlives it. Without
    a block, `aclose` does that; else commands run on when the program is over. All methods belong
    to one event loop and its thread. Ids that are not in the table are answered with `None`,
    `False` or an empty list. What only looks is inherited from `Lookups`.
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
        commands are held together, where `start` does not say it (and says what each level does).
        `max_running` bounds the commands and coroutines that run at once; more of them are queued.
        The next one starts with the end of another, before those who wait for that one go on. A job
        that is stopped keeps its place.
        """
        self._containment: Containment = checked_containment(containment)
        super().__init__(
            Core(
                finished_retention=checked_bound(finished_retention, "finished_retention", 0),
                grace_period=checked_seconds(grace_period, "grace_period"),
                max_running=checked_bound(max_running, "max_running", 1),
            )
        )
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
        runner.put_down_process(pid, pgid)
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
        processes that outlive the leader: with `"leave"` they run on (`kill` reaches them), with
        `"wait"` the job lasts as long as they do, with `"kill"` they are killed with its end. `title`
        is what people read instead of the command.

        With containment `"group"` a kill reaches the command's process group and, as far as they are
        found, its descendants. With `"tree"` it runs under a shim, which reaches all that it ever
        started and proves that nothing is left; it ends with this process, even by `kill -9`.
        Which process it is is known a few milliseconds after the start.

        `foreground` makes it a command of our own session and terminal, and thus of containment
        `"tree"`. True: it is in front of the terminal from its first instruction, with our three
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
        if title is not None:
            text = checked_title(title)
        facts = checked_facts(text, name, tags)
        program = Program(executed, cwd, env, pass_fds, "own" if foreground is None else "ours")
        size = None if pty is False else checked_pty(pty, foreground)
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
            runner = terminal_runner(core, options, in_front=foreground)
        elif level == "tree":
            runner = ContainedRunner(options)
        else:
            runner = CommandRunner(options)
        job = CommandJob(text, runner, facts, containment=level, cwd=directory)
        return core.begin(job, runner)

    async def run(self, command: CommandLine, **options: Any) -> ExecResult:
        """Start a command and wait for it; the options are those of `start`.

        If the caller is cancelled the job is killed, and nobody waits for that. If the job is stopped,
        or removed while it runs, this goes on waiting.
        """
        id = await self.start(command, **options)
        loop = self._core.enter()
        job = self._table.get(id)
        assert job is not None
        result = job.result
        try:
            while result is None:
                if job.runner is not None and job.runner.is_over:
                    return NEVER_STARTED
                # It is this call's own job, so that no waiter is left behind for long.
                _, result = await change_of(self._table, job, loop)
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
        result = job.result
        if result is None:
            if self._core.states.commands:
                self._core.states.look(job)
            if job.status is STOPPED:
                return None
            waiter = change_of(self._table, job, loop, seconds)
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

    async def wait_all(
        self, ids: Iterable[JobId] | None = None, timeout: float | None = None
    ) -> list[tuple[JobId, ExecResult]]:
        """Wait for the jobs that are there now, or those named; return results in order of completion.

        Stopped jobs are left out, also when they stop meanwhile. After `timeout` seconds: those
        that have ended by then.
        """
        seconds = checked_timeout(timeout)
        self._core.enter()
        with closing(Gathering(self._table, self._awaited(ids))) as gathering:
            return await gathering.all(seconds)

    async def wait_any(
        self, ids: Iterable[JobId] | None = None, timeout: float | None = None
    ) -> tuple[JobId, ExecResult] | None:
        """Wait for the first of the jobs to end; one that is over already is the first.

        None at the deadline, and when there is none to wait for.
        """
        seconds = checked_timeout(timeout)
        self._core.enter()
        with closing(Gathering(self._table, self._awaited(ids))) as gathering:
            return await gathering.next(seconds)

    def as_completed(
        self, ids: Iterable[JobId] | None = None
    ) -> AsyncGenerator[tuple[JobId, ExecResult], None]:
        """Iterate over the jobs that are there now, or those named, as they end; each once."""
        return completions(self._core.enter, self._table, self._awaited(ids))

    async def try_result(self, id: JobId) -> ExecResult | None:
        """Return the result of a job that is over; None at once for any other."""
        job = self._owned(id)
        if job is None or job.result is None:
            return None
        self._table.take(job)
        return job.result

    # Steering and ending.

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
        ended_by = EndedBy("kill", checked_words(reason, "reason"), checked_words(by, "by"))
        self._core.enter()
        job, runner = self._reachable(id)
        if runner is None:
            return await self._core.escapes.kill(job, ended_by, grace)
        if job is not None and job.status is JobStatus.QUEUED:
            self._core.end_queued(job, ended_by)
            return True
        if not runner.is_killable:
            return await self._core.escapes.kill(runner.job, ended_by, grace)
        runner.claim(ended_by)
        return await self._core.cascade(runner, grace).waiter()

    async def cancel(self, id: JobId, *, reason: str | None = None) -> bool:
        """Ask a job to end by its cancellation token, and return at once.

        True if there was a token to cancel. The job's own token cancels its task, or starts for a
        command what `kill` does.
        """
        checked_words(reason, "reason")
        self._core.enter()
        job = self._table.get(id)
        return job is not None and self._core.cancel(job, reason)

    async def set_cancel_token(self, id: JobId, token: CancellationToken) -> None:
        """Let `cancel` trip `token` from now on, and nothing else. The last one that is set counts."""
        if not isinstance(token, CancellationToken):
            raise TypeError(f"a token is a CancellationToken, not {type(token).__name__}")
        job = self._owned(id)
        if job is not None and job.runner is not None:
            job.runner.token = token

    async def signal(self, id: JobId, sig: int) -> bool:
        """Signal every process group that is provably still the job's; False if there is none.

        A job that ends by a deadly signal sent here counts as ended through amper. Raises
        ValueError for a number that is no signal.
        """
        number = checked_signal(sig)
        await confirmed(self._owned(id))
        job, runner = self._reachable(id)
        if runner is None:
            return False
        is_sent = runner.signal(number)
        if is_sent and job is not None:
            self._core.stopping.signalled(job, number)
        return is_sent

    async def stop(self, id: JobId) -> bool:
        """Stop a job with SIGSTOP to its process groups; return when the kernel has confirmed it.

        True also if it was stopped already; False if it is over, unknown, or has nothing to stop,
        or if something of it does not stop within 5 s. A coroutine is asked, and stops at its next
        `current_job().checkpoint()`; if it comes to none within the grace period, the request is
        taken back: False. If the caller is cancelled, the job is stopped all the same.
        """
        self._core.enter()
        job = self._table.get(id)
        await confirmed(job)
        return False if job is None else await self._core.stopping.stop(job)

    async def resume(self, id: JobId) -> bool:
        """Let a stopped job run on, whoever has stopped it; return when it does.

        True also if it ran already; False if it is over, unknown, or has nothing to resume.
        """
        self._core.enter()
        job = self._table.get(id)
        await confirmed(job)
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
        return None if job is None else await bring_to_front(self._core, job)

    async def resize(self, id: JobId, columns: int, rows: int) -> bool:
        """Change the size of a job's own terminal (`pty`), which tells it so; False if it has none."""
        size = checked_size(columns, rows)
        runner = self._command_runner(id)
        return runner is not None and runner.resize(size)

    async def finish(self, id: JobId, result: ExecResult) -> bool:
        """Record the result of a job that runs elsewhere; False if it is unknown, over, or our own."""
        job = self._owned(id)
        if job is None or not isinstance(job.runner, ChannelRunner):
            return False
        job.runner.finish(result)
        return True

    async def remove(self, id: JobId) -> bool:
        """Take a job out of the table; False if it is not there.

        One that runs goes on untracked: its waiters get None, and only the manager's end reaches it.
        """
        job = self._owned(id)
        if job is None:
            return False
        self._core.remove(job)
        return True

    async def reap_finished(self) -> list[JobInfo]:
        """Remove all jobs that are over and return what they were, by id."""
        self._core.enter()
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
        local_runner(job).put_down_process(pid, pgid)
        if job.status is JobStatus.RUNNING:
            self._table.stopped(job)

    async def resume_job(self, id: JobId) -> None:
        """Record that the embedder's process of a job runs again. No signal is sent."""
        job = self._recordable(id)
        if job is not None and job.status is JobStatus.STOPPED:
            self._table.resumed(job)

    async def add_pgid(self, id: JobId, pgid: int) -> None:
        """Record a process group that works for a job, once, in order.

        `signal` and `kill` reach it as long as it is provably the same group. Raises ValueError for
        a process group of 1 or below.
        """
        check_pgid(pgid)
        job = self._owned(id)
        if job is None or job.runner is None:
            return
        local_runner(job).put_down_group(pgid)

    # Output files.

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

        It takes at most the grace period and 5 s, and as long as the disk takes to write the output
        files. Lookups go on; new jobs raise `ManagerClosed`.
        A caller that is cancelled shortens the grace period to nothing, and gets its
        `CancelledError` when all is over.
        """
        grace = self._checked_grace(grace_period)
        await self._closing.close(grace, checked_words(reason, "reason"))

    # Records and runners.

    def _owned(self, id: JobId) -> Job | None:
        """Look a job up to change it. Raises WrongLoop where another loop may be changing it."""
        self._core.enter()
        return self._table.get(id)

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
        job = self._owned(id)
        if job is None or job.runner is None or isinstance(job.runner, CommandRunner):
            return None
        return job

    def _command_runner(self, id: JobId) -> CommandRunner | None:
        job = self._owned(id)
        runner = None if job is None else job.runner
        return runner if isinstance(runner, CommandRunner) else None

    def _checked_grace(self, grace_period: float | None) -> float:
        if grace_period is None:
            return self._core.grace_period
        return checked_seconds(grace_period, "grace_period")
