"""A terminal with a person at it: `amper` leads a session there, or a shell starts it."""

from __future__ import annotations

import contextlib
import fcntl
import os
import select
import struct
import subprocess
import termios
from collections.abc import Iterator, Mapping
from typing import Any, Final

from tests.end_to_end.command import AMPER, DEADLINE, end, environment

CTRL_C: Final = b"\x03"
CTRL_D: Final = b"\x04"
CTRL_Z: Final = b"\x1a"
CTRL_BACKSLASH: Final = b"\x1c"


class Console:
    """The person's side of a terminal."""

    def __init__(self, fd: int, process: subprocess.Popen[bytes]) -> None:
        self.process = process
        self._fd = fd
        self._seen = b""

    def type(self, keys: bytes) -> None:
        os.write(self._fd, keys)

    def until(self, text: bytes) -> bytes:
        """Read until `text` has come; return all that came since the last time."""
        while text not in self._seen:
            assert self._read(), f"{text!r} never came, but {self._seen!r}"
        before, found, self._seen = self._seen.partition(text)
        return before + found

    def number_after(self, word: bytes) -> int:
        """Read until a line has `word` and a number after it; return the number."""
        self.until(word + b" ")
        return int(self.until(b"\r\n"))

    def rest(self) -> bytes:
        """Read until nobody has the terminal open any more."""
        while self._read():
            pass
        seen, self._seen = self._seen, b""
        return seen

    def code(self) -> int:
        """Wait for the end; return the exit code, or minus the signal."""
        return self.process.wait(DEADLINE)

    def resize(self, columns: int) -> None:
        _resize(self._fd, columns)

    def hang_up(self) -> None:
        """Close the window, or lose the connection."""
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)

    @property
    def modes(self) -> list[Any]:
        return termios.tcgetattr(self._fd)

    @property
    def in_front(self) -> int:
        """The process group that has the terminal."""
        return os.tcgetpgrp(self._fd)

    def _read(self) -> bool:
        ready, _, _ = select.select([self._fd], [], [], DEADLINE)
        assert ready, f"nothing more came after {self._seen!r}"
        try:
            data = os.read(self._fd, 65536)
        except OSError:  # EIO: the other side is closed.
            return False
        self._seen += data
        return bool(data)


@contextlib.contextmanager
def console(
    *command: str, columns: int = 80, variables: Mapping[str, str] | None = None, **streams: int
) -> Iterator[Console]:
    """Run a command in front of a new terminal, which controls it.

    Those of its standard streams that `streams` does not name are the terminal.
    """
    ours, theirs = os.openpty()
    try:
        _resize(ours, columns)
        # The first terminal that the leader of a session opens is its own.
        opening = ["/bin/sh", "-c", ': <"$0"; exec "$@"', os.ttyname(theirs)]
        terminal: dict[str, Any] = dict.fromkeys(("stdin", "stdout", "stderr"), theirs)
        process = subprocess.Popen(
            [*opening, *command],
            **(terminal | streams),
            start_new_session=True,
            env=environment(**(variables or {})),
        )
    finally:
        os.close(theirs)
    with process:
        person = Console(ours, process)
        try:
            yield person
        finally:
            end(process)
            person.hang_up()


def amper_console(*arguments: str, **options: Any) -> contextlib.AbstractContextManager[Console]:
    """Run `amper` in front of a new terminal."""
    return console(*AMPER, *arguments, **options)


def _resize(fd: int, columns: int) -> None:
    fcntl.ioctl(fd, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
