"""How a command is run, checked before there is a job."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

from amper.manager.arguments import checked_seconds
from amper.process.command import HasFileno, Input
from amper.process.spawn import DEVNULL, PIPE, STDOUT, Program
from amper.process.terminals.terminal import Size

_CONSTANTS: Final = {PIPE: "PIPE", STDOUT: "STDOUT", DEVNULL: "DEVNULL"}


Descendants = Literal["leave", "wait", "kill"]


@dataclass(slots=True)
class CommandOptions:
    """How a command is run, checked."""

    program: Program
    stdin: Input = DEVNULL
    stdout: int | HasFileno = PIPE
    stderr: int | HasFileno = PIPE
    timeout: float | None = None
    descendants: Descendants = "leave"
    pty: Size | None = None

    def __post_init__(self) -> None:
        if self.stdin != DEVNULL:
            _check_file(self.stdin, "stdin", "PIPE, DEVNULL, bytes", bytes)
        if self.stdout != PIPE:
            _check_file(self.stdout, "stdout", "PIPE, DEVNULL")
        if self.stderr != PIPE:
            _check_file(self.stderr, "stderr", "PIPE, STDOUT, DEVNULL")
        if self.timeout is not None:
            self.timeout = checked_seconds(self.timeout, "timeout")
        if self.descendants not in ("leave", "wait", "kill"):
            raise ValueError('descendants must be "leave", "wait" or "kill"')
        if self.pty is not None and (self.stdout != PIPE or self.stderr not in (PIPE, STDOUT)):
            raise ValueError("what a job writes to a terminal of its own is kept: give it no file")
        if self.pty is not None and not (
            isinstance(self.stdin, bytes) or self.stdin in (PIPE, DEVNULL)
        ):
            raise ValueError(
                "what a job reads from a terminal of its own is typed: give it no file"
            )


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
