"""`spawn`: a coroutine, or whatever can be awaited, becomes a job."""

from __future__ import annotations

import asyncio
import contextvars
import gc
import weakref
from typing import Any

import pytest

from amper import EndedBy, ExecResult, JobId, JobManager
from tests.handshakes import result_of
from tests.support import LOOPS, on_all_loops, run
from tests.work import (
    Awaitable,
    endless,
    fail,
    gate,
    give,
    history,
    info_of,
    no_complaints,
    on_a_loop,
    swallow,
    turn,
)


class Unprintable(Exception):
    def __str__(self) -> str:
        raise RuntimeError("not even its text")


class Severe(BaseException):
    pass


# The table.


@on_all_loops
async def test_a_job_is_in_the_table_before_its_first_step_and_when_spawn_returns() -> None:
    seen: list[Any] = []

    async def work() -> None:
        seen.append([job.command for job in jobs.table.jobs()])
        seen.append(await jobs.get_status_string(JobId(1)))

    async with JobManager() as jobs:
        id = jobs.spawn("work", work())
        assert jobs.table.get(id) is not None
        assert await jobs.exists(id)
        assert (await info_of(jobs, id)).command == "work"
        assert await result_of(jobs, id) == ExecResult(0)
        assert seen == [["work"], "running"]


@on_a_loop
async def test_ids_count_from_one_and_are_never_used_again() -> None:
    async with JobManager(finished_retention=0) as jobs:
        first, second, third = (jobs.spawn("work", give()) for _ in range(3))
        assert [first, second, third] == [1, 2, 3]
        assert [str(first), f"{first}", repr(first)] == ["1", "1", "1"]
        await result_of(jobs, second)
        await jobs.remove(third)
        await jobs.reap_finished()
        assert await jobs.list_ids() == []
        assert jobs.spawn("work", give()) == 4
        # Each manager counts by itself.
        async with JobManager() as others:
            assert others.spawn("work", give()) == 1


@on_a_loop
async def test_a_name_and_tags_are_kept() -> None:
    async with JobManager() as jobs:
        plain = await info_of(jobs, jobs.spawn("work", give()))
        assert (plain.name, plain.tags) == (None, ())
        for tags in (("a", "b"), ["a", "b"], iter(["a", "b"]), {"a": 1, "b": 2}):
            info = await info_of(jobs, jobs.spawn("work", give(), name="n", tags=tags))
            assert (info.name, info.tags) == ("n", ("a", "b"))


# What it came to.


@on_all_loops
async def test_a_value_is_the_data_of_a_success() -> None:
    async with JobManager() as jobs:
        for value in (None, 0, False, "text", b"bytes", [1], {"a": 1}, object()):
            id = jobs.spawn("work", give(value))
            result = await result_of(jobs, id)
            assert result == ExecResult(0, data=value)
            assert result.data is value
            assert await jobs.get_status_string(id) == "done:0"


@on_all_loops
async def test_a_result_is_taken_as_it_is() -> None:
    expected = {
        "done:0": ExecResult(0, b"out", b"err", {"a": 1}, 5, 6),
        "failed:3": ExecResult.failure(3, "err"),
        "failed:-1": ExecResult(-1),
        "failed:137": ExecResult(137),
    }
    async with JobManager() as jobs:
        for status, result in expected.items():
            id = jobs.spawn("work", give(result))
            assert await result_of(jobs, id) == result
            assert await jobs.get_status_string(id) == status


@pytest.mark.parametrize("code", [True, 1.0, "1"])
@on_all_loops
async def test_a_code_that_is_no_number_of_an_exit_is_an_error_of_the_job(code: Any) -> None:
    async with JobManager() as jobs:
        result = await result_of(jobs, jobs.spawn("work", give(ExecResult(code))))
        assert result.code == 1
        assert b"the code of an ExecResult is an int" in result.err


@pytest.mark.parametrize(
    "error, told",
    [
        (ValueError("boom"), b"ValueError: boom"),
        (ValueError(), b"ValueError"),
        (ValueError("two\nlines"), b"two\nlines"),
        (ValueError("half of a pair: \ud800"), b"half of a pair"),
        (Unprintable(), b"Unprintable"),
        (Severe("boom"), b"Severe: boom"),
        (GeneratorExit(), b"GeneratorExit"),
        (StopIteration(3), b"StopIteration"),
        (ExceptionGroup("two", [ValueError("one"), KeyError("other")]), b"two"),
    ],
    ids=lambda value: type(value).__name__,
)
@on_a_loop
async def test_an_error_ends_a_job_as_failed_and_is_told(error: BaseException, told: bytes) -> None:
    async with JobManager() as jobs:
        id = jobs.spawn("work", fail(error))
        result = await result_of(jobs, id)
        assert (result.code, result.ended_by) == (1, None)
        assert told in result.err
        assert await jobs.get_status_string(id) == "failed:1"


