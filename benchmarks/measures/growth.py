"""Growth: what a coroutine costs when very many of them are there at once."""

from __future__ import annotations

import asyncio
import functools
import gc
from collections.abc import Callable, Coroutine
from typing import Any, Final

from amper import JobManager
from benchmarks.harness import (
    AMPER,
    Bench,
    Candidate,
    Sample,
    Stopwatch,
    WrongResult,
    on_loop,
    peer,
)
from benchmarks.outcome import Outcome, at_most

FLOOR: Final = "create_task, gather"

Bulk = Callable[[int], Coroutine[Any, Any, None]]


def measure(bench: Bench) -> Outcome:
    """Start all, then wait for all."""
    counts = bench.scale.bulk
    bulks: dict[str, Bulk] = {FLOOR: _tasks, AMPER: _amper}
    if peer("aiojobs") is not None:
        bulks["aiojobs"] = _aiojobs
    candidates: dict[str, Candidate] = {
        name: on_loop(functools.partial(_at_each, bulk, counts)) for name, bulk in bulks.items()
    }
    samples = bench.compare("growth", candidates, bench.scale.fewest_rounds)
    tables = [samples.table(f"Coroutine: {count:,} at once", "µs", str(count)) for count in counts]
    span = f"from {counts[0]:,} to {counts[-1]:,} at once"
    tables.append(samples.table(f"Coroutine: growth {span}", "x", "growth"))
    ratio = samples.ratio(AMPER, FLOOR, "growth")
    title = f"coroutines, growth {span}: amper's to that of create_task and gather"
    return Outcome(tuple(tables), (at_most(1, "x", title, ratio),))


async def _at_each(bulk: Bulk, counts: tuple[int, ...]) -> Sample:
    """Measure each number, a small one as often as it needs to last."""
    sample = {}
    for count in counts:
        times = max(1, 10 * counts[0] // count)
        gc.collect()
        watch = Stopwatch()
        for _ in range(times):
            await bulk(count)
        sample[str(count)] = watch.microseconds(count * times)["wall"]
    sample["growth"] = sample[str(counts[-1])] / sample[str(counts[0])]
    return sample


async def _work() -> None:
    await asyncio.sleep(0)


async def _tasks(count: int) -> None:
    loop = asyncio.get_running_loop()
    await asyncio.gather(*[loop.create_task(_work()) for _ in range(count)])


async def _amper(count: int) -> None:
    async with JobManager() as jobs:
        for _ in range(count):
            jobs.spawn("work", _work())
        if len(await jobs.wait_all()) != count:
            raise WrongResult("wait_all has lost a job")


async def _aiojobs(count: int) -> None:
    async with peer("aiojobs").Scheduler(limit=None) as scheduler:
        for job in [await scheduler.spawn(_work()) for _ in range(count)]:
            await job.wait()
