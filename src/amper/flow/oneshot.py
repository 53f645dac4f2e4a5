"""A channel for one value, once, from any thread to an event loop.

1. A channel is settled once, by a value or by being closed. Whoever comes second is told so.
2. A sender that nobody holds any more closes its channel. The interpreter may notice that in any
   thread, in the middle of anything: so settling takes no lock, and wakes loops from outside.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Generator
from typing import Any, Generic, TypeVar

from amper.errors import ChannelClosed, ChannelUsed
from amper.flow.stream import wake

T = TypeVar("T")

_NOTHING: Any = object()
_CLOSED: Any = object()


def oneshot() -> tuple[Sender[Any], Receiver[Any]]:
    """Return the two ends of a new channel."""
    channel: _Channel[Any] = _Channel()
    return Sender(channel), Receiver(channel)


class _Channel(Generic[T]):
    """What the two ends share."""

    __slots__ = ("_listeners", "_turns", "outcome")

    def __init__(self) -> None:
        self.outcome: T = _NOTHING
        """The value, `_CLOSED`, or `_NOTHING` so far."""
        self._turns = [None]
        self._listeners: list[Callable[[], None]] = []

    def settle(self, outcome: T) -> bool:
        """Settle the channel; False if it was settled before."""
        try:
            # One step of the interpreter: of two threads, one is first.
            self._turns.pop()
        except IndexError:
            return False
        self.outcome = outcome
        for listener in tuple(self._listeners):
            listener()
        return True

    def listen(self, listener: Callable[[], None]) -> None:
        """Call `listener` when the channel is settled, in whatever thread; now if it is.

        It may be called twice, where another thread settles at this very moment.
        """
        self._listeners.append(listener)
        if self.outcome is not _NOTHING:
            listener()

    def forget(self, listener: Callable[[], None]) -> None:
        """Take a listener back."""
        self._listeners.remove(listener)


class Sender(Generic[T]):
    """The end that carries a value in."""

    __slots__ = ("_channel",)

    def __init__(self, channel: _Channel[T]) -> None:
        self._channel = channel

    def send(self, value: T) -> None:
        """Send the one value, from any thread. Raises ChannelUsed if the channel had one or is closed."""
        if not self._channel.settle(value):
            raise ChannelUsed

    def close(self) -> None:
        """Close the channel without a value. Idempotent, and without effect after `send`."""
        if self._channel.outcome is _NOTHING:
            self._channel.settle(_CLOSED)

    def __del__(self) -> None:
        self.close()


class Receiver(Generic[T]):
    """The end that a value comes out of. It can be awaited many times; all get the same."""

    __slots__ = ("_channel",)

    def __init__(self, channel: _Channel[T]) -> None:
        self._channel = channel

    @property
    def is_done(self) -> bool:
        """Whether a value came, or the channel was closed."""
        return self._channel.outcome is not _NOTHING

    def result(self) -> T:
        """Return the value. Raises ChannelClosed if none will come, and if none came so far."""
        outcome = self._channel.outcome
        if outcome is _NOTHING or outcome is _CLOSED:
            raise ChannelClosed
        return outcome

    def on_result(self, callback: Callable[[Receiver[T]], None]) -> None:
        """Call `callback` with this receiver, on the running loop, once the channel is settled."""
        loop = asyncio.get_running_loop()
        waiter: asyncio.Future[None] = loop.create_future()
        waiter.add_done_callback(lambda _: callback(self))
        self._channel.listen(lambda: wake(waiter))

    def __await__(self) -> Generator[Any, None, T]:
        """Wait for the value. Raises ChannelClosed if the sender goes away without one."""
        return self._wait().__await__()

    async def _wait(self) -> T:
        while not self.is_done:
            waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()

            def listener(waiter: asyncio.Future[None] = waiter) -> None:
                wake(waiter)

            self._channel.listen(listener)
            try:
                await waiter
            finally:
                self._channel.forget(listener)
        return self.result()
