"""What was found: tables of candidates, and how amper stands against its goals. Plain data."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Row:
    """One candidate. `relative` is its number in relation to amper's, where there is such a thing."""

    candidate: str
    median: float
    best: float
    relative: float | None


@dataclass(frozen=True, slots=True)
class Table:
    """Candidates that did the same work."""

    title: str
    unit: str
    rows: tuple[Row, ...]


@dataclass(frozen=True, slots=True)
class Goal:
    """What was aimed at, and what was reached."""

    title: str
    value: float
    limit: float
    unit: str
    is_floor: bool
    """Whether the value has to be at least the limit, and not at most."""

    @property
    def is_met(self) -> bool:
        """Whether the goal was reached."""
        return self.value >= self.limit if self.is_floor else self.value <= self.limit


def at_most(limit: float, unit: str, title: str, value: float) -> Goal:
    """Return a goal that is met by what is not above the limit."""
    return Goal(title, value, limit, unit, is_floor=False)


def at_least(limit: float, unit: str, title: str, value: float) -> Goal:
    """Return a goal that is met by what is not below the limit."""
    return Goal(title, value, limit, unit, is_floor=True)


@dataclass(frozen=True, slots=True)
class Outcome:
    """All that one measure has found."""

    tables: tuple[Table, ...]
    goals: tuple[Goal, ...]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Run:
    """All that one run has found. `facts` say on what, by what each thing is called."""

    facts: dict[str, str]
    outcomes: tuple[Outcome, ...]

    @property
    def tables(self) -> list[Table]:
        """The tables of all measures."""
        return [table for outcome in self.outcomes for table in outcome.tables]

    @property
    def goals(self) -> list[Goal]:
        """The goals of all measures."""
        return [goal for outcome in self.outcomes for goal in outcome.goals]

    @property
    def notes(self) -> list[str]:
        """What else there is to say."""
        return [note for outcome in self.outcomes for note in outcome.notes]

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON has it."""
        return asdict(self)

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Run:
        """Read what `to_dict` has written."""
        return cls(data["facts"], tuple(_outcome(outcome) for outcome in data["outcomes"]))


def _outcome(data: dict[str, Any]) -> Outcome:
    tables = (
        Table(table["title"], table["unit"], tuple(Row(**row) for row in table["rows"]))
        for table in data["tables"]
    )
    goals = (Goal(**goal) for goal in data["goals"])
    return Outcome(tuple(tables), tuple(goals), tuple(data["notes"]))
