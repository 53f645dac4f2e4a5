"""Commands: start, capture both outputs, wait, with a bounded number of them in flight.

Every candidate gives each command a session of its own: that is part of the work, and the kernel
may share the processors out among sessions.
"""

from __future__ import annotations

import asyncio
import functools
import subprocess
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from subprocess import DEVNULL, PIPE
from typing import Final

from amper import JobManager
from benchmarks.bare import CAN_RUN, BareLoop
from benchmarks.floor_programs import floor_program
from benchmarks.harness import (
    AMPER,
    Bench,
    Candidate,
    Sample,
    Stopwatch,
    WrongResult,
    loops,
    on_loop,
    peer,
)
from benchmarks.outcome import Goal, Outcome, Table, at_least, at_most

FLOOR: Final = "C: posix_spawn, epoll"
ASYNCIO: Final = "asyncio subprocess"
BARE: Final = "a bare loop, no records"

Command = Sequence[str]


def measure(bench: Bench) -> Outcome:
    """Compare on a child that does nothing at all, and on the smallest of ordinary programs."""
    tables: list[Table] = []
    goals: list[Goal] = []
    for child, command, limit in (
        ("a child without libc", [floor_program("exit0")], 1.6),
        ("/bin/true", ["/bin/true"], 1.15),
    ):
        for in_flight in (16, 64):
            work = f"{child}, {in_flight} in flight"
            candidates = _candidates(command, bench.scale.commands, in_flight)
            samples = bench.compare(f"commands: {work}", candidates, bench.scale.rounds)
            tables.append(samples.table(f"Command: {work}", "µs", "wall"))
            tables.append(samples.table(f"Command: {work}, our processor time", "µs", "processor"))
            ratio = samples.ratio(AMPER, FLOOR, "wall")
            goals.append(at_most(limit, "x", f"{work}: amper to C", ratio))
            if child == "/bin/true":
                continue
            ratio = samples.ratio(ASYNCIO, AMPER, "wall")
            goals.append(at_least(2, "x", f"{work}: asyncio's subprocess to amper", ratio))
            processor = samples.median(AMPER, "processor")
            goals.append(at_most(120, "µs", f"{work}: our processor time", processor))
    return Outcome(tuple(tables), tuple(goals))


def _candidates(command: Command, count: int, in_flight: int) -> dict[str, Candidate]:
    work = (command, count, in_flight)
    candidates: dict[str, Candidate] = {FLOOR: functools.partial(_floor, *work)}
    for where, loop_factory in loops().items():
        candidates[AMPER + where] = on_loop(functools.partial(_amper, *work), loop_factory)
    if CAN_RUN:
        candidates[BARE] = on_loop(functools.partial(_bare, *work))
    candidates["subprocess.Popen"] = functools.partial(_popen, *work)
    candidates[ASYNCIO] = on_loop(functools.partial(_asyncio, *work))
    if peer("anyio") is not None:
        candidates["anyio"] = on_loop(functools.partial(_anyio, *work))
    if peer("trio") is not None:
        candidates["trio"] = functools.partial(_trio, *work)
    return candidates


def _floor(command: Command, count: int, in_flight: int) -> Sample:
    arguments = [floor_program("spawn"), str(count), str(in_flight), *command]
    done = subprocess.run(arguments, stdout=PIPE, check=True)
    wall, processor = map(float, done.stdout.split())
    return {"wall": wall, "processor": processor}


async def _amper(command: Command, count: int, in_flight: int) -> Sample:
    async with JobManager() as jobs:

        async def one() -> None:
            result = await jobs.wait(await jobs.start(command))
            _check(None if result is None else result.code)

        return await _by_workers(one, count, in_flight)


async def _bare(command: Command, count: int, in_flight: int) -> Sample:
    with BareLoop() as loop:

        async def one() -> None:
            _check(await loop.start(command))

        return await _by_workers(one, count, in_flight)


async def _asyncio(command: Command, count: int, in_flight: int) -> Sample:
    async def one() -> None:
        process = await asyncio.create_subprocess_exec(
            *command, stdin=DEVNULL, stdout=PIPE, stderr=PIPE, start_new_session=True
        )
        await process.communicate()
        _check(process.returncode)

    return await _by_workers(one, count, in_flight)


async def _anyio(command: Command, count: int, in_flight: int) -> Sample:
    run_process = peer("anyio").run_process

    async def one() -> None:
        _check((await run_process(command, stdin=DEVNULL, start_new_session=True)).returncode)

    return await _by_workers(one, count, in_flight)


async def _by_workers(one: Callable[[], Awaitable[None]], count: int, in_flight: int) -> Sample:
    """Do `one` as many times as `count` says, `in_flight` at a time."""
    turns = iter(range(count))

    async def worker() -> None:
        for _ in turns:
            await one()

    watch = Stopwatch()
    async with asyncio.TaskGroup() as group:
        for _ in range(in_flight):
            group.create_task(worker())
    return watch.microseconds(count)


def _trio(command: Command, count: int, in_flight: int) -> Sample:
    trio = peer("trio")
    turns = iter(range(count))

    async def worker() -> None:
        for _ in turns:
            done = await trio.run_process(
                command,
                stdin=DEVNULL,
                capture_stdout=True,
                capture_stderr=True,
                start_new_session=True,
            )
            _check(done.returncode)

    async def main() -> Sample:
        watch = Stopwatch()
        async with trio.open_nursery() as nursery:
            for _ in range(in_flight):
                nursery.start_soon(worker)
        return watch.microseconds(count)

    sample: Sample = trio.run(main)
    return sample


def _popen(command: Command, count: int, in_flight: int) -> Sample:
    """It has no loop: the oldest is waited for when there are as many as may be."""
    running: deque[subprocess.Popen[bytes]] = deque()
    watch = Stopwatch()
    for _ in range(count):
        if len(running) == in_flight:
            _finish(running.popleft())
        running.append(
            subprocess.Popen(
                command, stdin=DEVNULL, stdout=PIPE, stderr=PIPE, start_new_session=True
            )
        )
    while running:
        _finish(running.popleft())
    return watch.microseconds(count)


def _finish(process: subprocess.Popen[bytes]) -> None:
    process.communicate()
    _check(process.returncode)


def _check(code: int | None) -> None:
    if code != 0:
        raise WrongResult(f"a command ended with {code}")
