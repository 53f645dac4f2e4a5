"""What `amper run` prints about several commands, for people; `json_report` is for programs.

Lines go to standard output or standard error as the command chose. The status line and the table go
to standard error, so that standard output holds nothing but what the commands printed.
"""

from __future__ import annotations

import asyncio
import os
import resource
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Sequence
from typing import Final

from amper.frontends.cli.usage import needs_extra
from amper.frontends.cli.writer import Writer
from amper.manager import JobManager
from amper.values import JobId, JobInfo, StreamName

LONGEST_LINE: Final = 64 * 1024
"""A longer line is printed in pieces: nobody may fill our memory by printing no newline."""

COLOURS: Final = (36, 33, 32, 35, 34, 96, 93, 92, 95, 94)
"""SGR codes that can be read on dark and on light ground."""

CLEAR_LINE: Final = b"\r\x1b[K"


class Report(ABC):
    """How a run is told."""

    def __init__(self, jobs: JobManager) -> None:
        self._jobs = jobs
        self._out = Writer(1)
        self._err = Writer(2)

    async def print_output(self, id: JobId, name: str, stream: StreamName) -> None:
        """Print what a job writes to one of its streams until it is closed."""
        partial = b""
        async for chunk in self._jobs.follow(id, stream=stream):
            if chunk.dropped:
                await self.print_dropped(name, stream, chunk.dropped)
            *lines, partial = (partial + chunk.data).split(b"\n")
            if len(partial) > LONGEST_LINE or (chunk.closed and partial):
                lines.append(partial)
                partial = b""
            if lines:
                await self.print_lines(id, name, stream, lines)

    async def flush(self) -> None:
        """Wait until all is written."""
        await self._out.flush()
        await self._err.flush()

    @abstractmethod
    async def print_events(self) -> None:
        """Tell what happens to the jobs, until the manager is closed."""

    @abstractmethod
    async def print_lines(
        self, id: JobId, name: str, stream: StreamName, lines: Sequence[bytes]
    ) -> None:
        """Print whole lines, given without their newlines."""

    @abstractmethod
    async def print_dropped(self, name: str, stream: StreamName, count: int) -> None:
        """Say that output was lost, because it came faster than it could be printed."""

    @abstractmethod
    async def summarise(self, code: int) -> None:
        """Tell what became of each job."""


class TextReport(Report):
    """Lines marked with their job, a live status line on a terminal, and a table."""

    def __init__(self, jobs: JobManager, names: Sequence[str]) -> None:
        super().__init__(jobs)
        width = max(map(len, names))
        self._plain = {name: f"{name:<{width}} | ".encode() for name in names}
        self._coloured = {
            name: b"\x1b[%dm%s\x1b[0m" % (COLOURS[number % len(COLOURS)], mark)
            for number, (name, mark) in enumerate(self._plain.items())
        }
        self._status = b""
        self._has_status = _is_terminal(2) and os.environ.get("TERM") != "dumb"
        self._began = asyncio.get_running_loop().time()

    async def print_lines(
        self, id: JobId, name: str, stream: StreamName, lines: Sequence[bytes]
    ) -> None:
        fd, writer = (1, self._out) if stream == "stdout" else (2, self._err)
        mark = (self._coloured if has_colours(fd) else self._plain)[name]
        text = b"".join(mark + line + b"\n" for line in lines)
        if not self._has_status or not _is_terminal(fd):
            await writer.write(text)
            return
        # Both share the screen: one write takes the status line away and puts it back.
        await self._err.write(CLEAR_LINE + text + self._status)

    async def print_dropped(self, name: str, stream: StreamName, count: int) -> None:
        note = f"amper: {count} bytes of {name}'s {stream} came too fast and were dropped\n"
        await self._err.write((CLEAR_LINE if self._has_status else b"") + note.encode())

    async def print_events(self) -> None:
        if not self._has_status:
            return
        loop = asyncio.get_running_loop()
        async with asyncio.TaskGroup() as group:
            ticking = group.create_task(self._tick())
            async for _ in self._jobs.events():
                await self._draw(loop.time())
            ticking.cancel()
        self._has_status = False
        await self._err.write(CLEAR_LINE)

    async def summarise(self, code: int) -> None:
        try:
            from rich.console import Console
            from rich.table import Table
            from rich.text import Text
        except ImportError:
            raise needs_extra("rich", "amper run -c") from None
        table = Table("", "job", "code", "time", "memory", "command", box=None, pad_edge=False)
        for info in await self._jobs.list():
            style = "green" if info.exit_code == 0 else "red"
            cells = [info.status.value, info.name, str(info.exit_code), _time(info), _memory(info)]
            texts = [
                Text(cell or "", style if number == 0 else "") for number, cell in enumerate(cells)
            ]
            table.add_row(*texts, Text(info.command, overflow="ellipsis", no_wrap=True))
        console = Console(stderr=True, highlight=False)
        with console.capture() as captured:
            console.print(table)
        await self._err.write(captured.get().encode())

    async def _tick(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(1)
            await self._draw(loop.time())

    async def _draw(self, now: float) -> None:
        infos = await self._jobs.list()
        counts = Counter(info.status.value for info in infos)
        running = ", ".join(info.name or "" for info in infos if info.status.value == "running")
        told = ", ".join(f"{count} {status}" for status, count in sorted(counts.items()))
        text = f"[{now - self._began:.0f} s] {told}" + (f": {running}" if running else "")
        width = _width() - 1
        self._status = text[:width].encode("utf-8", "replace")
        await self._err.write(CLEAR_LINE + self._status)


def has_colours(fd: int) -> bool:
    """Return whether to colour what goes to a descriptor (https://no-color.org)."""
    return _is_terminal(fd) and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def _is_terminal(fd: int) -> bool:
    try:
        return os.isatty(fd)
    except OSError:
        return False


def _width() -> int:
    try:
        return os.get_terminal_size(2).columns or 80
    except OSError:
        return 80


def _time(info: JobInfo) -> str:
    return f"{info.elapsed:.2f} s" if info.started_at else "-"


def _memory(info: JobInfo) -> str:
    if info.usage is None:
        return "-"
    # Linux counts what we held ourselves at the start of the command; a smaller one does not show.
    ours = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    bound = "< " if info.usage.max_rss <= ours else ""
    return f"{bound}{info.usage.max_rss / 2**20:.1f} MiB"
