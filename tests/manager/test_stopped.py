"""What an embedder records of its own processes: stops, resumes, process groups, the end."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from amper import CancellationToken, EndedBy, ExecResult, JobId, JobManager, oneshot
from tests.handshakes import result_of
from tests.support import on_all_loops
from tests.work import NO_PROCESS, UNKNOWN, endless, gate, give, history, info_of, on_a_loop, turn

# Numbers that no process has.
A, B, C = NO_PROCESS, NO_PROCESS + 1, NO_PROCESS + 2


async def state(jobs: JobManager, id: JobId) -> tuple[str | None, int, JobId | None]:
    return await jobs.get_status_string(id), await jobs.running_count(), await jobs.last_stopped()


# register_stopped


@on_all_loops
async def test_a_foreground_process_becomes_a_job_by_being_stopped() -> None:
    async with JobManager() as jobs:
        id = await jobs.register_stopped("vi notes", A, B, name="editor", tags=("a",))
        info = await info_of(jobs, id)
        assert (info.command, info.name, info.tags) == ("vi notes", "editor", ("a",))
        assert (info.status_string, info.pid, info.pgids) == ("stopped", A, (B,))
        assert await jobs.get_process_info(id) == (A, B)
        assert await state(jobs, id) == ("stopped", 0, id)
        assert await jobs.wait(id) is None
        assert await history(jobs, id) == ["stopped"]


@pytest.mark.parametrize("is_resumed", [False, True])
@on_all_loops
async def test_it_ends_through_finish_stopped_or_not(is_resumed: bool) -> None:
    async with JobManager() as jobs:
        id = await jobs.register_stopped("vi", A, A)
        if is_resumed:
            await jobs.resume_job(id)
        assert await jobs.finish(id, ExecResult(3, b"out"))
        assert await result_of(jobs, id) == ExecResult(3, b"out")
        assert await state(jobs, id) == ("failed:3", 0, None)
        assert not await jobs.finish(id, ExecResult(0))
        assert (await result_of(jobs, id)).code == 3


@on_all_loops
async def test_it_ends_through_its_channel_too() -> None:
    async with JobManager() as jobs:
        (tx, rx), future = oneshot(), gate()
        ids = [await jobs.register_stopped("vi", A, A, it) for it in (rx, future)]
        tx.send(ExecResult(3))
        future.set_result(None)
        await turn()
        await turn()
        # A job that ends while it is marked stopped is over, at once.
        assert [await jobs.get_status_string(id) for id in ids] == ["failed:3", "done:0"]
        assert await jobs.last_stopped() is None
        assert [await history(jobs, id) for id in ids] == [["stopped", "ended"]] * 2


@on_a_loop
async def test_any_other_value_is_the_data_of_a_success() -> None:
    value: Any = {"lines": 5}
    async with JobManager() as jobs:
        id = await jobs.register_stopped("vi", A, A)
        assert await jobs.finish(id, value)
        assert await result_of(jobs, id) == ExecResult(0, data=value)


@on_a_loop
async def test_finish_is_for_what_runs_elsewhere() -> None:
    async with JobManager(max_running=1) as jobs:
        spawned, queued = jobs.spawn("work", endless()), jobs.spawn("work", endless())
        for id in (spawned, queued, UNKNOWN):
            assert not await jobs.finish(id, ExecResult(0))
        registered = await jobs.register("elsewhere", gate())
        assert await jobs.finish(registered, ExecResult(0))
        assert [info.status_string for info in await jobs.list()] == ["running", "queued", "done:0"]


@on_a_loop
async def test_the_end_of_the_manager_ends_it_as_killed() -> None:
    jobs = JobManager()
    id = await jobs.register_stopped("vi", A, A)
    await jobs.aclose(reason="good night")
    result = await result_of(jobs, id)
    assert (result.code, result.ended_by) == (130, EndedBy("close", "good night"))


# stop_job, resume_job


@on_all_loops
async def test_a_stop_and_a_resume_are_recorded_with_the_process() -> None:
    async with JobManager() as jobs:
        future = gate()
        spawned, registered = jobs.spawn("work", future), await jobs.register("elsewhere", gate())
        for id in (spawned, registered):
            assert await jobs.get_process_info(id) is None
            await jobs.stop_job(id, A, B)
            assert await state(jobs, id) == ("stopped", 1, id)
            assert await jobs.get_process_info(id) == (A, B)
            assert await jobs.job_pgids(id) == [B]
            await jobs.resume_job(id)
            assert await state(jobs, id) == ("running", 2, None)
            assert await jobs.get_process_info(id) == (A, B)
            assert await history(jobs, id) == ["started", "stopped", "resumed"]
        # It is a record only: whatever the coroutine does, it does.
        await jobs.stop_job(spawned, A, B)
        future.set_result(5)
        await turn()
        await turn()
        assert await jobs.get_status_string(spawned) == "done:0"


@on_a_loop
async def test_the_process_is_the_one_that_was_recorded_last() -> None:
    async with JobManager() as jobs:
        id = await jobs.register("elsewhere", gate())
        await jobs.add_pgid(id, A)
        await jobs.add_pgid(id, B)
        await jobs.stop_job(id, B, B)
        assert await jobs.get_process_info(id) == (B, B)
        await jobs.resume_job(id)
        await jobs.stop_job(id, A, C)
        assert await jobs.get_process_info(id) == (A, C)
        await jobs.stop_job(id, A, A)
        assert await jobs.get_process_info(id) == (A, A)
        assert sorted(await jobs.job_pgids(id)) == [A, B, C]


@on_a_loop
async def test_a_second_stop_or_resume_is_no_event() -> None:
    async with JobManager() as jobs:
        id = await jobs.register("elsewhere", gate())
        await jobs.resume_job(id)
        await jobs.stop_job(id, A, A)
        await jobs.stop_job(id, A, A)
        assert await state(jobs, id) == ("stopped", 0, id)
        await jobs.resume_job(id)
        await jobs.resume_job(id)
        assert await state(jobs, id) == ("running", 1, None)
        assert await history(jobs, id) == ["started", "stopped", "resumed"]


@on_a_loop
async def test_nothing_happens_to_a_job_that_is_over_queued_or_not_there() -> None:
    async with JobManager(max_running=1) as jobs:
        over = jobs.spawn("over", give())
        await result_of(jobs, over)
        running, queued = jobs.spawn("work", endless()), jobs.spawn("work", give("ran"))
        for id in (over, queued, UNKNOWN):
            await jobs.stop_job(id, A, A)
            await jobs.resume_job(id)
            await jobs.add_pgid(UNKNOWN, A)
        assert await jobs.last_stopped() is None
        assert await jobs.get_process_info(over) is None
        assert await history(jobs, over) == ["started", "ended"]
        assert await jobs.get_status_string(queued) == "queued"
        await jobs.kill(running)
        assert (await result_of(jobs, queued)).data == "ran"


@on_a_loop
async def test_last_stopped_is_the_one_that_was_stopped_last_and_still_is() -> None:
    async with JobManager() as jobs:
        a, b, c, d = [await jobs.register("elsewhere", gate()) for _ in range(4)]
        assert await jobs.last_stopped() is None
        for id in (c, d, a, b):
            await jobs.stop_job(id, A, A)
        assert await jobs.last_stopped() == b
        await jobs.resume_job(b)
        assert await jobs.last_stopped() == a
        await jobs.finish(a, ExecResult(0))
        assert await jobs.last_stopped() == d
        await jobs.remove(d)
        assert await jobs.last_stopped() == c
        await jobs.stop_job(b, A, A)
        assert await jobs.last_stopped() == b
        await jobs.kill(b)
        await jobs.aclose()
        assert await jobs.last_stopped() is None


# add_pgid


@on_a_loop
async def test_groups_are_kept_in_order_and_once() -> None:
    async with JobManager() as jobs:
        id = await jobs.register("elsewhere", gate())
        assert await jobs.job_pgids(id) == []
        for pgid in (C, A, B, A, C):
            await jobs.add_pgid(id, pgid)
        assert await jobs.job_pgids(id) == [C, A, B]
        assert (await info_of(jobs, id)).pgids == (C, A, B)
        # What is handed out is a copy.
        (await jobs.job_pgids(id)).append(5)
        assert await jobs.job_pgids(id) == [C, A, B]
        await jobs.finish(id, ExecResult(0))
        assert await jobs.job_pgids(id) == [C, A, B]
        assert await jobs.job_pgids(UNKNOWN) == []


@pytest.mark.parametrize("pgid", [1, 0, -1, -NO_PROCESS, True, 2**31, 2**64])
@on_a_loop
async def test_what_kill_would_take_for_everybody_or_ourselves_is_no_group(pgid: int) -> None:
    async with JobManager() as jobs:
        id = await jobs.register("elsewhere", gate())
        for any_id in (id, UNKNOWN):
            with pytest.raises((ValueError, TypeError)):
                await jobs.add_pgid(any_id, pgid)
            with pytest.raises((ValueError, TypeError)):
                await jobs.stop_job(any_id, A, pgid)
        with pytest.raises((ValueError, TypeError)):
            await jobs.register_stopped("vi", A, pgid)
        assert await jobs.job_pgids(id) == []
        assert await jobs.list_ids() == [id]
        assert await jobs.get_status_string(id) == "running"


@pytest.mark.parametrize("bad", ["5", None, 5.0])
@on_a_loop
async def test_a_process_and_a_group_are_numbers(bad: Any) -> None:
    async with JobManager() as jobs:
        id = await jobs.register("elsewhere", gate())
        for call in (
            lambda: jobs.add_pgid(id, bad),
            lambda: jobs.stop_job(id, A, bad),
            lambda: jobs.stop_job(id, bad, A),
            lambda: jobs.register_stopped("vi", bad, A),
            lambda: jobs.register_stopped("vi", A, bad),
        ):
            with pytest.raises(TypeError):
                await call()
        assert await jobs.list_ids() == [id]
        assert await jobs.get_process_info(id) is None


@pytest.mark.parametrize("pid", [0, -1, 2**31])
@on_a_loop
async def test_a_pid_is_above_zero_and_one_of_the_kernels(pid: int) -> None:
    async with JobManager() as jobs:
        with pytest.raises(ValueError, match=str(pid)):
            await jobs.register_stopped("vi", pid, A)
        assert await jobs.list_ids() == []


@on_a_loop
async def test_a_kill_asks_the_token_of_a_stopped_job_and_waits_for_its_end() -> None:
    async with JobManager() as jobs:
        token = CancellationToken()
        id = await jobs.register_stopped("vi", A, A)
        await jobs.set_cancel_token(id, token)
        killing = asyncio.ensure_future(jobs.kill(id, reason="because"))
        await token.wait_cancelled()
        assert not killing.done()
        await jobs.finish(id, ExecResult(137))
        assert await killing
        assert await jobs.get_status_string(id) == "killed:137"
