"""What is going on, on standard error: one line that changes on a terminal, else a line now and then."""

from __future__ import annotations

import sys
import time
from typing import Final, TextIO

SECONDS_BETWEEN_LINES: Final = 10.0


class Progress:
    """Shows the last thing that it was told."""

    def __init__(self, file: TextIO = sys.stderr) -> None:
        self._file = file
        self._is_terminal = file.isatty()
        self._last_line = time.monotonic()

    def show(self, text: str) -> None:
        """Tell what is being done now."""
        if self._is_terminal:
            print(f"\r\x1b[K{text}", end="", file=self._file, flush=True)
        elif time.monotonic() - self._last_line > SECONDS_BETWEEN_LINES:
            self._last_line = time.monotonic()
            print(text, file=self._file, flush=True)

    def clear(self) -> None:
        """Leave the line to somebody else."""
        if self._is_terminal:
            print("\r\x1b[K", end="", file=self._file, flush=True)
