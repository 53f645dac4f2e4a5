"""Processes: very many of them, ended at once."""

from __future__ import annotations

import functools
import gc
import os
import subprocess
import threading
import time
from dataclasses import replace
from subprocess import PIPE
from typing import Final

from amper import JobManager
from benchmarks.descriptors import room_for
from benchmarks.floor_programs import floor_program
from benchmarks.harness import AMPER, Bench, Candidate, Sample, WrongResult, on_loop
from benchmarks.outcome import Outcome, at_most
from benchmarks.ticker import Ticker

FLOOR: Final = "C: kill, waitpid"
WITHOUT_COLLECTOR: Final = "amper, garbage collector off"


def measure(bench: Bench) -> Outcome:
    """Measure as many as there may be."""
    wanted = bench.scale.processes
    with room_for(wanted) as count:
        outcome = _compared(bench, count)
    if count == wanted:
        return outcome
    note = f"the limit on open files allows {count:,} processes instead of {wanted:,}"
    return replace(outcome, notes=(note,))


def _compared(bench: Bench, count: int) -> Outcome:
    candidates: dict[str, Candidate] = {
        FLOOR: functools.partial(_floor, count),
        AMPER: on_loop(functools.partial(_amper, count)),
        WITHOUT_COLLECTOR: on_loop(functools.partial(_without_collector, count)),
    }
    samples = bench.compare("processes", candidates, bench.scale.fewest_rounds, warm_up=False)
    left = max(samples.all(AMPER, "left"))
    return Outcome(
        (
            samples.table(f"{count:,} processes: from SIGTERM to all reaped", "µs each", "each"),
            samples.table(
                f"{count:,} processes: longest wait for the loop's work", "ms", "our longest"
            ),
            samples.table(f"{count:,} processes: longest wait in all", "ms", "longest"),
        ),
        (
            at_most(100, "µs", f"{count:,} processes: to end each", samples.median(AMPER, "each")),
            at_most(10, "ms", f"{count:,} processes: stall", samples.median(AMPER, "our longest")),
            at_most(0, "", f"{count:,} processes: descriptors and zombies left", left),
        ),
    )


def _floor(count: int) -> Sample:
    arguments = [floor_program("kill"), str(count), floor_program("pause")]
    done = subprocess.run(arguments, stdout=PIPE, check=True)
    return {"each": float(done.stdout)}


async def _amper(count: int) -> Sample:
    before = _held()
    async with JobManager() as jobs:
        for _ in range(count):
            await jobs.start([floor_program("pause")])
        if await jobs.running_count() != count:
            raise WrongResult("a command does not run")
        with Ticker() as ticker:
            begin = time.perf_counter()
            await jobs.aclose()
            seconds = time.perf_counter() - begin
    return {
        "each": seconds / count * 1e6,
        "left": float(_held() - before),
    } | ticker.milliseconds()


async def _without_collector(count: int) -> Sample:
    """A pass of Python's collector over so many objects is longer than any step of ours."""
    gc.disable()
    try:
        return await _amper(count)
    finally:
        gc.enable()


def _held() -> int:
    """Return how many descriptors and children we have, zombies included."""
    with open(f"/proc/self/task/{threading.get_native_id()}/children") as file:
        return len(os.listdir("/proc/self/fd")) + len(file.read().split())
