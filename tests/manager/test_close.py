"""`aclose` and `async with`: nothing outlives the block. Without processes, which have tests of their own."""

from __future__ import annotations

import asyncio
import inspect
import math
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from amper import (
    BoundedStream,
    CancellationToken,
    EndedBy,
    ExecResult,
    JobManager,
    ManagerClosed,
    current_job,
    oneshot,
)
from tests.handshakes import result_of
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


@on_all_loops
async def test_what_still_runs_is_killed_at_the_end_of_the_block() -> None:
    async with JobManager(max_running=2) as jobs:
        over = jobs.spawn("over", give(5))
        await result_of(jobs, over)
        left = [
            jobs.spawn("running", endless()),
            jobs.spawn("not begun", endless()),
            jobs.spawn("queued", endless()),
            await jobs.register("elsewhere", gate()),
            await jobs.register_stopped("vi", NO_PROCESS, NO_PROCESS),
        ]
        await jobs.stop_job(left[0], NO_PROCESS, NO_PROCESS)
    for id in left:
        result = await result_of(jobs, id)
        assert (result.code, result.ended_by) == (130, EndedBy("close"))
        assert await jobs.get_status_string(id) == "killed:130"
    assert await jobs.get_status_string(over) == "done:0"
    assert await jobs.running_count() == 0
    assert await jobs.last_stopped() is None


@on_all_loops
async def test_the_reason_is_on_record_and_reaches_the_tokens_that_were_set() -> None:
    jobs, tokens = JobManager(), [CancellationToken(), CancellationToken()]
    ids = [jobs.spawn("work", endless()), await jobs.register("elsewhere", gate())]
    for id, token in zip(ids, tokens, strict=True):
        await jobs.set_cancel_token(id, token)
    await jobs.aclose(reason="good night")
    for id in ids:
        assert (await info_of(jobs, id)).ended_by == EndedBy("close", "good night")
    assert [token.reason for token in tokens] == ["good night"] * 2


@on_all_loops
async def test_jobs_may_clean_up_within_the_grace_period() -> None:
    cleaned: list[str] = []

    async def work() -> ExecResult:
        try:
            await endless()
        finally:
            for _ in range(3):
                await turn()
            cleaned.append("up")
        return ExecResult(0)

    async def end_well() -> ExecResult:
        return await swallow(1, ExecResult(0))  # type: ignore[no-any-return]  # It is a result.

    async with JobManager() as jobs:
        ids = [jobs.spawn("work", work()), jobs.spawn("work", end_well())]
        await turn()
    assert cleaned == ["up"]
    assert [await jobs.get_status_string(id) for id in ids] == ["killed:130", "done:0"]


@on_all_loops
async def test_one_that_swallows_every_cancellation_does_not_hold_up_the_end() -> None:
    free = gate()
    jobs = JobManager(grace_period=0.001)
    deaf, other = jobs.spawn("deaf", be_deaf(free)), jobs.spawn("work", endless())
    await turn()
    await jobs.aclose()
    assert [await jobs.get_status_string(id) for id in (deaf, other)] == ["killed:130"] * 2
    free.set_result(None)


@on_all_loops
async def test_an_untracked_job_is_reached_too() -> None:
    ended = gate()

    async def work() -> None:
        try:
            await endless()
        finally:
            ended.set_result("by the end")

    async with JobManager() as jobs:
        id = jobs.spawn("work", work())
        await turn()
        await jobs.remove(id)
    assert ended.done()
    assert await history(jobs, id) == ["started", "removed"]


# The end itself.


@on_all_loops
async def test_it_ends_once_however_often_it_is_asked() -> None:
    jobs = JobManager()
    id = jobs.spawn("work", swallow(1, ExecResult(3)))
    await turn()
    await asyncio.gather(
        jobs.aclose(reason="first"), jobs.aclose(reason="second"), jobs.aclose(grace_period=0)
    )
    await jobs.aclose(reason="third")
    async with jobs:
        assert (await info_of(jobs, id)).ended_by == EndedBy("close", "first")
    assert await history(jobs, id) == ["started", "ended"]


@on_a_loop
async def test_a_manager_without_jobs_ends_at_once() -> None:
    async with JobManager() as jobs:
        assert await jobs.list_ids() == []
    await jobs.aclose()
    assert [event async for event in jobs.events()] == []


@on_all_loops
async def test_an_impatient_end_joins_a_patient_one_and_hurries_it() -> None:
    jobs = JobManager()
    id = jobs.spawn("work", swallow(2, ExecResult(3)))
    await turn()
    patient = asyncio.ensure_future(jobs.aclose(grace_period=math.inf))
    await turn()
    await jobs.aclose(grace_period=0)
    await patient
    assert await jobs.get_status_string(id) == "killed:3"


