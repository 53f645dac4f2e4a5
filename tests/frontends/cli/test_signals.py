"""`SignalRelay`: what is done, and when, about each signal that tells us to end."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable, Coroutine
from typing import Any, cast

import pytest

from amper import JobId, JobManager
from amper.frontends.cli.signals import PATIENCE, SignalRelay
from tests.virtual_clock import run_virtually

GRACE_PERIOD = 1000.0

INT, TERM, HUP = signal.SIGINT, signal.SIGTERM, signal.SIGHUP


class Jobs:
    """Two jobs, of which only the first can be signalled; they end when they are killed at once."""

    def __init__(self) -> None:
        self.done: list[tuple[float, str, Any]] = []
        self.immortal = 0

    def note(self, what: str, value: object) -> None:
        self.done.append((asyncio.get_running_loop().time(), what, value))

    async def list_ids(self) -> list[JobId]:
        return [JobId(1), JobId(2)]

    async def signal(self, id: JobId, number: int) -> bool:
        self.note("signal", (id, number))
        return id == 1

    async def kill(self, id: JobId, *, grace_period: float | None = None, reason: str) -> bool:
        self.note("kill", (id, grace_period, reason))
        return True

    async def wait_all(self, timeout: float) -> None:
        await asyncio.sleep(timeout)

    async def running_count(self) -> int:
        return self.immortal


def obey(jobs: Jobs, press: Callable[[], Coroutine[Any, Any, None]]) -> tuple[SignalRelay, float]:
    """Let somebody press keys until the relay gives up; return it with the time of that."""
    relay = SignalRelay(cast(JobManager, jobs), GRACE_PERIOD)
    given_up: list[float] = []

    async def work() -> int:
        try:
            await press()
            await asyncio.get_running_loop().create_future()
        finally:
            given_up.append(asyncio.get_running_loop().time())
        return 0

    with pytest.raises(asyncio.CancelledError):
        run_virtually(relay._run(work))
    return relay, given_up[0]


def test_ctrl_c_is_passed_on_and_what_is_left_is_killed_after_the_grace_period() -> None:
    jobs = Jobs()

    async def press() -> None:
        signal.raise_signal(INT)

    relay, end = obey(jobs, press)
    assert jobs.done == [
        (0, "signal", (1, INT)),
        (0, "signal", (2, INT)),
        (0, "kill", (2, None, "SIGINT")),
        (GRACE_PERIOD, "kill", (1, GRACE_PERIOD, "SIGINT")),
        (GRACE_PERIOD, "kill", (2, GRACE_PERIOD, "SIGINT")),
    ]
    assert (relay.is_told, relay.code, end) == (True, 130, GRACE_PERIOD + PATIENCE)


def test_sigterm_is_what_a_kill_begins_with() -> None:
    jobs = Jobs()

    async def press() -> None:
        signal.raise_signal(TERM)

    relay, end = obey(jobs, press)
    kills = [(id, GRACE_PERIOD, "SIGTERM") for id in (1, 2)]
    assert jobs.done == [(0, "kill", kill) for kill in kills]
    assert (relay.code, end) == (143, PATIENCE)


def test_a_second_one_kills_at_once_and_a_third_one_waits_for_nothing() -> None:
    jobs = Jobs()

    async def press() -> None:
        signal.raise_signal(HUP)
        await asyncio.sleep(1)
        signal.raise_signal(INT)
        await asyncio.sleep(1)
        signal.raise_signal(INT)

    relay, end = obey(jobs, press)
    assert jobs.done[3:] == [(1, "kill", (id, 0.0, "SIGINT")) for id in (1, 2)]
    assert (relay.code, end) == (129, 2)


def test_what_cannot_be_killed_is_told_and_left(capfd: pytest.CaptureFixture[str]) -> None:
    jobs = Jobs()
    jobs.immortal = 1

    async def press() -> None:
        signal.raise_signal(TERM)

    _, end = obey(jobs, press)
    assert end == PATIENCE
    assert capfd.readouterr().err == (
        "amper: not all processes could be ended, not even with SIGKILL\n"
    )


def test_what_was_ignored_stays_ignored_and_all_is_put_back() -> None:
    before = {number: signal.getsignal(number) for number in (INT, TERM, HUP)}
    signal.signal(HUP, signal.SIG_IGN)
    try:
        relay = SignalRelay(cast(JobManager, Jobs()), GRACE_PERIOD)

        async def work() -> int:
            signal.raise_signal(HUP)
            await asyncio.sleep(1)
            return 7

        assert run_virtually(relay._run(work)) == 7
        assert not relay.is_told
        assert signal.getsignal(HUP) is signal.SIG_IGN
    finally:
        signal.signal(HUP, before[HUP])
    assert {number: signal.getsignal(number) for number in before} == before
