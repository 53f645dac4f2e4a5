"""Idling: a manager with many jobs that all wait has nothing to do, and does nothing."""

from __future__ import annotations

import asyncio
import functools
import resource
import time
from typing import Final

from amper import JobManager
from benchmarks.descriptors import room_for
from benchmarks.floor_programs import floor_program
from benchmarks.harness import AMPER, Bench, Sample, WrongResult, on_loop
from benchmarks.outcome import Outcome, at_most

BARE: Final = "the bare loop"


def measure(bench: Bench) -> Outcome:
    """The loop itself wakes up at the end of the time; what amper adds to that is its own."""
    seconds = bench.scale.idle_seconds
    with room_for(bench.scale.idle // 2) as commands:
        candidates = {
            BARE: on_loop(functools.partial(_watched, seconds)),
            AMPER: on_loop(functools.partial(_amper, commands, seconds)),
        }
        samples = bench.compare("idle", candidates, bench.scale.fewest_rounds, warm_up=False)
    wakeups = samples.median(AMPER, "wakeups") - samples.median(BARE, "wakeups")
    jobs = f"{2 * commands:,} running jobs, {seconds:g} s"
    return Outcome(
        (
            samples.table(f"Idle: {jobs}, wakeups", "", "wakeups"),
            samples.table(f"Idle: {jobs}, our processor time", "µs", "processor"),
        ),
        (at_most(0, "", f"{jobs}: wakeups beside the loop's own", wakeups),),
    )


async def _amper(commands: int, seconds: float) -> Sample:
    async with JobManager() as jobs:
        for _ in range(commands):
            await jobs.start([floor_program("pause")])
            jobs.spawn("waiting", asyncio.Event().wait())
        # What has just begun has its first turn before we look.
        await asyncio.sleep(0)
        if await jobs.running_count() != 2 * commands:
            raise WrongResult("a job does not run")
        return await _watched(seconds)


async def _watched(seconds: float) -> Sample:
    switches, processor = _voluntary_switches(), time.process_time()
    await asyncio.sleep(seconds)
    return {
        "wakeups": float(_voluntary_switches() - switches),
        "processor": (time.process_time() - processor) * 1e6,
    }


def _voluntary_switches() -> int:
    """Return how often we have gone to sleep until now; to wake up is the other half of that."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_nvcsw
