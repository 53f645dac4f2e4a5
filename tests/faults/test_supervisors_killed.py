"""kill -9 of keepers and shims: no job is lost, none runs twice, and what was contained can be ended."""

from __future__ import annotations

import asyncio
import os
import random
import signal
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from amper import PIPE, JobId, JobManager
from amper.supervisor import delivery
from amper.supervisor.keepers import MOST_KEEPERS, Keeper
from amper.supervisor.wire import END, STARTING, Record, send_load
from tests.handshakes import (
    is_zombie_or_gone,
    left_by,
    result_of,
    said,
    state_of,
    turns,
    turns_until,
    watching,
)
from tests.support import on_all_loops
from tests.survivors import keeper_of, killed, run_wild, shim_of, tree
from tests.unruly import unruly
from tests.work import info_of, on_a_loop

ASKED = "echo ready; read x; exit 7"

SHORT_OR_LONG = """
echo "$1" >> "$0/ran"
for _ in $(seq "$1"); do /bin/true; done
echo said
[ $(($1 % 3)) = 0 ] && kill -KILL $$
exit "$1"
"""
"""A command that leaves a mark, takes a time of its own, and ends with a code of its own."""


@on_all_loops
async def test_jobs_outlive_their_keeper_and_the_next_job_gets_another() -> None:
    async with JobManager(containment="tree") as jobs:
        id = await jobs.start(ASKED, stdin=PIPE)
        await said(jobs, id)
        first = keeper_of(jobs)
        await killed(first)
        assert (await jobs.run("exit 5")).code == 5
        assert keeper_of(jobs) != first
        assert is_zombie_or_gone(first)
        assert await jobs.close_stdin(id)
        assert (await result_of(jobs, id)).code == 7
        assert (await info_of(jobs, id)).containment == "tree"


@on_a_loop
async def test_a_dead_keeper_is_collected_while_its_jobs_run() -> None:
    async with JobManager(containment="tree") as jobs:
        id = await jobs.start(ASKED, stdin=PIPE)
        await said(jobs, id)
        with watching(keeper_of(jobs)) as keeper:
            keeper.signal(signal.SIGKILL)
            await keeper.death()
            await turns(3)
            assert state_of(keeper.pid) == "X"
        assert await jobs.close_stdin(id)
        assert (await result_of(jobs, id)).code == 7


@on_a_loop
async def test_a_job_whose_keeper_is_gone_is_still_proved_dead() -> None:
    with tree() as wild:
        async with JobManager(containment="tree", grace_period=0.02) as jobs:
            id = await run_wild(jobs, wild)
            await killed(keeper_of(jobs))
            assert await jobs.kill(id)
            assert not wild.tagged()
            assert not wild.is_held()


@on_a_loop
async def test_a_job_that_was_under_way_to_a_dead_keeper_is_started_once() -> None:
    async with JobManager(containment="tree") as jobs:
        await jobs.run("true")
        keeper = keeper_of(jobs)
        # It takes no job any more, and nobody knows.
        os.kill(keeper, signal.SIGSTOP)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Keeper, "wake", lambda _: None)
            ids = [await jobs.start(f"exit {number}") for number in range(5)]
        await killed(keeper)
        assert [(await result_of(jobs, id)).code for id in ids] == [0, 1, 2, 3, 4]


@pytest.mark.seeds(4)
def test_keepers_that_are_killed_at_any_moment_lose_no_job_and_run_none_twice(
    seed: int, tmp_path: Path
) -> None:
    chosen = random.Random(seed)
    count = 24

    @on_a_loop
    async def start_and_kill() -> None:
        async with JobManager(containment="tree", max_running=8) as jobs:

            async def kill_keepers() -> None:
                # Fewer than a job may lose before it is given up.
                for _ in range(MOST_KEEPERS - 1):
                    await turns(chosen.randrange(1, 60))
                    if jobs._core.keepers._current is not None:
                        os.kill(keeper_of(jobs), signal.SIGKILL)
                    await jobs.wait_any([id for id in ids if await jobs.try_result(id) is None])

            ids = [
                await jobs.start(["/bin/sh", "-c", SHORT_OR_LONG, str(tmp_path), str(number)])
                for number in range(count)
            ]
            killing = asyncio.ensure_future(kill_keepers())
            results = dict(await jobs.wait_all(ids))
            killing.cancel()
            codes = [results[id].code for id in ids]
            assert codes == [137 if number % 3 == 0 else number for number in range(count)]
            assert all(results[id].out == b"said\n" for id in ids)

    start_and_kill()
    ran = (tmp_path / "ran").read_text().split()
    assert sorted(map(int, ran)) == list(range(count))


