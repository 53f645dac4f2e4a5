"""Stop and resume: ask, and return when it is so.

What a runner stops itself (a coroutine at its checkpoint, a job under a shim) it reports, and the
table's change is the answer. Process groups get SIGSTOP and SIGCONT from here, and the kernel is asked.

1. A confirmation hangs on no caller: it is driven by the loop, and records what it finds.
2. Whoever resumes a job, or ends it, or removes it, ends the wait of those who stop it: False.
"""

from __future__ import annotations

import asyncio
import signal
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from amper.flow.settle import settle
from amper.job.job import Job
from amper.job.table import QUEUED, RUNNING, STOPPED
from amper.manager.killing import LOOK_LIMIT
from amper.manager.runner import STOP_LIMIT, LocalRunner
from amper.manager.waiting import Verdict
from amper.process.group import ProcessGroup
from amper.process.scan import Look
from amper.process.state import are_stopped
from amper.values import JobStatus

if TYPE_CHECKING:
    from amper.manager.core import Core

FIRST_LOOK_AFTER: Final = 0.001

STOP_SIGNALS: Final = frozenset({signal.SIGSTOP, signal.SIGTSTP, signal.SIGTTIN, signal.SIGTTOU})


class Stopping:
    """Stops and resumes the jobs of one manager."""

    __slots__ = ("_askers", "_core", "_waiters")

    def __init__(self, core: Core) -> None:
        self._core = core
        self._askers: Counter[LocalRunner] = Counter()
        """How many wait until a job that reports its stop has stopped."""
        self._waiters: set[asyncio.Future[None]] = set()

    async def stop(self, job: Job) -> bool:
        """Stop a job; True when it is, also if it was so already."""
        runner = job.runner
        if not isinstance(runner, LocalRunner) or job.status is QUEUED:
            return False
        is_reported = runner.ask_to_stop()
        groups = [group for group in runner.groups if group.signal(signal.SIGSTOP)]
        if is_reported:
            return await self._reported_stop(job, runner)
        if groups:
            return await self._confirm(runner, groups).waiter()
        runner.take_back_stop()
        return False

    async def resume(self, job: Job) -> bool:
        """Let a job run on; True when it does, also if it was so already."""
        runner = job.runner
        if not isinstance(runner, LocalRunner) or job.status is QUEUED:
            return False
        seen = self._core.table.events.last
        sent = [group.signal(signal.SIGCONT) for group in runner.groups]
        is_reported = runner.ask_to_resume()
        if not is_reported and not any(sent):
            return False
        self._withdraw(runner)
        if is_reported and (
            await self._until(job, runner, RUNNING, STOP_LIMIT, seen)
            # Nobody tells of a leader that was in vfork, and never stopped itself.
            or runner.is_over
            or runner.read_stop() is not False
        ):
            return job.status is RUNNING or self._has_resumed(job, seen)
        # It has happened before the call that sends the signal returns.
        self._continued(job)
        return True

    def signalled(self, job: Job, number: int) -> None:
        """A job's groups got a signal: what it makes of a stop or a continue is to be recorded."""
        runner = job.runner
        if not isinstance(runner, LocalRunner):
            return
        if number in STOP_SIGNALS:
            self._confirm(runner, runner.groups)
        elif number == signal.SIGCONT and runner.groups:
            self._withdraw(runner)
            self._continued(job)

    def give_up(self, runner: LocalRunner) -> None:
        """A job is over, or out of the table: whoever waits for its stop waits in vain."""
        if runner.confirmation is not None:
            runner.confirmation.end(is_stopped=False)

    def _withdraw(self, runner: LocalRunner) -> None:
        self.give_up(runner)
        for waiter in self._waiters:
            settle(waiter, None)

    def _continued(self, job: Job) -> None:
        if job.status is STOPPED:
            self._core.table.resumed(job)
        # One that reads the terminal in the background stops again at once.
        self._core.states.look_closely(job)

    def _confirm(self, runner: LocalRunner, groups: Sequence[ProcessGroup]) -> Confirmation:
        confirmation = runner.confirmation
        if confirmation is None:
            return Confirmation(runner, groups, self._core)
        confirmation.add(groups)
        return confirmation

    async def _reported_stop(self, job: Job, runner: LocalRunner) -> bool:
        limit = runner.stop_limit(self._core.grace_period)
        self._askers[runner] += 1
        try:
            is_stopped = await self._until(job, runner, STOPPED, limit)
        finally:
            self._askers[runner] -= 1
            is_last = self._askers[runner] == 0
            if is_last:
                del self._askers[runner]
        if not is_stopped and is_last:
            runner.take_back_stop()
        return is_stopped

    def _has_resumed(self, job: Job, seen: int) -> bool:
        """Return whether it ran on since event number `seen`, whatever it does now."""
        page = self._core.table.events.read(seen)
        return any(event.kind == "resumed" and event.job_id == job.id for event in page.events)

    async def _until(
        self,
        job: Job,
        runner: LocalRunner,
        wanted: JobStatus,
        seconds: float,
        seen: int | None = None,
    ) -> bool:
        """Wait until the table says so; False when it will not, or at the deadline.

        What has run on since event number `seen`, and stopped again, has run on.
        """
        table, loop = self._core.table, self._core.enter()
        deadline = loop.time() + seconds
        while job.status is not wanted:
            if seen is not None and self._has_resumed(job, seen):
                return True
            is_in_vain = runner.is_over or table.get(job.id) is not job
            if wanted is STOPPED and not runner.is_stop_requested:
                is_in_vain = True
            if is_in_vain or loop.time() >= deadline:
                return False
            waiter: asyncio.Future[None] = loop.create_future()
            timer = loop.call_at(deadline, settle, waiter, None)
            table.events.waiters.add(waiter)
            self._waiters.add(waiter)
            try:
                await waiter
            finally:
                timer.cancel()
                table.events.waiters.discard(waiter)
                self._waiters.discard(waiter)
        return True


