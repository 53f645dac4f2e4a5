"""Coroutines: start one, wait for it, start the next."""

from __future__ import annotations

import asyncio
import functools
from typing import Final

from amper import JobManager
from benchmarks.harness import AMPER, Bench, Candidate, Sample, Stopwatch, loops, on_loop, peer
from benchmarks.outcome import Outcome, at_most

FLOOR: Final = "create_task, await"


def measure(bench: Bench) -> Outcome:
    """Compare coroutines whose work is one turn of the loop."""
    count = bench.scale.sequential
    tables, goals = [], []
    for where, loop_factory in loops().items():
        candidates: dict[str, Candidate] = {
            FLOOR: on_loop(functools.partial(_tasks, count), loop_factory),
            AMPER: on_loop(functools.partial(_amper, count), loop_factory),
        }
        if peer("aiojobs") is not None:
            candidates["aiojobs"] = on_loop(functools.partial(_aiojobs, count), loop_factory)
        samples = bench.compare(f"coroutines{where}", candidates, bench.scale.rounds)
        tables.append(samples.table(f"Coroutine: spawn and wait{where}", "µs", "wall"))
        ratio = samples.ratio(AMPER, FLOOR, "wall")
        title = f"coroutine{where}: amper to create_task and await"
        goals += [at_most(1.6, "x", f"{title} (aim)", ratio), at_most(2, "x", title, ratio)]
    return Outcome(tuple(tables), tuple(goals))


async def _work() -> None:
    await asyncio.sleep(0)


async def _tasks(count: int) -> Sample:
    loop = asyncio.get_running_loop()
    watch = Stopwatch()
    for _ in range(count):
        await loop.create_task(_work())
    return watch.microseconds(count)


async def _amper(count: int) -> Sample:
    async with JobManager() as jobs:
        watch = Stopwatch()
        for _ in range(count):
            await jobs.wait(jobs.spawn("work", _work()))
        return watch.microseconds(count)


async def _aiojobs(count: int) -> Sample:
    async with peer("aiojobs").Scheduler(limit=None) as scheduler:
        watch = Stopwatch()
        for _ in range(count):
            await (await scheduler.spawn(_work())).wait()
        return watch.microseconds(count)
