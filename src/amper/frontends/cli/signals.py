"""Signals to us become signals to our jobs, so that nothing of a job outlives us.

1. The first that tells us to end is passed on as it is, and what is left after the grace period is
   killed; the second kills at once; the third waits for nothing any more.
2. Whatever happens to the jobs, we end: what is not over some seconds after the kill is given up.
3. The handlers do nothing but wake the loop. They are not asyncio's, which brings KeyboardInterrupt
   back when its own are taken away.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import Callable, Coroutine, Iterator
from types import FrameType
from typing import Final

from amper.frontends.cli import terminal
from amper.frontends.cli.standard_streams import complain
from amper.manager import JobManager
from amper.values import JobId

ENDING: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)

SIGNALED: Final = 128
"""A shell adds to this the number of the signal that ended a program."""

PATIENCE: Final = 5.0
"""Seconds for what remains to be done once all jobs were killed."""


class SignalRelay:
    """Passes signals on to all jobs of a manager."""

    def __init__(self, jobs: JobManager, grace_period: float) -> None:
        self._jobs = jobs
        self._grace_period = grace_period
        self._received: asyncio.Queue[signal.Signals] = asyncio.Queue()
        self._told: signal.Signals | None = None
        self._modes = terminal.Modes()

    @property
    def is_told(self) -> bool:
        """Whether we were told to end."""
        return self._told is not None

    @property
    def code(self) -> int:
        """The exit code of a program that ends of what we were told."""
        return SIGNALED + (self._told or signal.SIGINT)

    def run(self, work: Callable[[], Coroutine[None, None, int]]) -> int:
        """Run `work` on a loop of its own while signals reach the jobs; return its exit code."""
        try:
            with asyncio.Runner() as runner:
                code = runner.run(self._run(work))
        except asyncio.CancelledError:
            code = self.code
        except BaseExceptionGroup as group:
            raise _first(group) from group
        if self._told is signal.SIGINT and code == self.code and terminal.is_in_foreground():
            # A shell goes on with its loop or script after a program that made something of Ctrl-C;
            # it stops after one that died of it.
            signal.signal(signal.SIGINT, signal.SIG_DFL)
            signal.raise_signal(signal.SIGINT)
        return code

    async def _run(self, work: Callable[[], Coroutine[None, None, int]]) -> int:
        """Run `work`, which is cancelled when we give up."""
        worker = asyncio.current_task()
        assert worker is not None
        async with asyncio.TaskGroup() as group:
            obeying = group.create_task(self._obey(worker.cancel))
            with self._handlers():
                code = await work()
            obeying.cancel()
        return code

    @contextlib.contextmanager
    def _handlers(self) -> Iterator[None]:
        loop = asyncio.get_running_loop()

        def wake(number: int, _frame: FrameType | None) -> None:
            loop.call_soon_threadsafe(self._received.put_nowait, signal.Signals(number))

        before = {}
        for number in (*ENDING, signal.SIGTSTP, signal.SIGWINCH):
            # What whoever started us ignores, as nohup does with SIGHUP, stays ignored.
            if signal.getsignal(number) is not signal.SIG_IGN:
                before[number] = signal.signal(number, wake)
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    async def _obey(self, give_up: Callable[[], object]) -> None:
        async with asyncio.TaskGroup() as steps:
            self._told = await self._next_ending()
            steps.create_task(self._ask_and_kill(self._told, give_up))
            number = await self._next_ending()
            steps.create_task(self._kill(number, 0.0, give_up))
            await self._next_ending()
            give_up()

    async def _next_ending(self) -> signal.Signals:
        while (number := await self._received.get()) not in ENDING:
            if number is signal.SIGTSTP:
                await self._stop()
            else:
                await self._signal(number)
        return number

    async def _ask_and_kill(self, number: signal.Signals, give_up: Callable[[], object]) -> None:
        # SIGTERM is what a kill begins with.
        if number is not signal.SIGTERM:
            ids = await self._jobs.list_ids()
            await asyncio.gather(*(self._ask(id, number) for id in ids))
            await self._jobs.wait_all(timeout=self._grace_period)
        await self._kill(number, self._grace_period, give_up)

    async def _ask(self, id: JobId, number: signal.Signals) -> None:
        if not await self._jobs.signal(id, number):
            await self._jobs.kill(id, reason=number.name)

    async def _kill(
        self, number: signal.Signals, grace_period: float, give_up: Callable[[], object]
    ) -> None:
        ids = await self._jobs.list_ids()
        kills = [self._jobs.kill(id, grace_period=grace_period, reason=number.name) for id in ids]
        await asyncio.gather(*kills)
        if await self._jobs.running_count():
            complain("not all processes could be ended, not even with SIGKILL")
        # Whoever reads our output may be stuck.
        await asyncio.sleep(PATIENCE)
        give_up()

    async def _signal(self, number: signal.Signals) -> None:
        for id in await self._jobs.list_ids():
            await self._jobs.signal(id, number)

    async def _stop(self) -> None:
        """Do what Ctrl-Z means, for the jobs too: their sessions are not the terminal's."""
        # Until they have stopped, what is typed for whoever is next may be theirs.
        await asyncio.gather(*map(self._jobs.stop, await self._jobs.list_ids()))
        # Of a stop like this a program of the whole screen hears nothing, and puts nothing in order.
        its_modes = terminal.Modes()
        self._modes.restore()
        # Not SIGSTOP: where no shell could let us run on (the leader of a session, as under `ssh -t`
        # or in a window of its own), the kernel passes over this one, and we go on at once.
        handler = signal.signal(signal.SIGTSTP, signal.SIG_DFL)
        signal.raise_signal(signal.SIGTSTP)
        signal.signal(signal.SIGTSTP, handler)
        its_modes.restore()
        await asyncio.gather(*map(self._jobs.resume, await self._jobs.list_ids()))
        # For a new size it draws itself anew.
        await self._signal(signal.SIGWINCH)


def _first(error: BaseException) -> BaseException:
    """Return what went wrong first: a task group wraps it, and each task group around it once more."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error