class Confirmation(Verdict):
    """Finds out whether everything of a job's groups has stopped.

    A process stops some microseconds after the signal, on its own processor, and the kernel tells
    nobody of it but the parent's SIGCHLD handler, which is the host's and not ours. So this is the
    one place that looks again: at once, then at intervals that double, for a bounded time.
    """

    __slots__ = ("_core", "_delay", "_groups", "_runner", "_timer", "_until")

    def __init__(self, runner: LocalRunner, groups: Sequence[ProcessGroup], core: Core) -> None:
        super().__init__(core.enter())
        self._runner = runner
        self._groups = list(groups)
        self._core = core
        self._delay = FIRST_LOOK_AFTER
        self._until = self._loop.time() + STOP_LIMIT
        self._timer = self._loop.call_at(self._until + LOOK_LIMIT, self._give_up)
        runner.confirmation = self
        self._look()

    def add(self, groups: Sequence[ProcessGroup]) -> None:
        """They got the signal too, or once more: begin anew."""
        self._groups += [group for group in groups if group not in self._groups]
        self._delay = FIRST_LOOK_AFTER
        self._until = self._loop.time() + STOP_LIMIT

    def end(self, *, is_stopped: bool) -> None:
        """Tell those who wait, and look no more."""
        if self.outcome is not None:
            return
        self.outcome = is_stopped
        self._timer.cancel()
        if self._runner.confirmation is self:
            self._runner.confirmation = None
        self._tell()

    def _give_up(self) -> None:
        """End it if no look has: where there is no descriptor to look with, none comes to its end."""
        latest = self._until + LOOK_LIMIT
        if self._loop.time() < latest:
            # Somebody has stopped it once more since.
            self._timer = self._loop.call_at(latest, self._give_up)
        else:
            self.end(is_stopped=False)

    def _look(self) -> None:
        if self.outcome is not None:
            return
        # One that does not stop is seen by its leader, without a look at all processes.
        if self._runner.read_stop() is False:
            self._look_again()
        else:
            self._core.kernel.scanner.ask(self._found)

    def _look_again(self) -> None:
        if self._loop.time() + self._delay > self._until:
            self.end(is_stopped=False)
            return
        self._loop.call_later(self._delay, self._look)
        self._delay *= 2

    def _found(self, look: Look) -> None:
        if self.outcome is not None:
            return
        groups = [group for group in self._groups if group.pgid in look.groups]
        alive = [group for group in groups if not group.is_gone()]
        if not alive:
            self.end(is_stopped=False)
        elif all(are_stopped(look, group.pgid) for group in alive):
            self._record()
            self.end(is_stopped=True)
        else:
            self._look_again()

    def _record(self) -> None:
        job = self._runner.job
        # It was. If somebody has continued it meanwhile, it is not any more.
        if job.status is RUNNING and self._runner.read_stop() is not False:
            self._core.table.stopped(job)
