"""What finished commands leave is let go when it is gone: no descriptor and no zombie adds up."""

from __future__ import annotations

import asyncio
import os
import signal
import threading

import pytest

from amper import JobManager
from amper.manager import remains
from tests.handshakes import info_when, outcome, said, turns, watching
from tests.places import everywhere
from tests.unruly import unruly

ROUND = 8
"""Finished leaders that an older kernel makes us keep for a while; here they are few."""


@pytest.fixture(autouse=True)
def few_zombies(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remains, "ZOMBIES_HELD", ROUND)


def held() -> int:
    """Count our descriptors and our children, dead ones included."""
    with open(f"/proc/self/task/{threading.get_native_id()}/children") as file:
        return len(os.listdir("/proc/self/fd")) + len(file.read().split())


@everywhere
async def test_finished_commands_leave_a_bounded_number_of_descriptors_and_zombies() -> None:
    async with JobManager() as jobs:
        await outcome(jobs, ["true"])
        before = held()
        for _ in range(4):
            await asyncio.gather(*[jobs.run(["true"]) for _ in range(ROUND)])
            # On an older kernel a few looks at all processes are under way.
            await turns(100)
        assert held() - before < 4 * ROUND


@everywhere
async def test_what_was_left_behind_is_let_go_when_it_is_gone() -> None:
    async with JobManager() as jobs:
        await outcome(jobs, ["true"])
        before = held()
        ids = [await jobs.start("sleep 1000 & echo ready $!") for _ in range(5 * ROUND)]
        pids = [(await said(jobs, id))[0] for id in ids]
        await jobs.wait_all()
        assert held() - before >= 5 * ROUND
        for pid in pids:
            os.kill(pid, signal.SIGKILL)
        for id in ids:
            await info_when(jobs, id, lambda info: not info.output_open)
        for _ in range(2 * ROUND):
            await jobs.run(["true"])
        await turns(100)
        assert held() - before < 4 * ROUND
        for id in ids:
            assert not await jobs.kill(id)


@everywhere
async def test_what_lives_on_stays_reachable_however_many_commands_follow() -> None:
    async with JobManager(finished_retention=1) as jobs:
        id = await jobs.start(unruly("fork_and_leave"))
        with watching(*await said(jobs, id)) as left:
            for _ in range(2 * ROUND):
                await jobs.run(["true"])
            await turns(100)
            assert not left.is_dead
            assert await jobs.kill(id)
            assert left.is_dead
