"""Where commands have to work alike: on every event loop, on older kernels, on a Python we do not know."""

from __future__ import annotations

import asyncio
import functools
import inspect
from collections.abc import Callable, Coroutine
from typing import Any, Final, ParamSpec

import pytest

from amper.manager import remains
from amper.process import command, group, spawn
from tests.support import LOOPS, run

P = ParamSpec("P")


def be_older_kernel(patch: pytest.MonkeyPatch) -> None:
    """Before Linux 6.9 a pidfd reaches no group: the leader's zombie has to hold the number."""
    for module in (group, command, remains):
        patch.setattr(module, "reap_leader_late", True)


def be_unknown_python(patch: pytest.MonkeyPatch) -> None:
    """Where nobody has checked the private call, `subprocess.Popen` starts the command."""
    patch.setattr(spawn, "KNOWN_SIGNATURES", frozenset())


OTHERS: Final = {"older kernel": be_older_kernel, "unknown Python": be_unknown_python}


def everywhere(test: Callable[P, Coroutine[Any, Any, None]]) -> Callable[..., None]:
    """Make an async test a plain one that runs on all loops, and on asyncio in the other places."""

    @pytest.mark.parametrize("place", [*LOOPS, *OTHERS])
    @functools.wraps(test)
    def in_place(place: str, *args: P.args, **kwargs: P.kwargs) -> None:
        with pytest.MonkeyPatch.context() as patch:
            if place in OTHERS:
                OTHERS[place](patch)
            run(test(*args, **kwargs), LOOPS.get(place, asyncio.new_event_loop))

    signature = inspect.signature(test)
    name = inspect.Parameter("place", inspect.Parameter.KEYWORD_ONLY)
    in_place.__signature__ = signature.replace(  # Read by inspect.
        parameters=[*signature.parameters.values(), name]
    )
    wrapped: Callable[..., None] = in_place
    return wrapped
