"""`register`: a job that runs elsewhere and reports through a channel."""

from __future__ import annotations

import asyncio
import gc
import threading
from collections.abc import Callable
from typing import Any

import pytest

from amper import EndedBy, ExecResult, JobManager, Sender, oneshot
from tests.handshakes import result_of
from tests.support import on_all_loops
from tests.work import endless, gate, give, history, info_of, no_complaints, on_a_loop, turn


def in_a_thread(step: Callable[[], object]) -> None:
    thread = threading.Thread(target=step)
    thread.start()
    thread.join()


@on_all_loops
async def test_it_runs_until_a_result_is_sent() -> None:
    async with JobManager() as jobs:
        tx, rx = oneshot()
        id = await jobs.register("elsewhere", rx, name="n", tags=("a",))
        info = await info_of(jobs, id)
        assert (info.command, info.name, info.tags) == ("elsewhere", "n", ("a",))
        assert (info.status_string, info.pid, info.pgids) == ("running", None, ())
        assert await jobs.running_count() == 1
        tx.send(ExecResult.failure(3, "no"))
        assert await result_of(jobs, id) == ExecResult.failure(3, "no")
        assert await jobs.get_status_string(id) == "failed:3"
        assert await history(jobs, id) == ["started", "ended"]


@pytest.mark.parametrize("value", [None, 5, b"bytes", ValueError("sent, not raised")])
@on_a_loop
async def test_any_other_value_is_the_data_of_a_success(value: Any) -> None:
    async with JobManager() as jobs:
        tx, rx = oneshot()
        id = await jobs.register("elsewhere", rx)
        tx.send(value)
        assert await result_of(jobs, id) == ExecResult(0, data=value)


@on_a_loop
async def test_what_was_sent_before_the_registration_counts() -> None:
    async with JobManager() as jobs:
        tx, rx = oneshot()
        tx.send("early")
        future = gate()
        future.set_result("early")
        for channel in (rx, future):
            id = await jobs.register("elsewhere", channel)
            assert (await result_of(jobs, id)).data == "early"
            assert await history(jobs, id) == ["started", "ended"]


@on_all_loops
async def test_a_result_may_come_from_any_thread() -> None:
    async with JobManager() as jobs:
        tx, rx = oneshot()
        id = await jobs.register("elsewhere", rx)
        in_a_thread(lambda: tx.send("from a thread"))
        assert (await result_of(jobs, id)).data == "from a thread"


@on_all_loops
async def test_a_sender_that_goes_away_without_a_result_ends_the_job_as_failed() -> None:
    async with JobManager() as jobs:
        senders: list[Sender[Any]] = []
        ids = []
        for _ in range(4):
            tx, rx = oneshot()
            senders.append(tx)
            ids.append(await jobs.register("elsewhere", rx))
        del tx
        gc.collect()
        await turn()
        assert await jobs.running_count() == 4
        senders[0].close()
        in_a_thread(senders[1].close)
        senders[2:3] = []
        # The last reference goes away in a thread.
        in_a_thread(senders.clear)
        for id in ids:
            result = await result_of(jobs, id)
            assert (result.code, result.ended_by) == (1, None)
            assert b"sender" in result.err
            assert await jobs.get_status_string(id) == "failed:1"


@on_all_loops
async def test_a_sender_in_a_circle_of_garbage_ends_the_job() -> None:
    async with JobManager() as jobs:
        tx, rx = oneshot()
        id = await jobs.register("elsewhere", rx)
        circle: list[Any] = [tx]
        circle.append(circle)
        del tx, circle
        gc.collect()
        assert (await result_of(jobs, id)).code == 1


@on_all_loops
async def test_a_future_or_a_task_is_a_channel_too() -> None:
    async with JobManager() as jobs:
        future, task = gate(), asyncio.ensure_future(give("task"))
        by_future = await jobs.register("elsewhere", future)
        by_task = await jobs.register("elsewhere", task)
        assert await jobs.get_status_string(by_future) == "running"
        future.set_result(ExecResult(4))
        assert (await result_of(jobs, by_future)).code == 4
        assert (await result_of(jobs, by_task)).data == "task"


