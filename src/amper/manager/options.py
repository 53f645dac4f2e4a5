"""How a command is run, checked before there is a job."""

from __future__ import annotations

from typing import Final, Literal

from amper.manager.arguments import checked_seconds
from amper.process.command import HasFileno, Input
from amper.process.spawn import DEVNULL, PIPE, STDOUT, Program
from amper.process.terminals.terminal import Size

_CONSTANTS: Final = {PIPE: "PIPE", STDOUT: "STDOUT", DEVNULL: "DEVNULL"}


Descendants = Literal["leave", "wait", "kill"]


class CommandOptions:
    """How a command is run, checked."""

    __slots__ = ("descendants", "program", "pty", "stderr", "stdin", "stdout", "timeout")

    def __init__(
        self,
        program: Program,
        stdin: Input,
        stdout: int | HasFileno,
        stderr: int | HasFileno,
        timeout: float | None,
        descendants: Descendants,
        pty: Size | None,
    ) -> None:
        """Raise TypeError or ValueError for what is of no use."""
        if stdin != DEVNULL:
            _check_file(stdin, "stdin", "PIPE, DEVNULL, bytes", bytes)
        if stdout != PIPE:
            _check_file(stdout, "stdout", "PIPE, DEVNULL")
        if stderr != PIPE:
            _check_file(stderr, "stderr", "PIPE, STDOUT, DEVNULL")
        if descendants not in ("leave", "wait", "kill"):
            raise ValueError('descendants must be "leave", "wait" or "kill"')
        if pty is not None:
            _check_terminal(stdin, stdout, stderr)
        self.program = program
        self.stdin = stdin
        self.stdout = stdout
        self.stderr = stderr
        self.timeout = None if timeout is None else checked_seconds(timeout, "timeout")
        self.descendants = descendants
        self.pty = pty


def _check_terminal(stdin: Input, stdout: int | HasFileno, stderr: int | HasFileno) -> None:
    """Raise ValueError for files beside a terminal of a job's own."""
    if stdout != PIPE or stderr not in (PIPE, STDOUT):
        raise ValueError("what a job writes to a terminal of its own is kept: give it no file")
    if not (isinstance(stdin, bytes) or stdin in (PIPE, DEVNULL)):
        raise ValueError("what a job reads from a terminal of its own is typed: give it no file")


def _check_file(file: object, name: str, others: str, data: type | tuple[()] = ()) -> None:
    """Raise TypeError or ValueError for what cannot be a standard stream of a command."""
    if isinstance(file, data) or hasattr(file, "fileno"):
        return
    may_be = f"{others} or an open file"
    if isinstance(file, bool) or not isinstance(file, int):
        raise TypeError(f"{name} is {may_be}, not {type(file).__name__}")
    constant = _CONSTANTS.get(file, str(file))
    if file < 0 and constant not in others:
        raise ValueError(f"{name} cannot be {constant}: it is {may_be}")
