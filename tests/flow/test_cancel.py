"""Cancellation tokens."""

from __future__ import annotations

import asyncio
import gc
import sys
import threading
import weakref
from functools import partial
from typing import NamedTuple

import pytest

from amper import CancellationToken
from tests.interleaving import at_every_step
from tests.support import on_all_loops, run
from tests.virtual_clock import run_virtually


def test_a_new_token_is_not_cancelled() -> None:
    token = CancellationToken()
    assert not token.is_cancelled
    assert token.reason is None


def test_the_first_who_cancels_gives_the_reason() -> None:
    token = CancellationToken()
    token.cancel("too slow")
    token.cancel("too late")
    assert token.is_cancelled
    assert token.reason == "too slow"


def test_a_reason_is_not_needed_and_does_not_come_later() -> None:
    token = CancellationToken()
    token.cancel()
    token.cancel("too late")
    assert token.is_cancelled
    assert token.reason is None


def test_who_asks_after_the_fact_hears_at_once() -> None:
    async def wait() -> None:
        token = CancellationToken()
        token.cancel()
        await token.wait_cancelled()
        await token.wait_cancelled()

    run_virtually(wait())


def test_a_reason_is_text() -> None:
    token = CancellationToken()
    with pytest.raises(TypeError, match="a reason is a str, not ValueError"):
        token.cancel(ValueError("too slow"))  # type: ignore[arg-type]
    assert not token.is_cancelled


@on_all_loops
async def test_every_waiter_goes_on() -> None:
    token = CancellationToken()
    async with asyncio.TaskGroup() as group:
        for _ in range(3):
            group.create_task(token.wait_cancelled())
        group.create_task(_call_in_next_turn(token))


async def _call_in_next_turn(token: CancellationToken) -> None:
    await asyncio.sleep(0)
    token.cancel()


@on_all_loops
async def test_any_thread_may_cancel_and_wakes_each_waiter_on_its_own_loop() -> None:
    token = CancellationToken()
    thread = threading.Thread(target=token.cancel, args=("from afar",))
    waiter = asyncio.gather(token.wait_cancelled(), token.wait_cancelled())
    await asyncio.sleep(0)
    thread.start()
    await waiter
    thread.join()
    assert token.reason == "from afar"


def test_a_waiter_whose_loop_is_closed_is_passed_over() -> None:
    token = CancellationToken()

    async def begin_to_wait() -> None:
        token.on_cancel(lambda: heard.append("listener"))
        waiting = token.wait_cancelled()
        waiting.send(None)
        begun.append(waiting)

    heard: list[str] = []
    begun: list[object] = []
    run(begin_to_wait())
    token.on_cancel(lambda: heard.append("later listener"))
    token.cancel()
    assert heard == ["listener", "later listener"]


def test_a_waiter_that_is_cancelled_leaves_nothing_behind() -> None:
    async def give_up() -> None:
        token = CancellationToken()
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(token.wait_cancelled(), timeout=5)
        assert not token._callbacks
        token.cancel()

    run_virtually(give_up())


def test_listeners_hear_once_and_in_order() -> None:
    token = CancellationToken()
    heard: list[int] = []
    for number in range(3):
        token.on_cancel(partial(heard.append, number))
    token.cancel()
    token.cancel()
    assert heard == [0, 1, 2]


def test_a_listener_can_be_taken_back_at_any_time() -> None:
    token = CancellationToken()
    heard: list[str] = []
    forget = token.on_cancel(lambda: heard.append("first"))
    token.on_cancel(lambda: heard.append("second"))
    forget()
    token.cancel()
    forget()
    assert heard == ["second"]


def test_a_listener_that_fails_is_reported_and_stops_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    reported: list[type[BaseException]] = []
    monkeypatch.setattr(sys, "excepthook", lambda kind, *_: reported.append(kind))
    token = CancellationToken()
    child = token.child_token()
    heard: list[str] = []

    def fail() -> None:
        raise ZeroDivisionError

    token.on_cancel(fail)
    token.on_cancel(lambda: heard.append("after it"))
    token.cancel()
    assert reported == [ZeroDivisionError]
    assert heard == ["after it"]
    assert child.is_cancelled


def test_a_parent_reaches_its_children_and_not_the_reverse() -> None:
    parent = CancellationToken()
    child, sibling = parent.child_token(), parent.child_token()
    grandchild = child.child_token()
    child.cancel("enough")
    assert grandchild.reason == "enough"
    assert not parent.is_cancelled
    assert not sibling.is_cancelled
    parent.cancel("all of you")
    assert sibling.reason == "all of you"
    assert child.reason == grandchild.reason == "enough"


def test_a_child_of_a_cancelled_token_is_born_cancelled() -> None:
    parent = CancellationToken()
    parent.cancel("over")
    assert parent.child_token().child_token().reason == "over"


def test_a_chain_of_tokens_whose_middle_nobody_holds_is_whole() -> None:
    parent = CancellationToken()
    grandchild = parent.child_token().child_token()
    gc.collect()
    parent.cancel("from the top")
    assert grandchild.reason == "from the top"


def test_a_chain_may_be_longer_than_calls_can_be_nested() -> None:
    first = last = CancellationToken()
    for _ in range(10 * sys.getrecursionlimit()):
        last = last.child_token()
    first.cancel("all of them")
    assert last.reason == "all of them"
    assert last.child_token().is_cancelled


def test_a_child_that_nobody_holds_is_gone_and_leaves_nothing_behind() -> None:
    parent = CancellationToken()
    child = weakref.ref(parent.child_token())
    assert child() is None
    assert not parent._callbacks


class Listening(NamedTuple):
    token: CancellationToken
    heard: list[str]

    @classmethod
    def new(cls) -> Listening:
        return cls(CancellationToken(), [])

    def listen(self) -> None:
        self.token.on_cancel(lambda: self.heard.append("called"))


def test_a_listener_that_comes_while_the_token_is_cancelled_hears_once() -> None:
    for state in at_every_step(Listening.new, Listening.listen, lambda state: state.token.cancel()):
        assert state.heard == ["called"]
    for state in at_every_step(Listening.new, lambda state: state.token.cancel(), Listening.listen):
        assert state.heard == ["called"]


def test_of_two_who_cancel_at_once_one_calls_each_listener_and_gives_the_reason() -> None:
    reasons: list[str | None] = []

    def listening() -> Listening:
        state = Listening.new()
        state.listen()
        state.listen()
        return state

    def cancel_too(state: Listening) -> None:
        state.token.cancel("the other's")
        # Whoever has cancelled can rely on it.
        assert state.token.is_cancelled
        reasons.append(state.token.reason)

    for state in at_every_step(
        listening, lambda state: state.token.cancel("the one's"), cancel_too
    ):
        assert state.heard == ["called", "called"]
        assert state.token.reason == reasons.pop() is not None


def test_a_child_that_is_born_while_its_parent_is_cancelled_is_cancelled() -> None:
    children: list[CancellationToken] = []

    def bear(parent: CancellationToken) -> None:
        children.append(parent.child_token())

    def cancel(parent: CancellationToken) -> None:
        parent.cancel("caught")

    for _ in at_every_step(CancellationToken, bear, cancel):
        assert children.pop().reason == "caught"
    children.clear()
    for _ in at_every_step(CancellationToken, cancel, bear):
        assert children.pop().reason == "caught"
