"""One OS command: started, fed, drained and reaped. It tells its owner once that the leader ended.

1. Everything that can fail for want of descriptors fails before the fork, or has the reserve: a
   process that runs is always watched.
2. The group outlives the leader: `group` is there until `close`, or until nothing of it is left.
"""

from __future__ import annotations

import contextlib
import os
import signal
from typing import Protocol

from amper.flow.stream import BoundedStream
from amper.process.descriptors import pipe
from amper.process.gate import CannotHold, spawn_held
from amper.process.group import ProcessGroup, reap_leader_late
from amper.process.kernel import Kernel
from amper.process.poller import READABLE
from amper.process.pump import InputOwner, InputPump, LateOutput, OutputPump
from amper.process.reap import Exit, is_reaped_by_kernel, peek, reap, tells_exits
from amper.process.spawn import (
    DEVNULL,
    NOT_EXECUTABLE,
    PIPE,
    STDOUT,
    CannotStart,
    Program,
    cannot_start,
    spawn,
)
from amper.process.state import is_dying, is_stopped, stop_notice
from amper.process.terminals.pty import Pty
from amper.process.terminals.pty_pump import MasterInput, MasterPump


class HasFileno(Protocol):
    """Anything with a file descriptor, such as an open file."""

    def fileno(self) -> int:
        """Return the descriptor."""
        ...


Input = int | bytes | HasFileno
"""DEVNULL, PIPE, a descriptor, a file, or the bytes themselves."""

Output = BoundedStream | int | HasFileno
"""A stream to read into; DEVNULL, STDOUT, a descriptor or a file."""


class Owner(InputOwner, Protocol):
    """Whoever runs a command."""

    def leader_ended(self, exit: Exit) -> None:
        """The leader has ended; called once, on the loop."""
        ...


