"""The private epoll: who is told, when, and on which loop."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Iterator
from functools import partial

import pytest

from amper.process.poller import (
    EVENTS_PER_TURN,
    HUNG_UP,
    LARGE_READS_PER_TURN,
    READABLE,
    TURNS_TO_REST,
    Poller,
)
from tests.handshakes import turns, turns_until
from tests.support import LOOPS, on_all_loops, run


class Pipe:
    """A pipe and what was told of its read end."""

    def __init__(self, poller: Poller, told: list[Pipe] | None = None) -> None:
        self.read_end, self.write_end = os.pipe()
        self.poller = poller
        self.events: list[int] = []
        self.told: list[Pipe] = [] if told is None else told
        poller.add(self.read_end, READABLE, self)

    def ready(self, fd: int, events: int) -> None:
        assert fd == self.read_end
        self.events.append(events)
        self.told.append(self)
        os.read(fd, 1)

    def has_events(self, count: int) -> bool:
        return len(self.events) == count

    def fill(self) -> None:
        os.write(self.write_end, b"x")

    def close(self) -> None:
        self.poller.remove(self.read_end)
        for fd in (self.read_end, self.write_end):
            with contextlib.suppress(OSError):
                os.close(fd)


@pytest.fixture
def poller() -> Iterator[Poller]:
    poller = Poller()
    yield poller
    poller.close()


@on_all_loops
async def test_a_watcher_is_told_as_long_as_its_descriptor_is_ready(poller: Poller) -> None:
    poller.attach(asyncio.get_running_loop())
    with contextlib.closing(Pipe(poller)) as pipe:
        await turns(3)
        assert pipe.events == []
        for count in (1, 2):
            pipe.fill()
            await turns_until(partial(pipe.has_events, count))
        os.close(pipe.write_end)
        await turns_until(lambda: len(pipe.events) > 2)
        assert pipe.events[-1] & HUNG_UP


@on_all_loops
async def test_what_is_removed_in_a_round_is_not_told_in_it(poller: Poller) -> None:
    poller.attach(asyncio.get_running_loop())
    told: list[Pipe] = []
    pipes = [Pipe(poller, told) for _ in range(2)]

    class Remover:
        def ready(self, fd: int, events: int) -> None:
            os.read(fd, 1)
            for pipe in pipes:
                pipe.close()
            # The number of a pipe that was ready is that of another one now, which is not.
            pipes[:] = [Pipe(poller, told) for _ in range(2)]

    first, write_end = os.pipe()
    poller.add(first, READABLE, Remover())
    os.write(write_end, b"x")
    for pipe in pipes:
        pipe.fill()
    await turns(5)
    assert told == []
    poller.remove(first)
    for fd in (first, write_end):
        os.close(fd)
    for pipe in pipes:
        pipe.close()


@on_all_loops
async def test_large_reads_are_shared_out_among_those_who_have_much_to_read(poller: Poller) -> None:
    """In the first turn nobody knows how many those are; but for all of them there is a bound."""
    granted: list[int] = []

    class Flooded(Pipe):
        def ready(self, fd: int, events: int) -> None:
            granted.append(poller.large_reads(LARGE_READS_PER_TURN // 4))

    poller.attach(asyncio.get_running_loop())
    pipes = [Flooded(poller, []) for _ in range(EVENTS_PER_TURN)]
    count, fair = len(pipes), LARGE_READS_PER_TURN // len(pipes)
    assert fair >= 1
    for pipe in pipes:
        pipe.fill()
    await turns_until(lambda: len(granted) >= 3 * count)
    assert granted[:5] == [LARGE_READS_PER_TURN // 4] * 4 + [1]
    assert set(granted[4:count]) == {1}
    assert set(granted[count : 3 * count]) == {fair}
    for pipe in pipes:
        pipe.close()


@on_all_loops
async def test_one_turn_tells_a_bounded_number_and_nobody_starves(poller: Poller) -> None:
    loop = asyncio.get_running_loop()
    told: list[Pipe] = []
    pipes = [Pipe(poller, told) for _ in range(3 * EVENTS_PER_TURN)]
    for pipe in pipes:
        for _ in range(4):
            pipe.fill()
    poller.attach(loop)
    counts: list[int] = []
    while len(told) < 12 * EVENTS_PER_TURN:
        before = len(told)
        await asyncio.sleep(0)
        counts.append(len(told) - before)
    assert max(counts) <= EVENTS_PER_TURN
    # All had their turn before anybody had a second one.
    assert set(told[: 3 * EVENTS_PER_TURN]) == set(pipes)
    for pipe in pipes:
        pipe.close()


def test_what_is_watched_outlives_the_loop(poller: Poller) -> None:
    pipes: list[Pipe] = []

    async def first() -> None:
        poller.attach(asyncio.get_running_loop())
        pipes.append(Pipe(poller))

    async def second() -> None:
        poller.attach(asyncio.get_running_loop())
        await turns_until(lambda: bool(pipes[0].events))
        pipes[0].close()

    for factory in LOOPS.values():
        pipes.clear()
        run(first(), factory)
        pipes[0].fill()
        run(second(), factory)


@on_all_loops
async def test_a_poller_that_watches_nothing_leaves_the_loop_alone(poller: Poller) -> None:
    loop = asyncio.get_running_loop()
    poller.attach(loop)
    Pipe(poller).close()
    for _ in range(TURNS_TO_REST + 1):
        await asyncio.sleep(0)
    # A reader that is not there cannot be removed.
    assert not loop.remove_reader(poller._epoll.fileno())
    poller.remove(12345)
