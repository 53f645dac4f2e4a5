"""What a text may change of the shell that it was typed into, although an sh of its own runs it.

It guesses too much rather than too little: the sh itself tells, behind the text, where it is and what
the variables that the text names have become. An sh that has ended before has told nothing.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from amper.frontends.shell.state import NAME, State

_LEAVES: Final = re.compile(r"\bexit\b")

_MOVES: Final = re.compile(r"\bcd\b")

_SHIFTS: Final = re.compile(r"\b(?:set|shift)\b")

_STARTS: Final = re.compile(r"(?<![<>&])&(?![&>])")

_SETS: Final = re.compile(r"=|\+\+|--|\b(?:export|for|getopts|read|readonly|select|unset)\b")

_SHS_OWN: Final = frozenset({
    "BASHPID", "EPOCHREALTIME", "EPOCHSECONDS", "EUID", "LINENO", "OLDPWD", "PPID", "PWD", "RANDOM",
    "SECONDS", "SHLVL", "SRANDOM", "UID", "_",
})  # fmt: skip
"""Each sh has values of its own for these, and some cannot be set."""


@dataclass(frozen=True, slots=True)
class Changes:
    """What is possible; all of it may be."""

    may_leave: bool
    may_move: bool
    may_shift: bool
    """Whether it may set `$1`, `$2`, ..."""
    may_start: bool
    """Whether it may have jobs of its own, the last of which is `$!`."""
    names: tuple[str, ...]
    """The variables that may be set or unset."""

    @classmethod
    def by(cls, text: str, functions: Mapping[str, str]) -> Changes:
        """Return what a text may change, which may call functions."""
        text = "\n".join(called(text, functions))
        found = set(NAME.findall(text)) - _SHS_OWN if _SETS.search(text) else set()
        if "getopts" in found:
            found |= {"OPTARG", "OPTIND"}
        return cls(
            _LEAVES.search(text) is not None,
            _MOVES.search(text) is not None,
            _SHIFTS.search(text) is not None,
            _STARTS.search(text) is not None,
            tuple(sorted(found)),
        )

    @property
    def are_possible(self) -> bool:
        """Whether anything may change."""
        may_move = self.may_move or self.may_shift
        return self.may_leave or may_move or self.may_start or bool(self.names)

    def telling(self, file: str) -> str:
        """Return what stands behind the text: an sh that comes to it tells `file` what has changed."""
        values = " ".join(f'"${{{name}+=${name}}}"' for name in self.names)
        lines = [
            "",
            # Whoever follows what their text does, with `set -x`, has seen all of it.
            "{ amper_code=$?; set +ux; } 2>/dev/null",
            '{ printf \'%s\\0\' "$PWD" "$OLDPWD" "$!" "$#" "$@"',
            f"printf '%s\\0' {values}\nexport -p" if values else ":",
            f"}} >{file}",
            'exit "$amper_code"',
        ]
        return "\n".join(lines)

    def take(self, told: str, state: State) -> bool:
        """Let the shell be what was told; False if nothing was, and the text has not come to its end."""
        here, before, last_job, count, *rest = [*told.split("\0"), "", "", ""]
        words = int(count) if count else 0
        if not count or len(rest) < words + len(self.names) + 4:
            return False
        state.positional = (state.positional[0], *rest[:words])
        values = rest[words : words + len(self.names)]
        exported = rest[words + len(self.names)]
        # Where the directory is gone, an sh that has gone nowhere else knows no name for it.
        if here:
            state.move(here, before)
        if last_job:
            state.last_job = int(last_job)
        for name, value in zip(self.names, values, strict=True):
            _set(state, name, value, exported)
        return True


def _set(state: State, name: str, told: str, exported: str) -> None:
    """Let a variable be what was told of it: `=` and its value, or nothing if it is not set."""
    if told:
        if (value := told[1:]) != state.get(name):
            state.assign(name, value)
        if re.search(rf"^(?:export|declare -\w*x\w*) {name}(?:=|$)", exported, re.MULTILINE):
            state.export(name)
    elif state.get(name) is not None:
        state.unset(name)


def called(text: str, functions: Mapping[str, str]) -> list[str]:
    """Return the text and the functions that it may call, and those that they may."""
    unused = dict(functions)
    at = 0
    pieces = [text]
    while at < len(pieces):
        names = [name for name in unused if name in pieces[at]]
        pieces += [unused.pop(name) for name in names]
        at += 1
    return pieces