class Command:
    """A command that runs, or has run, in a process group of its own."""

    __slots__ = ("_kernel", "_late", "_owner", "_pidfd", "_pumps", "group", "pid", "pty", "stdin")

    def __init__(
        self,
        kernel: Kernel,
        program: Program,
        stdin: Input,
        stdout: Output,
        stderr: Output,
        owner: Owner,
        pty: Pty | None = None,
    ) -> None:
        """Start it. Raises CannotStart, and then nothing is left behind.

        With a `pty`, which is the command's from here on, that is its three streams: PIPE or bytes for
        `stdin` are typed there, and `stdout` is the stream of all that it shows.
        """
        self._kernel = kernel
        self._owner = owner
        self._pidfd = -1
        self._pumps: tuple[OutputPump, ...] = ()
        self._late: LateOutput | None = None
        self.pty = pty
        self.stdin: InputPump | None = None
        self.group: ProcessGroup | None = None
        childs: list[int] = []
        try:
            try:
                kernel.reserve.fill()
                if pty is None:
                    child_stdin = self._open_stdin(stdin, childs)
                    child_stdout = child_stderr = self._open_output(stdout, childs)
                    if isinstance(stderr, BoundedStream) or stderr != STDOUT:
                        child_stderr = self._open_output(stderr, childs)
                    self._launch(program, child_stdin, child_stdout, child_stderr, childs)
                else:
                    terminal = self._open_terminal(pty, stdin, stdout)
                    self._launch(pty.program(program), terminal, terminal, terminal, childs)
            finally:
                for fd in childs:
                    os.close(fd)
        except Exception as error:
            self.close()
            if isinstance(error, CannotStart):
                raise
            raise cannot_start(error) from error
        except BaseException:
            self.close()
            raise

    @property
    def is_output_open(self) -> bool:
        """Whether somebody may still write to the output of a command that is over."""
        late = self._late
        return late is not None and late.open_pipes > 0

    def finish(self) -> LateOutput | None:
        """Close the input and take what the outputs hold at this instant.

        What comes later is drained into what this returns: None if nobody holds the pipes any more.
        """
        if self.stdin is not None:
            self.stdin.close()
        late: LateOutput | None = None
        for pump in self._pumps:
            if not pump.finish():
                late = late or LateOutput()
                pump.drain_into(late)
        if late is not None and late.open_pipes:
            self._late = late
        else:
            # Whoever kills what the command has left may hold this for long.
            self._pumps = ()
        return self._late

    def stop_notice(self) -> bool | None:
        """Return what the leader's last stop notice says, as `state.stop_notice` does."""
        return None if self._pidfd < 0 else stop_notice(self._pidfd)

    def is_stopped(self) -> bool | None:
        """Return whether the leader is stopped; None if it is gone. Any thread may ask."""
        pidfd = self._pidfd
        if pidfd < 0:
            return None
        stopped = is_stopped(self.pid, pidfd)
        # It is given up before it is closed: as long as it is there, nobody else has its number.
        return stopped if self._pidfd == pidfd else None

    def is_dying(self) -> bool:
        """Return whether the leader runs only to die of a signal. Any thread may ask."""
        return is_dying(self.pid)

    def close(self) -> None:
        """Let go of all descriptors, whatever still runs."""
        for pump in self._pumps:
            pump.close()
        if self.pty is not None:
            # Without a descriptor for the rest there is no pump that has it.
            self.pty.close()
        if self.stdin is not None:
            self.stdin.close()
        if self._pidfd >= 0:
            self._unwatch()
        if self.group is not None:
            self.group.close()

    def _open_terminal(self, pty: Pty, stdin: Input, output: Output) -> int:
        """Return the child's side of its terminal."""
        assert isinstance(output, BoundedStream)
        pump = MasterPump(pty, output, self._kernel.poller)
        self._pumps = (pump,)
        if stdin != DEVNULL:
            self.stdin = pump.typing = MasterInput(pty, self._kernel.poller, self._owner)
            if isinstance(stdin, bytes):
                self.stdin.write(stdin)
                self.stdin.close_when_written()
        return pty.slave

    def _open_stdin(self, stdin: Input, childs: list[int]) -> int:
        """Return the child's standard input."""
        if stdin == DEVNULL:
            return self._kernel.reserve.null
        if isinstance(stdin, int) and stdin != PIPE:
            return stdin
        if not isinstance(stdin, int | bytes):
            return _fileno(stdin)
        read_end, write_end = pipe()
        childs.append(read_end)
        self.stdin = InputPump(write_end, self._kernel.poller, self._owner)
        if not isinstance(stdin, int):
            self.stdin.write(stdin)
            self.stdin.close_when_written()
        return read_end

    def _open_output(self, output: Output, childs: list[int]) -> int:
        """Return the child's end of a pipe into a stream, or what it writes to instead."""
        if isinstance(output, BoundedStream):
            read_end, write_end = pipe()
            childs.append(write_end)
            self._pumps = (*self._pumps, OutputPump(read_end, output, self._kernel.poller))
            return write_end
        if not isinstance(output, int):
            return _fileno(output)
        return self._kernel.reserve.null if output == DEVNULL else output

    def _launch(
        self, program: Program, stdin: int, stdout: int, stderr: int, childs: list[int]
    ) -> None:
        """Start the program with what is the child's, and watch it. Raises CannotStart, OSError."""
        reports = self._kernel.reports
        if is_reaped_by_kernel() and tells_exits():
            # One that is over at once would be gone before we hold it, and its exit code with it.
            with contextlib.suppress(CannotHold):
                self.pid, gate = spawn_held(program, stdin, stdout, stderr, reports)
                with gate:
                    self._watch(childs)
                    gate.open()
                return
        self.pid = spawn(program, stdin, stdout, stderr, reports)
        self._watch(childs)

    def _watch(self, childs: list[int]) -> None:
        """Watch the process that runs now. If that cannot be, it must not run on."""
        try:
            # Before anything that lets other threads run: one may reap all children of this process.
            self._pidfd = self._kernel.reserve.pidfd_open(self.pid)
            # Before its end is heard of: then what it had open has hung up, and need not be read.
            while childs:
                os.close(childs.pop())
            self._kernel.poller.add(self._pidfd, READABLE, self)
        except ProcessLookupError:
            # Somebody reaps all children of this process, and was faster than we could look.
            self._kernel.loop.call_soon(self._owner.leader_ended, Exit(None, None))
            return
        except OSError:
            if self._pidfd >= 0:
                os.close(self._pidfd)
                self._pidfd = -1
            os.kill(self.pid, signal.SIGKILL)
            with contextlib.suppress(ChildProcessError):
                os.waitpid(self.pid, 0)
            raise
        self.group = ProcessGroup(self.pid, self._pidfd, is_child=True, leads_session=True)
        self._kernel.scanner.leaders[self.pid] = str(self.pid)

    def _unwatch(self) -> None:
        kernel = self._kernel
        kernel.poller.remove(self._pidfd)
        kernel.scanner.leaders.pop(self.pid, None)
        self._pidfd = -1

    def ready(self, fd: int, events: int) -> None:
        """The leader has ended: reap it."""
        group = self.group
        assert group is not None
        exit = peek(self._pidfd) if reap_leader_late else reap(self.pid, self._pidfd)
        if exit is None:
            return
        self._unwatch()
        if not reap_leader_late:
            group.close_if_gone()
        # It is told once, and then let go: two that know each other would wait for the collector.
        owner = self._owner
        del self._owner
        owner.leader_ended(exit)


def _fileno(file: HasFileno) -> int:
    try:
        return file.fileno()
    except (OSError, ValueError) as error:
        # A file in memory has none, and one that was closed has none any more.
        raise CannotStart(NOT_EXECUTABLE, f"cannot use {file!r}: {error}") from error
