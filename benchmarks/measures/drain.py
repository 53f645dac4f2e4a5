"""Draining: a command floods its output, and the last 10 MiB of it are kept."""

from __future__ import annotations

import asyncio
import functools
import subprocess
import time
from collections.abc import Awaitable, Callable
from subprocess import PIPE
from typing import Final

from amper import BoundedStream, JobManager
from amper.process.pump import LARGE_PIPE_SIZE
from benchmarks.floor_programs import floor_program
from benchmarks.harness import AMPER, Bench, Candidate, Sample, WrongResult, loops, on_loop
from benchmarks.outcome import Outcome, at_least, at_most
from benchmarks.ticker import Ticker

FLOOR: Final = "C: readv"
STREAM_READER: Final = "asyncio StreamReader"

BLOCK: Final = 64 * 1024
RING: Final = BoundedStream().stats().max_size
MEGABYTE: Final = 1024 * 1024

Work = Callable[[], Awaitable[int]]
"""Drains a command and returns how many bytes came."""

Watch = Callable[[Work], Awaitable[Sample]]
Taker = Callable[[bytes], object]


def measure(bench: Bench) -> Outcome:
    """Measure the rate alone, and then the stalls of a loop that has something else to do."""
    flood = [floor_program("writer"), str(bench.scale.megabytes), str(BLOCK)]
    size = bench.scale.megabytes * MEGABYTE
    rates = bench.compare("drain", _rates(flood, size), bench.scale.few_rounds)
    stalls = bench.compare(
        "drain, stalls", _stalls(flood, size, bench.scale.idle_seconds), bench.scale.few_rounds
    )
    to_reader = rates.ratio(AMPER, STREAM_READER, "rate")
    return Outcome(
        (
            rates.table("Drain: 64 KiB writes, the last 10 MiB kept", "GB/s", "rate", max),
            stalls.table("Drain: one call in a hundred waits for the loop's work", "ms", "ours"),
            stalls.table("Drain: the longest wait for the loop's work", "ms", "our longest"),
            stalls.table("Drain: the longest wait in all", "ms", "longest"),
        ),
        (
            at_least(0.9, "x", "drain: amper to C", rates.ratio(AMPER, FLOOR, "rate")),
            at_least(4, "x", "drain: amper to asyncio's StreamReader", to_reader),
            at_most(1, "ms", "drain: the loop's stalls, 99%", stalls.median(AMPER, "ours")),
        ),
    )


def _rates(flood: list[str], size: int) -> dict[str, Candidate]:
    watch = functools.partial(_rate, size)
    candidates: dict[str, Candidate] = {FLOOR: functools.partial(_floor, flood, size)}
    for where, loop_factory in loops().items():
        candidates[AMPER + where] = on_loop(functools.partial(_amper, flood, watch), loop_factory)
    for name, taker in _takers().items():
        candidates[name] = on_loop(functools.partial(_stream_reader, flood, taker, watch))
    return candidates


def _stalls(flood: list[str], size: int, seconds: float) -> dict[str, Candidate]:
    watch = functools.partial(_lateness, size)
    taker = _takers()[STREAM_READER]
    return {
        AMPER: on_loop(functools.partial(_amper, flood, watch)),
        STREAM_READER: on_loop(functools.partial(_stream_reader, flood, taker, watch)),
        "a loop with nothing to do": on_loop(functools.partial(_nothing, seconds, size)),
    }


def _takers() -> dict[str, Callable[[], Taker]]:
    """Return what a StreamReader's bytes are given to. Keeping the last is what the others do."""
    return {
        STREAM_READER: lambda: BoundedStream().write,
        f"{STREAM_READER}, nothing kept": lambda: len,
    }


def _floor(flood: list[str], size: int) -> Sample:
    arguments = [floor_program("drain"), str(LARGE_PIPE_SIZE), str(RING), *flood]
    done = subprocess.run(arguments, stdout=PIPE, check=True)
    seconds, came = done.stdout.split()
    _check(int(came), size)
    return {"rate": size / float(seconds) / 1e9}


async def _amper(flood: list[str], watch: Watch) -> Sample:
    async with JobManager() as jobs:

        async def work() -> int:
            result = await jobs.wait(await jobs.start(flood))
            return 0 if result is None else result.out_dropped + len(result.out)

        return await watch(work)


async def _stream_reader(flood: list[str], taker: Callable[[], Taker], watch: Watch) -> Sample:
    async def work() -> int:
        take, came = taker(), 0
        process = await asyncio.create_subprocess_exec(*flood, stdout=PIPE)
        assert process.stdout is not None
        while data := await process.stdout.read(BLOCK):
            take(data)
            came += len(data)
        await process.wait()
        return came

    return await watch(work)


async def _nothing(seconds: float, size: int) -> Sample:
    async def work() -> int:
        await asyncio.sleep(seconds)
        return size

    return await _lateness(size, work)


async def _rate(size: int, work: Work) -> Sample:
    begin = time.perf_counter()
    _check(await work(), size)
    return {"rate": size / (time.perf_counter() - begin) / 1e9}


async def _lateness(size: int, work: Work) -> Sample:
    with Ticker() as ticker:
        _check(await work(), size)
    return ticker.milliseconds()


def _check(came: int, size: int) -> None:
    if came != size:
        raise WrongResult(f"{came} bytes came instead of {size}")
