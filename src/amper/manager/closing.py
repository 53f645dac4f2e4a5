"""The end of a manager: everything that it started is ended, at once and in bounded time.

1. It takes the grace period and `killing.KILL_LIMIT`, and what a disk takes for the output files; a
   caller that is cancelled shortens the grace period to nothing, and waits for the end all the same.
2. A job whose processes cannot be killed is recorded as lost, with the survivors' pids: nobody may
   wait for ever for a manager that is no more.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Any

from amper.manager.core import Core
from amper.manager.steps import STEPS_PER_TURN
from amper.manager.waiting import loop_turn
from amper.values import EndedBy


class Closing:
    """Closes a manager once, however many ask for it."""

    __slots__ = ("_core", "_grace_period", "_task")

    def __init__(self, core: Core) -> None:
        self._core = core
        self._grace_period = 0.0
        self._task: asyncio.Task[None] | None = None

    async def close(self, grace_period: float, reason: str | None) -> None:
        """Begin, or join whoever has begun; return when all is over."""
        core = self._core
        loop = core.enter()
        core.is_closed = True
        if self._task is None or self._task.get_loop().is_closed():
            self._grace_period = grace_period
            self._task = loop.create_task(self._close(reason))
        elif not self._task.done():
            self._hurry(grace_period)
        cancelled: asyncio.CancelledError | None = None
        while not self._task.done():
            try:
                await asyncio.shield(self._task)
            except asyncio.CancelledError as error:
                cancelled = error
                self._hurry(0.0)
        if cancelled is not None:
            raise cancelled
        self._task.result()

    async def _close(self, reason: str | None) -> None:
        """End everything. This task is cancelled by the end of its loop alone, and hurries then."""
        core = self._core
        await self._end_all(EndedBy("close", reason))
        for runner in core.unfinished():
            runner.abandon()
        core.remains.clear()
        core.untracked.clear()
        keepers = core.end_keepers()
        if keepers is not None:
            await self._until(keepers)
        await self._until(core.files.drain(core.enter()))
        core.table.events.close()
        core.close_kernel()

    async def _end_all(self, ended_by: EndedBy) -> None:
        core = self._core
        for job in core.admission.queued():
            core.end_queued(job, ended_by)
        looking = core.escapes.look(self._grace_period)
        reached, runners = set(), deque(core.unfinished())
        # Of thousands, what belongs to those that end meanwhile is not to be freed in one go.
        while runners:
            for runner in [runners.popleft() for _ in range(min(STEPS_PER_TURN, len(runners)))]:
                runner.claim(ended_by)
                runner.close()
                if runner.is_killable or runner.cascade is not None:
                    core.cascade(runner, self._grace_period)
                    reached.add(runner.mark)
            await self._until(loop_turn(core.enter()))
        await self._until(looking)
        for id, mark in looking.result().items():
            # A cascade of the job's own finds them too.
            if mark not in reached:
                core.escapes.cascade(id, mark, ended_by, self._grace_period)
        while (cascade := core.steps.any_cascade()) is not None:
            await self._until(cascade.waiter())

    def _hurry(self, grace_period: float) -> None:
        """Let what is being closed insist no later than `grace_period` from now."""
        self._grace_period = min(self._grace_period, grace_period)
        for runner in self._core.unfinished():
            if runner.cascade is not None:
                runner.cascade.hurry(grace_period)

    async def _until(self, future: asyncio.Future[Any]) -> None:
        while not future.done():
            try:
                await asyncio.shield(future)
            except asyncio.CancelledError:
                self._hurry(0.0)
