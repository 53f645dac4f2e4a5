"""The steps of many cascades at once: each comes at its own time, whoever is hurried and in what order."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Sequence
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from amper.manager.killing import KILL_LIMIT, Cascade
from amper.manager.steps import Steps
from tests.virtual_clock import run_virtually

Kill = tuple[int, int, tuple[tuple[int, int], ...]]
"""When it begins, its grace period, and who hurries it: when, and how much grace that one gives."""

ticks = st.integers(0, 12)
kills = st.lists(
    st.tuples(ticks, ticks, st.lists(st.tuples(ticks, ticks), max_size=2).map(tuple)), max_size=8
)


class Deaf:
    """Work that does not end by being asked, and notes when it is."""

    token = ended_by = None
    groups: Sequence[object] = ()
    watched_groups: Sequence[object] = ()
    is_contained = False
    has_work = True

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.cascade: Cascade | None = None
        self.told: list[float] = []
        self.now = loop.time

    def note(self) -> None:
        self.told.append(self.now())

    ask_to_end = insist = give_up = note

    def survivors(self) -> set[int]:
        return set()

    def cascade_ended(self) -> None:
        self.cascade = None


def expected(kill: Kill) -> list[float]:
    """Return when it is asked, when one insists, and when it is given up."""
    begin, grace, hurries = kill
    deadline = begin + grace
    for when, hurried in sorted(hurries):
        # Later than the deadline, or after it, nobody hurries anything.
        if begin <= when < deadline and when + hurried < deadline:
            deadline, grace = when + hurried, hurried
    return [begin, deadline, deadline + min(grace, KILL_LIMIT)]


async def told_of(kills: list[Kill]) -> list[list[float]]:
    loop = asyncio.get_running_loop()
    steps = Steps(loop)
    works = [Deaf(loop) for _ in kills]

    def begin(work: Any, grace: int) -> None:
        work.cascade = Cascade(work, loop, None, steps, grace)

    def hurry(work: Deaf, grace: int) -> None:
        if work.cascade is not None:
            work.cascade.hurry(grace)

    for work, (start, grace, hurries) in zip(works, kills, strict=True):
        loop.call_at(start, begin, work, grace)
        for when, hurried in hurries:
            # When a deadline falls on the same moment it comes first or last: neither is wrong.
            loop.call_at(when + 0.5, hurry, work, hurried)
    await asyncio.sleep(100)
    assert steps.any_cascade() is None
    assert steps._alarm == math.inf
    return [work.told for work in works]


@given(kills)
def test_each_step_comes_at_its_time(kills: list[Kill]) -> None:
    late: list[Any] = [
        (start, grace, tuple((when + 0.5, hurried) for when, hurried in hurries))
        for start, grace, hurries in kills
    ]
    assert run_virtually(told_of(kills)) == [expected(kill) for kill in late]
