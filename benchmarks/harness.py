"""Runs candidates in turns, so that all of them meet the same noise, and keeps what they took.

In each round every candidate runs once, in an order drawn anew. Two are compared by their ratio
within a round, and the median of those: what else the machine does changes slower than that.
"""

from __future__ import annotations

import asyncio
import gc
import importlib
import random
import statistics
import time
from collections.abc import Callable, Coroutine, Mapping
from typing import Any, Final

from benchmarks.outcome import Row, Table
from benchmarks.progress import Progress
from benchmarks.scale import Scale

AMPER: Final = "amper"

Sample = dict[str, float]
"""What one run of a candidate took: a number for each quantity."""

Candidate = Callable[[], Sample]


class WrongResult(Exception):
    """A candidate did not do its work, so that its time means nothing."""


class Samples:
    """What every candidate took in every round."""

    def __init__(self, rounds: Mapping[str, list[Sample]]) -> None:
        self._rounds = rounds

    def all(self, candidate: str, quantity: str) -> list[float]:
        """Return a candidate's numbers in the order of the rounds."""
        return [sample[quantity] for sample in self._rounds[candidate]]

    def median(self, candidate: str, quantity: str) -> float:
        """Return the median over the rounds."""
        return statistics.median(self.all(candidate, quantity))

    def ratio(self, candidate: str, other: str, quantity: str) -> float:
        """Return how many times the other's number a candidate's is."""
        pairs = zip(self.all(candidate, quantity), self.all(other, quantity), strict=True)
        return statistics.median(mine / theirs for mine, theirs in pairs)

    def table(
        self, title: str, unit: str, quantity: str, best: Callable[[list[float]], float] = min
    ) -> Table:
        """Return the numbers of one quantity, each also in relation to amper's."""
        rows = [
            Row(
                candidate,
                self.median(candidate, quantity),
                best(self.all(candidate, quantity)),
                self.ratio(candidate, AMPER, quantity),
            )
            for candidate, samples in self._rounds.items()
            if quantity in samples[0]
        ]
        return Table(title, unit, tuple(rows))


class Bench:
    """What a measure is given: how much to do, and the way to compare candidates."""

    def __init__(self, scale: Scale, progress: Progress) -> None:
        self.scale = scale
        self._progress = progress

    def show(self, text: str) -> None:
        """Tell whoever waits what is being done now."""
        self._progress.show(text)

    def compare(
        self, name: str, candidates: Mapping[str, Candidate], rounds: int, *, warm_up: bool = True
    ) -> Samples:
        """Run all candidates once in each round; a first round, to warm up, does not count."""
        taken: dict[str, list[Sample]] = {candidate: [] for candidate in candidates}
        order = list(candidates)
        for round in range(0 if warm_up else 1, rounds + 1):
            random.shuffle(order)
            for candidate in order:
                self.show(f"{name}, round {round} of {rounds}: {candidate}")
                # Nobody pays for the garbage of those before.
                gc.collect()
                sample = candidates[candidate]()
                if round > 0:
                    taken[candidate].append(sample)
        return Samples(taken)


class Stopwatch:
    """Wall time, and the processor time of this process without its children, from its making on."""

    def __init__(self) -> None:
        self._processor = time.process_time()
        self._wall = time.perf_counter()

    def microseconds(self, count: int) -> Sample:
        """Return the time for each of `count`."""
        wall = time.perf_counter() - self._wall
        processor = time.process_time() - self._processor
        return {"wall": wall / count * 1e6, "processor": processor / count * 1e6}


LoopFactory = Callable[[], asyncio.AbstractEventLoop]


def loops() -> dict[str, LoopFactory]:
    """Return the event loops to measure on, by what is put behind a candidate's name."""
    found: dict[str, LoopFactory] = {"": asyncio.new_event_loop}
    uvloop = peer("uvloop")
    if uvloop is not None:
        found[" on uvloop"] = uvloop.new_event_loop
    return found


def on_loop(
    main: Callable[[], Coroutine[Any, Any, Sample]],
    loop_factory: LoopFactory = asyncio.new_event_loop,
) -> Candidate:
    """Return a candidate that runs `main` on a fresh event loop."""

    def run() -> Sample:
        with asyncio.Runner(loop_factory=loop_factory) as runner:
            return runner.run(main())

    return run


def peer(name: str) -> Any:
    """Return a library to compare with, or None where it is not installed."""
    try:
        return importlib.import_module(name)
    except ImportError:
        return None