@pytest.mark.parametrize("error", [SystemExit, KeyboardInterrupt])
@pytest.mark.parametrize("loop_name", list(LOOPS))
def test_an_exit_of_the_program_is_a_failed_job_and_goes_on_its_way(
    error: type[BaseException], loop_name: str, caplog: pytest.LogCaptureFixture
) -> None:
    jobs = JobManager()

    async def begin() -> None:
        jobs.spawn("work", fail(error()))
        await endless()

    async def look() -> None:
        result = await result_of(jobs, JobId(1))
        assert (result.code, result.ended_by) == (1, None)
        assert error.__name__.encode() in result.err
        await jobs.aclose()

    with no_complaints(caplog):
        with pytest.raises(error):
            run(begin(), LOOPS[loop_name])
        run(look(), LOOPS[loop_name])
        gc.collect()


@pytest.mark.parametrize("is_begun", [True, False])
@on_all_loops
async def test_a_task_that_a_stranger_cancels_ends_its_job_as_killed(is_begun: bool) -> None:
    async with JobManager() as jobs:
        mine = asyncio.all_tasks()
        id = jobs.spawn("work", endless())
        if is_begun:
            await turn()
        (task,) = asyncio.all_tasks() - mine
        task.cancel()
        result = await result_of(jobs, id)
        assert (result.code, result.ended_by) == (130, EndedBy("cancel"))
        assert await jobs.get_status_string(id) == "killed:130"


@on_all_loops
async def test_a_coroutine_that_cancels_itself_is_killed() -> None:
    async with JobManager() as jobs:
        id = jobs.spawn("work", fail(asyncio.CancelledError()))
        result = await result_of(jobs, id)
        assert (result.code, result.ended_by) == (130, EndedBy("cancel"))


# Awaitables that are no coroutines.


@on_all_loops
async def test_futures_tasks_and_awaitables_of_ones_own_will_do() -> None:
    async with JobManager() as jobs:
        future, task, inner = gate(), asyncio.ensure_future(swallow(0, "task")), gate()
        ids = [jobs.spawn("work", it) for it in (future, task, Awaitable(inner))]
        await turn()
        assert await jobs.get_status_string(ids[0]) == "running"
        future.set_result(ExecResult.failure(4))
        inner.set_result("own")
        assert (await result_of(jobs, ids[0])).code == 4
        assert [(await result_of(jobs, id)).data for id in ids[1:]] == ["task", "own"]


@on_all_loops
async def test_a_future_may_be_over_already_fail_or_be_cancelled() -> None:
    async with JobManager() as jobs:
        over, failing, cancelled = gate(), gate(), gate()
        over.set_result("early")
        ids = [jobs.spawn("work", it) for it in (over, failing, cancelled)]
        failing.set_exception(ValueError("boom"))
        cancelled.cancel()
        results = [await result_of(jobs, id) for id in ids]
        assert [result.code for result in results] == [0, 1, 130]
        assert results[0].data == "early"
        assert b"ValueError: boom" in results[1].err
        assert results[2].ended_by == EndedBy("cancel")


@on_all_loops
async def test_what_cannot_be_awaited_here_or_any_more_is_a_failed_job() -> None:
    used = give()
    await used
    loop = asyncio.new_event_loop()
    elsewhere = loop.create_future()
    async with JobManager() as jobs:
        for awaitable in (used, elsewhere):
            result = await result_of(jobs, jobs.spawn("work", awaitable))
            assert result.code == 1
            assert b"Error" in result.err
    loop.close()


# Its surroundings.


@on_all_loops
async def test_the_context_is_the_callers_at_the_moment_of_the_call() -> None:
    variable = contextvars.ContextVar("variable", default="unset")

    async def work() -> str:
        await turn()
        before = variable.get()
        variable.set("set inside")
        return before

    async with JobManager() as jobs:
        variable.set("at the call")
        id = jobs.spawn("work", work())
        variable.set("later")
        assert (await result_of(jobs, id)).data == "at the call"
        assert variable.get() == "later"


@on_all_loops
async def test_a_job_that_only_itself_knows_is_never_garbage() -> None:
    known: list[weakref.ref[asyncio.Future[str]]] = []

    async def work() -> str:
        future = gate()
        known.append(weakref.ref(future))
        return str(await future)

    async with JobManager() as jobs:
        id = jobs.spawn("work", work())
        await turn()
        gc.collect()
        future = known[0]()
        assert future is not None
        future.set_result("still here")
        assert (await result_of(jobs, id)).data == "still here"


@on_all_loops
async def test_a_manager_that_is_dropped_leaves_its_jobs_running() -> None:
    known: list[weakref.ref[asyncio.Future[str]]] = []
    done = gate()

    async def work() -> None:
        future = gate()
        known.append(weakref.ref(future))
        done.set_result(await future)

    jobs = JobManager()
    jobs.spawn("work", work())
    dropped = weakref.ref(jobs)
    del jobs
    await turn()
    gc.collect()
    future = known[0]()
    assert future is not None
    future.set_result("to the end")
    assert await done == "to the end"
    await turn()
    gc.collect()
    assert dropped() is None


@on_all_loops
async def test_a_job_may_end_before_spawn_returns_or_later_with_the_same_history() -> None:
    async with JobManager() as jobs:
        id = jobs.spawn("work", give())
        await result_of(jobs, id)
        assert await history(jobs, id) == ["started", "ended"]
