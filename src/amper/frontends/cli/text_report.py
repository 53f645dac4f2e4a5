"""A run told to people: lines marked with their job, a live status line, a table at the end.

Lines go to standard output or standard error as the command chose. The status line and the table go
to standard error, so that standard output holds nothing but what the commands printed.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import stat
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from rich.cells import cell_len

from amper.frontends.cli import terminal
from amper.frontends.cli.report import Report
from amper.frontends.cli.status_line import CLEAR_LINE, StatusLine
from amper.frontends.cli.writer import Writer
from amper.manager import JobManager
from amper.values import Event, JobInfo, StreamName

COLOURS: Final = (36, 33, 32, 35, 34, 96, 93, 92, 95, 94)
"""SGR codes that can be read on dark and on light ground."""


class TextReport(Report):
    """A run told to people."""

    def __init__(
        self, jobs: JobManager, is_ending: Callable[[], bool], names: Sequence[str]
    ) -> None:
        super().__init__(jobs, is_ending)
        self._out = Writer(1, "standard output")
        self._err = Writer(2, "standard error")
        self._marks = {fd: _marks(names, has_colours=terminal.has_colours(fd)) for fd in (1, 2)}
        self._status = StatusLine(len(names)) if _shows_status() else None

    async def tell(self) -> None:
        if self._status is None:
            await super().tell()
            return
        async with asyncio.TaskGroup() as group:
            drawing = group.create_task(self._status.keep_drawn(self._err))
            await super().tell()
            drawing.cancel()
        self._status = None
        await self._err.write(CLEAR_LINE)

    async def tell_event(self, event: Event, info: JobInfo) -> None:
        if self._status is not None:
            self._status.take(event, info.name or "")

    async def tell_lines(self, info: JobInfo, stream: StreamName, lines: Sequence[bytes]) -> None:
        fd = 1 if stream == "stdout" else 2
        mark = self._marks[fd][info.name or ""]
        await self._write(fd, b"".join(mark + line.removesuffix(b"\n") + b"\n" for line in lines))

    async def tell_dropped(self, info: JobInfo, stream: StreamName, count: int) -> None:
        text = (
            f"amper: {count} bytes of {info.name}'s {stream} came too fast and were not printed\n"
        )
        await self._write(2, text.encode())

    async def summarise(self, code: int, not_run: Mapping[str, str]) -> None:
        from amper.frontends.cli.table import table_of

        await self._err.write(table_of(await self._jobs.list(), not_run))
        await self._out.flush()
        await self._err.flush()

    async def _write(self, fd: int, text: bytes) -> None:
        if self._status is not None and terminal.is_terminal(fd):
            # Both share the screen: one write takes the status line away and puts it back.
            await self._err.write(CLEAR_LINE + text + self._status.drawn)
        else:
            await (self._out if fd == 1 else self._err).write(text)


def _marks(names: Sequence[str], *, has_colours: bool) -> dict[str, bytes]:
    """Return what the lines of each job begin with."""
    width = max(map(cell_len, names))
    marks = {}
    for name, colour in zip(names, itertools.cycle(COLOURS)):
        mark = f"{name}{' ' * (width - cell_len(name))} | "
        marks[name] = (f"\x1b[{colour}m{mark}\x1b[0m" if has_colours else mark).encode()
    return marks


def _shows_status() -> bool:
    # What a pipe leads to may end on the same screen, where it knows nothing of our status line.
    return terminal.has_screen(2) and not stat.S_ISFIFO(os.fstat(1).st_mode)
