"""What the manager's callers may pass: each check returns the value in its plain form, or raises."""

from __future__ import annotations

import math
import os
import re
import shlex
import signal
import sys
from collections.abc import Iterable
from typing import Literal

from amper.job.job import Facts
from amper.process.spawn import DEVNULL, PIPE, CommandLine
from amper.process.terminals.pty import DEFAULT_SIZE
from amper.process.terminals.terminal import Size
from amper.values import Containment, JobStatus

LONGEST_DELAY = 1e9
"""Thirty years: no event loop can count much further, and nobody will see the difference."""

LARGEST_PID = 2**31 - 1
"""The kernel takes no larger number."""

_to_be_quoted = re.compile(r"[^\w@%+=:,./ -]", re.ASCII).search
"""As `shlex` sees it, but for a space."""


def checked_facts(command: str, name: str | None, tags: Iterable[str]) -> Facts | None:
    """Check what a job is called; None if that is all there is to say about it."""
    if not isinstance(command, str):
        raise TypeError(f"a command is a str, not {type(command).__name__}")
    if name is not None and not isinstance(name, str):
        raise TypeError(f"a name is a str, not {type(name).__name__}")
    if name is None and not tags:
        return None
    if isinstance(tags, str):
        raise TypeError("tags are several: give a tuple of str, not one str")
    all_tags = tuple(tags)
    if not all(isinstance(tag, str) for tag in all_tags):
        raise TypeError("a tag is a str")
    return Facts(name, all_tags)


def checked_command(command: CommandLine) -> tuple[CommandLine, str]:
    """Return a command as it is executed, and as people read it."""
    if isinstance(command, str):
        return command, command
    if not isinstance(command, list):
        _check_sequence(command)
    words = list(command)
    if not words:
        raise ValueError("a command needs at least the name of a program")
    texts = [word if isinstance(word, str) else _decoded(word) for word in words]
    text = " ".join(texts)
    # Most words need no quotes: that is seen by one look at all of them.
    if _to_be_quoted(text) or text.count(" ") >= len(texts) or "" in texts:
        text = shlex.join(texts)
    return words, text


def _decoded(word: bytes | os.PathLike[str]) -> str:
    try:
        return os.fsdecode(word)
    except TypeError as error:
        what = type(word).__name__
        raise TypeError(f"an argument of a command is text, bytes or a path, not {what}") from error


def _check_sequence(command: object) -> None:
    if isinstance(command, bytes | bytearray | memoryview):
        raise TypeError("a command is a str for the shell or a sequence of arguments, not bytes")
    if not isinstance(command, Iterable):
        raise TypeError(f"a command is a str or a sequence of str, not {type(command).__name__}")


def checked_title(title: str) -> str:
    """Return what people read instead of a command."""
    if not isinstance(title, str):
        raise TypeError(f"a title is a str, not {type(title).__name__}")
    return title


def checked_words(text: str | None, name: str) -> str | None:
    """Return what somebody says of an end: it is for people, and goes into JSON."""
    if text is not None and not isinstance(text, str):
        raise TypeError(f"{name} is a str, not {type(text).__name__}")
    return text


def absolute(cwd: str | os.PathLike[str] | None) -> str | None:
    """Return where a command runs; None if somebody has deleted the directory that we are in."""
    try:
        # Thousands of jobs run in few directories.
        return sys.intern(os.getcwd() if cwd is None else os.path.abspath(os.fsdecode(cwd)))
    except FileNotFoundError:
        return None


def check_process(pid: int, pgid: int) -> None:
    """Refuse numbers that are no process or group of an embedder's."""
    check_pgid(pgid)
    if isinstance(pid, bool) or not isinstance(pid, int):
        raise TypeError(f"a pid is an int, not {type(pid).__name__}")
    if not 0 < pid <= LARGEST_PID:
        raise ValueError(f"{pid} is no process")


