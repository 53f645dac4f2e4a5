"""`stop`: the whole job stands still when it returns, and stops from outside are seen by who asks."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from amper import PIPE, EndedBy, ExecResult, JobId, JobManager
from amper.manager import runner, states
from tests.handshakes import (
    Process,
    info_when,
    on_a_shifted_loop,
    put_forward,
    result_of,
    said,
    state_of,
    take_notice,
    turns,
    turns_until,
    watching,
)
from tests.places import everywhere
from tests.support import cancelled, on_all_loops
from tests.unruly import unruly
from tests.work import endless, gate, give, history, info_of, on_a_loop


async def began(jobs: JobManager, *way: object, **options: Any) -> tuple[JobId, int]:
    """Start a command that misbehaves; return its id and its leader's pid when it is ready."""
    id = await jobs.start(unruly(*map(str, way)), **options)
    await said(jobs, id)
    pid, _ = await jobs.get_process_info(id) or (0, 0)
    return id, pid


@everywhere
async def test_everything_of_a_job_stands_still_when_stop_returns() -> None:
    async with JobManager() as jobs:
        id = await jobs.start(unruly("crowd", 5))
        children = await said(jobs, id)
        pid, _ = await jobs.get_process_info(id) or (0, 0)
        assert await jobs.stop(id)
        assert [state_of(it) for it in (pid, *children)] == ["T"] * 6
        assert await jobs.get_status_string(id) == "stopped"
        assert (await jobs.running_count(), await jobs.last_stopped()) == (0, id)
        assert await jobs.wait(id) is None
        assert await jobs.stop(id)
        assert await history(jobs, id) == ["started", "stopped"]


@everywhere
async def test_those_who_wait_go_on_when_it_stops_and_not_when_it_was_resumed() -> None:
    async with JobManager() as jobs:
        id = await jobs.start("echo ready; read line; exit 3", stdin=PIPE)
        await said(jobs, id)
        waiters = [
            asyncio.ensure_future(wait)
            for wait in (jobs.wait(id), jobs.wait_all([id]), jobs.wait_any([id]))
        ]
        await turns(2)
        assert await jobs.stop(id)
        assert await asyncio.gather(*waiters) == [None, [], None]
        assert [outcome async for outcome in jobs.as_completed([id])] == []
        assert await jobs.resume(id)
        waiter = asyncio.ensure_future(jobs.wait(id))
        assert await jobs.write_stdin(id, b"\n")
        assert await waiter == ExecResult(3, b"ready\n")


ASKS: dict[str, Callable[[JobManager, JobId], Awaitable[Any]]] = {
    "get": lambda jobs, id: jobs.get(id),
    "list": lambda jobs, id: jobs.list(),
    "get_status_string": lambda jobs, id: jobs.get_status_string(id),
    "running_count": lambda jobs, id: jobs.running_count(),
    "last_stopped": lambda jobs, id: jobs.last_stopped(),
    "wait": lambda jobs, id: jobs.wait(id),
    "wait_all": lambda jobs, id: jobs.wait_all(),
    "wait_any": lambda jobs, id: jobs.wait_any([id]),
    "signal": lambda jobs, id: jobs.signal(id, signal.SIGCONT),
}


@pytest.mark.parametrize("is_taken", [False, True])
@pytest.mark.parametrize("ask", ASKS)
@on_a_loop
async def test_a_stop_from_outside_is_recorded_by_whoever_asks(ask: str, is_taken: bool) -> None:
    """Also where the host has taken the notice, as a shell does that waits for all its children."""
    async with JobManager() as jobs:
        id, pid = await began(jobs, "behave")
        with watching(pid) as process:
            await process.stop()
            if is_taken:
                take_notice(pid)
            await ASKS[ask](jobs, id)
            kinds = ["started"] if ask == "signal" else ["started", "stopped"]
            assert await history(jobs, id) == kinds
            if not is_taken:
                # Whoever waits for it in the host has missed nothing.
                take_notice(pid)


@on_a_loop
async def test_a_resume_from_outside_is_recorded_by_whoever_asks() -> None:
    async with JobManager() as jobs:
        id, pid = await began(jobs, "behave")
        with watching(pid) as process:
            for is_taken in (False, True):
                assert await jobs.stop(id)
                process.signal(signal.SIGCONT)
                if is_taken:
                    take_notice(pid)
                assert await jobs.get_status_string(id) == "running"
                assert await jobs.wait(id, timeout=0) is None
            assert await history(jobs, id) == ["started", *["stopped", "resumed"] * 2]


