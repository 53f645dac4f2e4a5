"""Kills: trees of processes that do everything to escape, and what of them survives.

Survivors are counted by two means that know nothing of each other: by the pids that the processes
wrote down themselves, and by their command lines. Another tree stands by, and must not lose anybody.
"""

from __future__ import annotations

import asyncio
import os
import signal
import statistics
import tempfile
import time
from pathlib import Path
from typing import Final

from amper import JobManager
from amper.values import Containment, JobId
from benchmarks.floor_programs import floor_program
from benchmarks.harness import Bench
from benchmarks.outcome import Goal, Outcome, Row, Table, at_most

GRACE_PERIOD: Final = 0.02
DEPTH: Final = 3
COMETS: Final = {"no comets": None, "comets of 300 µs": 300, "comets of 30 µs": 30}
"""A comet forks and exits, for ever, after so many microseconds: whoever looks at it is late."""

LEVELS: Final[tuple[Containment, ...]] = ("tree", "group")


def measure(bench: Bench) -> Outcome:
    """Kill trees under both levels of containment. Only `tree` promises that nobody is left."""
    times: list[Row] = []
    survivors: list[Row] = []
    goals: list[Goal] = []
    for level in LEVELS:
        for name, interval in COMETS.items():
            bench.show(f"trees: containment {level}, {name}")
            count = bench.scale.trees if interval is None else max(2, bench.scale.trees // 5)
            with tempfile.TemporaryDirectory() as directory:
                kills = asyncio.run(_kill_trees(Path(directory), level, count, interval))
            what = f"{level}, {count} trees, {name}"
            times.append(Row(what, statistics.median(kills.times), min(kills.times), None))
            survivors.append(Row(f"{what}: by pid", kills.by_pid, kills.by_pid, None))
            survivors.append(Row(f"{what}: by command", kills.by_command, kills.by_command, None))
            goals.append(at_most(0, "", f"{what}: bystanders lost", kills.bystanders_lost))
            if level == "tree":
                p99 = statistics.quantiles(kills.times, n=100)[98]
                goals.append(at_most(0, "", f"{what}: survivors", kills.by_pid + kills.by_command))
                goals.append(at_most(100, "ms", f"{what}: 99% of the kills", p99))
    tables = (
        Table("Trees: a kill, after the grace period", "ms", tuple(times)),
        Table("Trees: survivors", "processes", tuple(survivors)),
    )
    return Outcome(tables, tuple(goals))


class _Kills:
    def __init__(self) -> None:
        self.times: list[float] = []
        self.by_pid = 0
        self.by_command = 0
        self.bystanders_lost = 0


async def _kill_trees(
    directory: Path, level: Containment, count: int, interval: int | None
) -> _Kills:
    kills = _Kills()
    async with JobManager(containment=level) as jobs:
        bystander = directory / "bystander"
        await _grow(jobs, bystander, seed=0, interval=None)
        beside = len(_of_command(bystander))
        for seed in range(1, count + 1):
            log = directory / f"tree{seed}"
            id = await _grow(jobs, log, seed=seed, interval=interval)
            begin = time.perf_counter()
            await jobs.kill(id, grace_period=GRACE_PERIOD)
            kills.times.append(max(0.0, time.perf_counter() - begin - GRACE_PERIOD) * 1000)
            kills.by_pid += len(_of_log(log))
            kills.by_command += len(_of_command(log))
            _end(log)
        kills.bystanders_lost = beside - len(_of_command(bystander))
    _end(bystander)
    return kills


async def _grow(jobs: JobManager, log: Path, *, seed: int, interval: int | None) -> JobId:
    """Start a tree and wait until all of it is there."""
    words = [floor_program("tree"), str(seed), str(DEPTH), str(log)]
    id = await jobs.start([*words, *([] if interval is None else [str(interval)])])
    async for _ in jobs.follow(id):
        break
    return id


def _of_log(log: Path) -> list[int]:
    """Return those that live of the processes that wrote themselves down."""
    program = os.path.realpath(floor_program("tree"))
    return [pid for pid in map(int, log.read_text().split()) if _program_of(pid) == program]


def _of_command(log: Path) -> list[int]:
    """Return the living processes that have the log's name in their command line."""
    name = os.fsencode(log)
    found = []
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                words = Path("/proc", entry, "cmdline").read_bytes().split(b"\0")
            except OSError:
                continue
            if name in words:
                found.append(int(entry))
    return found


def _program_of(pid: int) -> str | None:
    try:
        return os.readlink(f"/proc/{pid}/exe")
    except OSError:
        return None


def _end(log: Path) -> None:
    """End what survived, which may fork faster than we look."""
    while found := _of_command(log):
        for signal_number in (signal.SIGSTOP, signal.SIGKILL):
            for pid in found:
                try:
                    os.kill(pid, signal_number)
                except ProcessLookupError:
                    continue
