"""Exits: the time from a command's last act to the moment when its waiter goes on."""

from __future__ import annotations

import asyncio
import functools
import os
import statistics
import subprocess
import time
from subprocess import DEVNULL, PIPE
from types import TracebackType
from typing import Final, Self

from amper import JobManager
from benchmarks.floor_programs import floor_program
from benchmarks.harness import AMPER, Bench, Candidate, Sample, loops, on_loop
from benchmarks.outcome import Outcome, at_most

FLOOR: Final = "a blocking waitpid"


def measure(bench: Bench) -> Outcome:
    """The command writes its stamp to a pipe that nobody reads before it is over."""
    count = bench.scale.exits
    candidates: dict[str, Candidate] = {FLOOR: functools.partial(_waitpid, count)}
    for where, loop_factory in loops().items():
        candidates[AMPER + where] = on_loop(functools.partial(_amper, count), loop_factory)
    candidates["asyncio subprocess"] = on_loop(functools.partial(_asyncio, count))
    samples = bench.compare("exits", candidates, bench.scale.rounds)
    ratio = samples.ratio(AMPER, FLOOR, "delay")
    return Outcome(
        (samples.table("Exit: from a command's last act to its waiter", "µs", "delay"),),
        (at_most(2, "x", "exit to waiter: amper to waitpid", ratio),),
    )


def _waitpid(count: int) -> Sample:
    with _Stamps() as stamps:
        for _ in range(count):
            process = subprocess.Popen(stamps.command, stdin=DEVNULL, stdout=stamps.writable)
            os.waitpid(process.pid, 0)
            stamps.compare()
            process.returncode = 0
        return stamps.sample()


async def _amper(count: int) -> Sample:
    with _Stamps() as stamps:
        async with JobManager() as jobs:
            for _ in range(count):
                await jobs.wait(await jobs.start(stamps.command, stdout=stamps.writable))
                stamps.compare()
        return stamps.sample()


async def _asyncio(count: int) -> Sample:
    with _Stamps() as stamps:
        for _ in range(count):
            process = await asyncio.create_subprocess_exec(
                *stamps.command, stdin=DEVNULL, stdout=stamps.writable, stderr=PIPE
            )
            await process.communicate()
            stamps.compare()
        return stamps.sample()


class _Stamps:
    """A pipe for the stamps, and how long ago each of them was when it was compared."""

    def __init__(self) -> None:
        self.command = [floor_program("stamp")]
        self._readable, self.writable = os.pipe()
        self._delays: list[float] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        os.close(self._readable)
        os.close(self.writable)

    def compare(self) -> None:
        """Compare the stamp of the command that has just ended with the time now."""
        now = time.monotonic_ns()
        self._delays.append((now - int(os.read(self._readable, 100))) / 1e3)

    def sample(self) -> Sample:
        """Return the median delay in microseconds."""
        return {"delay": statistics.median(self._delays)}
