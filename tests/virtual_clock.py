"""An event loop whose time is made up: for tests of what has timers, and touches no kernel.

When nothing is ready the clock jumps to the next timer, so that an hour takes no time and always
the same order. A loop that would wait for ever says so at once instead.
"""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Callable, Coroutine
from contextvars import Context
from typing import Any, TypeVar, TypeVarTuple

T = TypeVar("T")
Ts = TypeVarTuple("Ts")


class WouldWaitForever(Exception):
    """Nothing is ready, no timer is set, and nobody else is there to change that."""


class _JumpingSelector(selectors.SelectSelector):
    """Never waits: it lets the time pass that the loop would have waited for."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        # The loop writes to itself where something is called from outside of it.
        ready = super().select(0)
        if ready:
            return ready
        if timeout is None:
            raise WouldWaitForever
        self.now += timeout
        return []


class VirtualLoop(asyncio.SelectorEventLoop):
    """A loop that begins at the time 0 and is never late."""

    def __init__(self) -> None:
        self._jumping = _JumpingSelector()
        self._timers: list[asyncio.TimerHandle] = []
        super().__init__(self._jumping)

    def time(self) -> float:
        return self._jumping.now

    def call_at(
        self,
        when: float,
        callback: Callable[[*Ts], object],
        *args: *Ts,
        context: Context | None = None,
    ) -> asyncio.TimerHandle:
        self._timers.append(super().call_at(when, callback, *args, context=context))
        return self._timers[-1]

    def timers(self) -> list[float]:
        """Return when something is still to be called."""
        timers = [timer for timer in self._timers if not timer.cancelled()]
        return [timer.when() for timer in timers if timer.when() > self.time()]


def run_virtually(coroutine: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine on a virtual loop in debug mode. Raises WouldWaitForever."""
    with asyncio.Runner(debug=True, loop_factory=VirtualLoop) as runner:
        return runner.run(coroutine)
