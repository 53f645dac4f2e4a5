"""The end of the manager's block: nothing that it started outlives it."""

from __future__ import annotations

import asyncio
import contextlib
import signal

import pytest

from amper import PIPE, EndedBy, JobManager, JobStatus, ManagerClosed
from amper.manager import killing
from amper.process.group import GroupWatch, ProcessGroup
from tests.handshakes import (
    info_when,
    on_a_shifted_loop,
    outcome,
    put_forward,
    result_of,
    said,
    watching,
)
from tests.support import cancelled, on_all_loops
from tests.unruly import unruly
from tests.work import info_of, on_a_loop


@on_all_loops
async def test_the_end_of_the_block_kills_what_runs_and_says_so() -> None:
    async with JobManager(grace_period=0.02) as jobs:
        ids = [await jobs.start(unruly(way)) for way in ("behave", "ignore_term", "stop_self")]
        pids = [(await said(jobs, id))[0] for id in ids]
        await info_when(jobs, ids[2], lambda info: info.status is JobStatus.STOPPED)
        waiting = asyncio.ensure_future(jobs.wait_all())
        with contextlib.ExitStack() as stack:
            processes = [stack.enter_context(watching(pid)) for pid in pids]
            await jobs.aclose(reason="the day is over")
            assert all(process.is_dead for process in processes)
    for id, code in zip(ids, (143, 137, 143), strict=True):
        result = await result_of(jobs, id)
        assert (result.code, result.ended_by) == (code, EndedBy("close", "the day is over"))
        assert await jobs.get_status_string(id) == f"killed:{code}"
        assert (await info_of(jobs, id)).signal == code - 128
    # Nobody waits for one that is stopped.
    assert len(await waiting) == 2
    events = [event async for event in jobs.events()]
    assert [event.kind for event in events] == ["started"] * 3 + ["stopped"] + ["ended"] * 3
    assert all(event.ended_by == EndedBy("close", "the day is over") for event in events[4:])


@on_a_shifted_loop
async def test_all_are_killed_at_once_and_not_one_after_another() -> None:
    async with JobManager(grace_period=10) as jobs:
        ids = [await jobs.start(unruly("refuse_term")) for _ in range(10)]
        for id in ids:
            await said(jobs, id)
        closing = asyncio.ensure_future(jobs.aclose())
        for id in ids:
            await said(jobs, id, "ignored")
        assert not closing.done()
        # One grace period is enough for all.
        put_forward(10)
        await closing
        assert {info.exit_code for info in await jobs.list()} == {137}


@on_all_loops
async def test_what_finished_jobs_left_behind_ends_with_the_block() -> None:
    async with JobManager(grace_period=0.02) as jobs:
        ids = [
            await jobs.start(unruly(way))
            for way in ("fork_and_leave", "fork_stubborn_and_leave", "hold_pipe")
        ]
        pids = [(await said(jobs, id))[0] for id in ids]
        with contextlib.ExitStack() as stack:
            processes = [stack.enter_context(watching(pid)) for pid in pids]
            await jobs.wait_all()
            assert not any(process.is_dead for process in processes)
            await jobs.reap_finished()
            await jobs.aclose()
            assert all(process.is_dead for process in processes)


@on_all_loops
async def test_an_exception_in_the_block_ends_its_commands_and_goes_on() -> None:
    jobs = JobManager()
    id = await jobs.start(unruly("behave"))

    async def block() -> None:
        async with jobs:
            raise ZeroDivisionError

    with watching(*await said(jobs, id)) as process:
        with pytest.raises(ZeroDivisionError):
            await block()
        assert process.is_dead
    assert await jobs.get_status_string(id) == "killed:143"


@on_all_loops
async def test_a_block_that_is_cancelled_ends_its_commands_first() -> None:
    jobs = JobManager()

    async def block() -> None:
        async with jobs:
            await jobs.run(unruly("behave"))

    task = asyncio.ensure_future(block())
    await asyncio.sleep(0)
    (pid,) = await said(jobs, (await jobs.list_ids())[0])
    with watching(pid) as process:
        await cancelled(task)
        assert process.is_dead


@on_a_loop
async def test_a_caller_that_is_cancelled_waits_no_longer_for_those_that_refuse() -> None:
    """Everything is over when it gets its CancelledError, and no clock had to go on for it."""
    jobs = JobManager(grace_period=1000)
    id = await jobs.start(unruly("refuse_term"))
    (pid,) = await said(jobs, id)
    with watching(pid) as process:
        closing = asyncio.ensure_future(jobs.aclose())
        await said(jobs, id, "ignored")
        await cancelled(closing)
        assert process.is_dead
    assert await jobs.get_status_string(id) == "killed:137"
    await jobs.aclose()


