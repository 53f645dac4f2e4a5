"""The table catches up with the kernel when somebody asks: which commands were stopped or continued.

The kernel tells of a stop only the parent, once, and whoever waits for children in the host may take
that notice. We look at it and leave it there, which is cheap, and believe it. Where there is none the
truth stands in /proc, which is not cheap: it is read at once for a single job, for a few when
somebody asks for all of them, and a little later, once, for each job that somebody still waits for.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Iterable
from itertools import islice
from typing import Final

from amper.flow.stream import is_running_here
from amper.job.job import Job
from amper.job.runner import Runner
from amper.job.table import RUNNING, STOPPED, JobTable
from amper.process.state import is_any_notice

CLOSE_LOOKS: Final = 64
"""Into /proc, when somebody asks for all jobs: about a millisecond. The next one goes on from there."""

LOOK_AFTER: Final = 0.05
"""Seconds, or up to twice as many, until a job that is waited for is looked at closely: most commands
are over by then."""

LOOKS_PER_TURN: Final = 32
"""In one turn of the loop: less than a millisecond."""


class States:
    """Which commands are stopped, as the kernel says."""

    __slots__ = ("_asked", "_loop", "_next", "_table", "_timer", "commands")

    def __init__(self, table: JobTable) -> None:
        self._table = table
        self.commands: OrderedDict[Job, Runner] = OrderedDict()
        """Those that run. Where there are none, nothing here needs to be asked."""
        self._asked: set[Job] = set()
        """Those to be looked at when the timer fires again."""
        self._next: set[Job] = set()
        """Those to be looked at when it fires next."""
        self._loop: asyncio.AbstractEventLoop | None = None
        self._timer: asyncio.TimerHandle | None = None

    def attach(self, loop: asyncio.AbstractEventLoop) -> None:
        """Look on `loop` from now on."""
        self._loop = loop
        self._timer = None
        self._forget_asked()

    def add(self, job: Job, runner: Runner) -> None:
        """Look at a job from now on: it runs, and only the kernel knows when it stops."""
        self.commands[job] = runner

    def remove(self, job: Job) -> None:
        """Look at a job no more: it is over."""
        if self.commands.pop(job, None) is not None:
            self._asked.discard(job)
            self._next.discard(job)

    def look(self, job: Job) -> None:
        """Bring a job up to date that somebody begins to wait for."""
        runner = self.commands.get(job)
        if runner is None:
            return
        stopped = runner.stop_notice()
        if stopped is None and job.status is STOPPED:
            stopped = runner.read_stop()
        if stopped is not None:
            self._take(job, stopped)
            return
        self._asked.add(job)
        if self._timer is None and self._loop is not None:
            self._timer = self._loop.call_later(LOOK_AFTER, self._look_closely)

    def look_at(self, jobs: Iterable[Job]) -> None:
        """Bring jobs up to date that somebody begins to wait for."""
        if self.commands:
            for job in jobs:
                self.look(job)

    def look_closely(self, job: Job | None) -> None:
        """Bring a job up to date that somebody asks for."""
        if job is not None and job in self.commands and self.can_tell:
            self._look(job)

    def look_at_all(self) -> None:
        """Bring the whole table up to date, as far as notices tell, and a few jobs closely."""
        if not self.can_tell:
            return
        commands = self.commands
        if is_any_notice():
            for job, runner in list(commands.items()):
                self._take(job, runner.stop_notice())
        for _ in range(min(CLOSE_LOOKS, len(commands))):
            job = next(iter(commands))
            commands.move_to_end(job)
            self._look(job)

    def close(self) -> None:
        """Look no more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._forget_asked()

    @property
    def can_tell(self) -> bool:
        """Whether those who wait could be told: not if their loop is closed, or another thread runs it."""
        loop = self._loop
        if loop is None or loop.is_closed():
            return False
        return is_running_here(loop) or not loop.is_running()

    def _look_closely(self) -> None:
        self._timer = None
        due, delay = self._next, LOOK_AFTER
        try:
            for job in list(islice(due, LOOKS_PER_TURN)):
                self._look(job)
                due.discard(job)
            if due:
                delay = 0.0
        finally:
            # Also if a look breaks off: somebody waits for what it would have seen.
            if not due:
                self._next, self._asked = self._asked, due
            if self._next and self._loop is not None:
                self._timer = self._loop.call_later(delay, self._look_closely)

    def _forget_asked(self) -> None:
        self._asked.clear()
        self._next.clear()

    def _look(self, job: Job) -> None:
        self._take(job, self.commands[job].read_stop())

    def _take(self, job: Job, stopped: bool | None) -> None:
        if stopped and job.status is RUNNING:
            self._table.stopped(job)
        elif stopped is False and job.status is STOPPED:
            self._table.resumed(job)