@on_a_loop
async def test_a_shim_that_breaks_before_it_begins_costs_nothing_but_another() -> None:
    """Its channel ends without a word, so that nothing can have been started."""
    async with JobManager(containment="tree") as jobs:
        await jobs.run("true")
        loads: list[int] = []

        def no_load(channel: Any, fds: Sequence[int]) -> None:
            loads.append(len(fds))
            if len(loads) > 2:
                send_load(channel, fds)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(delivery, "send_load", no_load)
            assert (await jobs.run("exit 3")).code == 3
        assert len(loads) == 3


@on_all_loops
async def test_the_keeper_goes_on_where_a_shim_was_killed() -> None:
    async with JobManager(containment="tree") as jobs:
        id = await jobs.start(ASKED, stdin=PIPE)
        await said(jobs, id)
        await killed(await shim_of(jobs, id))
        assert await jobs.close_stdin(id)
        assert (await result_of(jobs, id)).code == 7
        assert (await info_of(jobs, id)).usage is not None


@on_a_loop
async def test_a_job_whose_shim_was_killed_can_be_stopped_and_ended() -> None:
    with tree() as wild:
        async with JobManager(containment="tree", grace_period=0.02) as jobs:
            id = await run_wild(jobs, wild)
            await killed(await shim_of(jobs, id))
            waiting = asyncio.ensure_future(jobs.wait(id))
            assert await jobs.signal(id, signal.SIGSTOP)
            assert await waiting is None
            assert await jobs.get_status_string(id) == "stopped"
            assert await jobs.kill(id)
            assert not wild.tagged()
            assert not wild.is_held()
            assert (await result_of(jobs, id)).code == 143


@on_a_loop
async def test_jobs_of_several_dead_shims_are_told_apart() -> None:
    with tree() as one, tree() as other:
        async with JobManager(containment="tree", grace_period=0.02) as jobs:
            ids = [
                await jobs.start(unruly("run_tagged", wild.tag, "child_in_own_session"))
                for wild in (one, other)
            ]
            for id in ids:
                await said(jobs, id)
            for id in ids:
                os.kill(await shim_of(jobs, id), signal.SIGKILL)
            assert await jobs.kill(ids[0])
            assert not one.tagged()
            assert len(other.tagged()) == 2
            assert await jobs.kill(ids[1])
            assert not other.tagged()


@on_a_loop
async def test_with_shim_and_keeper_gone_the_leader_is_still_heard_of() -> None:
    async with JobManager(containment="tree") as jobs:
        id = await jobs.start(ASKED, stdin=PIPE)
        await said(jobs, id)
        shim = await shim_of(jobs, id)
        await killed(keeper_of(jobs))
        await killed(shim)
        assert await jobs.close_stdin(id)
        result = await result_of(jobs, id)
        status = await jobs.get_status_string(id)
        # An older kernel cannot tell how somebody else's child ended, and nobody invents it.
        assert (result.code, status) in ((7, "failed:7"), (1, "lost"))
        assert (await info_of(jobs, id)).containment == "group"


@on_a_loop
async def test_with_shim_and_keeper_gone_descendants_are_still_waited_for() -> None:
    async with JobManager(containment="tree") as jobs:
        id = await jobs.start(unruly("fork_and_leave", 3), descendants="wait")
        with watching(*await left_by(jobs, id)) as left:
            shim = await shim_of(jobs, id)
            await killed(keeper_of(jobs))
            await killed(shim)
            assert await jobs.wait(id, timeout=0) is None
            left.signal(signal.SIGKILL)
            assert (await result_of(jobs, id)).code == 3


