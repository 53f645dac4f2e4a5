"""Memory: what the record of a finished job takes, beside its command, its output and its events.

As many jobs were there before: their events fill the log, which does not grow any more, and what
grows in steps, such as a dict, has doubled when all have been added.
"""

from __future__ import annotations

import asyncio
import gc
import sys
import tracemalloc
from collections.abc import Awaitable, Callable
from typing import Final

from amper import JobManager
from benchmarks.floor_programs import floor_program
from benchmarks.harness import Bench
from benchmarks.outcome import Outcome, Row, Table, at_most

IN_FLIGHT: Final = 16

Batch = Callable[[JobManager, int], Awaitable[int]]
"""Runs so many jobs, and returns how many bytes of memory their commands are."""


def measure(bench: Bench) -> Outcome:
    """Nothing here varies, so that once is enough."""
    count = bench.scale.finished
    rows, goals = [], []
    for name, batch in (("a coroutine", _coroutines), ("a command", _commands)):
        bench.show(f"record of {name}")
        size = asyncio.run(_memory(batch, count))
        rows.append(Row(name, size, size, None))
        goals.append(at_most(400, "bytes", f"record of {name} that has finished", size))
    return Outcome((Table("Record of a finished job", "bytes", tuple(rows)),), tuple(goals))


async def _memory(batch: Batch, count: int) -> float:
    async with JobManager(finished_retention=None) as jobs:
        await batch(jobs, IN_FLIGHT)
        await _coroutines(jobs, count)
        gc.collect()
        tracemalloc.start()
        try:
            commands = await batch(jobs, count)
            gc.collect()
            size, _ = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        return (size - commands) / count


async def _coroutines(jobs: JobManager, count: int) -> int:
    for _ in range(count):
        await jobs.wait(jobs.spawn("work", asyncio.sleep(0)))
    # It is the same one for all of them, and was there before.
    return 0


async def _commands(jobs: JobManager, count: int) -> int:
    # Of two words, so that each job's command is a string of its own.
    command = [floor_program("exit0"), "0"]
    size = 0
    for begin in range(0, count, IN_FLIGHT):
        ids = [await jobs.start(command) for _ in range(min(IN_FLIGHT, count - begin))]
        await jobs.wait_all(ids)
        size += sum([sys.getsizeof(await jobs.get_command(id)) for id in ids])
    return size