@pytest.mark.parametrize(
    "error", [ValueError("boom"), GeneratorExit("boom"), BaseException("boom")]
)
@on_a_loop
async def test_a_future_that_fails_ends_the_job_as_failed(error: BaseException) -> None:
    async with JobManager() as jobs:
        future = gate()
        id = await jobs.register("elsewhere", future)
        future.set_exception(error)
        result = await result_of(jobs, id)
        assert (result.code, result.ended_by) == (1, None)
        assert f"{type(error).__name__}: boom".encode() in result.err


@on_all_loops
async def test_a_future_that_is_cancelled_ends_the_job_as_killed() -> None:
    async with JobManager() as jobs:
        future = gate()
        id = await jobs.register("elsewhere", future)
        future.cancel()
        result = await result_of(jobs, id)
        assert (result.code, result.ended_by) == (130, EndedBy("cancel"))
        assert await jobs.get_status_string(id) == "killed:130"


@on_a_loop
async def test_one_channel_may_report_for_two_jobs_and_to_others() -> None:
    async with JobManager() as jobs:
        tx, rx = oneshot()
        ids = [await jobs.register("elsewhere", rx) for _ in range(2)]
        tx.send("once")
        assert [(await result_of(jobs, id)).data for id in ids] == ["once"] * 2
        assert await rx == "once"


@on_a_loop
async def test_a_result_that_is_no_use_does_not_leave_the_job_running() -> None:
    text: Any = "no bytes"
    async with JobManager() as jobs:
        tx, rx = oneshot()
        id = await jobs.register("elsewhere", rx)
        await jobs.streams(id)
        tx.send(ExecResult(0, out=text))
        result = await result_of(jobs, id)
        assert result.code == 1
        assert b"TypeError" in result.err


def test_a_report_that_comes_after_the_end_is_ignored(caplog: pytest.LogCaptureFixture) -> None:
    async def late() -> None:
        async with JobManager() as jobs:
            futures = [gate() for _ in range(3)]
            tx, rx = oneshot()
            ids = [await jobs.register("elsewhere", future) for future in futures]
            ids.append(await jobs.register("elsewhere", rx))
            for id in ids:
                assert await jobs.finish(id, ExecResult(7))
            futures[0].set_result(ExecResult(8))
            futures[1].set_exception(ValueError("late"))
            futures[2].cancel()
            tx.send(ExecResult(9))
            await turn()
            assert [(await result_of(jobs, id)).code for id in ids] == [7] * 4
        del futures
        gc.collect()

    with no_complaints(caplog):
        on_a_loop(late)()


@pytest.mark.parametrize("bad", [None, 5, "text", oneshot, oneshot(), [1]], ids=str)
@on_a_loop
async def test_only_a_receiver_or_a_future_is_a_channel(bad: Any) -> None:
    async with JobManager() as jobs:
        with pytest.raises(TypeError, match="oneshot"):
            await jobs.register("elsewhere", bad)
        assert await jobs.list_ids() == []


@on_a_loop
async def test_a_coroutine_or_the_wrong_end_is_no_channel() -> None:
    coroutine: Any = endless()
    tx: Any = oneshot()[0]
    async with JobManager() as jobs:
        for bad in (coroutine, tx):
            with pytest.raises(TypeError):
                await jobs.register("elsewhere", bad)
    coroutine.close()


@pytest.mark.parametrize(
    "command, options", [(None, {}), (b"x", {}), ("x", {"name": 1}), ("x", {"tags": "abc"})]
)
@on_a_loop
async def test_bad_descriptions_are_refused(command: Any, options: dict[str, Any]) -> None:
    async with JobManager() as jobs:
        with pytest.raises(TypeError):
            await jobs.register(command, gate(), **options)
        with pytest.raises(TypeError):
            await jobs.register_stopped(command, 2**22 + 1, 2**22 + 1, **options)
        assert await jobs.list_ids() == []


@on_a_loop
async def test_a_future_of_a_loop_that_is_closed_leaves_no_job_that_never_ends() -> None:
    loop = asyncio.new_event_loop()
    done, pending = loop.create_future(), loop.create_future()
    done.set_result("early")
    loop.close()
    async with JobManager() as jobs:
        for future in (done, pending):
            with pytest.raises((RuntimeError, ValueError)):
                await jobs.register("elsewhere", future)
        assert await jobs.list_ids() == []
