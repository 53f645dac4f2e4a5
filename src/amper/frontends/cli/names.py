"""What people call the jobs of a run."""

from __future__ import annotations

import itertools
import os
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from typing import Final

Command = str | list[str]
"""A line for the shell, or a program and its arguments."""

LONGEST_NAME: Final = 20


def distinct_names(commands: Sequence[Command]) -> list[str]:
    """Return a short name for each command: its program's, numbered where there are several."""
    names = [_program(command) for command in commands]
    count = Counter(names)
    taken = {name for name in names if count[name] == 1}
    numbers: defaultdict[str, Iterator[int]] = defaultdict(lambda: itertools.count(1))
    distinct = []
    for name in names:
        if name not in taken:
            candidates = (f"{name}#{number}" for number in numbers[name])
            name = next(candidate for candidate in candidates if candidate not in taken)
        distinct.append(name)
    return distinct


def printable(text: str) -> str:
    """Return `text` on one line and without anything that a terminal would obey."""
    valid = text.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
    return "".join(character if character.isprintable() else " " for character in valid)


def _program(command: Command) -> str:
    words = command.split() if isinstance(command, str) else command
    # A shell command may begin with settings for its environment, or give the shell's place to a program.
    word = next((word for word in words if "=" not in word and word != "exec"), "")
    name = printable(os.path.basename(word.strip("'\"();{}"))).strip()
    if len(name) > LONGEST_NAME:
        name = f"{name[: LONGEST_NAME - 1]}…"
    return name or "sh"
