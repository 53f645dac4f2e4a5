"""How long an event loop keeps its callers waiting while it does something else."""

from __future__ import annotations

import asyncio
import statistics
import time
from types import TracebackType
from typing import Final, Self

INTERVAL: Final = 0.00025
"""Short, because that is how much of another process's time may be counted as ours."""


class Ticker:
    """Asks the loop for a call again and again, inside its block, and notes how late each one is.

    A call is late because of us at most by the processor time that this process, with all its
    threads, has used since the call before. The rest of a delay is the machine's.
    """

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self._due = 0.0
        self._used = 0.0
        self._late: list[float] = [0.0]
        self._ours: list[float] = [0.0]

    def __enter__(self) -> Self:
        self._arm()
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._note()

    def milliseconds(self) -> dict[str, float]:
        """Return what one call in a hundred and the latest were late because of us, and the latest in all."""
        percentiles = statistics.quantiles(self._ours, n=100, method="inclusive")
        return {
            "ours": percentiles[98] * 1e3,
            "our longest": max(self._ours) * 1e3,
            "longest": max(self._late) * 1e3,
        }

    def _arm(self) -> None:
        self._due = time.monotonic() + INTERVAL
        self._used = time.process_time()
        self._timer = self._loop.call_later(INTERVAL, self._tick)

    def _tick(self) -> None:
        self._note()
        self._arm()

    def _note(self) -> None:
        late = max(0.0, time.monotonic() - self._due)
        self._late.append(late)
        self._ours.append(min(late, time.process_time() - self._used))
