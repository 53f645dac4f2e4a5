"""What is over is gone: no task, no record, no waiter, no object of a job that nobody can see any more."""

from __future__ import annotations

import asyncio
import gc
import threading
import weakref
from collections.abc import Callable, Coroutine, Sized
from typing import Any

import pytest

from amper import CancellationToken, ExecResult, JobManager, current_job, oneshot
from amper.manager.coroutines import _live_tasks
from tests.handshakes import result_of
from tests.support import LOOPS, on_all_loops, run
from tests.work import (
    NO_PROCESS,
    be_deaf,
    endless,
    fail,
    gate,
    give,
    no_complaints,
    on_a_loop,
    swallow,
    turn,
)


class Thing:
    """Something that can be seen to go."""


async def hold(thing: Thing, outcome: Any = None) -> Any:
    return outcome


def is_empty(jobs: JobManager) -> bool:
    """Return whether a manager that has nothing to do keeps nothing either."""
    table, core = jobs.table, jobs._core
    kept = table.retention
    records: list[Sized] = [
        table._jobs,
        table.order._stopped,
        table.order._background,
        core.untracked,
        core.remains.all(),
        core.admission._queue,
    ]
    waiting: list[Sized] = [kept._untaken, kept._taken, kept._late, kept._output]
    # Entries of jobs that are gone are thrown out in bunches.
    few = all(len(entries) <= 64 for entries in waiting)
    return few and not any(records) and not table.events.waiters and not table.running_count


@on_all_loops
async def test_a_manager_keeps_nothing_of_jobs_that_went() -> None:
    mine, alive = asyncio.all_tasks(), set(_live_tasks)
    async with JobManager(finished_retention=0, max_running=3) as jobs:
        for _ in range(20):
            ids = [
                jobs.spawn("work", it) for it in (give(b"x"), fail(ValueError("boom")), endless())
            ]
            ids += [await jobs.register("elsewhere", gate()) for _ in range(2)]
            queued = [jobs.spawn("work", endless()) for _ in range(3)]
            await turn()
            await jobs.stop_job(ids[2], NO_PROCESS, NO_PROCESS)
            await jobs.finish(ids[3], ExecResult(0, b"out"))
            waiting = asyncio.ensure_future(jobs.wait(ids[4], timeout=60))
            await turn()
            waiting.cancel()
            await jobs.remove(ids[4])
            await jobs.remove(queued[2])
            await jobs.kill(queued[1])
            await jobs.cancel(queued[0])
            await jobs.kill(ids[2])
            await jobs.wait_all()
    await asyncio.gather(waiting, return_exceptions=True)
    assert is_empty(jobs)
    assert _live_tasks <= alive
    assert asyncio.all_tasks() == mine


@on_all_loops
async def test_a_job_that_is_over_lets_go_of_its_coroutine_and_a_removed_one_of_its_result() -> (
    None
):
    async with JobManager() as jobs:
        held, result = Thing(), Thing()
        things = [weakref.ref(held), weakref.ref(result)]
        id = jobs.spawn("work", hold(held, result))
        del held, result
        await result_of(jobs, id)
        gc.collect()
        assert [thing() is None for thing in things] == [True, False]
        await jobs.remove(id)
        # The loop holds what woke us until its next turn.
        await turn()
        gc.collect()
        assert things[1]() is None


@on_all_loops
async def test_a_command_that_is_over_is_let_go_without_the_collector() -> None:
    async with JobManager() as jobs:
        gc.collect()
        gc.disable()
        try:
            id = await jobs.start("echo out")
            job = jobs._table.get(id)
            assert job is not None
            assert job.runner is not None
            runner = weakref.ref(job.runner)
            await result_of(jobs, id)
            # The loop holds what it called until its next turn.
            await turn()
            await turn()
            assert runner() is None
        finally:
            gc.enable()


@pytest.mark.parametrize("way", ["kill", "cancel", "remove", "abandon", "queue and kill", "refuse"])
@on_a_loop
async def test_a_coroutine_that_was_ended_is_let_go(way: str) -> None:
    free = gate()

    async def work(thing: Thing) -> None:
        await (be_deaf(free) if way == "abandon" else endless())

    async with JobManager(grace_period=0.001, max_running=1, finished_retention=0) as jobs:
        thing = Thing()
        held = weakref.ref(thing)
        if way == "queue and kill":
            jobs.spawn("first", endless())
        if way == "refuse":
            with pytest.raises(TypeError):
                jobs.spawn("work", work(thing), tags=5)  # type: ignore[arg-type]  # The mistake is the test.
        else:
            id = jobs.spawn("work", work(thing))
            await turn()
            if way == "cancel":
                await jobs.cancel(id)
                await result_of(jobs, id)
            elif way == "remove":
                await jobs.remove(id)
                await jobs.aclose()
            else:
                await jobs.kill(id)
        del thing
        free.set_result(None)
        await turn()
        await turn()
        gc.collect()
        assert held() is None


