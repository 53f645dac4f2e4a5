"""What is measured: one file for each measure."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from benchmarks.harness import Bench
from benchmarks.measures import (
    beside,
    commands,
    coroutines,
    drain,
    exits,
    growth,
    idle,
    processes,
    record,
    shims,
    trees,
)
from benchmarks.outcome import Outcome

MEASURES: Final[dict[str, Callable[[Bench], Outcome]]] = {
    "commands": commands.measure,
    "drain": drain.measure,
    "exits": exits.measure,
    "processes": processes.measure,
    "idle": idle.measure,
    "coroutines": coroutines.measure,
    "growth": growth.measure,
    "record": record.measure,
    "beside": beside.measure,
    "shims": shims.measure,
    "trees": trees.measure,
}
"""By the names that the command line knows, in the order in which they run."""
