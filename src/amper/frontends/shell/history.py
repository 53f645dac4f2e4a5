"""The lines that a person has typed, in a file that nobody else can read."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Mapping
from itertools import dropwhile, groupby
from pathlib import Path
from typing import Final

from prompt_toolkit.history import FileHistory, History, InMemoryHistory

MOST_READ: Final = 1024 * 1024
"""Bytes of the file, its newest: nobody presses the arrow that often, and everybody waits for it."""


def history_of(environment: Mapping[str, str]) -> tuple[History, str]:
    """Return the person's history, and what there is to say of it.

    It is one in memory if there is no file for it: such a prompt is better than none.
    """
    path = history_file(environment)
    if path is None:
        return InMemoryHistory(), ""
    try:
        if not path.parent.exists():
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        os.close(_opened(path))
    except OSError as error:
        name = "".join(c if c.isprintable() else "?" for c in str(path))
        return InMemoryHistory(), f"amper: no history is kept: {name}: {error.strerror}\n"
    return _Kept(path), ""


def history_file(environment: Mapping[str, str]) -> Path | None:
    """Return where the history is kept; None if it is not."""
    named = environment.get("AMPER_HISTFILE")
    if named is not None:
        return Path(named) if named else None
    state = environment.get("XDG_STATE_HOME", "")
    if not state.startswith("/"):
        # The specification of these directories wants a relative one to be ignored.
        home = environment.get("HOME", "")
        if not home.startswith("/"):
            return None
        state = f"{home}/.local/state"
    return Path(state) / "amper" / "history"


def _opened(path: Path) -> int:
    """Return the file, open for reading, and for writing at its end; there is one then.

    Raises OSError also for what is no file: a pipe or a device may never come to an end.
    """
    # Opening a pipe would wait for its other end, and opening a terminal could make it ours.
    flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY
    fd = os.open(path, flags, 0o600)
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        raise OSError(0, "this is no regular file")
    return fd


class _Kept(FileHistory):
    """Leaves out what is empty or begins with a blank, and does not mind a disk that is full."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self._path = path

    def append_string(self, string: str) -> None:
        if string.strip() and not string[0].isspace():
            super().append_string(string)

    def load_history_strings(self) -> Iterable[str]:
        try:
            with open(_opened(self._path), "rb") as file:
                left_out = max(os.fstat(file.fileno()).st_size - MOST_READ, 0)
                file.seek(left_out)
                lines = file.read(MOST_READ).decode("utf-8", "replace").split("\n")
        except OSError:
            return []  # It is gone since it was looked at; what is typed now is kept in memory.
        # Where the older part is left out it may begin in the middle of a command.
        whole = dropwhile(lambda line: line.startswith("+"), lines[1:]) if left_out else lines
        return reversed(_commands(whole))

    def store_string(self, string: str) -> None:
        try:
            super().store_string(string)
        except OSError:
            return  # It is still in memory, and no reason to lose the prompt.


def _commands(lines: Iterable[str]) -> list[str]:
    """Return the commands of a file: each of their lines has a `+` before it, and others stand between."""
    groups = groupby(lines, lambda line: line.startswith("+"))
    return ["\n".join(line[1:] for line in group) for is_command, group in groups if is_command]
