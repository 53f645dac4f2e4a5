"""The last row of the screen while jobs run: for how long, how many, and which."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from typing import Final

from rich.cells import set_cell_size

from amper.frontends.cli import terminal
from amper.frontends.cli.writer import Writer
from amper.values import Event, JobId

CLEAR_LINE: Final = b"\r\x1b[K"

PERIOD: Final = 1.0
"""Seconds from one drawing to the next when nothing happens: there is a clock on it."""

REST: Final = 0.1
"""Seconds: however much happens, ten times in a second is enough for the eye."""


class StatusLine:
    """Counts jobs, of which there will be `total`. `drawn` is what stands on the screen now."""

    def __init__(self, total: int) -> None:
        self.drawn = b""
        self._total = total
        self._running: dict[JobId, str] = {}
        self._over = Counter[str]()
        self._changed = asyncio.Event()

    def take(self, event: Event, name: str) -> None:
        """Count what happened to a job."""
        if event.job_id is None or event.status is None:
            return
        if event.kind == "started":
            self._running[event.job_id] = name
        elif event.kind == "ended":
            self._running.pop(event.job_id, None)
            self._over[event.status] += 1
        self._changed.set()

    async def keep_drawn(self, writer: Writer) -> None:
        """Draw it whenever something happened, and every second."""
        loop = asyncio.get_running_loop()
        began = loop.time()
        while True:
            self._changed.clear()
            text = self.text(loop.time() - began)
            self.drawn = fitted(text, terminal.width(2) - 1).encode()
            await writer.write(CLEAR_LINE + self.drawn)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(PERIOD - REST):
                    await self._changed.wait()
            await asyncio.sleep(REST)

    def text(self, seconds: float) -> str:
        """Return the line, `seconds` after the beginning."""
        waiting = self._total - len(self._running) - self._over.total()
        counts = [f"{count} {status}" for status, count in sorted(self._over.items())]
        if waiting:
            counts.append(f"{waiting} waiting")
        if self._running:
            counts.append(f"{len(self._running)} running: {', '.join(self._running.values())}")
        return f"[{seconds:.0f} s] {', '.join(counts)}"


def fitted(text: str, width: int) -> str:
    """Return what of `text` fits into so many columns."""
    return set_cell_size(text, max(width, 0)).rstrip()
