"""`timeout=`: a command that runs too long is killed, and its code is 124 whatever it made of that."""

from __future__ import annotations

import math
import signal

import pytest

from amper import EndedBy, JobManager
from tests.handshakes import (
    info_when,
    left_by,
    on_a_shifted_loop,
    put_forward,
    result_of,
    said,
    watching,
)
from tests.support import on_all_loops
from tests.unruly import unruly
from tests.work import info_of


@pytest.mark.parametrize(
    "way",
    [
        ("behave",),
        ("refuse_term",),
        ("handle_term_and_exit_0",),
        ("handle_term_and_exit", 3),
        ("handle_term_and_die_of", int(signal.SIGABRT)),
    ],
    ids=lambda way: way[0],
)
@on_a_shifted_loop
async def test_the_code_is_124_whatever_the_leader_makes_of_it(way: tuple[str, ...]) -> None:
    async with JobManager(grace_period=5) as jobs:
        id = await jobs.start(unruly(*way), timeout=5)
        await said(jobs, id)
        put_forward(5)
        if way[0] == "refuse_term":
            await said(jobs, id, "ignored")
            put_forward(5)
        result = await result_of(jobs, id)
        assert result.code == 124
        assert result.ended_by is not None
        assert result.ended_by.cause == "timeout"
        assert await jobs.get_status_string(id) == "killed:124"
        assert (await info_of(jobs, id)).exit_code == 124
        assert (await jobs.read_events()).events[-1].exit_code == 124


@on_all_loops
async def test_a_timeout_comes_on_every_loop() -> None:
    async with JobManager(grace_period=0.02) as jobs:
        ids = [
            await jobs.start(unruly(way), timeout=timeout)
            for way in ("behave", "ignore_term", "stop_self")
            for timeout in (0, 0.05)
        ]
        for id in ids:
            # Nobody can wait for one that has stopped itself.
            await info_when(jobs, id, lambda info: info.status.is_final)
            assert (await result_of(jobs, id)).code == 124
            assert await jobs.get_status_string(id) == "killed:124"


@on_all_loops
async def test_a_timeout_that_never_comes_changes_nothing() -> None:
    async with JobManager() as jobs:
        for timeout in (1000, 1e300, math.inf):
            id = await jobs.start("exit 3", timeout=timeout)
            assert (await result_of(jobs, id)).code == 3
            assert await jobs.get_status_string(id) == "failed:3"


@on_a_shifted_loop
async def test_a_timeout_after_the_end_changes_nothing() -> None:
    async with JobManager() as jobs:
        id = await jobs.start("exit 3", timeout=5)
        await result_of(jobs, id)
        put_forward(6)
        assert (await jobs.run(["true"])).code == 0
        assert await jobs.get_status_string(id) == "failed:3"


@on_a_shifted_loop
async def test_a_job_that_is_being_killed_is_not_said_to_have_timed_out() -> None:
    async with JobManager(grace_period=0) as jobs:
        id = await jobs.start(unruly("ignore_term"), timeout=5)
        await said(jobs, id)
        assert await jobs.cancel(id, reason="enough")
        put_forward(5)
        result = await result_of(jobs, id)
        assert (result.code, result.ended_by) == (137, EndedBy("cancel", "enough"))


@on_a_shifted_loop
async def test_a_timeout_kills_the_whole_group() -> None:
    async with JobManager(grace_period=0) as jobs:
        id = await jobs.start(unruly("crowd", 2, "stubborn_child"), timeout=5)
        first, second = await said(jobs, id)
        with watching(first) as one, watching(second) as two:
            put_forward(5)
            assert (await result_of(jobs, id)).code == 124
            await one.death()
            await two.death()


@on_a_shifted_loop
async def test_a_job_that_waits_for_its_descendants_has_a_timeout_all_the_while() -> None:
    async with JobManager(grace_period=10) as jobs:
        id = await jobs.start(unruly("fork_refusing_and_leave"), timeout=5, descendants="wait")
        with watching(*await left_by(jobs, id)) as left:
            assert await jobs.get_status_string(id) == "running"
            put_forward(5)
            await said(jobs, id, "ignored")
            put_forward(10)
            assert (await result_of(jobs, id)).code == 124
            assert left.is_dead
        assert await jobs.get_status_string(id) == "killed:124"


@on_a_shifted_loop
async def test_a_queued_job_has_its_whole_time_when_it_starts() -> None:
    async with JobManager(max_running=1) as jobs:
        first = await jobs.start(unruly("behave"))
        second = await jobs.start(unruly("print_then_flood_late", 0), timeout=5)
        put_forward(6)
        await said(jobs, first)
        assert await jobs.get_status_string(second) == "queued"
        assert await jobs.kill(first)
        await said(jobs, second)
        assert await jobs.signal(second, signal.SIGUSR1)
        assert (await result_of(jobs, second)).code == 0
