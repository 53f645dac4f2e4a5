"""Waiters that go on, or that have given up."""

from __future__ import annotations

import asyncio

from amper.flow.settle import settle
from tests.work import on_a_loop


@on_a_loop
async def test_whoever_waits_goes_on_with_the_value() -> None:
    waiter: asyncio.Future[int] = asyncio.get_running_loop().create_future()
    assert settle(waiter, 5)
    assert await waiter == 5


@on_a_loop
async def test_whoever_waits_no_more_is_left_alone() -> None:
    settled: asyncio.Future[int] = asyncio.get_running_loop().create_future()
    cancelled: asyncio.Future[int] = asyncio.get_running_loop().create_future()
    settled.set_result(4)
    cancelled.cancel()
    assert not settle(settled, 5)
    assert not settle(cancelled, 5)
    assert await settled == 4
    assert cancelled.cancelled()
