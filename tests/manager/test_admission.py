"""Waiters that a signal handler cancels in the midst of being told: asyncio's does so at a Ctrl-C."""

from __future__ import annotations

import asyncio

from amper.manager.admission import STARTS_PER_TURN, Pace
from amper.manager.waiting import Verdict
from tests.handshakes import turns
from tests.work import on_a_loop


class Interrupted(asyncio.Future[None]):
    """One that is cancelled just before it is told, after whoever tells it may have asked."""

    def set_result(self, result: None, /) -> None:
        self.cancel()
        super().set_result(result)


@on_a_loop
async def test_commands_go_on_to_be_started() -> None:
    loop = asyncio.get_running_loop()
    pace = Pace()
    assert all(pace.has_room(loop) for _ in range(STARTS_PER_TURN))
    interrupted = Interrupted(loop=loop)
    pace._waiting.append(interrupted)
    waiter = pace.turn(loop)
    await waiter
    assert interrupted.cancelled()
    await turns(2)
    assert pace.has_room(loop)


@on_a_loop
async def test_the_others_hear_of_an_outcome() -> None:
    loop = asyncio.get_running_loop()
    verdict = Verdict(loop)
    interrupted = Interrupted(loop=loop)
    verdict._waiters = (interrupted,)  # type: ignore[assignment]
    waiter = verdict.waiter()
    verdict.outcome = True
    verdict._tell()
    assert interrupted.cancelled()
    assert await waiter
