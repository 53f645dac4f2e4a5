"""What was found, as lines for a terminal."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from benchmarks.outcome import Goal, Outcome, Table


def tables(outcome: Outcome) -> Iterator[str]:
    """Yield the lines of a measure's tables, and its notes."""
    for table in outcome.tables:
        yield from _table(table)
        yield ""
    for note in outcome.notes:
        yield f"Note: {note}."
        yield ""


def verdicts(goals: Sequence[Goal]) -> Iterator[str]:
    """Yield a line for each goal, and how many were met."""
    for goal in goals:
        met = "met" if goal.is_met else "MISSED"
        yield f"{met:6}  {reached(goal):>10}  {wanted(goal):18}  {goal.title}"
    yield ""
    yield f"{sum(goal.is_met for goal in goals)} of {len(goals)} goals are met."


def reached(goal: Goal) -> str:
    """Return what was reached, with its unit."""
    return _quantity(goal.value, goal.unit)


def wanted(goal: Goal) -> str:
    """Return what was aimed at."""
    return f"at {'least' if goal.is_floor else 'most'} {_quantity(goal.limit, goal.unit)}"


def number(value: float) -> str:
    """Return a number with three significant digits, or all before the point."""
    digits = 0 if abs(value) >= 100 or value == round(value) else 1 if abs(value) >= 10 else 2
    return f"{value:,.{digits}f}"


def _quantity(value: float, unit: str) -> str:
    separator = "" if unit in ("x", "") else " "
    return f"{number(value)}{separator}{unit}"


def heading(table: Table) -> str:
    """Return what a table is about, with its unit."""
    return f"{table.title}, {table.unit}" if table.unit else table.title


def _table(table: Table) -> Iterator[str]:
    width = max(len(row.candidate) for row in table.rows)
    yield heading(table)
    yield f"  {'':{width}}  {'median':>9}  {'best':>9}  {'x amper':>9}"
    for row in table.rows:
        relative = "" if row.relative is None else f"{row.relative:.2f}"
        numbers = f"{number(row.median):>9}  {number(row.best):>9}  {relative:>9}"
        yield f"  {row.candidate:{width}}  {numbers}".rstrip()