@on_a_loop
async def test_one_that_stopped_while_somebody_waits_is_looked_at_closely_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The host has taken the notice before the wait begins, and nobody else asks."""
    monkeypatch.setattr(states, "LOOKS_PER_TURN", 2)
    async with JobManager() as jobs:
        begun = [await began(jobs, "behave") for _ in range(5)]
        with contextlib.ExitStack() as stack:
            for _, pid in begun:
                await stack.enter_context(watching(pid)).stop()
                take_notice(pid)
            assert await jobs.wait_all() == []


@on_a_loop
async def test_of_many_the_next_few_are_looked_at_closely_each_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(states, "CLOSE_LOOKS", 2)
    async with JobManager() as jobs:
        begun = [await began(jobs, "behave") for _ in range(5)]
        with contextlib.ExitStack() as stack:
            for _, pid in begun:
                await stack.enter_context(watching(pid)).stop()
                take_notice(pid)
            assert [await jobs.running_count() for _ in range(3)] == [3, 1, 0]


@on_a_loop
async def test_the_order_of_stops_is_the_order_in_which_they_were_seen() -> None:
    async with JobManager() as jobs:
        first, second = await began(jobs, "behave"), await began(jobs, "behave")
        assert await jobs.stop(second[0])
        with watching(first[1]) as process:
            await process.stop()
            assert await jobs.last_stopped() == first[0]
            process.signal(signal.SIGCONT)
            assert await jobs.last_stopped() == second[0]


@pytest.mark.parametrize("number", [signal.SIGSTOP, signal.SIGTTIN])
@on_all_loops
async def test_a_stop_signal_is_recorded_without_anybody_asking(number: signal.Signals) -> None:
    async with JobManager() as jobs:
        # A group that has a parent in its session: the kernel stops no orphaned one at the terminal.
        id = await jobs.start(unruly("child_in_own_group"))
        (child,) = await said(jobs, id)
        waiter = asyncio.ensure_future(jobs.wait(id))
        await turns(2)
        if number is signal.SIGSTOP:
            assert await jobs.signal(id, number)
            assert await waiter is None
            assert await jobs.signal(id, signal.SIGCONT)
            assert await jobs.get_status_string(id) == "running"
            assert await history(jobs, id) == ["started", "stopped", "resumed"]
        else:
            # The leader of an orphaned group ignores it.
            assert await jobs.signal(id, number)
            assert await jobs.get_status_string(id) == "running"
            waiter.cancel()
        with watching(child):
            pass


@everywhere
async def test_a_leader_in_vfork_does_not_hang_a_stop(tmp_path: Path) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    async with JobManager() as jobs:
        id, pid = await began(jobs, "sit_in_vfork", fifo)
        await turns_until(lambda: state_of(pid) == "D")
        assert await jobs.stop(id)
        assert state_of(pid) == "D"
        assert await jobs.get_status_string(id) == "stopped"
        assert await jobs.resume(id)
        assert await jobs.get_status_string(id) == "running"
        # The child reads the end of its input, and the leader goes on.
        os.close(os.open(fifo, os.O_WRONLY))
        await said(jobs, id, "spawned")


@on_a_shifted_loop
async def test_what_does_not_stop_makes_it_false_in_a_bounded_time() -> None:
    async with JobManager() as jobs:
        id = await jobs.start(unruly("trace_child"))
        (child,) = await said(jobs, id)
        stopping = asyncio.ensure_future(jobs.stop(id))
        pid, _ = await jobs.get_process_info(id) or (0, 0)
        await turns_until(lambda: state_of(pid) == "T")
        assert state_of(child) == "t"
        put_forward(runner.STOP_LIMIT)
        assert not await stopping
        # Its leader has stopped all the same, and that is what the job's status tells.
        assert await jobs.get_status_string(id) == "stopped"


@on_all_loops
async def test_where_there_is_nothing_to_stop_the_answer_is_false() -> None:
    async with JobManager(max_running=1) as jobs:
        over = jobs.spawn("over", give())
        await result_of(jobs, over)
        failed = await jobs.start(["no-such-program"])
        elsewhere = await jobs.register("elsewhere", gate())
        jobs.spawn("work", endless())
        queued = await jobs.start(["true"])
        for id in (over, failed, elsewhere, queued, JobId(99)):
            assert not await jobs.stop(id)
            assert not await jobs.resume(id)
        assert await jobs.get_status_string(queued) == "queued"


@everywhere
async def test_a_registered_job_is_stopped_through_its_groups() -> None:
    async with JobManager() as jobs:
        helper, pid = await began(jobs, "crowd", 2)
        id = await jobs.register("elsewhere", gate())
        await jobs.add_pgid(id, pid)
        assert await jobs.stop(id)
        assert [await jobs.get_status_string(it) for it in (id, helper)] == ["stopped"] * 2
        assert await jobs.resume(id)
        assert [await jobs.get_status_string(it) for it in (id, helper)] == ["running"] * 2


@on_all_loops
async def test_a_caller_that_is_cancelled_leaves_a_job_that_stops() -> None:
    async with JobManager() as jobs:
        id, _ = await began(jobs, "crowd", 3)
        waiter = asyncio.ensure_future(jobs.wait(id))
        stopping = asyncio.ensure_future(jobs.stop(id))
        await asyncio.sleep(0)
        await cancelled(stopping)
        assert await waiter is None
        assert await jobs.get_status_string(id) == "stopped"


@pytest.mark.parametrize("way", ["resumed", "killed", "removed"])
@on_a_loop
async def test_a_stop_ends_with_what_makes_it_vain(way: str) -> None:
    async with JobManager() as jobs:
        id = await jobs.start(unruly("trace_child"))
        await said(jobs, id)
        stopping = asyncio.ensure_future(jobs.stop(id))
        await turns(3)
        if way == "resumed":
            assert await jobs.resume(id)
        elif way == "killed":
            assert await jobs.kill(id)
        else:
            assert await jobs.remove(id)
        assert not await stopping


@everywhere
async def test_a_stopped_job_is_killed_like_any_other() -> None:
    async with JobManager(grace_period=1000) as jobs:
        id, _ = await began(jobs, "handle_term_and_exit", 3)
        assert await jobs.stop(id)
        assert await jobs.kill(id)
        result = await result_of(jobs, id)
        assert (result.code, result.ended_by) == (3, EndedBy("kill"))
        assert (await history(jobs, id))[-1] == "ended"


@on_all_loops
async def test_the_end_of_a_stopped_job_by_a_stranger_is_heard_of() -> None:
    async with JobManager() as jobs:
        id, pid = await began(jobs, "behave")
        assert await jobs.stop(id)
        with watching(pid) as process:
            process.signal(signal.SIGKILL)
            info = await info_when(jobs, id, lambda info: info.status.is_final)
        assert info.status_string == "failed:137"
        assert await jobs.last_stopped() is None
        # The kernel wakes it so that it can die, which is no continue.
        assert await history(jobs, id) == ["started", "stopped", "ended"]


@on_a_shifted_loop
async def test_the_time_of_a_stopped_job_runs_on() -> None:
    async with JobManager() as jobs:
        id, _ = await began(jobs, "behave", timeout=5)
        assert await jobs.stop(id)
        put_forward(5)
        info = await info_when(jobs, id, lambda info: info.status.is_final)
        assert info.status_string == "killed:124"


@everywhere
async def test_nothing_outlives_the_block_also_what_is_stopped() -> None:
    async with JobManager() as jobs:
        id, pid = await began(jobs, "crowd", 2)
        assert await jobs.stop(id)
        removed, other = await began(jobs, "behave")
        assert await jobs.stop(removed)
        assert await jobs.remove(removed)
        assert await jobs.last_stopped() == id
        processes = [Process(pid), Process(other)]
    for process in processes:
        assert process.is_dead
        os.close(process.pidfd)
    assert (await info_of(jobs, id)).ended_by == EndedBy("close")


@on_all_loops
async def test_a_stopped_job_keeps_its_place() -> None:
    async with JobManager(max_running=1) as jobs:
        id, _ = await began(jobs, "behave")
        queued = await jobs.start(["true"])
        assert await jobs.stop(id)
        await turns(3)
        assert await jobs.get_status_string(queued) == "queued"
        assert await jobs.kill(id)
        assert (await result_of(jobs, queued)).code == 0


@on_all_loops
async def test_a_job_that_lasts_as_long_as_its_descendants_is_stopped_through_them() -> None:
    async with JobManager() as jobs:
        id = await jobs.start(unruly("fork_and_leave"), descendants="wait")
        (left,) = await said(jobs, id)
        with watching(left) as process:
            leader, _ = await jobs.get_process_info(id) or (0, 0)
            await turns_until(lambda: state_of(leader) == "X")
            assert await jobs.stop(id)
            assert state_of(left) == "T"
            assert await jobs.get_status_string(id) == "stopped"
            process.signal(signal.SIGCONT)
            assert await jobs.get_status_string(id) == "running"


@on_all_loops
async def test_many_are_stopped_at_once_and_nobody_else() -> None:
    async with JobManager() as jobs:
        ids = [(await began(jobs, "behave"))[0] for _ in range(8)]
        bystander, _ = await began(jobs, "behave")
        assert await asyncio.gather(*[jobs.stop(id) for id in ids]) == [True] * 8
        assert await jobs.running_count() == 1
        assert await jobs.get_status_string(bystander) == "running"
        assert await asyncio.gather(*[jobs.resume(id) for id in ids]) == [True] * 8
        assert await jobs.running_count() == 9
