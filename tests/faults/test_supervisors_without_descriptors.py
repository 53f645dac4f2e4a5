"""A keeper that has run out of descriptors, or was started when there were few: no job pays for it."""

from __future__ import annotations

import errno
import os
import resource
import signal
import socket
from typing import Any

import pytest

from amper import PIPE, JobManager
from tests.handshakes import (
    few_descriptors,
    in_a_process_of_its_own,
    result_of,
    said,
    state_of,
    turns_until,
)
from tests.survivors import keeper_of, killed, shim_of, tree
from tests.unruly import unruly
from tests.work import on_a_loop

FEW = 40


def leave_none(pid: int) -> None:
    """Let another process open nothing more."""
    used = {int(name) for name in os.listdir(f"/proc/{pid}/fd")}
    lowest = min(set(range(len(used) + 1)) - used)
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (lowest, lowest))


@on_a_loop
async def test_nobody_is_said_to_be_gone_because_nobody_could_look() -> None:
    with tree() as wild:
        async with JobManager(containment="tree", grace_period=0.02) as jobs:
            id = await jobs.start(unruly("run_wild", wild.tag), pass_fds=[wild.write_end])
            await said(jobs, id)
            leave_none(keeper_of(jobs))
            await killed(await shim_of(jobs, id))
            assert await jobs.signal(id, signal.SIGSTOP)
            assert await jobs.wait(id) is None
            assert await jobs.get_status_string(id) == "stopped"
            assert await jobs.kill(id)
            assert not wild.tagged()
            assert not wild.is_held()


@on_a_loop
async def test_a_keeper_that_can_do_nothing_any_more_makes_way_for_another() -> None:
    """Not even wait: the kernel lets nobody wait for more descriptors than they may have."""
    async with JobManager(containment="tree") as jobs:
        id = await jobs.start("read x; exit 3", stdin=PIPE)
        await jobs.get_process_info(id)
        keeper = keeper_of(jobs)
        # Not before it waits again: it would notice at once, and start nothing any more.
        await turns_until(lambda: state_of(keeper) == "S")
        resource.prlimit(keeper, resource.RLIMIT_NOFILE, (0, 0))
        # It notices when it has something to do, and may have done that yet.
        ended = await jobs.start("exit 4")
        assert (await result_of(jobs, ended)).code == 4
        await turns_until(lambda: state_of(keeper) in "ZX")
        assert (await jobs.run("exit 5")).code == 5
        assert keeper_of(jobs) != keeper
        assert await jobs.close_stdin(id)
        assert (await result_of(jobs, id)).code == 3


@in_a_process_of_its_own
async def test_a_job_for_whose_keeper_there_are_too_few_says_so_and_the_next_one_may_succeed() -> (
    None
):
    codes = []
    for free in range(6, 42, 7):
        async with JobManager(containment="tree") as jobs:
            # Whoever writes files meanwhile would be counted, too.
            jobs.set_persist_output_files(False)
            with few_descriptors(free):
                codes.append((await jobs.run("exit 3")).code)
            assert (await jobs.run("exit 4")).code == 4
    assert codes == sorted(codes, reverse=True)
    assert set(codes) == {126, 3}


@on_a_loop
async def test_a_job_for_whose_keeper_there_is_no_socket_says_so() -> None:
    real = socket.socketpair
    made: list[tuple[socket.socket, socket.socket]] = []

    def one_pair(*arguments: Any) -> tuple[socket.socket, socket.socket]:
        if made:
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
        made.append(real(*arguments))
        return made[0]

    async with JobManager(containment="tree") as jobs:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(socket, "socketpair", one_pair)
            result = await jobs.run("exit 3")
        assert result.code == 126
        assert os.strerror(errno.EMFILE) in result.text_err()
        assert (await jobs.run("exit 4")).code == 4


@in_a_process_of_its_own
async def test_a_keeper_takes_as_many_jobs_as_whoever_started_it_can_have_later() -> None:
    async with JobManager(containment="tree") as jobs:
        with few_descriptors(FEW):
            limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
            # The command has the limit that we had, whatever its supervisors have.
            assert (await jobs.run("ulimit -Sn")).out == b"%d\n" % limit
        ids = [await jobs.start("read x; exit 3", stdin=PIPE) for _ in range(limit)]
        # All of them are there at once.
        assert all([await jobs.get_process_info(id) for id in ids])
        for id in ids:
            assert await jobs.close_stdin(id)
        assert {(await result_of(jobs, id)).code for id in ids} == {3}
