"""OS commands as jobs.

1. A command's status turns terminal after its leader was reaped and its streams were closed, with
   all that the leader wrote.
2. A command that cannot start ends like one that failed, with the shell's code and the reason.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
from collections.abc import Sequence
from typing import Final

from amper.flow.settle import settle
from amper.job.job import CommandJob
from amper.job.runner import Streams
from amper.manager.coroutines import closed
from amper.manager.options import CommandOptions, Descendants
from amper.manager.runner import LocalRunner
from amper.process.command import Command, HasFileno, Input, Output
from amper.process.descriptors import Reserve
from amper.process.group import GroupWatch
from amper.process.kernel import Kernel
from amper.process.procfs import members_of
from amper.process.pump import InputPump
from amper.process.reap import Exit
from amper.process.spawn import PIPE, CannotStart, cannot_start
from amper.process.terminals.input_wait import waits_for_input
from amper.process.terminals.pty import Pty, open_pty
from amper.process.terminals.terminal import Size
from amper.values import Ended, EndedBy, JobStatus

TIMED_OUT: Final = 124
LOST: Final = 1
"""The code of a result that nobody knows: it is no success."""

RETRY_AFTER: Final = 0.1
"""Seconds until an end that could not be reported is tried to be again."""


Arguments = tuple[Input, Output, Output, "CommandRunner", Pty | None]


class CommandRunner(LocalRunner):
    """Runs one OS command."""

    _deadline: float | None = None
    _is_fed = False
    _is_marked = False
    _timeout: float | None = None

    def __init__(self, options: CommandOptions) -> None:
        super().__init__(Streams.empty())
        self.command: Command | None = None
        self._exit: Exit | None = None
        self._options: CommandOptions | None = options
        """How it is started; not kept when it has been."""
        self._descendants: Descendants = "leave"
        self._duplicates: tuple[int, ...] = ()
        self._stdin_waiters: Sequence[asyncio.Future[None]] = ()
        self._timer: asyncio.TimerHandle | None = None
        self._watch: GroupWatch | None = None

    def hold(self) -> None:
        """Take what the call meant, before its caller changes or closes it."""
        options = self._options
        assert options is not None
        options.program.pin()
        if not isinstance(options.stdin, bytes):
            options.stdin = self._duplicate(options.stdin)
        options.stdout = self._duplicate(options.stdout)
        options.stderr = self._duplicate(options.stderr)

    def start(self) -> None:
        options = self._options
        assert options is not None
        self._options = None
        try:
            kernel = self.reports.kernel
            if options.program.inherits_environment:
                self._is_marked = True
                options.program.mark(self._mark_of(kernel), kernel.environment)
            self.command = command = self._command(kernel, options)
        except BaseException as error:
            # Whatever it was, the job is in the table and must not seem to run.
            self.start_failed(error if isinstance(error, CannotStart) else cannot_start(error))
            if not isinstance(error, Exception):
                raise
            return
        finally:
            if self._duplicates:
                self._close_duplicates()
        self._begun(command)
        if self._stdin_waiters:
            self.stdin_changed()
        if options.stdin == PIPE:
            self._is_fed = True
        if options.descendants != "leave":
            self._descendants = options.descendants
        if options.timeout is not None:
            self._timeout = options.timeout
            self._deadline = self.reports.kernel.loop.time() + options.timeout
            self.set_timer()

    def _command(self, kernel: Kernel, options: CommandOptions) -> Command:
        """Start it. Raises CannotStart."""
        return Command(kernel, options.program, *self._arguments(options))

    def _arguments(self, options: CommandOptions) -> Arguments:
        """Return what a `Command` takes: streams, owner, and the terminal that is all three streams."""
        streams = self.streams
        assert streams is not None
        return (
            options.stdin,
            streams.stdout if options.stdout == PIPE else options.stdout,
            streams.stderr if options.stderr == PIPE else options.stderr,
            self,
            None if options.pty is None else open_pty(options.pty),
        )

    def _begun(self, command: Command) -> None:
        """Put down which process the job has."""
        self._put_down(command)
        self.reports.runs(self)

    def _put_down(self, command: Command) -> None:
        job = self.job
        assert isinstance(job, CommandJob)
        job.pid = command.pid
        if command.group is not None:
            self.add_group(command.group)

    def start_failed(self, failure: CannotStart) -> None:
        """It could not be started: that is how the job ended."""
        streams = self.streams
        assert streams is not None
        streams.stderr.write(f"amper: {failure.reason}\n".encode("utf-8", "replace"))
        self._report(Ended(closed(streams, failure.code)))

    @property
    def mark(self) -> bytes | None:
        return self._mark_of(self.reports.kernel) if self._is_marked else None

    def _mark_of(self, kernel: Kernel) -> bytes:
        return b"%s-%d" % (kernel.mark, self.job.id)

    def waits_for_input(self) -> bool | None:
        pty = None if self.command is None else self.command.pty
        device = None if pty is None else pty.device
        if pty is None or device is None or self.is_over:
            return None
        group = pty.foreground
        return group is not None and waits_for_input(members_of(group, Reserve()), device)

    def resize(self, size: Size) -> bool:
        """Change the size of the job's own terminal; False if it has none."""
        pty = None if self.command is None else self.command.pty
        return pty is not None and pty.set_size(size)

    def stop_notice(self) -> bool | None:
        return None if self.command is None else self.command.stop_notice()

    def read_stop(self) -> bool | None:
        if self._watch is not None:
            # The leader is gone, and the job lasts as long as those that it left.
            return self._watch.are_known_stopped()
        if self.command is None:
            return None
        stopped = self.command.is_stopped()
        if stopped is False and self.job.status is JobStatus.STOPPED and self.command.is_dying():
            # Nobody has continued it.
            return None
        return stopped

    def discard(self) -> None:
        super().discard()
        self._close_duplicates()
        self.stdin_changed()

    def set_timer(self) -> None:
        """Watch the deadline on the loop that runs the command now."""
        if self._deadline is not None and not self.is_over:
            self._timer = self.reports.kernel.loop.call_at(self._deadline, self._timed_out)

    @property
    def has_work(self) -> bool:
        return self._exit is None and not self.is_over

    @property
    def has_remains(self) -> bool:
        command = self.command
        if command is not None and command.is_output_open:
            return True
        return bool(self.groups) and super().has_remains

    def all_died(self) -> None:
        if self._exit is not None and not self.is_over:
            self._finish()

    def give_up(self) -> None:
        # The leader is gone, and what it left cannot be waited for.
        self.all_died()

    def abandon(self) -> None:
        if not self.is_over:
            assert self.streams is not None
            self._report(Ended(closed(self.streams, LOST), is_lost=True))
        super().abandon()

    def let_go(self) -> None:
        if self._watch is not None:
            self._watch.close()
        # The poller lets go of the leader's pidfd before its group closes it.
        if self.command is not None:
            self.command.close()
        super().let_go()

    def loop_closed(self) -> None:
        self._stdin_waiters = ()
        self.set_timer()

    def be_cancelled(self) -> None:
        self.reports.kill_soon(self)

    async def write_stdin(self, data: bytes) -> bool:
        """Hand `data` over and wait until all of it was taken; False if nobody will take it.

        A caller that is cancelled leaves behind what it has handed over: that is still written.
        """
        await self._started()
        pump = self._stdin
        if pump is None or not pump.is_open:
            return False
        end = pump.write(data)
        while pump.taken < end and pump.is_feeding:
            await self._stdin_change()
        return pump.taken >= end

    async def close_stdin(self) -> bool:
        """Send the end of the file once all is written; False if it was closed already."""
        await self._started()
        pump = self._stdin
        if pump is None or not pump.is_open:
            return False
        pump.close_when_written()
        return True

    async def _started(self) -> None:
        """Wait until a queued command runs, or never will."""
        while self.command is None and not self.is_over:
            await self._stdin_change()

    @property
    def _stdin(self) -> InputPump | None:
        """The pipe to the command's standard input, if its embedder writes to it."""
        return self.command.stdin if self.command is not None and self._is_fed else None

    async def _stdin_change(self) -> None:
        waiter = asyncio.get_running_loop().create_future()
        self._stdin_waiters = (*self._stdin_waiters, waiter)
        await waiter

    def stdin_changed(self) -> None:
        """Let those go on who wait until the command takes their data, or is started."""
        waiters, self._stdin_waiters = self._stdin_waiters, ()
        for waiter in waiters:
            settle(waiter, None)

    def _duplicate(self, file: int | HasFileno) -> int | HasFileno:
        """Return a descriptor of our own for an open file, and a constant as it is."""
        if isinstance(file, int) and file < 0:
            return file
        try:
            copy = fcntl.fcntl(file, fcntl.F_DUPFD_CLOEXEC, 3)
        except (OSError, ValueError):
            # The start will find the same, and tell it.
            return file
        self._duplicates = (*self._duplicates, copy)
        return copy

    def _close_duplicates(self) -> None:
        duplicates, self._duplicates = self._duplicates, ()
        for fd in duplicates:
            os.close(fd)

    def _timed_out(self) -> None:
        self.claim(EndedBy("timeout", f"it ran longer than {self._timeout:g} s"))
        self.reports.kill_soon(self)

    def leader_ended(self, exit: Exit) -> None:
        """Report, or first wait for what the leader has left behind."""
        command = self.command
        assert command is not None
        self._exit = exit
        group = command.group
        if group is not None and group.is_closed and self.cascade is None:
            # One that has not taken its first step needs it, to look for daemons.
            self.remove_group(group)
        if self._descendants == "leave" or not self._has_descendants(command):
            # Whoever hears of that lets a cascade go on, too.
            self._finish()
            return
        if self._descendants == "wait":
            self._await_descendants(command)
        else:
            self.reports.kill_soon(self)
        if self.cascade is not None:
            self.cascade.work_ended()

    def _has_descendants(self, command: Command) -> bool:
        """Return whether the leader has left anything behind that counts as the job."""
        return command.group is not None and not command.group.is_gone()

    def _await_descendants(self, command: Command) -> None:
        assert command.group is not None
        self._watch = GroupWatch(command.group, self.reports.kernel, self)
        if self._watch.check():
            self._finish()

    def group_gone(self) -> None:
        """What the job waited for beside its leader is over."""
        self._finish()

    def _finish(self) -> None:
        """Nothing that counts as the job is left: close its output and report."""
        if self.is_over:
            return
        command, streams, exit = self.command, self.streams, self._exit
        assert command is not None
        assert streams is not None
        assert exit is not None
        status = exit.status
        try:
            if self._watch is not None:
                self._watch.close()
            if self._timer is not None:
                self._timer.cancel()
            late = command.finish()
            if late is not None:
                self.job.own_facts().late = late
            code = LOST if status is None else status.code
            ended_by = self.ended_by
            if ended_by is not None and ended_by.cause == "timeout":
                code = TIMED_OUT
            result = closed(streams, code, None, ended_by)
            signal = None if status is None else status.signal
            self._report(Ended(result, signal, exit.usage, status is None))
        except BaseException:
            # Ctrl-C, or no memory for the output. Nobody would tell once more that all of it is dead.
            self.reports.kernel.loop.call_later(RETRY_AFTER, self._finish)
            raise

    def _report(self, report: Ended) -> None:
        self.reports.job_ended(self, report)
        # Whoever kills what the job has left may hold this for long.
        self.streams = None
        if self._stdin_waiters:
            self.stdin_changed()
