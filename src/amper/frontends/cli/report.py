"""How a run of several commands is told; who listens decides the words.

1. A job's output comes after its `started` and before its `ended`.
2. However fast a job writes, others get a turn: its lines are told a bounded number at a time.
3. What waits to be told is bounded. A reader that is too slow loses output, and is told how much;
   one that wants us to end is not made to wait for what was written long ago.
"""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import replace
from typing import Final

from amper.frontends.cli.lines import Lines
from amper.manager import JobManager
from amper.values import Chunk, Event, JobId, JobInfo, StreamName

CHUNK_SIZE: Final = 256 * 1024

LAST_WORDS: Final = 64 * 1024
"""What is still told of an output when we are to end."""

LINES_PER_TURN: Final = 512

STREAMS: Final[tuple[StreamName, ...]] = ("stdout", "stderr")


class Report(ABC):
    """Tells what happens to the jobs, and what they write; briefly, once `is_ending` says so.

    Each job has a name of its own.
    """

    def __init__(self, jobs: JobManager, is_ending: Callable[[], bool]) -> None:
        self._jobs = jobs
        self._is_ending = is_ending
        self._outputs: dict[JobId, list[asyncio.Task[None]]] = {}

    async def tell(self) -> None:
        """Tell everything, until the manager is closed and all is told."""
        async with asyncio.TaskGroup() as group:
            async for event in self._jobs.events():
                if event.job_id is None:
                    # We were held up for so long that events are missing: who has started?
                    for started in await self._jobs.list():
                        self._begin(group, started)
                    continue
                info = await self._jobs.get(event.job_id)
                assert info is not None
                if event.kind == "started":
                    await self.tell_event(event, info)
                    self._begin(group, info)
                elif event.kind == "ended":
                    await asyncio.wait(self._outputs[event.job_id])
                    await self.tell_event(event, info)

    def _begin(self, group: asyncio.TaskGroup, info: JobInfo) -> None:
        if info.id not in self._outputs:
            self._outputs[info.id] = [
                group.create_task(self._tell_output(info, stream)) for stream in STREAMS
            ]

    async def _tell_output(self, info: JobInfo, stream: StreamName) -> None:
        lines = Lines()
        async for chunk in self._chunks(info.id, stream):
            if chunk.dropped:
                await self._tell_in_turns(info, stream, lines.end())
                await self.tell_dropped(info, stream, chunk.dropped)
            await self._tell_in_turns(info, stream, lines.feed(chunk.data))
        await self._tell_in_turns(info, stream, lines.end())

    async def _chunks(self, id: JobId, name: StreamName) -> AsyncIterator[Chunk]:
        """Yield an output as it comes. What nobody has the time for counts as dropped."""
        streams = await self._jobs.streams(id)
        assert streams is not None
        stream = streams.stdout if name == "stdout" else streams.stderr
        since = 0
        while True:
            behind = stream.total_written - since
            skipped = max(0, behind - LAST_WORDS) if self._is_ending() else 0
            chunk = stream.read_from(since + skipped, CHUNK_SIZE)
            since = chunk.next
            yield replace(chunk, dropped=chunk.dropped + skipped)
            if chunk.closed:
                return
            if not chunk.data:
                await stream.changed_since(since)

    async def _tell_in_turns(
        self, info: JobInfo, stream: StreamName, lines: Sequence[bytes]
    ) -> None:
        for first in range(0, len(lines), LINES_PER_TURN):
            await self.tell_lines(info, stream, lines[first : first + LINES_PER_TURN])
            await asyncio.sleep(0)

    @abstractmethod
    async def tell_event(self, event: Event, info: JobInfo) -> None:
        """Tell what happened to a job: it started, or ended."""

    @abstractmethod
    async def tell_lines(self, info: JobInfo, stream: StreamName, lines: Sequence[bytes]) -> None:
        """Tell lines with their newlines; one that has none is a part of a line, or the last."""

    @abstractmethod
    async def tell_dropped(self, info: JobInfo, stream: StreamName, count: int) -> None:
        """Say that output was lost, because it came faster than it could be told."""

    @abstractmethod
    async def summarise(self, code: int, not_run: Mapping[str, str]) -> None:
        """Tell what became of each job, after all else, and wait until everything is written."""
