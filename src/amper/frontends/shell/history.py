"""The lines that a person has typed, in a file that nobody else can read."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from prompt_toolkit.history import FileHistory, History, InMemoryHistory


def history_of(environment: Mapping[str, str]) -> History:
    """Return the person's history; one in memory if there is no file for it."""
    path = history_file(environment)
    if path is None:
        return InMemoryHistory()
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600))
    except OSError:
        # A prompt without a file for its history is better than none.
        return InMemoryHistory()
    return _Kept(path)


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


class _Kept(FileHistory):
    """Leaves out what is empty or begins with a blank, and does not mind a disk that is full."""

    def append_string(self, string: str) -> None:
        if string.strip() and not string[0].isspace():
            super().append_string(string)

    def store_string(self, string: str) -> None:
        try:
            super().store_string(string)
        except OSError:
            return  # It is still in memory, and no reason to lose the prompt.
