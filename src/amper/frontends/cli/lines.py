"""From bytes, as they come, to lines."""

from __future__ import annotations

from typing import Final

LONGEST_LINE: Final = 64 * 1024
"""A longer line comes in pieces: nobody may fill our memory by writing no newline."""


class Lines:
    """Cuts bytes into lines with their newlines; put together, they are the bytes again."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> list[bytes]:
        """Take more bytes; return the lines that are whole now."""
        *lines, rest = (self._rest + data).split(b"\n")
        whole = [line + b"\n" for line in lines]
        if len(rest) > LONGEST_LINE:
            whole.append(rest)
            rest = b""
        self._rest = rest
        return whole

    def end(self) -> list[bytes]:
        """Return what was begun and has no newline."""
        rest, self._rest = self._rest, b""
        return [rest] if rest else []