@on_all_loops
async def test_a_manager_that_is_closed_or_idle_can_be_collected() -> None:
    managers = []
    for is_closed in (True, False):
        jobs = JobManager()
        await result_of(jobs, jobs.spawn("work", give(5)))
        tx, rx = oneshot()
        id = await jobs.register("elsewhere", rx)
        tx.send(None)
        await result_of(jobs, id)
        if is_closed:
            await jobs.aclose()
        managers.append(weakref.ref(jobs))
    del jobs
    await turn()
    gc.collect()
    assert [manager() for manager in managers] == [None, None]


def test_a_manager_that_is_collected_in_its_own_writer_thread_is_no_error() -> None:
    go_on = threading.Event()

    def collect() -> None:
        go_on.wait()
        gc.collect()

    circle: list[Any] = [JobManager()]
    circle.append(circle)
    files = circle[0]._core.files
    files._do(collect)
    thread = files._thread
    del circle, files
    go_on.set()
    thread.join()


@on_a_loop
async def test_tokens_that_outlive_their_jobs_do_not_keep_them() -> None:
    token = CancellationToken()
    async with JobManager(finished_retention=0) as jobs:
        thing = Thing()
        held = weakref.ref(thing)

        async def work(thing: Thing) -> CancellationToken:
            job = current_job()
            assert job is not None
            return job.token

        id = jobs.spawn("work", work(thing))
        del thing
        own = (await result_of(jobs, id)).data
        registered = await jobs.register("elsewhere", gate())
        await jobs.set_cancel_token(registered, token)
        await jobs.finish(registered, ExecResult(0))
        gc.collect()
        assert held() is None
        own.cancel()
        token.cancel()


# Nobody complains.


async def values_and_errors(jobs: JobManager) -> None:
    for work in (give(5), fail(ValueError("boom")), fail(asyncio.CancelledError())):
        jobs.spawn("work", work)
    await jobs.wait_all()


async def nobody_waits(jobs: JobManager) -> None:
    for work in (give(5), fail(ValueError("boom")), endless()):
        jobs.spawn("work", work)


async def ended_before_they_began(jobs: JobManager) -> None:
    for end in (jobs.kill, jobs.cancel, jobs.remove):
        await end(jobs.spawn("work", endless()))


async def futures_that_fail(jobs: JobManager) -> None:
    spawned, registered = gate(), gate()
    jobs.spawn("work", spawned)
    await jobs.register("elsewhere", registered)
    for future in (spawned, registered):
        future.set_exception(ValueError("boom"))


async def waiters_that_give_up(jobs: JobManager) -> None:
    id = jobs.spawn("work", endless())
    waiting = [
        asyncio.ensure_future(it)
        for it in (jobs.wait(id), jobs.wait_all(), jobs.wait_any(), jobs.kill(id))
    ]
    await turn()
    for task in waiting:
        task.cancel()
    await asyncio.gather(*waiting, return_exceptions=True)


async def refused(jobs: JobManager) -> None:
    await jobs.aclose()
    for work in (endless(), asyncio.ensure_future(give())):
        with pytest.raises(RuntimeError):
            jobs.spawn("work", work)
    await turn()


async def swallowers(jobs: JobManager) -> None:
    ids = [jobs.spawn("work", swallow(times, ExecResult(3))) for times in (1, 2)]
    await turn()
    for id in ids:
        await jobs.kill(id, grace_period=0)


SCENES: list[Callable[[JobManager], Coroutine[Any, Any, None]]] = [
    values_and_errors,
    nobody_waits,
    ended_before_they_began,
    futures_that_fail,
    waiters_that_give_up,
    refused,
    swallowers,
]


@pytest.mark.parametrize("scene", SCENES)
def test_no_loop_and_no_interpreter_complains(
    scene: Callable[[JobManager], Coroutine[Any, Any, None]], caplog: pytest.LogCaptureFixture
) -> None:
    async def play() -> None:
        # Nobody closes this one: the loop's end is the end of its coroutines.
        await scene(JobManager())
        jobs = JobManager()
        await scene(jobs)
        await jobs.aclose()

    with no_complaints(caplog):
        for loop_factory in LOOPS.values():
            run(play(), loop_factory)
        gc.collect()
