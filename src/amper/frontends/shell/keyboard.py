"""The keys for the line editor, and none of those that are for whatever runs next."""

from __future__ import annotations

from collections.abc import Callable
from typing import TextIO

from prompt_toolkit.input.vt100 import Vt100Input
from prompt_toolkit.key_binding import KeyPress

MAY_BE_LAST = "\r\n\x03\x04"
"""With these a line may be over."""

MOST_READ = 1024
"""Characters, before others have a turn."""


class Keyboard(Vt100Input):
    """Reads no further than to the end of the line, since the rest may be for the command on it."""

    def __init__(self, stdin: TextIO) -> None:
        super().__init__(stdin)
        self.is_line_over: Callable[[], bool] = lambda: False
        """Whether the line was handed over, and the editor is about to let go of the terminal."""

    def read_keys(self) -> list[KeyPress]:
        """Return the keys that were pressed."""
        if self.is_line_over():
            return []
        for _ in range(MOST_READ):
            # What was read from a terminal cannot be put back, and nobody can look at what is next.
            character = self.stdin_reader.read(1)
            self.vt100_parser.feed(character)
            if not character or character in MAY_BE_LAST:
                break
        keys, self._buffer = self._buffer, []
        return keys
