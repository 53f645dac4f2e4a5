"""How many jobs run at once, who is next, and how many begin in one turn of the loop."""

from __future__ import annotations

import asyncio
from collections import OrderedDict, deque
from typing import Final

from amper.flow.settle import settle
from amper.job.job import Job
from amper.manager.runner import LocalRunner
from amper.values import JobId

STARTS_PER_TURN: Final = 8
"""Forks before others have their turn: about a millisecond."""


class Admission:
    """A bound on running jobs with a queue before it. A bound of None lets everything run."""

    __slots__ = ("_queue", "max_running", "running")

    def __init__(self, max_running: int | None) -> None:
        self.max_running = max_running
        self.running = 0
        # An ordinary dict searches for its first entry among the deleted ones.
        self._queue: OrderedDict[JobId, Job] = OrderedDict()

    @property
    def is_full(self) -> bool:
        """Whether one more would be too many."""
        return self.max_running is not None and self.running >= self.max_running

    @property
    def has_queue(self) -> bool:
        """Whether somebody waits: whoever comes now is behind them."""
        return bool(self._queue)

    def give_place(self, runner: LocalRunner) -> None:
        """Count one that starts."""
        self.running += 1
        runner.has_place = True

    def take_place(self, runner: LocalRunner) -> None:
        """Count one that is over."""
        self.running -= 1
        runner.has_place = False

    def queue(self, job: Job) -> None:
        """Let a job wait for its turn."""
        self._queue[job.id] = job

    def withdraw(self, job: Job) -> None:
        """Forget a job that will not be started."""
        self._queue.pop(job.id, None)

    def queued(self) -> list[Job]:
        """Return those who wait, in order."""
        return list(self._queue.values())

    def next(self) -> Job | None:
        """Return the job that may start now, if there is one and a place for it."""
        if not self._queue or self.is_full:
            return None
        return self._queue.popitem(last=False)[1]


class Pace:
    """Lets a bounded number of commands be forked in one turn of a loop, in the order of asking."""

    __slots__ = ("_count", "_loop", "_waiting")

    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None
        self._count = 0
        self._waiting: deque[asyncio.Future[None]] = deque()

    def has_room(self, loop: asyncio.AbstractEventLoop) -> bool:
        """Return whether one more may be forked in this turn, and count it."""
        if self._loop is not loop:
            self._loop = loop
            self._count = 0
            self._waiting.clear()
        if self._waiting or self._count >= STARTS_PER_TURN:
            return False
        if self._count == 0:
            loop.call_soon(self._next_turn)
        self._count += 1
        return True

    def turn(self, loop: asyncio.AbstractEventLoop) -> asyncio.Future[None]:
        """Return a future that is done in the turn in which one more may be forked."""
        waiter = loop.create_future()
        self._waiting.append(waiter)
        return waiter

    def _next_turn(self) -> None:
        self._count = 0
        while self._waiting and self._count < STARTS_PER_TURN:
            waiter = self._waiting.popleft()
            # Whoever was cancelled meanwhile forks nothing.
            self._count += settle(waiter, None)
        if self._count and self._loop is not None:
            self._loop.call_soon(self._next_turn)
