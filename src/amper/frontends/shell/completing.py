"""What Tab offers: jobs, variables, commands and paths. It guesses; nothing is run for it."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from typing import Final

from prompt_toolkit.completion import CompleteEvent, Completer, Completion
from prompt_toolkit.document import Document

from amper.builtins import BUILTINS
from amper.frontends.shell.state import State
from amper.frontends.shell.verbs import OWN_VERBS
from amper.job.table import JobTable

_WORD: Final = re.compile(r"(?:[^\s;&|<>()\\\"']|\\.)*\\?\Z")

_BEFORE_COMMAND: Final = re.compile(
    r"(?:\A|[;&|(\n]|(?:^|\s)(?:!|do|then|else|if|while|until|\{))\s*\Z"
)

_FOR_THE_LIVING: Final = re.compile(r"(?:\A|[;&|\n])\s*(?:!\s+)?(?:bg|fg|kill|stop)\s[^;&|\n]*\Z")
"""Behind these a job that is over is of no use."""

_SPECIAL: Final = re.compile(r"([\s\\\"'`$&|;<>()*?\[\]#~!{}])")

_MOST: Final = 1000
"""Nobody reads more."""


class ShellCompleter(Completer):
    """Completes the word before the cursor."""

    def __init__(self, state: State, table: JobTable) -> None:
        self._state = state
        self._table = table

    def get_completions(self, document: Document, event: CompleteEvent) -> Iterable[Completion]:
        before = document.text_before_cursor
        found = _WORD.search(before)
        word = "" if found is None else found[0]
        rest = before[: len(before) - len(word)]
        for number, text in enumerate(self._candidates(rest, word)):
            if number == _MOST:
                return
            yield Completion(text, start_position=-len(word), display=_display(text))

    def _candidates(self, before: str, word: str) -> Iterator[str]:
        if word.startswith("%"):
            yield from self._jobs(before, word)
        elif word.startswith("$"):
            yield from self._variables(word)
        elif "/" not in word and not word.startswith("~") and _BEFORE_COMMAND.search(before):
            yield from self._commands(word)
        else:
            yield from self._paths(word)

    def _jobs(self, before: str, word: str) -> Iterator[str]:
        jobs = self._table.jobs()
        if _FOR_THE_LIVING.search(before):
            jobs = [job for job in jobs if not job.status.is_final]
        specs = [f"%{job.id}" for job in jobs]
        names = [f"%{job.command.split(maxsplit=1)[0]}" for job in jobs if job.command.strip()]
        # A name that several jobs have means none of them.
        specs += sorted(name for name in set(names) if names.count(name) == 1)
        yield from (spec for spec in specs if spec.startswith(word))

    def _variables(self, word: str) -> Iterator[str]:
        names = {*self._state.exported, *self._state.plain}
        yield from sorted(f"${name}" for name in names if f"${name}".startswith(word))

    def _commands(self, word: str) -> Iterator[str]:
        names = {*BUILTINS, *OWN_VERBS, *self._state.functions}
        for directory in (self._state.get("PATH") or "").split(":"):
            names.update(
                name for name, _ in _entries(os.path.join(self._state.directory, directory))
            )
        yield from sorted(
            _escaped(name) for name in names if word and name.startswith(_plain(word))
        )

    def _paths(self, word: str) -> Iterator[str]:
        folder, slash, start = _plain(word).rpartition("/")
        written = word.rpartition("/")[0] + slash
        place = os.path.join(self._state.directory, self._without_tilde(folder) or slash)
        for name, is_directory in sorted(_entries(place)):
            if name.startswith(start) and (start or not name.startswith(".")):
                yield f"{written}{_escaped(name)}{'/' if is_directory else ''}"

    def _without_tilde(self, folder: str) -> str:
        home = self._state.get("HOME")
        if folder == "~" or folder.startswith("~/"):
            return (home or "~") + folder[1:]
        return os.path.expanduser(folder) if folder.startswith("~") else folder


def _entries(directory: str) -> Iterator[tuple[str, bool]]:
    try:
        with os.scandir(directory or ".") as found:
            for entry in found:
                yield entry.name, entry.is_dir()
    except (OSError, ValueError):
        return  # What cannot be read, or cannot be a name (NUL), has nothing to offer.


def _plain(word: str) -> str:
    return re.sub(r"\\(.)", r"\1", word)


def _escaped(name: str) -> str:
    return _SPECIAL.sub(r"\\\1", name)


def _display(text: str) -> str:
    """Return what the person sees in the list: the last part of a path."""
    return text.rstrip("/").rpartition("/")[2] + ("/" if text.endswith("/") else "")
