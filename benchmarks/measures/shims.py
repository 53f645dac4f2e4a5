"""Shims: what a contained command costs, in time and memory, and how soon it is seen to stop."""

from __future__ import annotations

import asyncio
import functools
import os
import re
import signal
import statistics
import time
from pathlib import Path
from typing import Final

from amper import DEVNULL, JobManager
from amper.values import Containment, JobId
from benchmarks.floor_programs import floor_program
from benchmarks.harness import AMPER, Bench, Sample, on_loop
from benchmarks.outcome import Outcome, Row, Table, at_most

CONTAINED: Final = "amper, contained"
LEVELS: Final[dict[str, Containment]] = {AMPER: "group", CONTAINED: "tree"}

SMALLEST: Final = ["/bin/true"]


def measure(bench: Bench) -> Outcome:
    """Compare with a command that is our own child; nobody else contains anything."""
    count = bench.scale.exits
    candidates = {
        name: on_loop(functools.partial(_one_by_one, level, count))
        for name, level in LEVELS.items()
    }
    samples = bench.compare("shims: one command", candidates, bench.scale.rounds)
    bench.show("shims: memory")
    # What they share with their keeper is shared among all of them.
    shims = max(2, bench.scale.idle // 5)
    memory = asyncio.run(_memory(shims))
    bench.show("shims: stops from outside")
    stops, continues = asyncio.run(_stops(count * bench.scale.few_rounds))
    tables = (
        samples.table("Contained: /bin/true, from its start to its end", "ms", "wall"),
        Table(
            f"Contained: the memory of a shim, of {shims}",
            "KiB",
            tuple(
                Row(what, statistics.median(values), min(values), None)
                for what, values in memory.items()
            ),
        ),
        Table(
            "Contained: from a signal of somebody else to the table",
            "ms",
            tuple(
                Row(what, statistics.median(values), min(values), None)
                for what, values in (("stop", stops), ("continue", continues))
            ),
        ),
    )
    goals = (
        at_most(6, "ms", "contained: /bin/true, start to end", samples.median(CONTAINED, "wall")),
        at_most(
            1.2,
            "MB",
            f"contained: a shim's memory, of {shims}",
            statistics.median(memory["PSS"]) * 1024 / 1e6,
        ),
        at_most(5, "ms", "contained: a stop from outside is seen", statistics.median(stops)),
        at_most(
            5, "ms", "contained: a continue from outside is seen", statistics.median(continues)
        ),
    )
    return Outcome(tables, goals)


async def _one_by_one(level: Containment, count: int) -> Sample:
    """Run one command after the other; the keeper is there before."""
    async with JobManager(containment=level) as jobs:
        await jobs.wait(await jobs.start(SMALLEST))
        times = []
        for _ in range(count):
            begin = time.perf_counter()
            await jobs.wait(await jobs.start(SMALLEST))
            times.append((time.perf_counter() - begin) * 1000)
        return {"wall": statistics.median(times)}


async def _memory(count: int) -> dict[str, list[float]]:
    """Return what each of so many shims has of its own, and with its part of what is shared."""
    async with JobManager(containment="tree") as jobs:
        pids = [await _pid_of(jobs, await _pausing(jobs)) for _ in range(count)]
        # A leader's parent is its shim.
        rollups = [_rollup_of(_parent_of(pid)) for pid in pids]
        return {
            "PSS": [_sum(rollup, "Pss") for rollup in rollups],
            "private": [_sum(rollup, "Private_Clean", "Private_Dirty") for rollup in rollups],
        }


async def _stops(count: int) -> tuple[list[float], list[float]]:
    """Return the milliseconds after which each stop, and each continue, is in the table."""
    found: dict[str, list[float]] = {"stopped": [], "resumed": []}
    async with JobManager(containment="tree") as jobs:
        id = await _pausing(jobs)
        pid = await _pid_of(jobs, id)
        events = aiter(jobs.events(None))
        for _ in range(count):
            for number, kind in ((signal.SIGSTOP, "stopped"), (signal.SIGCONT, "resumed")):
                begin = time.perf_counter()
                os.kill(pid, number)
                while (await anext(events)).kind != kind:
                    pass
                found[kind].append((time.perf_counter() - begin) * 1000)
    return found["stopped"], found["resumed"]


async def _pausing(jobs: JobManager) -> JobId:
    return await jobs.start([floor_program("pause")], stdout=DEVNULL, stderr=DEVNULL)


async def _pid_of(jobs: JobManager, id: JobId) -> int:
    process = await jobs.get_process_info(id)
    assert process is not None
    return process[0]


def _parent_of(pid: int) -> int:
    stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    return int(stat.rpartition(")")[2].split()[1])


def _rollup_of(pid: int) -> str:
    return Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii")


def _sum(rollup: str, *names: str) -> float:
    """Return the KiB of these lines together."""
    found = re.findall(rf"^(?:{'|'.join(names)}): +(\d+) kB$", rollup, re.MULTILINE)
    return float(sum(map(int, found)))
