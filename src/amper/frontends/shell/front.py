"""The commands of a prompt: groups of our session, which take turns in front of our terminal."""

from __future__ import annotations

import asyncio
import os
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Final

from amper.builtins.steering import STOPPED_CODE
from amper.frontends.shell.launching import Launcher, Order, Outcome
from amper.frontends.shell.session import Output
from amper.manager import JobManager
from amper.process.spawn import STDOUT
from amper.values import ExecResult, JobId, JobInfo

MOST_REMEMBERED: Final = 1000


class FrontLauncher(Launcher):
    """Starts the commands of a prompt."""

    def __init__(self, jobs: JobManager, out: Output, pass_fds: Sequence[int] = ()) -> None:
        super().__init__(jobs)
        self._out = out
        self._shared = {"pass_fds": tuple(pass_fds)}
        self._shown: dict[JobId, int] = {}
        """How much of what a job in the background wrote the person has seen in front."""
        self._over: deque[JobInfo] = deque(maxlen=MOST_REMEMBERED)
        """The commands that were in front and are in the table no more."""
        self.is_in_front = False
        """Whether the terminal is a job's."""

    async def in_front(self, order: Order) -> Outcome:
        with self._turn():
            id = await self.jobs.start(
                order.command, foreground=True, **self.options_of(order, **self._shared)
            )
            # It is in front already. `foreground` would let one that has stopped by now run on.
            return await self._outcome(id, await self.jobs.wait(id))

    async def in_background(self, order: Order) -> JobId:
        # One pipe for both, so that what was written is seen in its order.
        options = self.options_of(order, stderr=STDOUT, **self._shared)
        return await self.jobs.start(order.command, foreground=False, **options)

    async def announcement(self, id: JobId) -> str:
        process = await self.jobs.get_process_info(id)
        return await super().announcement(id) if process is None else f"[{id}] {process[0]}\n"

    async def to_front(self, id: JobId) -> Outcome:
        with self._turn():
            try:
                async with asyncio.TaskGroup() as group:
                    showing = group.create_task(self._show(id))
                    result = await self.jobs.foreground(id)
                    if result is None:
                        showing.cancel()
                    # Of one that is over the output ends, and with it the showing.
            except BaseExceptionGroup as errors:
                raise errors.exceptions[0] from errors
        return await self._outcome(id, result)

    async def left_behind(self) -> list[JobInfo]:
        """Return the commands that are over, and of whose process groups something still runs.

        What has left its group, as daemons do, nobody sees before the manager's end looks for it.
        """
        over = [info for info in await self.jobs.list() if info.status.is_final]
        return [info for info in (*self._over, *over) if await self.jobs.signal(info.id, 0)]

    @contextmanager
    def _turn(self) -> Iterator[None]:
        """Let the terminal be a job's for a while."""
        self.is_in_front = True
        _let_calls_wait()
        try:
            yield
        finally:
            self.is_in_front = False
            _let_calls_wait()

    async def _show(self, id: JobId) -> None:
        """Print what a job in the background wrote, and goes on to write."""
        async for chunk in self.jobs.follow(id, self._shown.get(id, 0)):
            self._shown[id] = chunk.next
            if chunk.dropped:
                await self._out.write(f"fg: {chunk.dropped} bytes before this are gone\n".encode())
            await self._out.write(chunk.data)

    async def _outcome(self, id: JobId, result: ExecResult | None) -> Outcome:
        """Return what became of a job, and forget it if it is over."""
        info = await self.jobs.get(id)
        if result is None:
            return Outcome(STOPPED_CODE, is_stopped=True)
        self._shown.pop(id, None)
        if info is not None:
            self._over.append(info)
        await self.jobs.remove(id)
        signal = None if info is None else info.signal
        # All else that it wrote went to the terminal, or with its output.
        return Outcome(result.code, signal=signal, complaint=result.err)


def _let_calls_wait() -> None:
    """Undo what some programs leave behind: a terminal that answers EAGAIN to all who share it."""
    for fd in range(3):
        os.set_blocking(fd, True)
