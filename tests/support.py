"""What all tests share: running a coroutine on a fresh loop, inside a deadline, in debug mode."""

from __future__ import annotations

import asyncio
import functools
import inspect
import sys
from collections.abc import Callable, Coroutine
from typing import Any, Final, ParamSpec

import pytest
import uvloop

P = ParamSpec("P")

DEADLINE: Final = 30.0
"""Seconds until a test that waits in vain fails. No test that passes comes near it."""


def _eager_loop() -> asyncio.AbstractEventLoop:
    loop = asyncio.new_event_loop()
    # Python 3.12 has it, and the types are those of 3.11.
    loop.set_task_factory(getattr(asyncio, "eager_task_factory"))  # noqa: B009
    return loop


LOOPS: Final[dict[str, Callable[[], asyncio.AbstractEventLoop]]] = {
    "asyncio": asyncio.new_event_loop,
    "uvloop": uvloop.new_event_loop,
} | ({"eager": _eager_loop} if sys.version_info >= (3, 12) else {})


def run(
    coroutine: Coroutine[Any, Any, Any],
    loop_factory: Callable[[], asyncio.AbstractEventLoop] = asyncio.new_event_loop,
) -> Any:
    """Run a coroutine on a loop of its own, in debug mode, inside the deadline."""

    async def inside_deadline() -> Any:
        async with asyncio.timeout(DEADLINE):
            return await coroutine

    with asyncio.Runner(debug=True, loop_factory=loop_factory) as runner:
        return runner.run(inside_deadline())


def on_all_loops(test: Callable[P, Coroutine[Any, Any, None]]) -> Callable[..., None]:
    """Make an async test a plain one that runs on asyncio, uvloop, and with eager tasks."""

    # The names that pytest fills in are those of the test, and `loop_name`.
    @pytest.mark.parametrize("loop_name", list(LOOPS))
    @functools.wraps(test)
    def on_loop(loop_name: str, *args: P.args, **kwargs: P.kwargs) -> None:
        run(test(*args, **kwargs), LOOPS[loop_name])

    signature = inspect.signature(test)
    name = inspect.Parameter("loop_name", inspect.Parameter.KEYWORD_ONLY)
    parameters = [*signature.parameters.values(), name]
    on_loop.__signature__ = signature.replace(parameters=parameters)
    wrapped: Callable[..., None] = on_loop
    return wrapped


async def cancelled(caller: asyncio.Future[Any]) -> None:
    """Cancel somebody who waits, and see that it is told to the caller's caller."""
    caller.cancel()
    with pytest.raises(asyncio.CancelledError):
        await caller
