"""How much is measured."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final


@dataclass(frozen=True, slots=True, kw_only=True)
class Scale:
    """The sizes of all measures."""

    rounds: int
    commands: int
    """Commands of one candidate in one round."""
    megabytes: int
    """What the flooding command writes."""
    sequential: int
    """Coroutines that are started and waited for one after another."""
    bulk: tuple[int, int, int]
    """Numbers of coroutines that are in flight at once."""
    finished: int
    """Records whose memory is measured. Half as many events are in the log before: it must be full."""
    exits: int
    """Commands of which each one's end is timed."""
    processes: int
    """Processes that are killed at once."""
    trees: int
    """Trees of processes that are killed one after another."""
    beside: int
    """Commands that run beside a host which waits for its own children."""
    idle: int
    """Jobs that only wait while the manager is watched: half of them commands."""
    idle_seconds: float

    @property
    def few_rounds(self) -> int:
        """The rounds of what takes about a second."""
        return max(1, self.rounds // 3)

    @property
    def fewest_rounds(self) -> int:
        """The rounds of what takes several seconds."""
        return max(1, self.rounds // 5)

    def with_rounds(self, rounds: int) -> Scale:
        """Return the same sizes, measured so often."""
        return replace(self, rounds=rounds)


FULL: Final = Scale(
    rounds=15,
    commands=200,
    megabytes=2048,
    sequential=3_000,
    bulk=(1_000, 10_000, 100_000),
    finished=5_000,
    exits=20,
    processes=5_000,
    trees=500,
    beside=10_000,
    idle=1_000,
    idle_seconds=1.0,
)

QUICK: Final = Scale(
    rounds=5,
    commands=100,
    megabytes=256,
    sequential=1_000,
    bulk=(1_000, 5_000, 20_000),
    finished=5_000,
    exits=10,
    processes=1_000,
    trees=30,
    beside=1_000,
    idle=200,
    idle_seconds=0.5,
)