def check_pgid(pgid: int) -> None:
    """Refuse what `kill` would take for something else: every process, or our own group."""
    if isinstance(pgid, bool) or not isinstance(pgid, int):
        raise TypeError(f"a process group is an int, not {type(pgid).__name__}")
    if not 1 < pgid <= LARGEST_PID:
        raise ValueError(f"{pgid} is no process group of a job")


def checked_signal(number: int) -> int:
    """Return the number of a signal; 0 only asks whether somebody is there."""
    if not isinstance(number, int):
        raise TypeError(f"a signal is an int, not {type(number).__name__}")
    if number != 0 and number not in signal.valid_signals():
        raise ValueError(f"{int(number)} is no signal")
    return int(number)


def checked_containment(containment: Containment) -> Containment:
    """Return a level of containment. Raises ValueError for what is none."""
    if containment not in ("group", "tree"):
        raise ValueError(f'containment must be "group" or "tree", not {containment!r}')
    return containment


def checked_bound(bound: int | None, name: str, least: int) -> int | None:
    """Return how many there may be; None is no bound."""
    if bound is None:
        return None
    if isinstance(bound, bool) or not isinstance(bound, int):
        raise TypeError(f"{name} is an int, or None for no bound, not {type(bound).__name__}")
    if bound < least:
        raise ValueError(f"{name} must be at least {least}, or None for no bound")
    return bound


def checked_seconds(seconds: float, name: str) -> float:
    """Return a duration. Raises ValueError for a negative one, and TypeError for what is no number."""
    if not _number(seconds, name) >= 0:
        raise ValueError(f"{name} must not be negative")
    return min(float(seconds), LONGEST_DELAY)


def _number(seconds: float, name: str) -> float:
    if not hasattr(seconds, "__float__") and not hasattr(seconds, "__index__"):
        raise TypeError(f"{name} is a number of seconds, not {type(seconds).__name__}")
    return seconds


def checked_timeout(timeout: float | None) -> float | None:
    """Return the longest time to wait; one that is over already is 0."""
    if timeout is None:
        return None
    if math.isnan(_number(timeout, "timeout")):
        raise ValueError("timeout is not a number")
    return min(max(float(timeout), 0.0), LONGEST_DELAY)


def checked_status(status: JobStatus | str | None) -> JobStatus | None:
    """Return a status to look for; None is any. Raises ValueError for what is none."""
    if status is None:
        return None
    try:
        return JobStatus(status)
    except ValueError:
        *others, last = JobStatus
        known = f"{', '.join(others)} or {last}"
        raise ValueError(f"{status!r} is no status of a job: it is {known}") from None


def checked_offset(since: int) -> int:
    """Return the number of a byte or an event."""
    if since < 0:
        raise ValueError("since must not be negative")
    return since


def checked_pty(pty: Literal[True] | tuple[int, int], foreground: bool | None) -> Size:
    """Return the size of the terminal that a job gets of its own."""
    if foreground is not None:
        raise ValueError("a job has our terminal (foreground) or one of its own (pty), not both")
    if pty is True:
        return DEFAULT_SIZE
    try:
        columns, rows = pty
    except (TypeError, ValueError):
        raise TypeError(f"pty is True or (columns, rows), not {pty!r}") from None
    return checked_size(columns, rows)


def checked_size(columns: int, rows: int) -> Size:
    """Return the size of a terminal, in characters."""
    for number in (columns, rows):
        if isinstance(number, bool) or not isinstance(number, int):
            raise TypeError(f"the size of a terminal is two ints, not {type(number).__name__}")
        if not 0 < number <= 0xFFFF:
            raise ValueError(f"a terminal cannot have {number} columns or rows")
    return Size(columns, rows)


def usual_streams(foreground: bool | None, pty: Size | None) -> tuple[int, int, int]:
    """Return what a command's standard streams are if nothing is said of them."""
    if foreground:
        return 0, 1, 2
    if foreground is False:
        return 0, PIPE, PIPE
    return DEVNULL if pty is None else PIPE, PIPE, PIPE