@on_all_loops
async def test_a_caller_that_is_cancelled_hurries_it_and_hears_of_it_when_all_is_over() -> None:
    jobs = JobManager()
    id = jobs.spawn("work", swallow(2, ExecResult(3)))
    await turn()
    closing = asyncio.ensure_future(jobs.aclose(grace_period=math.inf))
    await turn()
    await cancelled(closing)
    assert await jobs.get_status_string(id) == "killed:3"
    with pytest.raises(ManagerClosed):
        jobs.spawn("late", give())


@on_all_loops
async def test_a_block_that_is_left_by_an_error_ends_all_the_same() -> None:
    jobs = JobManager()
    id = jobs.spawn("work", endless())

    async def block() -> None:
        async with jobs:
            raise ValueError("boom")

    with pytest.raises(ValueError, match="boom"):
        await block()
    assert await jobs.get_status_string(id) == "killed:130"


@on_all_loops
async def test_a_block_that_is_cancelled_ends_all_the_same() -> None:
    jobs = JobManager()

    async def block() -> None:
        async with jobs:
            jobs.spawn("work", endless())
            await endless()

    task = asyncio.ensure_future(block())
    await turn()
    await cancelled(task)
    assert [info.status_string for info in await jobs.list()] == ["killed:130"]


@on_all_loops
async def test_a_job_may_close_its_own_manager() -> None:
    jobs = JobManager(grace_period=0.001)

    async def work() -> None:
        await jobs.aclose(reason="from inside")

    ids = [jobs.spawn("other", endless()), jobs.spawn("work", work())]
    results = [await result_of(jobs, id) for id in ids]
    assert [result.ended_by for result in results] == [EndedBy("close", "from inside")] * 2
    await jobs.aclose()


@on_all_loops
async def test_a_job_that_is_being_ended_cannot_start_another() -> None:
    refused: list[bool] = []

    async def work() -> None:
        try:
            await endless()
        finally:
            coroutine = give()
            with pytest.raises(ManagerClosed):
                jobs.spawn("late", coroutine)
            refused.append(inspect.getcoroutinestate(coroutine) == inspect.CORO_CLOSED)

    async with JobManager() as jobs:
        jobs.spawn("work", work())
        await turn()
    assert refused == [True]
    assert await jobs.list_ids() == [1]


@pytest.mark.parametrize("grace_period", [-1, math.nan, "1"])
@on_a_loop
async def test_a_bad_grace_period_is_refused_and_ends_nothing(grace_period: Any) -> None:
    async with JobManager() as jobs:
        with pytest.raises((ValueError, TypeError)):
            await jobs.aclose(grace_period=grace_period)
        assert (await result_of(jobs, jobs.spawn("work", give(5)))).data == 5


# After the end.


@on_a_loop
async def test_new_jobs_are_refused() -> None:
    jobs = JobManager()
    await jobs.aclose()
    coroutine, (_, rx) = endless(), oneshot()
    with pytest.raises(ManagerClosed):
        jobs.spawn("work", coroutine)
    assert inspect.getcoroutinestate(coroutine) == inspect.CORO_CLOSED
    calls: list[Callable[[], Awaitable[Any]]] = [
        lambda: jobs.register("elsewhere", rx),
        lambda: jobs.register_with_streams("elsewhere", rx, BoundedStream(), BoundedStream()),
        lambda: jobs.register_stopped("vi", NO_PROCESS, NO_PROCESS),
        lambda: jobs.start(["true"]),
        lambda: jobs.run(["true"]),
    ]
    for call in calls:
        with pytest.raises(ManagerClosed):
            await call()
    assert await jobs.list_ids() == []


@on_all_loops
async def test_lookups_go_on() -> None:
    jobs = JobManager(finished_retention=None)
    async with jobs:
        id = jobs.spawn("work", give(ExecResult(3, b"out", b"err")), name="n", tags=("a",))
        await result_of(jobs, id)
    result = ExecResult(3, b"out", b"err")
    assert await jobs.wait(id) == await jobs.try_result(id) == result
    assert await jobs.wait_all() == [(id, result)]
    assert await jobs.wait_any() == (id, result)
    assert [outcome async for outcome in jobs.as_completed()] == [(id, result)]
    assert await jobs.exists(id)
    assert await jobs.get_command(id) == "work"
    assert [info.id for info in await jobs.list(name="n", tag="a", status="failed")] == [id]
    assert await jobs.read_stdout(id) == b"out"
    assert [chunk.data async for chunk in jobs.follow(id, stream="stderr")] == [b"err"]
    assert [event.kind async for event in jobs.events()] == ["started", "ended"]
    assert not await jobs.kill(id)
    assert not await jobs.cancel(id)
    assert not await jobs.finish(id, ExecResult(0))
    assert await jobs.wait(UNKNOWN) is None
    assert await jobs.remove(id)
    assert await jobs.reap_finished() == []
    assert await jobs.list_ids() == []


@on_a_loop
async def test_what_jobs_see_of_themselves_outlives_the_manager() -> None:
    async def work() -> Any:
        return current_job()

    async with JobManager() as jobs:
        seen = (await result_of(jobs, jobs.spawn("work", work()))).data
    assert seen.id == 1
