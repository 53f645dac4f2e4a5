"""A step of a cascade that raises: the others come all the same, and whoever waits hears of the end."""

from __future__ import annotations

import asyncio
import os
from typing import Any, Final

import pytest

from amper import JobManager
from amper.manager import killing
from amper.manager.killing import Cascade
from tests.handshakes import said, watching
from tests.support import on_all_loops
from tests.unruly import unruly

STEPS: Final = ["_ask", "_insist", "_look", "_give_up"]


class Mistake(Exception):
    """Nobody has expected it."""


def fail(monkeypatch: pytest.MonkeyPatch, steps: list[str]) -> list[Any]:
    """Let these steps fail, and return what the loop hears of that."""
    heard: list[Any] = []

    def mistaken(*_: object) -> None:
        raise Mistake

    for name in steps:
        monkeypatch.setattr(Cascade, name, mistaken)
    monkeypatch.setattr(killing, "KILL_LIMIT", 0.01)
    monkeypatch.setattr(killing, "LOOK_LIMIT", 0.01)
    asyncio.get_running_loop().set_exception_handler(
        lambda _, context: heard.append(context["exception"])
    )
    return heard


@pytest.mark.parametrize("containment", ["group", "tree"])
@on_all_loops
async def test_where_nobody_was_asked_to_end_all_are_killed(
    containment: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with JobManager(containment=containment, grace_period=0.01) as jobs:  # type: ignore[arg-type]
        id = await jobs.start(unruly("behave"))
        await said(jobs, id)
        heard = fail(monkeypatch, ["_ask"])
        # On a machine that is very busy a death takes seconds.
        monkeypatch.setattr(killing, "KILL_LIMIT", 1000)
        assert await jobs.kill(id)
        assert await jobs.get_status_string(id) == "killed:137"
        assert [type(each) for each in heard] == [Mistake]


@pytest.mark.parametrize("first", [0, 1])
@on_all_loops
async def test_where_nobody_can_be_killed_a_kill_tells_and_the_next_may_succeed(
    first: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with JobManager(grace_period=0) as jobs:
        id = await jobs.start(unruly("ignore_term"))
        await said(jobs, id)
        with monkeypatch.context() as patch:
            heard = fail(patch, STEPS[first:])
            assert not await jobs.kill(id)
            assert [type(each) for each in heard] == [Mistake] * len(STEPS[first:])
        assert await jobs.kill(id)
        assert await jobs.get_status_string(id) == "killed:137"


@on_all_loops
async def test_where_nobody_can_be_killed_the_manager_ends_all_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    jobs = JobManager(grace_period=0)
    id = await jobs.start(unruly("behave"))
    pid, _ = await jobs.get_process_info(id) or (0, 0)
    with watching(pid), monkeypatch.context() as patch:
        fail(patch, STEPS)
        await jobs.aclose()
        assert await jobs.get_status_string(id) == "lost"
    await asyncio.to_thread(os.waitpid, pid, 0)
