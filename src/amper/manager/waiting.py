"""Waiting for many jobs at once, for events and for output: woken by the jobs, never by a clock."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Callable, Iterable
from contextlib import closing
from operator import attrgetter
from typing import Any, Final

from amper.flow.settle import settle
from amper.flow.stream import BoundedStream
from amper.job.events import EventLog
from amper.job.job import Job
from amper.job.runner import News
from amper.job.table import JobTable
from amper.values import Chunk, Event, ExecResult, JobId, JobStatus

Outcome = tuple[JobId, ExecResult]
Finished = tuple[Job, ExecResult]

Enter = Callable[[], asyncio.AbstractEventLoop]
"""Makes sure that whoever waits does so on the manager's own loop."""

FOLLOW_SIZE: Final = 256 * 1024
"""Bytes in one chunk for a follower that has to catch up."""


class Verdict:
    """Yes or no, which several may wait for; None as long as it is not known."""

    __slots__ = ("_loop", "_waiters", "outcome")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._waiters: tuple[asyncio.Future[bool], ...] = ()
        self.outcome: bool | None = None

    def waiter(self) -> asyncio.Future[bool]:
        """Return a future for the outcome. To cancel it means to wait no more, and nothing else."""
        waiter = self._loop.create_future()
        if self.outcome is None:
            self._waiters = (*self._waiters, waiter)
        else:
            waiter.set_result(self.outcome)
        return waiter

    def _tell(self) -> None:
        """Let those go on who wait for the outcome."""
        for waiter in self._waiters:
            settle(waiter, self.outcome is True)


class Gathering:
    """Jobs that somebody waits for together: those that are over, in order, and those to come.

    Stopped jobs are left out, also when they stop later: nobody knows whether they will ever end.
    """

    def __init__(self, table: JobTable, jobs: Iterable[Job]) -> None:
        self._table = table
        jobs = list(jobs)
        over = sorted((job for job in jobs if job.result is not None), key=attrgetter("finished"))
        # The results are held from here on, whatever retention makes of the records.
        self._over = deque[Finished]((job, job.result) for job in over if job.result is not None)
        self._pending = {
            job.id: job
            for job in jobs
            if job.result is None and job.status is not JobStatus.STOPPED
        }
        self._wake_up: asyncio.Future[None] | None = None
        self._wanted = 0
        for job in self._pending.values():
            table.wait(job, self)

    def set_result(self, news: News) -> None:
        """One of the jobs has ended, stopped, or left the table."""
        job, result = news
        del self._pending[job.id]
        if result is not None:
            self._over.append((job, result))
        if self._wake_up is not None and self._is_ready():
            settle(self._wake_up, None)

    async def all(self, timeout: float | None) -> list[Outcome]:
        """Wait until none is to come, or for `timeout` seconds; return what is over by then."""
        await self._until(len(self._over) + len(self._pending), timeout)
        return [self._take() for _ in range(len(self._over))]

    async def next(self, timeout: float | None = None) -> Outcome | None:
        """Wait for the next to end; None if none is to come, and at the deadline."""
        await self._until(1, timeout)
        return self._take() if self._over else None

    def close(self) -> None:
        """Wait no more."""
        pending, self._pending = self._pending, {}
        for job in pending.values():
            self._table.leave(job, self)

    def _is_ready(self) -> bool:
        return len(self._over) >= self._wanted or not self._pending

    async def _until(self, wanted: int, timeout: float | None) -> None:
        self._wanted = wanted
        if self._is_ready():
            return
        loop = asyncio.get_running_loop()
        self._wake_up = loop.create_future()
        timer = None if timeout is None else loop.call_later(timeout, settle, self._wake_up, None)
        try:
            await self._wake_up
        finally:
            self._wake_up = None
            if timer is not None:
                timer.cancel()

    def _take(self) -> Outcome:
        job, result = self._over.popleft()
        self._table.take(job)
        return job.id, result


def change_of(
    table: JobTable, job: Job, loop: asyncio.AbstractEventLoop, timeout: float | None = None
) -> asyncio.Future[Any]:
    """Return a future that is done when a job ends, stops or leaves the table, or at a timeout."""
    waiter = loop.create_future()
    table.wait(job, waiter)
    if timeout is not None:
        timer = loop.call_later(timeout, settle, waiter, None)
        waiter.add_done_callback(lambda _: timer.cancel())
    return waiter


def loop_turn(loop: asyncio.AbstractEventLoop) -> asyncio.Future[None]:
    """Return a future that is done in the next turn of the loop."""
    turn = loop.create_future()
    loop.call_soon(settle, turn, None)
    return turn


async def completions(
    enter: Enter, table: JobTable, jobs: Iterable[Job]
) -> AsyncGenerator[Outcome, None]:
    """Yield each outcome once, as the jobs end."""
    enter()
    # Between the call and the first step somebody may have removed one: it will never be heard of.
    jobs = [job for job in jobs if job.result is not None or table.get(job.id) is job]
    with closing(Gathering(table, jobs)) as gathering:
        while (outcome := await gathering.next()) is not None:
            yield outcome


async def replay(enter: Enter, log: EventLog, since: int) -> AsyncGenerator[Event, None]:
    """Yield the events after number `since`, those to come included, until the log is closed."""
    enter()
    while True:
        page = log.read(since, 1000)
        since = page.next
        for event in page.events:
            yield event
        if page.events:
            continue
        if log.is_closed:
            return
        waiter = asyncio.get_running_loop().create_future()
        log.waiters.add(waiter)
        try:
            await waiter
        finally:
            log.waiters.discard(waiter)


async def follow(stream: BoundedStream | None, since: int) -> AsyncGenerator[Chunk, None]:
    """Yield what a stream holds from byte `since` on, and what comes, until it is closed."""
    while stream is not None:
        chunk = stream.read_from(since, FOLLOW_SIZE)
        since = chunk.next
        if chunk.data or chunk.closed:
            yield chunk
        if chunk.closed:
            return
        if not chunk.data:
            await stream.changed_since(since)
