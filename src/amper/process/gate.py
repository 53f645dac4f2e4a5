"""A program that is there, with its pid and its group, and does not run before its gate is opened.

So it never runs in front of a terminal that is not its own yet, and is never over before somebody holds
it. The trampoline reads a line from a pipe; if whoever holds the gate dies, it reads the end of the
file, and the program never runs.

A shell need not know descriptors above 9 (dash does not, and could not even close one), and a child
gets a number below 10 only if we have it ourselves. So the gate comes in the place of a stream that
is there twice, such as a terminal; or else under a low number, if one is free; or else bash waits.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from types import TracebackType
from typing import Final

from amper.process.descriptors import pipe
from amper.process.spawn import (
    NOT_EXECUTABLE,
    CannotStart,
    Program,
    ReportPipe,
    cannot_start,
    spawn,
)
from amper.process.trampoline import SHELL, through_shell

HIGHEST: Final = 9
"""The highest descriptor that every shell can name."""

KNOWING_SHELLS: Final = (b"/bin/bash", b"/usr/bin/bash", b"/usr/local/bin/bash")


class CannotHold(CannotStart):
    """It cannot be held back here; without that it might be started."""


class Gate:
    """What holds one program back. Closing it without opening it ends the program."""

    __slots__ = ("_write_end",)

    def __init__(self, write_end: int) -> None:
        self._write_end = write_end

    def open(self) -> None:
        """Let the program run."""
        # One that was killed meanwhile reads no more.
        with contextlib.suppress(BrokenPipeError):
            os.write(self._write_end, b"\n")
        self.close()

    def close(self) -> None:
        """Let it run no more, if it was not opened. It ends with 126 then."""
        if self._write_end >= 0:
            os.close(self._write_end)
            self._write_end = -1

    def __enter__(self) -> Gate:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


def spawn_held(
    program: Program, stdin: int, stdout: int, stderr: int, reports: ReportPipe
) -> tuple[int, Gate]:
    """Start `program` as `spawn` does, but held back; return its pid and its gate.

    Raises CannotStart: CannotHold where it is only that it cannot be held back.
    """
    if program.reason is not None:
        raise CannotStart(NOT_EXECUTABLE, program.reason)
    try:
        read_end, write_end = pipe()
    except OSError as error:
        raise cannot_start(error) from error
    gate = Gate(write_end)
    try:
        pid = _spawn(program, [stdin, stdout, stderr], read_end, reports)
    except BaseException:
        gate.close()
        raise
    finally:
        os.close(read_end)
    return pid, gate


def _spawn(program: Program, streams: list[int], gate: int, reports: ReportPipe) -> int:
    for place, twin in ((2, 1), (0, 1), (2, 0)):
        if streams[place] == streams[twin]:
            streams[place] = gate
            trampoline = through_shell(program, _step(place, str(twin)))
            return spawn(trampoline, streams[0], streams[1], streams[2], reports)
    try:
        low = fcntl.fcntl(gate, fcntl.F_DUPFD_CLOEXEC, 3)
    except OSError as error:
        raise cannot_start(error) from error
    try:
        shells = (SHELL,) if low <= HIGHEST else _knowing_shells()
        trampoline = through_shell(program, _step(low, "-"), shells=shells, pass_fds=(low,))
        return spawn(trampoline, streams[0], streams[1], streams[2], reports)
    finally:
        os.close(low)


def _step(gate: int, then: str) -> str:
    """Return the script that waits at the gate, and then puts in its place what belongs there."""
    return f'read -r amper_gate <&{gate} || exit {NOT_EXECUTABLE}; exec "$@" {gate}<&{then}'


def _knowing_shells() -> tuple[bytes, ...]:
    """Return the shells of this machine that know every descriptor."""
    shells = tuple(path for path in KNOWING_SHELLS if os.access(path, os.X_OK))
    if not shells:
        raise CannotHold(
            NOT_EXECUTABLE,
            "cannot hold the program back: its three streams differ, no descriptor below 10 is free, "
            "and there is no bash",
        )
    return shells
