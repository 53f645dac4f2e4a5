"""Ctrl-C, SIGTERM and SIGHUP as a kill of all jobs; the second one does not wait."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import Callable, Iterator
from typing import Final

from amper.manager import JobManager

ENDING: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@contextlib.contextmanager
def kill_on_signals(
    jobs: JobManager, on_second: Callable[[], object] = lambda: None
) -> Iterator[None]:
    """Kill every job when we are told to end; told again, do it at once, and call `on_second`."""
    loop = asyncio.get_running_loop()
    kills: set[asyncio.Task[None]] = set()
    told = 0

    def end(number: signal.Signals) -> None:
        nonlocal told
        told += 1
        if told > 1:
            on_second()
        grace_period = None if told == 1 else 0.0
        task = loop.create_task(_kill_all(jobs, number.name, grace_period))
        kills.add(task)
        task.add_done_callback(kills.discard)

    # What whoever started us ignores, as nohup does with SIGHUP, stays ignored.
    taken = [number for number in ENDING if signal.getsignal(number) is not signal.SIG_IGN]
    for number in taken:
        loop.add_signal_handler(number, end, number)
    try:
        yield
    finally:
        for number in taken:
            loop.remove_signal_handler(number)


async def _kill_all(jobs: JobManager, reason: str, grace_period: float | None) -> None:
    ids = await jobs.list_ids()
    # From the youngest: none that is queued may start in the place of one that ends.
    await asyncio.gather(
        *(jobs.kill(id, grace_period=grace_period, reason=reason) for id in reversed(ids))
    )
