"""A person at a prompt: of `amper shell`, or of another shell that ours is held against."""

from __future__ import annotations

import contextlib
import re
from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import Final

from tests.end_to_end.console import CTRL_Z, Console, amper_console, console
from tests.handshakes import state_of
from tests.shells import SHELLS

READY: Final = b"\x1b[?2004h"
"""Our line editor begins to read: it wants to be told what is pasted."""

RUNS: Final = b"\x1b[?2004l"
"""Our line editor has read a line."""

THEIRS: Final = b"PS>"
"""What the others print before they read a line; no line of a test holds it."""

COMMANDS: Final = {
    "bash": ("bash", "--norc", "--noprofile", "--noediting", "-i"),
    "dash": ("dash", "-i"),
}


class Prompt(ABC):
    """A person at a prompt."""

    def __init__(self, person: Console) -> None:
        self.person = person
        self.end()

    @abstractmethod
    def begin(self, line: str) -> None:
        """Type a line and see it begin to run."""

    @abstractmethod
    def end(self) -> str:
        """Return what was printed until the next prompt."""

    def says(self, line: str) -> str:
        self.begin(line)
        return self.end()

    def stop(self) -> str:
        """Press Ctrl-Z when a job runs in front; return what was printed until the next prompt."""
        # Before the job has the terminal the key is nobody's, and what continues it takes it back.
        while (leader := self.person.in_front) == self.person.process.pid or _stands(leader):
            pass
        self.person.type(CTRL_Z)
        return self.end()


class OurPrompt(Prompt):
    def begin(self, line: str) -> None:
        self.person.type(line.encode() + b"\r")
        self.person.until(RUNS)

    def end(self) -> str:
        said = self.person.until(READY).removesuffix(READY)
        # What lets the prompt begin a line.
        said = re.sub(rb"\x1b\[7m%\x1b\[0m +\r\x1b\[K", b"", said)
        return _text(said)


class TheirPrompt(Prompt):
    """They edit no lines: the terminal shows what is typed."""

    def begin(self, line: str) -> None:
        self.person.type(line.encode() + b"\n")
        self.person.until(line.encode() + b"\r\n")

    def end(self) -> str:
        return _text(self.person.until(THEIRS).removesuffix(THEIRS))


@contextlib.contextmanager
def prompt(*arguments: str, **variables: str) -> Iterator[OurPrompt]:
    variables = {"AMPER_HISTFILE": "", "AMPER_PS1": "PS>"} | variables
    with amper_console("shell", *arguments, variables=variables) as person:
        yield OurPrompt(person)


@contextlib.contextmanager
def prompt_of(shell: str) -> Iterator[Prompt]:
    """Give the prompt of a shell by name: one of SHELLS, or amper's."""
    if shell not in SHELLS:
        with prompt() as ours:
            yield ours
        return
    with console(*COMMANDS[shell], variables={"PS1": THEIRS.decode(), "ENV": ""}) as person:
        yield TheirPrompt(person)


def _stands(pid: int) -> bool:
    """Return whether a process does not run: not yet, or not any more."""
    return state_of(pid) in ("T", "Z", "X")


def _text(said: bytes) -> str:
    return said.decode().replace("\r\n", "\n")