@on_a_loop
async def test_a_second_close_shortens_the_grace_period_and_joins_the_first() -> None:
    jobs = JobManager(grace_period=1000)
    id = await jobs.start(unruly("refuse_term"))
    await said(jobs, id)
    closing = asyncio.ensure_future(jobs.aclose(reason="first"))
    await said(jobs, id, "ignored")
    await jobs.aclose(grace_period=0, reason="second")
    await closing
    assert (await info_of(jobs, id)).ended_by == EndedBy("close", "first")


@on_all_loops
async def test_what_has_not_begun_when_the_end_begins_is_refused() -> None:
    """So many starts that they need several turns of the loop."""
    jobs = JobManager()
    starting = [asyncio.ensure_future(jobs.start(["sleep", "1000"])) for _ in range(40)]
    await asyncio.sleep(0)
    await jobs.aclose()
    answers = await asyncio.gather(*starting, return_exceptions=True)
    ids = [answer for answer in answers if not isinstance(answer, BaseException)]
    assert 0 < len(ids) < 40
    assert ids == await jobs.list_ids()
    assert {type(answer) for answer in answers if isinstance(answer, BaseException)} == {
        ManagerClosed
    }
    assert {info.status_string for info in await jobs.list()} == {"killed:143"}


@on_all_loops
async def test_lookups_go_on_after_the_end_and_nothing_can_be_reached_any_more() -> None:
    async with JobManager() as jobs:
        over = await jobs.start("echo out; exit 3")
        await result_of(jobs, over)
        left = await jobs.start(unruly("fork_and_leave"))
        await result_of(jobs, left)
        killed = await jobs.start(unruly("behave"), stdin=PIPE)
        await said(jobs, killed)
    assert await jobs.read_stdout(over) == b"out\n"
    assert await jobs.get_status_string(over) == "failed:3"
    for id in (over, left, killed):
        assert not await jobs.kill(id)
        assert not await jobs.cancel(id)
        assert not await jobs.signal(id, signal.SIGTERM)
        assert not await jobs.write_stdin(id, b"x")
        assert not await jobs.close_stdin(id)
    assert await jobs.running_count() == 0
    await jobs.aclose()


@on_all_loops
async def test_what_cannot_be_killed_holds_up_neither_the_end_nor_a_waiter(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A process in the D state takes no signal; here the signals are lost on the way."""
    monkeypatch.setattr(killing, "KILL_LIMIT", 0.02)
    jobs = JobManager(grace_period=0)
    id = await jobs.start(unruly("behave"), stdin=PIPE)
    (pid,) = await said(jobs, id)
    with watching(pid) as process:
        waiting = asyncio.ensure_future(jobs.wait(id))
        writing = asyncio.ensure_future(jobs.write_stdin(id, b"x" * 1_000_000))
        following = asyncio.ensure_future(anext(jobs.follow(id, since=1000)))
        with monkeypatch.context() as lost:
            lost.setattr(ProcessGroup, "signal", lambda *_: True)
            lost.setattr(GroupWatch, "signal_members", lambda *_: None)
            await jobs.aclose()
        assert not process.is_dead
        result = await waiting
        assert result is None or not result.ok
        assert not await writing
        assert (await following).closed
        status = (await info_of(jobs, id)).status
        assert status.is_final
        process.signal(signal.SIGKILL)
        await process.death()
        process.reap()


@on_all_loops
async def test_a_manager_that_is_dropped_runs_its_commands_to_their_end_and_holds_nothing() -> None:
    jobs = JobManager()
    id = await jobs.start(unruly("print_then_flood_late", 3))
    (pid, _) = await jobs.get_process_info(id) or (0, 0)
    await said(jobs, id)
    streams = await jobs.streams(id)
    assert streams is not None
    with watching(pid) as process:
        del jobs
        assert not process.is_dead
        process.signal(signal.SIGUSR1)
        await streams.stdout.changed_since(1000)
        assert streams.stdout.read() == b"ready\nxxxend"
        assert process.is_dead


@on_all_loops
async def test_two_managers_on_one_loop_know_nothing_of_each_other() -> None:
    async with JobManager() as mine, JobManager() as yours:
        my_id, your_id = await mine.start(unruly("behave")), await yours.start(unruly("behave"))
        await said(mine, my_id)
        await said(yours, your_id)
        await mine.aclose()
        assert await yours.get_status_string(your_id) == "running"
        assert (await outcome(yours, ["true"])).code == 0
