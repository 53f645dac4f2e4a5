"""What raises where nobody hears of it but the loop: whoever waits for the rest is not forgotten."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import signal
from collections.abc import Callable
from typing import Any, Final

import pytest

from amper import JobManager
from amper.manager import killing, stopping
from amper.manager.commands import CommandRunner
from amper.manager.killing import Cascade
from amper.process import scan
from amper.process.group import GroupWatch
from amper.process.poller import Poller, Watcher
from amper.process.procfs import read_stat
from amper.process.pump import OutputPump
from amper.process.sweep import Sweep
from amper.values import Containment
from tests.handshakes import result_of, said, take_notice, turns_until, watching
from tests.support import on_all_loops
from tests.unruly import unruly

STEPS: Final = ["_ask", "_insist", "_look", "_give_up"]


class Mistake(Exception):
    """Nobody has expected it."""


def heard_mistakes() -> list[Any]:
    """Return where the loop puts down what it hears of."""
    heard: list[Any] = []
    asyncio.get_running_loop().set_exception_handler(
        lambda _, context: heard.append(type(context["exception"]))
    )
    return heard


def fail(*_: object) -> None:
    raise Mistake


def failing_once(function: Callable[..., Any], error: Exception) -> Callable[..., Any]:
    """Return what does as the function does, but for the first time."""
    errors = [error]

    def failing(*arguments: Any) -> Any:
        if errors:
            raise errors.pop()
        return function(*arguments)

    return failing


# The steps of a cascade.


@pytest.mark.parametrize("containment", ["group", "tree"])
@on_all_loops
async def test_where_nobody_was_asked_to_end_all_are_killed(
    containment: Containment, monkeypatch: pytest.MonkeyPatch
) -> None:
    heard = heard_mistakes()
    async with JobManager(containment=containment, grace_period=0.01) as jobs:
        id = await jobs.start(unruly("behave"))
        await said(jobs, id)
        monkeypatch.setattr(Cascade, "_ask", fail)
        # On a machine that is very busy a death takes seconds.
        monkeypatch.setattr(killing, "KILL_LIMIT", 1000)
        assert await jobs.kill(id)
        assert await jobs.get_status_string(id) == "killed:137"
    assert heard == [Mistake]


@pytest.mark.parametrize("first", [0, 1])
@on_all_loops
async def test_where_nobody_can_be_killed_a_kill_tells_and_the_next_may_succeed(
    first: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    heard = heard_mistakes()
    async with JobManager(grace_period=0) as jobs:
        id = await jobs.start(unruly("ignore_term"))
        await said(jobs, id)
        with monkeypatch.context() as patch:
            no_step_works(patch, STEPS[first:])
            assert not await jobs.kill(id)
        assert heard == [Mistake] * len(STEPS[first:])
        assert await jobs.kill(id)
        assert await jobs.get_status_string(id) == "killed:137"


@on_all_loops
async def test_where_nobody_can_be_killed_the_manager_ends_all_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    heard = heard_mistakes()
    jobs = JobManager(grace_period=0)
    id = await jobs.start(unruly("behave"))
    pid, _ = await jobs.get_process_info(id) or (0, 0)
    with watching(pid), monkeypatch.context() as patch:
        no_step_works(patch, STEPS)
        await jobs.aclose()
        assert await jobs.get_status_string(id) == "lost"
    assert heard == [Mistake] * len(STEPS)
    await asyncio.to_thread(os.waitpid, pid, 0)


def no_step_works(patch: pytest.MonkeyPatch, steps: list[str]) -> None:
    for name in steps:
        patch.setattr(Cascade, name, fail)
    patch.setattr(killing, "KILL_LIMIT", 0.01)
    patch.setattr(killing, "LOOK_LIMIT", 0.01)


# What follows a death.


@pytest.mark.parametrize("way", ["kill", "aclose"])
@on_all_loops
async def test_whoever_kills_is_told_also_where_the_job_cannot_take_note_of_it(
    way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    heard = heard_mistakes()
    async with JobManager(grace_period=1000) as jobs:
        id = await jobs.start(unruly("behave"), descendants="kill")
        await said(jobs, id)
        with monkeypatch.context() as patch:
            patch.setattr(CommandRunner, "all_died", fail)
            assert await (jobs.kill(id) if way == "kill" else jobs.aclose()) in (True, None)
    assert heard == [Mistake]


@pytest.mark.parametrize("containment", ["group", "tree"])
@on_all_loops
async def test_an_end_that_cannot_be_reported_is_reported_later(
    containment: Containment, monkeypatch: pytest.MonkeyPatch
) -> None:
    heard = heard_mistakes()
    async with JobManager(containment=containment) as jobs:
        monkeypatch.setattr(OutputPump, "finish", failing_once(OutputPump.finish, MemoryError()))
        result = await result_of(jobs, await jobs.start("echo out; exit 3"))
        assert (result.code, result.out) == (3, b"out\n")
    assert heard == [MemoryError]


@on_all_loops
async def test_a_member_that_cannot_be_watched_is_looked_for_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with JobManager() as jobs:
        id = await jobs.start(unruly("fork_and_leave", 3), descendants="wait")
        refused = refuse_to_watch(monkeypatch, GroupWatch)
        (child,) = await said(jobs, id)
        with watching(child) as left:
            await turns_until(lambda: len(refused) == 3)
            left.signal(signal.SIGKILL)
            assert (await result_of(jobs, id)).code == 3


@on_all_loops
async def test_a_daemon_that_cannot_be_watched_is_killed_all_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with JobManager(grace_period=1000) as jobs:
        id = await jobs.start(unruly("daemons", 1))
        (left,) = await said(jobs, id)
        with watching(left) as daemon:
            refused = refuse_to_watch(monkeypatch, Sweep)
            assert await jobs.kill(id)
            assert daemon.is_dead
            assert refused


def refuse_to_watch(monkeypatch: pytest.MonkeyPatch, watchers: type) -> list[int]:
    """Let these watch nothing at first: a user may watch only so many descriptors (epoll(7))."""
    add, refused = Poller.add, list[int]()

    def refusing(poller: Poller, fd: int, events: int, watcher: Watcher) -> None:
        if isinstance(watcher, watchers) and len(refused) < 3:
            refused.append(fd)
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        add(poller, fd, events, watcher)

    monkeypatch.setattr(Poller, "add", refusing)
    return refused


# The look at all processes.


@on_all_loops
async def test_a_look_that_breaks_off_begins_again(monkeypatch: pytest.MonkeyPatch) -> None:
    heard = heard_mistakes()
    async with JobManager() as jobs:
        id = await jobs.start(unruly("behave"))
        await said(jobs, id)
        monkeypatch.setattr(scan, "read_stat", failing_once(read_stat, MemoryError()))
        assert await jobs.stop(id)
    assert heard == [MemoryError]


@on_all_loops
async def test_where_nobody_can_look_a_stop_is_not_confirmed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with JobManager() as jobs:
        id = await jobs.start(unruly("behave"))
        await said(jobs, id)
        with monkeypatch.context() as patch:

            def refuse(*_: object) -> None:
                raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

            patch.setattr(scan, "read_stat", refuse)
            patch.setattr(stopping, "STOP_LIMIT", 0.01)
            patch.setattr(stopping, "LOOK_LIMIT", 0.01)
            assert not await jobs.stop(id)
        assert await jobs.stop(id)


@on_all_loops
async def test_a_close_look_that_breaks_off_is_made_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """The host has taken the notices, so that only close looks tell those who wait."""
    heard = heard_mistakes()
    async with JobManager() as jobs:
        ids = [await jobs.start(unruly("behave")) for _ in range(2)]
        with contextlib.ExitStack() as stack:
            for id in ids:
                await said(jobs, id)
                pid, _ = await jobs.get_process_info(id) or (0, 0)
                await stack.enter_context(watching(pid)).stop()
                take_notice(pid)
            look = failing_once(CommandRunner.read_stop, Mistake())
            monkeypatch.setattr(CommandRunner, "read_stop", look)
            assert await jobs.wait_all() == []
    assert heard == [Mistake]
