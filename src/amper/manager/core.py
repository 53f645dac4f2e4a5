"""What a manager does to its jobs, by record: begin them, end them, hear of their ends, move on.

`JobManager` in front of it knows ids and arguments; behind it, every mechanism has a file of its own.

1. One thread, one event loop at a time. `enter` is the first step of whatever needs the loop.
2. No job is lost between two awaits: what is started is in the table before anything is awaited.
3. A job that may have left something behind is found in `unfinished` until that is proved gone.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
import time
import weakref
from collections.abc import Callable
from typing import Final

from amper.errors import ManagerClosed, WrongLoop
from amper.flow.stream import is_running_here
from amper.job.job import Job
from amper.job.lifecycle import Happening
from amper.job.runner import Runner
from amper.job.table import START, JobTable
from amper.manager.admission import Admission
from amper.manager.channels import ChannelRunner
from amper.manager.coroutines import CANCELLED, CoroutineRunner, closed
from amper.manager.escaped import Escapes
from amper.manager.killing import Cascade
from amper.manager.remains import Remains
from amper.manager.runner import LocalRunner
from amper.manager.states import States
from amper.manager.steps import Steps
from amper.manager.stopping import Stopping
from amper.output_files import OutputFiles
from amper.process.kernel import Kernel
from amper.process.terminals.terminal import Terminal
from amper.supervisor.keepers import Keepers
from amper.values import Ended, EndedBy, JobId, JobStatus

LOOP_END: Final = 0.1
"""Seconds from the cancellation of all tasks until a loop is closed, as a rule."""

_ASKS_TO_END: Final = frozenset(
    {signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT, signal.SIGKILL}
)
"""A process that handles one of these and fails was ended by it all the same."""


class Core:
    """The table, the loop, and the runners of one manager."""

    def __init__(
        self, *, finished_retention: int | None, grace_period: float, max_running: int | None
    ) -> None:
        self.grace_period = grace_period
        self.admission = Admission(max_running)
        self.files = OutputFiles()
        self.table = JobTable(time.monotonic, finished_retention, self.files.delete)
        self.states = States(self.table)
        self.stopping = Stopping(self)
        self.persists_output = True
        self.is_closed = False
        self.untracked: set[LocalRunner] = set()
        """Of jobs that were removed while they ran."""
        self.remains = Remains()
        self.escapes = Escapes(self)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._kernel: Kernel | None = None
        self._keepers: Keepers | None = None
        self._terminal: Terminal | None = None
        self._steps: Steps | None = None
        self._is_starting = False
        self._loop_ends: bool | None = None
        weakref.finalize(self, self.files.close)

    # The event loop.

    def enter(self) -> asyncio.AbstractEventLoop:
        """Return the running loop, to which the manager moves if it was on one that is over.

        Raises RuntimeError where none runs, and WrongLoop where another one still does.
        """
        loop = asyncio.get_running_loop()
        if loop is not self._loop:
            self._move(loop)
        return loop

    def enter_open(self) -> asyncio.AbstractEventLoop:
        """Do as `enter` does, for a new job. Raises ManagerClosed."""
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            # Only `spawn` can be called without one: it is no coroutine.
            why = "no asyncio event loop runs here: call this within a coroutine"
            raise RuntimeError(why) from None
        if loop is not self._loop:
            self._move(loop)
        if self.is_closed:
            raise ManagerClosed
        return loop

    def catch_up(self) -> None:
        """Before a lookup: what the end of the last loop did to coroutines is to be seen."""
        if self._loop is not None and self._loop.is_closed():
            try:
                loop = asyncio.get_running_loop()
            except RuntimeError:
                # There is none to move to, and what is known is all that can be told.
                return
            self._move(loop)

    def on_loop(self, step: Callable[[], None]) -> None:
        """Run `step` on the manager's loop, from whatever thread: now, if this is its own."""
        loop = self._loop
        assert loop is not None
        if is_running_here(loop):
            step()
        else:
            # A loop that is closed has nothing left that could be asked to end.
            with contextlib.suppress(RuntimeError):
                loop.call_soon_threadsafe(step)

    @property
    def steps(self) -> Steps:
        """What all cascades on this loop share."""
        assert self._steps is not None
        return self._steps

    @property
    def kernel(self) -> Kernel:
        """What commands and process groups need, opened when the first one asks."""
        if self._kernel is None:
            self._kernel = Kernel(self.enter())
        return self._kernel

    @property
    def keepers(self) -> Keepers:
        """Who starts contained commands; the first of them starts one."""
        if self._keepers is None:
            self._keepers = Keepers(self.kernel, self.grace_period)
        return self._keepers

    def _move(self, loop: asyncio.AbstractEventLoop) -> None:
        before, self._loop = self._loop, loop
        if before is not None and before.is_running():
            self._loop = before
            raise WrongLoop
        self._steps = Steps(loop)
        self.states.attach(loop)
        if self._kernel is not None:
            self._kernel.attach(loop)
        if before is None or not before.is_closed():
            return
        # Whoever waited on a loop that is closed will never go on, and must not be called.
        self.table.events.waiters.clear()
        self._is_starting = True
        for job in self.admission.queued():
            if isinstance(job.runner, CoroutineRunner):
                self.end_queued(job, EndedBy("loop_closed"))
        for runner in self.unfinished():
            runner.waiters = None
            runner.confirmation = None
            was_dying = runner.drop_cascade()
            runner.loop_closed()
            if was_dying and runner.is_killable:
                self.kill_soon(runner)
        self.escapes.moved()
        self._is_starting = False
        self._start_queued()

    # Beginning.

    def begin(self, job: Job, runner: LocalRunner) -> JobId:
        """Start a job if there is a place for it, or queue it."""
        admission = self.admission
        if admission.max_running is None or not runner.needs_place:
            # As `add` does, without a step between: most managers have no bound.
            runner.job = job
            runner.reports = self
            runner.persists_output = self.persists_output
            self.table.add(job)
            runner.start()
        elif admission.is_full or admission.has_queue:
            runner.hold()
            self.add(job, runner, Happening.QUEUE)
            admission.queue(job)
            self._start_queued()
        else:
            admission.give_place(runner)
            self.add(job, runner)
            runner.start()
        return job.id

    def add(self, job: Job, runner: LocalRunner, happening: Happening = START) -> None:
        """Put a job into the table."""
        runner.job = job
        runner.reports = self
        runner.persists_output = self.persists_output
        self.table.add(job, happening)

    def _start_queued(self) -> None:
        if self._is_starting:
            return
        # A command that cannot start ends at once, and its place is free for the next.
        self._is_starting = True
        try:
            while (job := self.admission.next()) is not None:
                runner = local_runner(job)
                self.admission.give_place(runner)
                self.table.started(job)
                runner.start()
        finally:
            self._is_starting = False

    # What runners report.

    def job_ended(self, runner: LocalRunner, report: Ended) -> None:
        """Take the end of a job from its runner."""
        job, result = runner.job, report.result
        if result.code != 0 and runner.ended_by is None:
            _claim_for_sender(runner, report)
        if self.states.commands:
            self.states.remove(job)
        self.table.ended(job, report)
        if runner.confirmation is not None:
            self.stopping.give_up(runner)
        if self.untracked:
            self.untracked.discard(runner)
        # Output that is still held open is among the facts.
        if runner.groups or job.facts is not None or runner.is_contained:
            self.remains.add(runner)
        if runner.cascade is not None:
            runner.cascade.work_ended()
            self.escapes.keep(job.id, runner)
        if runner.has_place:
            self.admission.take_place(runner)
            self._start_after(runner)
        # Last: of all of this it is what may fail.
        if runner.persists_output and job.has_output and self.table.get(job.id) is job:
            self.files.write(job)

    def _start_after(self, runner: LocalRunner) -> None:
        """Start who was queued: there is a place."""
        if runner.ended_by is None or runner.ended_by.cause != "loop_closed":
            self._start_queued()
        elif self.admission.has_queue and not self._is_starting and self._loop is not None:
            # What is started on a loop that ends would end with it; the next loop takes it up. But a
            # loop whose main task has lived through a cancellation only looks like that.
            self._loop.call_later(LOOP_END, self._start_queued)

    def runs(self, runner: LocalRunner) -> None:
        """A command runs, or has left what runs, and no shim contains it or tells when it stops."""
        self.escapes.are_possible = True
        if not runner.is_over:
            self.states.add(runner.job, runner)

    def job_stopped(self, runner: LocalRunner) -> None:
        """Take note that a job was stopped, from its runner."""
        if runner.job.status is JobStatus.RUNNING:
            self.table.stopped(runner.job)

    def job_resumed(self, runner: LocalRunner) -> None:
        """Take note that a job runs on, from its runner."""
        if runner.job.status is JobStatus.STOPPED:
            self.table.resumed(runner.job)

    def cascade_ended(self, runner: LocalRunner) -> None:
        """Whoever kills the job from now on begins anew."""
        self.escapes.forget(runner.job.id, runner)

    def kill_soon(self, runner: LocalRunner) -> None:
        """Begin the cascade for a runner that was told to end."""
        self.cascade(runner, self.grace_period)

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

    # Ending.

    def cascade(self, runner: LocalRunner, grace_period: float) -> Cascade:
        """Return the job's one cascade, with no more than this grace period left."""
        loop = self.enter()
        if runner.cascade is None:
            runner.cascade = Cascade(runner, loop, self._kernel, self.steps, grace_period)
        else:
            runner.cascade.hurry(grace_period)
        return runner.cascade

    def end(self, job: Job, ended_by: EndedBy) -> None:
        """Begin to end a job, if it is not over."""
        if job.runner is None or job.runner.is_over:
            return
        if job.status is JobStatus.QUEUED:
            self.end_queued(job, ended_by)
        else:
            job.runner.claim(ended_by)
            self.kill_soon(local_runner(job))

    def cancel(self, job: Job, reason: str | None) -> bool:
        """Trip the token of a job that is not over; False if there is none."""
        if job.runner is None:
            return False
        ended_by = EndedBy("cancel", reason)
        if job.status is JobStatus.QUEUED:
            self.end_queued(job, ended_by)
            return True
        runner = local_runner(job)
        if runner.token is None and isinstance(runner, ChannelRunner):
            # Nobody has given us one, and nobody would hear of one that we made.
            return False
        token = runner.own_token()
        runner.claim(ended_by)
        token.cancel(reason)
        return True

    def end_queued(self, job: Job, ended_by: EndedBy) -> None:
        """End a job that was never started."""
        self.admission.withdraw(job)
        runner = local_runner(job)
        runner.claim(ended_by)
        self.job_ended(runner, Ended(closed(runner.streams, CANCELLED)))
        runner.discard()
        if runner.token is not None:
            # Whoever has set it may have begun already with what the job was to do.
            runner.token.cancel(ended_by.reason)

    def remove(self, job: Job) -> None:
        """Take a job out of the table. If it runs it goes on, and only `unfinished` still knows it."""
        runner = job.runner
        if job.status is JobStatus.QUEUED:
            # Nobody could ever see it again, or end it, so it must not start either.
            self.admission.withdraw(job)
        elif runner is not None:
            self.untracked.add(local_runner(job))
        self.table.remove(job)
        if job.status is JobStatus.QUEUED and runner is not None:
            runner.discard()
        elif runner is not None:
            self.stopping.give_up(local_runner(job))

    def unfinished(self) -> list[LocalRunner]:
        """Return the runners of which something may be left."""
        tracked = [local_runner(job) for job in self.table.jobs() if job.runner is not None]
        over = [*self.remains.all(), *self.escapes.dying()]
        return list(dict.fromkeys([*tracked, *self.untracked, *over]))

    def sweep_remains(self) -> None:
        """Let go of some of what finished jobs have left behind, if it is dead."""
        if self._kernel is not None:
            self.remains.sweep(self._kernel)

    @property
    def terminal(self) -> Terminal | None:
        """The terminal of our session, opened when the first one asks; None if we have none.

        Raises OSError where no descriptor is free.
        """
        if self._terminal is None:
            self._terminal = Terminal.open(reserve=self.kernel.reserve)
        return self._terminal

    def end_keepers(self) -> asyncio.Future[None] | None:
        """End the keepers, if there are any, and return a future that is done when they are over."""
        return None if self._keepers is None else self._keepers.close()

    def close_kernel(self) -> None:
        """Close what was opened for commands, when nothing of them is left to be watched."""
        self.states.close()
        if self._terminal is not None:
            self._terminal.close()
            self._terminal = None
        if self._kernel is not None:
            self._kernel.close()


def local_runner(job: Job) -> LocalRunner:
    """Return the runner of a job that is not over."""
    runner: Runner | None = job.runner
    assert isinstance(runner, LocalRunner)
    return runner


def _claim_for_sender(runner: LocalRunner, report: Ended) -> None:
    """Put down who ended a job that nobody claimed: its token, or a signal that was sent here."""
    if runner.token is not None and runner.token.is_cancelled:
        runner.claim(EndedBy("cancel", runner.token.reason))
        return
    for number in runner.signals_sent:
        if report.result.code == 128 + number or number in _ASKS_TO_END:
            runner.claim(EndedBy("signal", signal_name(number)))


def signal_name(number: int) -> str:
    """Return `SIGTERM`, or `SIGRTMIN+3` for one of those that have no name of their own."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"SIGRTMIN+{number - signal.SIGRTMIN}"
