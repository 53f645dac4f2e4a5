"""SIGSTOP for keepers and shims: a job that keeps them from their work can be ended all the same."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator

import pytest

from amper import JobManager
from tests.handshakes import is_zombie_or_gone, result_of, said, state_of, turns_until
from tests.support import on_all_loops
from tests.survivors import Tree, keeper_of, tree
from tests.unruly import unruly
from tests.work import on_a_loop


@pytest.fixture
def wild() -> Iterator[Tree]:
    with tree() as made:
        yield made


async def stopped(pid: int) -> None:
    """Stop a process, and return when it is."""
    os.kill(pid, signal.SIGSTOP)
    await turns_until(lambda: state_of(pid) == "T")


@pytest.mark.parametrize("how_many", [1, 2])
@on_all_loops
async def test_a_job_that_stops_its_supervisors_is_killed_like_any_other(
    wild: Tree, how_many: int
) -> None:
    async with JobManager(containment="tree", grace_period=0.02) as jobs:
        command = unruly("stop_supervisors", wild.tag, how_many)
        id = await jobs.start(command, pass_fds=[wild.write_end])
        await said(jobs, id)
        assert await jobs.kill(id)
        assert not wild.tagged()
        assert not wild.is_held()


@on_a_loop
async def test_a_job_that_stops_its_shim_still_ends_when_it_does() -> None:
    async with JobManager(containment="tree") as jobs:
        assert (await jobs.run("kill -STOP $PPID; exit 5")).code == 5


@on_a_loop
async def test_the_next_job_is_started_though_the_keeper_was_stopped() -> None:
    async with JobManager(containment="tree") as jobs:
        await jobs.run("true")
        keeper = keeper_of(jobs)
        await stopped(keeper)
        assert (await jobs.run("exit 3")).code == 3
        assert keeper_of(jobs) == keeper


@on_a_loop
async def test_a_job_that_a_stopped_keeper_has_not_begun_with_can_be_killed() -> None:
    async with JobManager(containment="tree") as jobs:
        await jobs.run("true")
        await stopped(keeper_of(jobs))
        with pytest.MonkeyPatch.context() as patch:
            # It was stopped right after it was handed the job.
            patch.setattr(type(jobs._core.keepers._current), "wake", lambda _: None)
            id = await jobs.start("sleep 1000")
        assert await jobs.kill(id)
        assert not (await result_of(jobs, id)).ok


@on_a_loop
async def test_the_end_of_the_block_ends_a_stopped_keeper() -> None:
    async with JobManager(containment="tree") as jobs:
        await jobs.run("true")
        keeper = keeper_of(jobs)
        await stopped(keeper)
    assert is_zombie_or_gone(keeper)


@on_a_loop
async def test_a_keeper_of_a_user_that_we_are_no_more_is_left_as_it_is() -> None:
    async with JobManager(containment="tree") as jobs:
        await jobs.run("true")

        def refuse(*_: object) -> None:
            raise PermissionError

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(signal, "pidfd_send_signal", refuse)
            jobs._core.keepers.wake()
