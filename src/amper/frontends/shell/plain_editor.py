"""Reads commands from a terminal that knows no escape sequences: what there is of editing is its own."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Mapping
from typing import Final

from amper.frontends.shell.editor import CONTINUATION, CtrlC, CtrlD, prompt_text
from amper.frontends.shell.grammar import is_complete
from amper.frontends.shell.state import State

_MOST_READ: Final = 4096
"""A terminal holds no longer line."""


class PlainEditor:
    """Reads commands line by line, as the terminal gives them. There is no history and no Tab."""

    def __init__(self, state: State) -> None:
        self._state = state

    async def read(self) -> str:
        """Return the next command. Raises CtrlD, CtrlC for the end of input within a command, and
        OSError if the terminal is gone.
        """
        text = await self._line("".join(part[1] for part in prompt_text(self._state)))
        while not is_complete(text):
            text = f"{text}\n{await self.read_more()}"
        return text

    async def read_more(self) -> str:
        """Return another line of a command that was not complete after all."""
        try:
            return await self._line(CONTINUATION)
        except CtrlD:
            raise CtrlC from None

    def close(self) -> None:
        """The terminal is as it was."""

    async def _line(self, prompt: str) -> str:
        _show(prompt)
        line = b""
        try:
            while not line.endswith(b"\n"):
                await _until_there_is_input()
                data = os.read(0, _MOST_READ)
                if not data:
                    # A terminal that is gone is at its end, too, but nothing can be shown there.
                    _show("\n")
                    raise CtrlC if line else CtrlD
                line += data
        except asyncio.CancelledError:
            # Of a terminal that is gone whoever has cancelled us knows.
            with contextlib.suppress(OSError):
                _show("\n")
            raise
        return os.fsdecode(line.removesuffix(b"\n"))


def has_screen(environment: Mapping[str, str]) -> bool:
    """Return whether the cursor can be moved."""
    return environment.get("TERM", "") not in ("", "dumb", "unknown")


async def _until_there_is_input() -> None:
    loop = asyncio.get_running_loop()
    is_there = asyncio.Event()
    loop.add_reader(0, is_there.set)
    try:
        await is_there.wait()
    finally:
        loop.remove_reader(0)


def _show(text: str) -> None:
    os.write(1, text.encode("utf-8", "surrogateescape"))
