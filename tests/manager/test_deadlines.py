"""What has timers, on a virtual clock: to the second, and in no time."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from amper import CancellationToken, ExecResult, JobManager
from tests.virtual_clock import WouldWaitForever, run_virtually
from tests.work import be_deaf, endless, gate, swallow, turn


def on_a_virtual_clock(test: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    @functools.wraps(test)
    def on_clock(*args: Any, **kwargs: Any) -> None:
        run_virtually(test(*args, **kwargs))

    return on_clock


def now() -> float:
    return asyncio.get_running_loop().time()


def work_that_notes_its_cancellations(until: asyncio.Future[None]) -> tuple[Any, list[float]]:
    times: list[float] = []

    async def work() -> None:
        while not until.done():
            try:
                await asyncio.shield(until)
            except asyncio.CancelledError:
                times.append(now())

    return work(), times


@on_a_virtual_clock
async def test_a_wait_ends_at_its_deadline_and_leaves_no_timer_when_it_ends_before() -> None:
    async with JobManager() as jobs:
        future = gate()
        id = jobs.spawn("work", future)
        assert not await jobs.wait(id, 3600)
        assert not await jobs.wait_all(timeout=3600)
        assert not await jobs.wait_any([id], 3600)
        assert now() == 3 * 3600
        waiting = [
            asyncio.ensure_future(call)
            for call in (
                jobs.wait(id, 3600),
                jobs.wait_all(timeout=3600),
                jobs.wait_any([id], 3600),
            )
        ]
        await turn()
        future.set_result(None)
        outcome = (id, ExecResult(0))
        assert await asyncio.gather(*waiting) == [ExecResult(0), [outcome], outcome]
        timers = vars(asyncio.get_running_loop())["_scheduled"]
        assert [timer for timer in timers if not timer.cancelled()] == []


@pytest.mark.parametrize("grace_period", [0, 2, 3600])
@on_a_virtual_clock
async def test_one_that_is_deaf_is_asked_twice_and_then_abandoned(grace_period: float) -> None:
    free = gate()
    work, times = work_that_notes_its_cancellations(free)
    jobs = JobManager(grace_period=grace_period)
    id = jobs.spawn("deaf", work)
    await turn()
    assert not await jobs.kill(id)
    assert times == [0, grace_period]
    # It gets the grace period once more, but never more than five seconds.
    assert now() == grace_period + min(grace_period, 5)
    assert await jobs.get_status_string(id) == "killed:130"
    free.set_result(None)


@on_a_virtual_clock
async def test_a_second_killer_can_shorten_the_grace_period_but_not_prolong_it() -> None:
    free = gate()
    work, times = work_that_notes_its_cancellations(free)
    jobs = JobManager()
    id = jobs.spawn("deaf", work)
    await turn()
    killing = [
        asyncio.ensure_future(jobs.kill(id, grace_period=grace_period))
        for grace_period in (100, 10, 1000)
    ]
    assert await asyncio.gather(*killing) == [False] * 3
    assert times == [0, 10]
    free.set_result(None)


@on_a_virtual_clock
async def test_a_job_that_ends_within_the_grace_period_keeps_nobody_waiting() -> None:
    async with JobManager() as jobs:
        once, twice = jobs.spawn("work", swallow(1)), jobs.spawn("work", swallow(2))
        await turn()
        assert await jobs.kill(jobs.spawn("work", endless()), grace_period=7)
        assert await jobs.kill(once, grace_period=7)
        assert now() == 0
        assert await jobs.kill(twice, grace_period=7)
        assert now() == 7


@on_a_virtual_clock
async def test_what_runs_elsewhere_and_does_not_react_is_given_up_and_runs_on() -> None:
    jobs = JobManager()
    id = await jobs.register("elsewhere", gate())
    await jobs.set_cancel_token(id, CancellationToken())
    assert not await jobs.kill(id)
    assert now() <= 7
    assert await jobs.get_status_string(id) == "running"
    await jobs.aclose()


@pytest.mark.parametrize("grace_period, at_most", [(0, 5), (2, 7), (60, 65)])
@on_a_virtual_clock
async def test_the_end_takes_the_grace_period_and_five_seconds_for_however_many(
    grace_period: float, at_most: float
) -> None:
    free = gate()
    jobs = JobManager(grace_period=grace_period)
    for _ in range(200):
        jobs.spawn("deaf", be_deaf(free))
        jobs.spawn("work", endless())
    await turn()
    await jobs.aclose()
    assert now() <= at_most
    assert {info.status_string for info in await jobs.list()} == {"killed:130"}
    free.set_result(None)


def test_a_wait_without_a_deadline_has_no_timer() -> None:
    async def wait() -> None:
        jobs = JobManager()
        await jobs.wait(jobs.spawn("work", endless()))

    with pytest.raises(WouldWaitForever):
        run_virtually(wait())
