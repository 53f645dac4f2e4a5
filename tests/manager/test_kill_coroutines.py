"""`kill` of coroutines and of jobs that run elsewhere."""

from __future__ import annotations

import asyncio
import math
from typing import Any

import pytest

from amper import (
    CancellationToken,
    EndedBy,
    ExecResult,
    JobManager,
    current_job,
    oneshot,
)
from tests.handshakes import end_of, result_of
from tests.support import cancelled, on_all_loops
from tests.work import (
    NO_PROCESS,
    UNKNOWN,
    be_deaf,
    endless,
    gate,
    give,
    history,
    info_of,
    on_a_loop,
    swallow,
    turn,
)

SOON = 0.001


@on_all_loops
async def test_kill_returns_when_a_coroutine_is_over_and_says_who_did_it() -> None:
    async with JobManager() as jobs:
        id = jobs.spawn("work", endless())
        assert await jobs.kill(id, reason="because", by="me")
        assert await jobs.get_status_string(id) == "killed:130"
        assert await end_of(jobs, id) == ("killed:130", EndedBy("kill", "because", "me"))
        assert not await jobs.kill(id)


@on_a_loop
async def test_where_there_is_nothing_to_kill_the_answer_is_false() -> None:
    async with JobManager() as jobs:
        registered = await jobs.register("elsewhere", gate())
        stopped = await jobs.register_stopped("shell", NO_PROCESS, NO_PROCESS)
        over = jobs.spawn("work", give())
        await result_of(jobs, over)
        for id in (registered, stopped, over, UNKNOWN):
            assert not await jobs.kill(id)
        assert await jobs.get_status_string(registered) == "running"
        assert (await info_of(jobs, registered)).ended_by is None


@pytest.mark.parametrize("grace_period", [-1, -0.5, math.nan, "1", None])
@on_a_loop
async def test_a_bad_grace_period_is_refused(grace_period: Any) -> None:
    async with JobManager() as jobs:
        id = jobs.spawn("work", endless())
        if grace_period is not None:
            for any_id in (id, UNKNOWN):
                with pytest.raises((ValueError, TypeError)):
                    await jobs.kill(any_id, grace_period=grace_period)
            with pytest.raises((ValueError, TypeError)):
                JobManager(grace_period=grace_period)
        assert await jobs.get_status_string(id) == "running"


@on_all_loops
async def test_one_that_swallows_its_cancellation_is_cancelled_again() -> None:
    async with JobManager(grace_period=SOON) as jobs:
        once = jobs.spawn("work", swallow(1, ExecResult(3)))
        twice = jobs.spawn("work", swallow(2, ExecResult(0)))
        await turn()
        assert await jobs.kill(once)
        assert await jobs.get_status_string(once) == "killed:3"
        assert await jobs.kill(twice)
        assert await jobs.get_status_string(twice) == "done:0"


@on_all_loops
async def test_one_that_swallows_every_cancellation_is_abandoned() -> None:
    async with JobManager(grace_period=SOON, max_running=1) as jobs:
        free = gate()
        id, queued = jobs.spawn("deaf", be_deaf(free)), jobs.spawn("next", give("next"))
        await turn()
        assert not await jobs.kill(id, reason="because")
        assert await end_of(jobs, id) == ("killed:130", EndedBy("kill", "because"))
        # Its place is free, and its own end, if it comes, changes nothing.
        assert (await result_of(jobs, queued)).data == "next"
        free.set_result(None)
        await turn()
        await turn()
        assert await end_of(jobs, id) == ("killed:130", EndedBy("kill", "because"))
        assert await history(jobs, id) == ["started", "ended"]


@on_all_loops
async def test_killers_join_and_the_shortest_grace_period_counts() -> None:
    async with JobManager() as jobs:
        id = jobs.spawn("work", swallow(2))
        await turn()
        patient = asyncio.ensure_future(jobs.kill(id, grace_period=math.inf, by="first"))
        await turn()
        hasty = asyncio.ensure_future(jobs.kill(id, grace_period=0, by="second"))
        assert [await patient, await hasty] == [True, True]
        assert await jobs.get_status_string(id) == "done:0"


@on_all_loops
async def test_a_killer_that_is_cancelled_does_not_stop_the_killing() -> None:
    async with JobManager(grace_period=SOON) as jobs:
        id = jobs.spawn("work", swallow(1, ExecResult(3)))
        await turn()
        killing = asyncio.ensure_future(jobs.kill(id))
        await turn()
        await cancelled(killing)
        assert await end_of(jobs, id) == ("killed:3", EndedBy("kill"))


@on_all_loops
async def test_a_coroutine_may_kill_its_own_job() -> None:
    async def work() -> None:
        job = current_job()
        assert job is not None
        await jobs.kill(job.id, reason="of my own")

    async with JobManager() as jobs:
        id = jobs.spawn("work", work())
        assert await end_of(jobs, id) == ("killed:130", EndedBy("kill", "of my own"))


@on_all_loops
async def test_kill_trips_a_token_that_was_set_and_cancels_the_task_too() -> None:
    async with JobManager() as jobs:
        token = CancellationToken()
        id = jobs.spawn("work", endless())
        await jobs.set_cancel_token(id, token)
        assert await jobs.kill(id, reason="because")
        assert (token.is_cancelled, token.reason) == (True, "because")
        assert await jobs.get_status_string(id) == "killed:130"


@pytest.mark.parametrize("reacts", [True, False])
@on_all_loops
async def test_killing_what_runs_elsewhere_is_tripping_its_token(reacts: bool) -> None:
    async with JobManager(grace_period=SOON) as jobs:
        token = CancellationToken()
        tx, rx = oneshot()
        id = await jobs.register("elsewhere", rx)
        await jobs.set_cancel_token(id, token)
        if reacts:
            token.on_cancel(lambda: tx.send(ExecResult(143)))
        assert await jobs.kill(id) is reacts
        assert token.is_cancelled
        assert await jobs.get_status_string(id) == ("killed:143" if reacts else "running")


@on_all_loops
async def test_a_stopped_coroutine_can_be_killed() -> None:
    async with JobManager() as jobs:
        id = jobs.spawn("work", endless())
        await jobs.stop_job(id, NO_PROCESS, NO_PROCESS)
        assert await jobs.kill(id)
        assert await jobs.get_status_string(id) == "killed:130"
        assert await jobs.running_count() == 0


@on_a_loop
async def test_a_job_can_be_killed_from_its_own_callbacks_and_by_another_job() -> None:
    async with JobManager() as jobs:
        victim = jobs.spawn("victim", endless())

        async def kill_it() -> bool:
            return await jobs.kill(victim, by="another job")

        killer = jobs.spawn("killer", kill_it())
        assert (await result_of(jobs, killer)).data is True
        assert await end_of(jobs, victim) == ("killed:130", EndedBy("kill", by="another job"))


@pytest.mark.parametrize("is_begun", [False, True])
@on_all_loops
async def test_a_future_or_a_task_is_cancelled_with_its_job(is_begun: bool) -> None:
    async with JobManager() as jobs:
        future, task = gate(), asyncio.ensure_future(endless())
        ids = [jobs.spawn("work", future), jobs.spawn("work", task)]
        if is_begun:
            await turn()
        for id in ids:
            assert await jobs.kill(id)
            assert await jobs.get_status_string(id) == "killed:130"
        assert future.cancelled()
        assert task.cancelled()
