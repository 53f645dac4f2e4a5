"""The report in `docs/`: the last full run on each Python, side by side.

The numbers are kept beside it as JSON, so that a run on one Python replaces its own column only.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

from benchmarks.outcome import Row, Run
from benchmarks.text import heading, number, reached, wanted

DOCS: Final = Path(__file__).parent.parent / "docs"
REPORT: Final = DOCS / "benchmarks.md"
NUMBERS: Final = DOCS / "benchmarks.json"

INTRODUCTION: Final = """\
# Benchmarks

`make bench` measures amper against its floor (C programs that do the same work with as little as
possible) and against its peers, and writes this page. The candidates of a table take turns: each runs
once in each round, in an order that is drawn anew for each round. A number is the median over the
rounds, and a ratio the median of the ratios within the rounds, since what else a machine does changes
slower than that. The columns are not to be compared with each other: they were measured one after
another.

Our own processor time is that of the process without its children. A wait for the loop's work is
the part of a delay that the process, with all its threads, has spent computing: what other
processes of the machine take from it is not counted.

A bare loop runs commands with the fewest lines of Python that can: no record, no bound, no kill. What
lies between it and amper is what a manager takes, and a ratio that it does not reach itself is out of
a manager's reach.

Another Python gets its column from `.venv-3.12/bin/python -m benchmarks`, in an environment that
has amper with its extra `bench`.
"""

Runs = Mapping[str, Run]
"""By version of Python, the oldest first."""

Cells = dict[str, dict[str, str]]
"""What a line is about, to version, to text."""


def add(version: str, run: Run) -> None:
    """Put a run on this version of Python in the place of the one before, and write the report."""
    runs = {**_read(), version: run}
    runs = {version: runs[version] for version in sorted(runs, key=_by_number)}
    DOCS.mkdir(exist_ok=True)
    numbers = {version: run.to_dict() for version, run in runs.items()}
    NUMBERS.write_text(json.dumps(numbers, indent=1, ensure_ascii=False) + "\n")
    REPORT.write_text("\n".join(_lines(runs)) + "\n")


def _read() -> Runs:
    if not NUMBERS.exists():
        return {}
    numbers = json.loads(NUMBERS.read_text())
    return {version: Run.from_dict(run) for version, run in numbers.items()}


def _by_number(version: str) -> list[int]:
    return [int(part) for part in version.split(".")]


def _lines(runs: Runs) -> Iterator[str]:
    yield INTRODUCTION
    yield "## Goals\n"
    yield from _markdown("Goal", _goals(runs), runs)
    for version, run in runs.items():
        yield from (f"\nOn {version}: {note}." for note in run.notes)
    yield "\n## Measures\n"
    yield "The median, the best round, and the median in relation to amper's."
    for title, cells in _measures(runs).items():
        yield f"\n### {title}\n"
        yield from _markdown("", cells, runs)
    yield "\n## Machine\n"
    yield from _markdown("", _facts(runs), runs)


def _goals(runs: Runs) -> Cells:
    cells: Cells = {}
    for version, run in runs.items():
        for goal in run.goals:
            verdict = reached(goal) if goal.is_met else f"**missed:** {reached(goal)}"
            cells.setdefault(f"{goal.title}: {wanted(goal)}", {})[version] = verdict
    return cells


def _measures(runs: Runs) -> dict[str, Cells]:
    found: dict[str, Cells] = {}
    for version, run in runs.items():
        for table in run.tables:
            cells = found.setdefault(heading(table), {})
            for row in table.rows:
                cells.setdefault(row.candidate, {})[version] = _numbers(row)
    return found


def _numbers(row: Row) -> str:
    text = f"{number(row.median)}, {number(row.best)}"
    return text if row.relative is None else f"{text}, {row.relative:.2f}x"


def _facts(runs: Runs) -> Cells:
    cells: Cells = {}
    for version, run in runs.items():
        for name, value in run.facts.items():
            cells.setdefault(name, {})[version] = value
    return cells


def _markdown(corner: str, cells: Cells, runs: Runs) -> Iterator[str]:
    yield f"| {' | '.join([corner, *runs])} |"
    yield f"|---{'|---' * len(runs)}|"
    for label, by_version in cells.items():
        yield f"| {' | '.join([label, *(by_version.get(version, '') for version in runs)])} |"