@on_a_loop
async def test_with_shim_and_keeper_gone_the_group_is_still_killed() -> None:
    async with JobManager(containment="tree", grace_period=0.02) as jobs:
        id = await jobs.start(unruly("crowd", 2, "stubborn_child"))
        pids = await said(jobs, id)
        shim = await shim_of(jobs, id)
        await killed(keeper_of(jobs))
        await killed(shim)
        assert await jobs.kill(id)
        assert all(is_zombie_or_gone(pid) for pid in pids)
        assert not (await result_of(jobs, id)).ok


async def gone(jobs: JobManager, id: JobId, shim: int, *, is_known: bool) -> None:
    """Kill a job's keeper and shim, and let the manager hear of it or not."""
    await killed(keeper_of(jobs))
    await killed(shim)
    while is_known and (await info_of(jobs, id)).containment == "tree":
        await turns(1)


async def end_leader(jobs: JobManager, id: JobId) -> None:
    """Kill the leader of a job, and hear of it."""
    leader, _ = await jobs.get_process_info(id) or (0, 0)
    os.kill(leader, signal.SIGKILL)
    await result_of(jobs, id)


@pytest.mark.parametrize("is_known", [True, False])
@pytest.mark.parametrize("is_over", [True, False])
@pytest.mark.parametrize("is_killed", [True, False])
@on_a_loop
async def test_with_shim_and_keeper_gone_a_daemon_is_killed_and_does_not_outlive_the_block(
    *, is_killed: bool, is_over: bool, is_known: bool
) -> None:
    async with JobManager(containment="tree", grace_period=0.02) as jobs:
        id = await jobs.start(unruly("daemons", 2))
        pids = await said(jobs, id)
        shim = await shim_of(jobs, id)
        if is_over:
            await end_leader(jobs, id)
        await gone(jobs, id, shim, is_known=is_known)
        if is_killed:
            assert await jobs.kill(id)
            assert all(is_zombie_or_gone(pid) for pid in pids)
    assert all(is_zombie_or_gone(pid) for pid in pids)


@pytest.mark.parametrize("is_killed", [True, False])
@on_a_loop
async def test_what_nobody_could_tell_to_run_is_found_by_its_mark(*, is_killed: bool) -> None:
    """Shim and keeper die when it has been started, and before that could be told."""
    with tree() as wild, pytest.MonkeyPatch.context() as patch:
        async with JobManager(containment="tree", grace_period=0.02) as jobs:
            await jobs.run("true")
            keeper = keeper_of(jobs)
            receive = delivery.Delivery.receive

            def receive_one(its: delivery.Delivery) -> Record | None:
                record = receive(its)
                if record is not None and record.kind == STARTING:
                    while not wild.tagged():
                        os.sched_yield()
                    for pid in (keeper, *record.numbers):
                        os.kill(pid, signal.SIGKILL)
                    patch.setattr(delivery.Delivery, "receive", lambda _: END)
                return record

            patch.setattr(delivery.Delivery, "receive", receive_one)
            id = await jobs.start(unruly("run_tagged", wild.tag, "behave"))
            await result_of(jobs, id)
            assert await jobs.get_status_string(id) == "lost"
            if is_killed:
                assert await jobs.kill(id)
                assert not wild.tagged()
        assert not wild.tagged()


@on_a_loop
async def test_with_shim_and_keeper_gone_a_stop_from_outside_is_seen_when_somebody_asks() -> None:
    async with JobManager(containment="tree", grace_period=0.02) as jobs:
        id = await jobs.start(ASKED, stdin=PIPE)
        await said(jobs, id)
        await gone(jobs, id, await shim_of(jobs, id), is_known=True)
        leader, _ = await jobs.get_process_info(id) or (0, 0)
        os.kill(leader, signal.SIGSTOP)
        await turns_until(lambda: state_of(leader) == "T")
        assert await jobs.get_status_string(id) == "stopped"
        os.kill(leader, signal.SIGCONT)
        assert await jobs.get_status_string(id) == "running"
        assert await jobs.stop(id)
        assert await jobs.wait(id) is None
        assert await jobs.resume(id)
        assert await jobs.close_stdin(id)
        assert (await result_of(jobs, id)).code in (7, 1)
