"""One event loop after another uses a manager: commands are taken up by the next one."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from amper import PIPE, EndedBy, ExecResult, JobId, JobManager
from tests.handshakes import left_by, result_of, said, watching
from tests.support import LOOPS, run
from tests.unruly import unruly

MUCH = 1_000_000

ONE = JobId(1)

Steps = Callable[..., None]


@pytest.fixture(params=list(LOOPS))
def each_on_its_own_loop(request: pytest.FixtureRequest) -> Steps:
    """Return what runs coroutines one after another, each on a loop that is closed after it."""

    def run_all(*steps: Coroutine[Any, Any, Any]) -> None:
        for step in steps:
            run(step, LOOPS[request.param])

    return run_all


def test_a_command_runs_on_while_no_loop_does_and_is_waited_for_by_the_next(
    each_on_its_own_loop: Steps,
) -> None:
    jobs = JobManager()

    async def first() -> None:
        await said(jobs, await jobs.start(unruly("print_then_flood_late", MUCH)))

    async def second() -> None:
        assert await jobs.get_status_string(ONE) == "running"
        assert await jobs.signal(ONE, signal.SIGUSR1)

    async def third() -> None:
        result = await result_of(jobs, ONE)
        assert result == ExecResult(0, b"ready\n" + b"x" * MUCH + b"end")
        await jobs.aclose()

    each_on_its_own_loop(first(), second(), third())


def test_a_command_that_ended_between_two_loops_is_over_in_the_next(
    each_on_its_own_loop: Steps,
) -> None:
    jobs = JobManager()
    pids: list[int] = []

    async def first() -> None:
        id = await jobs.start(unruly("handle_term_and_exit", 3))
        await said(jobs, id)
        pids.append((await jobs.get_process_info(id) or (0, 0))[0])

    async def second() -> None:
        result = await result_of(jobs, ONE)
        assert (result.code, result.out, result.ended_by) == (3, b"ready\n", None)
        assert await jobs.get_status_string(ONE) == "failed:3"
        await jobs.aclose()

    each_on_its_own_loop(first())
    with watching(pids[0]) as process:
        process.signal(signal.SIGTERM)
        process.wait()
        each_on_its_own_loop(second())


def test_a_manager_that_is_closed_on_the_next_loop_ends_what_ran_on_the_last(
    each_on_its_own_loop: Steps,
) -> None:
    jobs = JobManager(grace_period=0.02)
    pids: list[int] = []

    async def first() -> None:
        for way in ("ignore_term", "fork_stubborn_and_leave"):
            pids.extend(await said(jobs, await jobs.start(unruly(way))))
        await result_of(jobs, JobId(2))

    each_on_its_own_loop(first())
    with watching(pids[0]) as running, watching(pids[1]) as left:
        each_on_its_own_loop(jobs.aclose())
        assert running.is_dead
        assert left.is_dead


def test_what_was_asked_for_on_one_loop_goes_on_on_the_next(
    each_on_its_own_loop: Steps,
) -> None:
    """A kill that had only begun, and a timeout that had not come."""
    jobs = JobManager(grace_period=0.02)

    async def first() -> None:
        killed = await jobs.start(unruly("refuse_term"))
        await said(jobs, killed)
        await jobs.start(unruly("behave"), timeout=0.1)
        killing = asyncio.ensure_future(jobs.kill(killed, grace_period=1000, reason="enough"))
        await said(jobs, killed, "ignored")
        killing.cancel()

    async def second() -> None:
        killed, timed_out = await result_of(jobs, ONE), await result_of(jobs, JobId(2))
        assert (killed.code, killed.ended_by) == (137, EndedBy("kill", "enough"))
        assert timed_out.code == 124
        await jobs.aclose()

    each_on_its_own_loop(first(), second())


def test_a_run_that_the_end_of_its_loop_cancels_has_its_command_killed(
    each_on_its_own_loop: Steps,
) -> None:
    jobs = JobManager(grace_period=0.02)
    left: list[Any] = []

    async def first() -> None:
        left.append(asyncio.ensure_future(jobs.run(unruly("ignore_term"))))
        await asyncio.sleep(0)
        await said(jobs, ONE)

    async def second() -> None:
        assert (await result_of(jobs, ONE)).code == 137
        await jobs.aclose()

    each_on_its_own_loop(first(), second())
    assert left[0].cancelled()


def test_writers_and_followers_of_the_last_loop_are_forgotten_and_the_next_has_its_own(
    each_on_its_own_loop: Steps,
) -> None:
    jobs = JobManager()
    left: list[Any] = []

    async def first() -> None:
        id = await jobs.start(unruly("count_stdin_when_told"), stdin=PIPE)
        await said(jobs, id)
        waits = [jobs.write_stdin(id, b"x" * MUCH), jobs.wait(id), jobs.wait_any()]
        left.extend(map(asyncio.ensure_future, [*waits, anext(jobs.follow(id, since=6))]))
        await asyncio.sleep(0)

    async def second() -> None:
        writing = asyncio.ensure_future(jobs.write_stdin(ONE, b"x" * MUCH))
        closing = asyncio.ensure_future(jobs.close_stdin(ONE))
        await asyncio.sleep(0)
        assert await jobs.signal(ONE, signal.SIGUSR1)
        # What the first writer had handed over is written, although it is gone.
        assert (await result_of(jobs, ONE)).out == b"ready\nread %d\n" % (2 * MUCH)
        assert await writing
        assert await closing
        await jobs.aclose()

    each_on_its_own_loop(first(), second())
    assert all(task.cancelled() for task in left)


def test_a_job_that_waits_for_its_descendants_goes_on_waiting_on_the_next_loop(
    each_on_its_own_loop: Steps,
) -> None:
    jobs = JobManager()
    pids: list[int] = []

    async def first() -> None:
        id = await jobs.start(unruly("fork_and_leave", 3), descendants="wait")
        pids.extend(await left_by(jobs, id))

    async def second() -> None:
        with watching(pids[0]) as left:
            assert await jobs.get_status_string(ONE) == "running"
            left.signal(signal.SIGKILL)
            assert (await result_of(jobs, ONE)).code == 3
        await jobs.aclose()

    each_on_its_own_loop(first(), second())


def test_queued_commands_start_when_a_loop_is_there_again(each_on_its_own_loop: Steps) -> None:
    jobs = JobManager(max_running=1)

    async def first() -> None:
        await said(jobs, await jobs.start(unruly("handle_term_and_exit", 3)))
        await jobs.start(["echo", "second"])

    async def second() -> None:
        assert await jobs.get_status_string(JobId(2)) == "queued"
        assert await jobs.signal(ONE, signal.SIGTERM)
        assert (await result_of(jobs, JobId(2))).out == b"second\n"
        await jobs.aclose()

    each_on_its_own_loop(first(), second())


def test_loops_of_all_kinds_may_follow_one_another() -> None:
    jobs = JobManager()

    async def step() -> None:
        assert (await jobs.run("cat; exit 3", stdin=b"x")).out == b"x"

    for factory in (*LOOPS.values(), *LOOPS.values()):
        run(step(), factory)
    assert len(run(jobs.list())) == 2 * len(LOOPS)
    run(jobs.aclose())


@pytest.mark.parametrize("loop_name", list(LOOPS))
def test_a_loop_that_only_pauses_goes_on_with_its_commands(loop_name: str) -> None:
    """The other loop takes them over, and gives them back."""
    loop = LOOPS[loop_name]()
    jobs = JobManager()

    async def first() -> None:
        await said(jobs, await jobs.start(unruly("print_then_flood_late", 3)))

    async def other() -> None:
        assert (await jobs.run(["true"])).code == 0
        assert await jobs.signal(ONE, signal.SIGUSR1)

    async def last() -> None:
        assert (await result_of(jobs, ONE)).out == b"ready\nxxxend"
        await jobs.aclose()

    loop.run_until_complete(first())
    run(other(), LOOPS[loop_name])
    loop.run_until_complete(last())
    loop.close()
