"""`current_job`: what a coroutine can ask about the job that it is."""

from __future__ import annotations

import asyncio
import contextvars

import pytest

from amper import CancellationToken, CurrentJob, ExecResult, JobId, JobManager, current_job
from tests.handshakes import result_of
from tests.support import on_all_loops
from tests.work import endless, gate, on_a_loop, turn


async def own_id() -> JobId | None:
    job = current_job()
    return None if job is None else job.id


def here() -> CurrentJob:
    job = current_job()
    assert job is not None
    return job


@on_all_loops
async def test_each_coroutine_sees_its_own_job_and_others_see_none() -> None:
    async def work() -> list[JobId | None]:
        seen = [await own_id()]
        await turn()
        return [*seen, await own_id()]

    async with JobManager() as jobs:
        assert current_job() is None
        ids = [jobs.spawn("work", work()) for _ in range(3)]
        assert current_job() is None
        assert [(await result_of(jobs, id)).data for id in ids] == [[id, id] for id in ids]
        assert current_job() is None


@on_all_loops
async def test_tasks_and_threads_of_a_job_belong_to_it_too() -> None:
    async def work() -> list[JobId | None]:
        task = asyncio.ensure_future(own_id())
        return [await task, (await asyncio.to_thread(here)).id]

    async with JobManager() as jobs:
        id = jobs.spawn("work", work())
        assert (await result_of(jobs, id)).data == [id, id]


@on_all_loops
async def test_a_job_within_a_job_sees_itself_and_the_outer_one_is_unchanged() -> None:
    async def outer() -> list[JobId | None]:
        inner = jobs.spawn("inner", own_id())
        return [await own_id(), (await result_of(jobs, inner)).data, await own_id()]

    async with JobManager() as jobs:
        id = jobs.spawn("outer", outer())
        assert (await result_of(jobs, id)).data == [1, 2, 1]
        assert id == 1


@on_all_loops
async def test_jobs_of_two_managers_are_not_mixed_up() -> None:
    async with JobManager() as jobs, JobManager() as others:
        others.spawn("first", own_id())

        async def outer() -> list[JobId | None]:
            inner = others.spawn("inner", own_id())
            return [await own_id(), (await result_of(others, inner)).data]

        assert (await result_of(jobs, jobs.spawn("outer", outer()))).data == [1, 2]


@on_a_loop
async def test_a_queued_job_sees_itself_and_not_who_made_room_for_it() -> None:
    async with JobManager(max_running=1) as jobs:
        first, second = jobs.spawn("first", own_id()), jobs.spawn("second", own_id())
        assert [(await result_of(jobs, id)).data for id in (first, second)] == [first, second]


@on_a_loop
async def test_a_task_that_ran_already_is_in_no_job() -> None:
    async with JobManager() as jobs:
        go_on = gate()

        async def work() -> JobId | None:
            await go_on
            return await own_id()

        id = jobs.spawn("task", asyncio.ensure_future(work()))
        go_on.set_result(None)
        assert (await result_of(jobs, id)).data is None


@on_all_loops
async def test_its_streams_are_the_jobs() -> None:
    async def work() -> ExecResult:
        job = here()
        assert job.streams == await jobs.streams(job.id)
        job.streams.stdout.write(b"out")
        return ExecResult(0, b"ignored", b"err")

    async with JobManager() as jobs:
        id = jobs.spawn("work", work())
        await result_of(jobs, id)
        assert (await jobs.read_stdout(id), await jobs.read_stderr(id)) == (b"out", b"err")


@on_all_loops
async def test_its_token_is_the_one_that_cancel_trips() -> None:
    async def work() -> str | None:
        token = here().token
        try:
            await endless()
        except asyncio.CancelledError:
            assert token.is_cancelled
            assert here().token is token
        return token.reason

    async with JobManager() as jobs:
        id = jobs.spawn("work", work())
        await turn()
        await jobs.cancel(id, reason="because")
        assert (await result_of(jobs, id)).data == "because"


@on_all_loops
async def test_its_token_tells_of_a_kill_also_when_nobody_has_asked_for_it_before() -> None:
    async def work() -> str | None:
        try:
            await endless()
        except asyncio.CancelledError:
            assert here().token.is_cancelled
        return here().token.reason

    async with JobManager() as jobs:
        killed = jobs.spawn("work", work())
        await turn()
        assert await jobs.kill(killed, reason="because")
        assert (await result_of(jobs, killed)).data == "because"
        closed = jobs.spawn("work", work())
        await turn()
        await jobs.aclose(reason="the end")
        assert (await result_of(jobs, closed)).data == "the end"


@on_all_loops
async def test_a_task_that_outlives_its_job_finds_its_streams_closed() -> None:
    """New ones would never be closed, and whoever read them would wait for ever."""
    tasks: list[asyncio.Task[list[str]]] = []

    async def late() -> list[str]:
        await over.wait()
        here().streams.stdout.write(b"too late")
        return [line async for line in here().streams.stdout.lines()]

    async def work(result: ExecResult | None) -> ExecResult | None:
        tasks.append(asyncio.ensure_future(late()))
        return result

    over = asyncio.Event()
    async with JobManager() as jobs:
        for result in (None, ExecResult.success("printed\n")):
            await result_of(jobs, jobs.spawn("work", work(result)))
        over.set()
        assert [await task for task in tasks] == [[], ["printed"]]


@on_all_loops
async def test_a_token_that_is_set_lets_a_coroutine_end_in_its_own_way() -> None:
    async def work() -> ExecResult:
        await here().token.wait_cancelled()
        return ExecResult(0, b"saved")

    async with JobManager(max_running=1) as jobs:
        first = jobs.spawn("first", endless())
        id = jobs.spawn("work", work())
        token = CancellationToken()
        await jobs.set_cancel_token(id, token)
        await jobs.kill(first)
        await turn()
        assert await jobs.cancel(id)
        assert (await result_of(jobs, id)).out == b"saved"
        assert await jobs.get_status_string(id) == "done:0"


@on_a_loop
async def test_children_of_its_token_are_cancelled_with_it() -> None:
    children: list[CancellationToken] = []

    async def work() -> None:
        children.append(here().token.child_token())
        await endless()

    async with JobManager() as jobs:
        id = jobs.spawn("work", work())
        await turn()
        children[0].cancel()
        await turn()
        assert await jobs.get_status_string(id) == "running"
        children.append(here_in(jobs, id).child_token())
        await jobs.cancel(id, reason="because")
        assert children[1].reason == "because"


def here_in(jobs: JobManager, id: JobId) -> CancellationToken:
    job = jobs.table.get(id)
    assert job is not None
    assert job.runner is not None
    assert job.runner.token is not None
    return job.runner.token


@on_a_loop
async def test_outside_of_jobs_there_is_none_also_in_a_fresh_context() -> None:
    async def work() -> object:
        return contextvars.Context().run(current_job)

    async with JobManager() as jobs:
        assert (await result_of(jobs, jobs.spawn("work", work()))).data is None


@pytest.mark.parametrize("is_removed", [True, False])
@on_all_loops
async def test_a_job_that_was_removed_is_still_itself(is_removed: bool) -> None:
    go_on = gate()
    seen: list[JobId] = []

    async def work() -> None:
        await go_on
        here().streams.stdout.write(b"into the void")
        seen.append(here().id)

    async with JobManager() as jobs:
        id = jobs.spawn("work", work())
        if is_removed:
            await jobs.remove(id)
        go_on.set_result(None)
        for _ in range(3):
            await turn()
        assert seen == [id]
