"""`spawn`: what is no job, and where none can be made."""

from __future__ import annotations

import asyncio
import inspect
import threading
from typing import Any

import pytest

from amper import JobManager
from tests.work import (
    Awaitable,
    endless,
    give,
    on_a_loop,
)


def closed(coroutine: Any) -> bool:
    return inspect.getcoroutinestate(coroutine) == inspect.CORO_CLOSED


@pytest.mark.parametrize(
    "bad", [None, 5, "text", give, [], Awaitable, asyncio.Future], ids=lambda bad: repr(bad)[:15]
)
@on_a_loop
async def test_what_cannot_be_awaited_is_refused(bad: Any) -> None:
    async with JobManager() as jobs:
        with pytest.raises(TypeError, match="awaitable"):
            jobs.spawn("work", bad)
        assert await jobs.list_ids() == []


@on_a_loop
async def test_a_function_that_was_not_called_is_named() -> None:
    async with JobManager() as jobs:
        with pytest.raises(TypeError, match=r"endless\(\)"):
            jobs.spawn("work", endless)  # type: ignore[arg-type]  # The mistake is the test.


@pytest.mark.parametrize(
    "command, options",
    [
        (None, {}),
        (b"work", {}),
        (5, {}),
        ("work", {"name": 5}),
        ("work", {"tags": "abc"}),
        ("work", {"tags": 5}),
        ("work", {"tags": ("a", 5)}),
    ],
)
@on_a_loop
async def test_bad_descriptions_are_refused_and_the_coroutine_is_closed(
    command: Any, options: dict[str, Any]
) -> None:
    async with JobManager() as jobs:
        coroutine = endless()
        with pytest.raises(TypeError):
            jobs.spawn(command, coroutine, **options)
        assert closed(coroutine)
        assert await jobs.list_ids() == []


def test_without_a_running_loop_it_is_refused_and_the_coroutine_is_closed() -> None:
    jobs = JobManager()
    coroutine = endless()
    with pytest.raises(RuntimeError, match="no asyncio event loop runs here: call this within"):
        jobs.spawn("work", coroutine)
    assert closed(coroutine)


@on_a_loop
async def test_a_thread_without_a_loop_is_refused_and_the_coroutine_is_closed() -> None:
    refused: list[bool] = []

    def elsewhere() -> None:
        coroutine = endless()
        with pytest.raises(RuntimeError):
            jobs.spawn("work", coroutine)
        refused.append(closed(coroutine))

    async with JobManager() as jobs:
        jobs.spawn("work", give())
        thread = threading.Thread(target=elsewhere)
        thread.start()
        thread.join()
        assert refused == [True]
        assert await jobs.list_ids() == [1]
