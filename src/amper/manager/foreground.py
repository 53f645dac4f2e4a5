"""Commands of our terminal, as jobs: groups of our session, one of which may be in front.

Only a parent sees a stop while it happens, and a host's SIGCHLD is not ours. So such a command runs
under a shim, whatever the containment of others, and is held back until it is where it belongs.

1. The terminal is taken back before anybody hears of the stop or the end: whoever waits for it has it.
2. Nobody needs to wait: a job that was started in front gives the terminal back all the same.
"""

from __future__ import annotations

from typing import Final

from amper.job.job import Job
from amper.job.runner import News
from amper.manager.commands import CommandRunner
from amper.manager.contained import ContainedRunner
from amper.manager.core import Core
from amper.manager.lookups import confirmed
from amper.manager.options import CommandOptions
from amper.manager.waiting import change_of
from amper.process.descriptors import Reserve
from amper.process.procfs import members_of
from amper.process.reap import Exit
from amper.process.spawn import cannot_start
from amper.process.terminals.foreground import Foreground
from amper.process.terminals.input_wait import waits_for_input
from amper.process.terminals.terminal import Terminal
from amper.supervisor.command import UNKNOWN
from amper.values import ExecResult, JobStatus

NO_TERMINAL: Final = "this process has no terminal that could be given to a job"


async def bring_to_front(core: Core, job: Job) -> ExecResult | None:
    """Give our terminal to a job and wait until it ends or stops; None for a stop, and a removal."""
    runner = job.runner
    is_there = isinstance(runner, TerminalRunner) and runner.is_in_front
    try:
        await confirmed(job)
        if is_there and job.status is JobStatus.STOPPED:
            # It was started there, and stopped meanwhile, or is about to be: to let it run on would take
            # back what somebody has typed.
            return None
        if isinstance(runner, TerminalRunner) and not is_there:
            runner.come_to_front()
        result = job.result or await _follow_up(core, job, is_resumed=is_there)
    finally:
        # Of one that has ended or stopped it was taken back already.
        if isinstance(runner, TerminalRunner):
            runner.step_back()
    if result is not None:
        core.table.take(job)
    return result


async def _follow_up(core: Core, job: Job, *, is_resumed: bool) -> ExecResult | None:
    """Let a job run on, and wait until it ends, stops or leaves the table."""
    loop = core.enter()
    while job.result is None and core.table.get(job.id) is job:
        waiter = change_of(core.table, job, loop)
        try:
            if not is_resumed:
                is_resumed = True
                if not await core.stopping.resume(job) and job.status is JobStatus.STOPPED:
                    # There is nothing that a signal could reach, and it stays as it is.
                    return None
            news: News = await waiter
        finally:
            core.table.leave(job, waiter)
        # One that runs has gone on since whoever told us of its stop saw it.
        if news[1] is not None or job.status is JobStatus.STOPPED:
            return news[1]
    return job.result


def terminal_runner(core: Core, options: CommandOptions, *, in_front: bool) -> CommandRunner:
    """Return what runs a command in our session; without a terminal that fails, as a start does."""
    reason = NO_TERMINAL
    try:
        terminal = core.terminal
    except OSError as error:
        terminal, reason = None, cannot_start(error).reason
    if terminal is None:
        options.program.reason = options.program.reason or reason
        return ContainedRunner(options)
    return TerminalRunner(options, terminal, in_front=in_front)


class TerminalRunner(ContainedRunner):
    """Runs one command in our session."""

    _turns: Foreground | None = None

    def __init__(self, options: CommandOptions, terminal: Terminal, *, in_front: bool) -> None:
        super().__init__(options)
        self._terminal = terminal
        self._begins_in_front = in_front

    def waits_for_input(self) -> bool | None:
        turns, device = self._turns, self._terminal.device
        if turns is None or device is None or self.is_over:
            return None
        is_in_front = turns.pgid == self._terminal.foreground
        return is_in_front and waits_for_input(members_of(turns.pgid, Reserve()), device)

    @property
    def is_in_front(self) -> bool:
        """Whether the terminal is the job's now, as far as we know, or will be when it begins."""
        return self._begins_in_front if self._turns is None else self._turns.is_in_front

    def come_to_front(self) -> bool:
        """Give the job the terminal, set as it left it; False if that could not be."""
        return self._turns is not None and self._turns.resume()

    def step_back(self) -> None:
        """Take the terminal back from a job that runs on, or is stopped, or never get it."""
        self._begins_in_front = False
        if self._turns is not None:
            self._turns.stopped()

    def leader_started(self) -> None:
        super().leader_started()
        command = self.command
        assert command is not None
        self._turns = Foreground(self._terminal, command.pid)
        try:
            if self._begins_in_front:
                self._turns.resume()
        finally:
            command.let_run()

    # Whatever becomes of the terminal, what has become of the job is told but once.

    def leader_stopped(self) -> None:
        try:
            self.step_back()
        finally:
            super().leader_stopped()

    def leader_ended(self, exit: Exit) -> None:
        try:
            self._give_back(exit)
        finally:
            super().leader_ended(exit)

    def abandon(self) -> None:
        try:
            self._give_back(UNKNOWN)
        finally:
            super().abandon()

    def _give_back(self, exit: Exit) -> None:
        if self._turns is not None:
            self._turns.ended(exit)
