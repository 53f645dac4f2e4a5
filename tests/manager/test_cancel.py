"""`cancel` and tokens, for coroutines and for jobs that run elsewhere."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest

from amper import (
    CancellationToken,
    EndedBy,
    ExecResult,
    JobId,
    JobManager,
    current_job,
    oneshot,
)
from tests.handshakes import end_of, result_of
from tests.support import on_all_loops
from tests.work import (
    NO_PROCESS,
    UNKNOWN,
    endless,
    fail,
    gate,
    give,
    info_of,
    on_a_loop,
    turn,
)


async def with_own_token(jobs: JobManager) -> tuple[JobId, CancellationToken]:
    """Return a job that runs until it is cancelled, and the token that it had from the start."""
    own: list[CancellationToken] = []

    async def work() -> None:
        job = current_job()
        assert job is not None
        own.append(job.token)
        await endless()

    id = jobs.spawn("work", work())
    await turn()
    return id, own[0]


@pytest.mark.parametrize("is_begun", [False, True])
@on_all_loops
async def test_cancel_asks_a_coroutine_to_end_and_returns_at_once(is_begun: bool) -> None:
    async with JobManager() as jobs:
        id = jobs.spawn("work", endless())
        if is_begun:
            await turn()
        assert await jobs.cancel(id, reason="because")
        assert await jobs.get_status_string(id) == "running"
        assert await jobs.cancel(id, reason="again")
        assert await end_of(jobs, id) == ("killed:130", EndedBy("cancel", "because"))
        assert (await info_of(jobs, id)).ended_by == EndedBy("cancel", "because")
        assert not await jobs.cancel(id)


@on_a_loop
async def test_where_there_is_no_token_the_answer_is_false() -> None:
    async with JobManager() as jobs:
        registered = await jobs.register("elsewhere", gate())
        stopped = await jobs.register_stopped("shell", NO_PROCESS, NO_PROCESS)
        over = jobs.spawn("work", give())
        await result_of(jobs, over)
        for id in (registered, stopped, over, UNKNOWN):
            assert not await jobs.cancel(id)
        assert await jobs.get_status_string(registered) == "running"


@pytest.mark.parametrize(
    "value, status",
    [
        (None, "done:0"),
        (ExecResult(0), "done:0"),
        (ExecResult(3), "killed:3"),
        (ValueError("boom"), "killed:1"),
    ],
    ids=str,
)
@on_all_loops
async def test_what_a_cancelled_coroutine_makes_of_it_is_the_truth(value: Any, status: str) -> None:
    async def work() -> Any:
        try:
            await endless()
        except asyncio.CancelledError:
            return await (fail(value) if isinstance(value, Exception) else give(value))

    async with JobManager() as jobs:
        id = jobs.spawn("work", work())
        await turn()
        assert await jobs.cancel(id)
        assert (await end_of(jobs, id))[0] == status


@on_all_loops
async def test_a_coroutine_may_cancel_its_own_job() -> None:
    async def work() -> None:
        job = current_job()
        assert job is not None
        assert await jobs.cancel(job.id, reason="of my own")
        await endless()

    async with JobManager() as jobs:
        id = jobs.spawn("work", work())
        assert await end_of(jobs, id) == ("killed:130", EndedBy("cancel", "of my own"))


@on_all_loops
async def test_a_stopped_job_can_be_cancelled() -> None:
    async with JobManager() as jobs:
        id = jobs.spawn("work", endless())
        await jobs.stop_job(id, NO_PROCESS, NO_PROCESS)
        assert await jobs.cancel(id)
        await turn()
        await turn()
        assert await jobs.get_status_string(id) == "killed:130"
        assert await jobs.last_stopped() is None


# Tokens.


@on_all_loops
async def test_a_token_that_is_set_replaces_the_jobs_own() -> None:
    async with JobManager() as jobs:
        first, second = CancellationToken(), CancellationToken()
        future = gate()
        id = jobs.spawn("work", asyncio.wait_for(future, 60))
        await jobs.set_cancel_token(id, first)
        await jobs.set_cancel_token(id, second)
        await turn()
        assert await jobs.cancel(id, reason="because")
        assert (first.is_cancelled, second.is_cancelled) == (False, True)
        assert second.reason == "because"
        # It trips that token and nothing else: the task goes on.
        await turn()
        await turn()
        assert await jobs.get_status_string(id) == "running"
        future.set_result(ExecResult(3))
        assert await end_of(jobs, id) == ("killed:3", EndedBy("cancel", "because"))


@on_a_loop
async def test_the_token_that_a_job_had_before_has_nothing_to_say_any_more() -> None:
    async with JobManager() as jobs:
        id, own = await with_own_token(jobs)
        await jobs.set_cancel_token(id, CancellationToken())
        own.cancel()
        await turn()
        await turn()
        assert await jobs.get_status_string(id) == "running"


@pytest.mark.parametrize("way", ["cancel", "kill", "aclose"])
@on_all_loops
async def test_the_token_of_a_queued_job_is_tripped_although_the_job_never_starts(way: str) -> None:
    async with JobManager(max_running=1) as jobs:
        jobs.spawn("work", endless())
        id, token = jobs.spawn("work", endless()), CancellationToken()
        await jobs.set_cancel_token(id, token)
        if way == "aclose":
            await jobs.aclose(reason="because")
        else:
            assert await getattr(jobs, way)(id, reason="because")
        assert (token.is_cancelled, token.reason) == (True, "because")
        assert await jobs.get_status_string(id) == "killed:130"


@pytest.mark.parametrize("is_cancelled_here", [True, False])
@on_all_loops
async def test_a_job_that_ends_badly_after_its_token_was_tripped_was_killed(
    is_cancelled_here: bool,
) -> None:
    async with JobManager() as jobs:
        token = CancellationToken()
        tx, rx = oneshot()
        id = await jobs.register("elsewhere", rx)
        await jobs.set_cancel_token(id, token)
        if is_cancelled_here:
            assert await jobs.cancel(id, reason="because")
        else:
            # The embedder trips its token itself.
            token.cancel("because")
        assert await jobs.get_status_string(id) == "running"
        tx.send(ExecResult(143))
        assert await end_of(jobs, id) == ("killed:143", EndedBy("cancel", "because"))


@on_a_loop
async def test_a_job_whose_token_nobody_tripped_fails_by_itself() -> None:
    async with JobManager() as jobs:
        tx, rx = oneshot()
        id = await jobs.register("elsewhere", rx)
        await jobs.set_cancel_token(id, CancellationToken())
        tx.send(ExecResult(143))
        assert await end_of(jobs, id) == ("failed:143", None)


@on_a_loop
async def test_a_token_of_a_job_that_is_not_there_is_ignored_and_a_bad_one_refused() -> None:
    bad: Any = None
    async with JobManager() as jobs:
        over = jobs.spawn("work", give())
        await result_of(jobs, over)
        for id in (over, UNKNOWN):
            await jobs.set_cancel_token(id, CancellationToken())
            assert not await jobs.cancel(id)
            with pytest.raises(TypeError, match="CancellationToken"):
                await jobs.set_cancel_token(id, bad)


@on_all_loops
async def test_a_jobs_own_token_may_be_tripped_by_a_thread() -> None:
    async with JobManager() as jobs:
        id, own = await with_own_token(jobs)
        thread = threading.Thread(target=own.cancel, args=("from a thread",))
        thread.start()
        thread.join()
        assert await end_of(jobs, id) == ("killed:130", EndedBy("cancel", "from a thread"))
