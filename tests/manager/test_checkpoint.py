"""A coroutine stops where it can: at a checkpoint of its own."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Callable, Coroutine
from typing import Any, ParamSpec

import pytest

from amper import CurrentJob, EndedBy, JobManager, current_job
from tests.handshakes import result_of, said, state_of, turns
from tests.support import on_all_loops
from tests.unruly import unruly
from tests.virtual_clock import run_virtually
from tests.work import endless, gate, history, on_a_loop

P = ParamSpec("P")


def on_virtual_time(test: Callable[P, Coroutine[Any, Any, None]]) -> Callable[P, None]:
    """Make an async test a plain one on a loop whose time passes when nothing else happens."""

    @functools.wraps(test)
    def on_loop(*args: P.args, **kwargs: P.kwargs) -> None:
        run_virtually(test(*args, **kwargs))

    return on_loop


def me() -> CurrentJob:
    job = current_job()
    assert job is not None
    return job


async def steps(taken: list[int], job: CurrentJob | None = None) -> str:
    """Take step after step, with a checkpoint before each, until there are ten."""
    job = job or me()
    while len(taken) < 10:
        await job.checkpoint()
        taken.append(len(taken))
        await asyncio.sleep(0)
    return "done"


@on_all_loops
async def test_it_stands_still_at_its_checkpoint_until_it_is_resumed() -> None:
    async with JobManager() as jobs:
        taken: list[int] = []
        id = jobs.spawn("work", steps(taken))
        await turns(3)
        assert await jobs.stop(id)
        before = len(taken)
        assert before < 10
        await turns(5)
        assert len(taken) == before
        assert await jobs.get_status_string(id) == "stopped"
        assert (await jobs.running_count(), await jobs.last_stopped()) == (0, id)
        assert await jobs.wait(id) is None
        assert await jobs.stop(id)
        assert await jobs.resume(id)
        assert await jobs.get_status_string(id) == "running"
        assert (await result_of(jobs, id)).data == "done"
        assert await history(jobs, id) == ["started", "stopped", "resumed", "ended"]


@on_a_loop
async def test_it_can_see_that_it_should_come_to_a_checkpoint() -> None:
    async with JobManager() as jobs:

        async def work() -> list[bool]:
            job = me()
            seen = [job.is_stop_requested]
            await reached
            seen.append(job.is_stop_requested)
            await job.checkpoint()
            return [*seen, job.is_stop_requested]

        reached = gate()
        id = jobs.spawn("work", work())
        stopping = asyncio.ensure_future(jobs.stop(id))
        await turns(2)
        assert await jobs.get_status_string(id) == "running"
        reached.set_result(None)
        assert await stopping
        assert await jobs.resume(id)
        assert (await result_of(jobs, id)).data == [False, True, False]


@on_virtual_time
async def test_one_that_comes_to_none_is_asked_no_more_after_the_grace_period() -> None:
    async with JobManager(grace_period=7) as jobs:
        reached, taken = gate(), list[int]()

        async def work() -> str:
            await reached
            return await steps(taken)

        id = jobs.spawn("work", work())
        begin = asyncio.get_running_loop().time()
        assert not await jobs.stop(id)
        assert asyncio.get_running_loop().time() - begin == pytest.approx(7)
        # Nobody expects it to stop when it comes to one at last.
        reached.set_result(None)
        assert (await result_of(jobs, id)).data == "done"
        assert await history(jobs, id) == ["started", "ended"]


@on_virtual_time
async def test_of_several_who_stop_it_the_last_to_give_up_takes_the_request_back() -> None:
    async with JobManager(grace_period=7) as jobs:
        reached = gate()

        async def work() -> None:
            await reached
            await me().checkpoint()

        id = jobs.spawn("work", work())
        first = asyncio.ensure_future(jobs.stop(id))
        await asyncio.sleep(5)
        second = asyncio.ensure_future(jobs.stop(id))
        assert not await first
        reached.set_result(None)
        assert await second
        assert await jobs.resume(id)


@on_a_loop
async def test_a_resume_takes_back_what_has_not_come_to_pass() -> None:
    async with JobManager(grace_period=1000) as jobs:
        reached = gate()

        async def work() -> bool:
            await reached
            return me().is_stop_requested

        id = jobs.spawn("work", work())
        stopping = asyncio.ensure_future(jobs.stop(id))
        await turns(2)
        assert await jobs.resume(id)
        assert not await stopping
        reached.set_result(None)
        assert (await result_of(jobs, id)).data is False


@on_a_loop
async def test_a_caller_that_is_cancelled_leaves_the_request() -> None:
    async with JobManager() as jobs:
        reached = gate()

        async def work() -> None:
            await reached
            await me().checkpoint()

        id = jobs.spawn("work", work())
        stopping = asyncio.ensure_future(jobs.stop(id))
        await turns(2)
        stopping.cancel()
        reached.set_result(None)
        await turns(3)
        assert await jobs.get_status_string(id) == "stopped"


@pytest.mark.parametrize("verb", ["kill", "cancel", "aclose"])
@on_all_loops
async def test_it_can_be_ended_while_it_stands_still_and_cleans_up(verb: str) -> None:
    jobs = JobManager(grace_period=1000)
    clean: list[str] = []

    async def work() -> None:
        try:
            # An eager task takes its first step before anybody can ask for a stop.
            await asyncio.sleep(0)
            await me().checkpoint()
            await gate()
        finally:
            # It is to end now, and not to stand still once more.
            await me().checkpoint()
            clean.append(verb)

    id = jobs.spawn("work", work())
    assert await jobs.stop(id)
    if verb == "kill":
        assert await jobs.kill(id)
    elif verb == "cancel":
        assert await jobs.cancel(id)
        await result_of(jobs, id)
    await jobs.aclose()
    assert clean == [verb]
    assert (await result_of(jobs, id)).code == 130
    assert await jobs.get_status_string(id) == "killed:130"
    assert await history(jobs, id) == ["started", "stopped", "resumed", "ended"]


@on_a_loop
async def test_one_that_is_being_ended_is_not_stopped_any_more() -> None:
    async with JobManager(grace_period=1000) as jobs:
        ended = gate()

        async def work() -> None:
            try:
                await endless()
            finally:
                await ended

        id = jobs.spawn("work", work())
        await turns(2)
        killing = asyncio.ensure_future(jobs.kill(id))
        await turns(3)
        assert not await jobs.stop(id)
        ended.set_result(None)
        assert await killing


@on_a_loop
async def test_an_end_during_the_stop_makes_it_false() -> None:
    async with JobManager(grace_period=1000) as jobs:
        reached = gate()
        ids = [jobs.spawn("work", asyncio.wait_for(reached, None)) for _ in range(2)]
        stopping = [asyncio.ensure_future(jobs.stop(id)) for id in ids]
        await turns(2)
        assert await jobs.remove(ids[1])
        assert not await stopping[1]
        reached.set_result(None)
        assert not await stopping[0]


@on_a_loop
async def test_several_tasks_of_one_job_stand_still_together() -> None:
    async with JobManager() as jobs:
        taken: list[int] = []

        async def work() -> None:
            await asyncio.gather(steps(taken), steps(taken), steps(taken))

        id = jobs.spawn("work", work())
        await turns(3)
        assert await jobs.stop(id)
        await turns(3)
        before = len(taken)
        await turns(3)
        assert len(taken) == before
        assert await jobs.resume(id)
        await result_of(jobs, id)
        assert await history(jobs, id) == ["started", "stopped", "resumed", "ended"]


@on_a_loop
async def test_one_that_does_not_wait_any_more_at_its_checkpoint_runs() -> None:
    async with JobManager() as jobs:
        left = gate()

        async def repeat() -> None:
            while True:
                await me().checkpoint()
                await asyncio.sleep(0)

        async def work() -> None:
            waiting = asyncio.ensure_future(repeat())
            await left
            waiting.cancel()
            await gate()

        id = jobs.spawn("work", work())
        assert await jobs.stop(id)
        left.set_result(None)
        await turns(3)
        assert await jobs.get_status_string(id) == "running"


@on_a_loop
async def test_a_task_that_runs_already_knows_of_no_checkpoint() -> None:
    async with JobManager() as jobs:
        id = jobs.spawn("work", gate())
        assert not await jobs.stop(id)
        assert not await jobs.resume(id)


@on_all_loops
async def test_one_that_has_process_groups_is_stopped_with_them() -> None:
    """It may well wait for its processes, and come to no checkpoint."""
    async with JobManager() as jobs:
        helper = await jobs.start(unruly("crowd", 2))
        children = await said(jobs, helper)
        _, pgid = await jobs.get_process_info(helper) or (0, 0)
        id = jobs.spawn("work", endless())
        await jobs.add_pgid(id, pgid)
        assert await jobs.stop(id)
        assert {state_of(child) for child in children} == {"T"}
        assert await jobs.get_status_string(id) == "stopped"
        assert await jobs.resume(id)
        assert {state_of(child) for child in children}.isdisjoint("T")
        assert await jobs.get_status_string(id) == "running"


@on_virtual_time
async def test_the_cause_of_an_end_at_a_checkpoint_is_who_ended_it() -> None:
    async with JobManager() as jobs:
        id = jobs.spawn("work", steps([]))
        assert await jobs.stop(id)
        assert await jobs.kill(id, reason="because")
        assert (await result_of(jobs, id)).ended_by == EndedBy("kill", "because")
