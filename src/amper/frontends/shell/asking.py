"""What only `/bin/sh` can tell: what words expand to, what an assignment assigns, what is wrong.

It is asked by a manager of its own, so that the numbers of the person's jobs do not jump. But what
runs commands to know it is a command in front like any other: they may read, and ask the person.
"""

from __future__ import annotations

import os
import re
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

from amper.frontends.shell.grammar import ASSIGNMENT
from amper.frontends.shell.long_text import SH, fits, sh_command
from amper.frontends.shell.state import State
from amper.manager import JobManager
from amper.values import ExecResult

AskInFront = Callable[[str, str], Awaitable[ExecResult]]
"""Runs a script, which is for what the second text says, and returns what it printed."""

_LITERAL: Final = re.compile(r"[A-Za-z0-9_%+,./:@=-]+")
"""A word that expands to itself."""

_RUNS: Final = re.compile(r"\$\(|`")
"""What words or assignments have in them that run commands."""

_AT_END: Final = re.compile(rb"end of file|EOF|nterminated|Missing '}'")
"""What dash, bash and busybox say of a text that goes on."""


class CannotExpand(Exception):
    """sh has said what is wrong, and with which code."""

    def __init__(self, result: ExecResult) -> None:
        super().__init__(result.text_err())
        self.result = result


class Sh:
    """Asks sh as the commands of a shell would be run: same directory, same variables."""

    def __init__(self, state: State, in_front: AskInFront) -> None:
        self._state = state
        self._in_front = in_front
        self._jobs = JobManager()
        self._jobs.set_persist_output_files(False)

    async def expand(self, words: Sequence[str]) -> list[str]:
        """Return what the words of a command expand to. Raises CannotExpand."""
        if all(_LITERAL.fullmatch(word) for word in words):
            return list(words)
        return _split(await self._ask(_printing(words), " ".join(words)))

    async def declared(self, words: Sequence[str]) -> list[str]:
        """Return what the words of an `export` expand to, which assigns what looks like it."""
        questions = []
        for word in words:
            if (assignment := ASSIGNMENT.match(word)) is None:
                questions.append(_printing([word]))
            else:
                name, value = assignment[1], word[assignment.end() :]
                questions.append(f"amper_word={value}\nprintf '{name}=%s\\0' \"$amper_word\"")
        return _split(await self._ask("\n".join(questions), " ".join(words))) if words else []

    async def assigned(self, names: Sequence[str], text: str) -> tuple[list[str], ExecResult]:
        """Return what assignments set the variables to, and their code. Raises CannotExpand."""
        if not names:
            return [], ExecResult.success()
        values = " ".join(f'"${name}"' for name in names)
        said = await self._ask(
            f"{text}\namper_code=$?\nprintf '%s\\0' {values}; exit \"$amper_code\"",
            text,
            may_fail=True,
        )
        found = _split(said)
        if len(found) != len(names):
            raise CannotExpand(said)
        return found, said

    async def complaint(self, text: str) -> ExecResult | None:
        """Return what sh has to say about a text's syntax; None if nothing is wrong with it."""
        # Of no matter where: what is wrong must be told also where the directory is gone.
        if fits(text):
            result = await self._run(["-n"], text, directory="/", LC_ALL="C")
        else:
            # It is to be read and not run, and so no sh can put it together.
            env = self._state.exported | {"LC_ALL": "C"}
            result = await self._jobs.run([SH, "-n"], stdin=os.fsencode(text), cwd="/", env=env)
        return None if result.ok else result

    async def aclose(self) -> None:
        """End what was asked last."""
        await self._jobs.aclose(grace_period=0)

    async def _ask(self, question: str, text: str, *, may_fail: bool = False) -> ExecResult:
        if _RUNS.search(text):
            result = await self._in_front(question, text)
        else:
            script = self._state.prepared(question, question)
            result = await self._run([], script, directory=self._state.place)
        if not (result.ok or may_fail):
            raise CannotExpand(result)
        return result

    async def _run(
        self, options: Sequence[str], text: str, *, directory: str, **variables: str
    ) -> ExecResult:
        state = self._state
        return await self._jobs.run(
            sh_command(options, text, state.positional),
            cwd=directory,
            env=state.exported | variables,
        )


def _printing(words: Sequence[str]) -> str:
    return f"for amper_word in {' '.join(words)}\ndo printf '%s\\0' \"$amper_word\"\ndone"


def ends_too_early(complaint: ExecResult) -> bool:
    """Return whether sh misses the rest of a text, and nothing else."""
    return _AT_END.search(complaint.err) is not None


def _split(said: ExecResult) -> list[str]:
    return [os.fsdecode(word) for word in said.out.split(b"\0")[:-1]]
