"""The channel for one value."""

from __future__ import annotations

import asyncio
import gc
import threading
from collections.abc import Callable
from typing import Any

import pytest

from amper import ChannelClosed, ChannelUsed, Receiver, Sender, oneshot
from tests.interleaving import at_every_step
from tests.support import on_all_loops, run
from tests.virtual_clock import run_virtually

Channel = tuple[Sender[Any], Receiver[Any]]


def outcome_of(receiver: Receiver[Any]) -> object:
    """Return the value, or the exception in its place."""
    try:
        return receiver.result()
    except ChannelClosed as error:
        return type(error)


def test_a_value_that_was_sent_before_is_there_at_once() -> None:
    async def receive() -> None:
        sender, receiver = oneshot()
        sender.send("value")
        assert receiver.is_done
        assert await receiver == "value"
        assert receiver.result() == "value"

    run_virtually(receive())


def test_nothing_is_a_value_too() -> None:
    sender, receiver = oneshot()
    sender.send(None)
    assert receiver.is_done
    assert receiver.result() is None


def test_a_second_value_is_refused_and_changes_nothing() -> None:
    sender, receiver = oneshot()
    sender.send(1)
    with pytest.raises(ChannelUsed):
        sender.send(2)
    assert receiver.result() == 1


def test_a_closed_channel_gives_no_value_and_takes_none() -> None:
    async def receive() -> None:
        sender, receiver = oneshot()
        sender.close()
        sender.close()
        assert receiver.is_done
        with pytest.raises(ChannelClosed):
            await receiver
        with pytest.raises(ChannelUsed):
            sender.send(1)

    run_virtually(receive())


def test_closing_takes_nothing_back() -> None:
    sender, receiver = oneshot()
    sender.send(1)
    sender.close()
    assert receiver.result() == 1


def test_the_result_that_is_not_there_yet_raises() -> None:
    sender, receiver = oneshot()
    assert not receiver.is_done
    with pytest.raises(ChannelClosed):
        receiver.result()
    sender.close()


def test_a_sender_that_nobody_holds_closes_its_channel() -> None:
    sender, receiver = oneshot()
    del sender
    gc.collect()
    assert outcome_of(receiver) is ChannelClosed


def test_a_sender_in_a_cycle_closes_its_channel_when_it_is_collected() -> None:
    sender, receiver = oneshot()
    cycle: list[object] = [sender]
    cycle.append(cycle)
    del sender, cycle
    assert not receiver.is_done
    gc.collect()
    assert outcome_of(receiver) is ChannelClosed


def test_a_value_outlives_its_sender() -> None:
    sender, receiver = oneshot()
    sender.send("value")
    del sender
    gc.collect()
    assert receiver.result() == "value"


def test_a_receiver_that_nobody_holds_hinders_nobody() -> None:
    sender, receiver = oneshot()
    del receiver
    sender.send("value")


@on_all_loops
async def test_everybody_who_waits_gets_the_same_value() -> None:
    sender, receiver = oneshot()

    async def receive() -> object:
        return await receiver

    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(receive()) for _ in range(50)]
        await asyncio.sleep(0)
        value = object()
        sender.send(value)
    assert {task.result() for task in tasks} == {value}
    assert await receiver is value


def send(sender: Sender[Any]) -> None:
    sender.send("value")


def close(sender: Sender[Any]) -> None:
    sender.close()


def lose(sender: Sender[Any]) -> None:
    """Do nothing: with the thread goes the last who holds the sender."""


@on_all_loops
@pytest.mark.parametrize(
    "end, outcome", [(send, "value"), (close, ChannelClosed), (lose, ChannelClosed)]
)
async def test_any_thread_may_settle_a_channel_and_wakes_the_loop(
    end: Callable[[Sender[Any]], None], outcome: object
) -> None:
    sender, receiver = oneshot()
    called = asyncio.get_running_loop().create_future()
    receiver.on_result(called.set_result)
    thread = threading.Thread(target=end, args=(sender,))
    del sender
    thread.start()
    # The callback comes on the loop, in its own thread.
    assert await called is receiver
    thread.join()
    assert outcome_of(receiver) == outcome


def test_a_sender_that_is_collected_in_another_thread_wakes_the_loop() -> None:
    async def receive() -> None:
        sender, receiver = oneshot()
        cycle: list[object] = [sender]
        cycle.append(cycle)
        del sender, cycle
        thread = threading.Thread(target=gc.collect)
        with pytest.raises(ChannelClosed):
            await asyncio.gather(_starting(thread), receiver)
        thread.join()

    gc.disable()
    try:
        run(receive())
    finally:
        gc.enable()


async def _starting(thread: threading.Thread) -> None:
    # The receiver waits already when its turn comes.
    await asyncio.sleep(0)
    thread.start()


def test_the_callback_for_a_value_that_is_there_comes_in_a_later_turn() -> None:
    async def receive() -> None:
        sender, receiver = oneshot()
        sender.send("value")
        called: list[object] = []
        receiver.on_result(called.append)
        assert called == []
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert called == [receiver]

    run_virtually(receive())


def test_who_waits_and_is_cancelled_leaves_nothing_behind() -> None:
    async def give_up() -> None:
        sender, receiver = oneshot()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(3600):
                await receiver
        assert receiver._channel._listeners == []
        sender.send("value")
        assert await receiver == "value"

    run_virtually(give_up())


def test_a_loop_that_is_closed_is_passed_over() -> None:
    sender, receiver = oneshot()
    called: list[object] = []

    async def listen() -> None:
        receiver.on_result(called.append)

    run(listen())
    sender.send("value")
    assert called == []
    assert receiver.result() == "value"


def try_to_send(channel: Channel, value: str, refused: list[str]) -> None:
    try:
        channel[0].send(value)
    except ChannelUsed:
        refused.append(value)


def test_of_two_values_at_once_one_comes_through_and_the_other_is_refused() -> None:
    refused: list[str] = []
    for _, receiver in at_every_step(
        oneshot,
        lambda channel: try_to_send(channel, "one", refused),
        lambda channel: try_to_send(channel, "other", refused),
    ):
        assert {receiver.result(), refused.pop()} == {"one", "other"}
        assert not refused


def test_a_channel_that_is_closed_while_a_value_is_sent_has_one_end() -> None:
    refused: list[str] = []
    for _, receiver in at_every_step(
        oneshot, lambda channel: try_to_send(channel, "value", refused), lambda ends: close(ends[0])
    ):
        if refused:
            assert refused.pop() == "value"
            assert outcome_of(receiver) is ChannelClosed
        else:
            assert receiver.result() == "value"


def test_a_value_that_is_sent_while_somebody_begins_to_wait_is_not_missed() -> None:
    async def begin_at_every_step() -> None:
        called: list[object] = []
        for _, receiver in at_every_step(
            oneshot, lambda ends: ends[1].on_result(called.append), lambda ends: send(ends[0])
        ):
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            assert called.count(receiver) == 1

    run_virtually(begin_at_every_step())
