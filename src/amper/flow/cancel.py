"""Cancellation tokens: a request to stop that stays on, and reaches everything below it.

A token says that somebody asked; what happens then is up to whoever listens.

1. Any thread may do anything at any time, and so may a signal handler or a finalizer in the middle
   of it: there is no lock, and each step that decides something is one step of the interpreter.
2. A callback is called once: by the one thread that took it out of the dictionary.
3. Who listens puts the callback in first and looks at the token then; who cancels does the reverse.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
import weakref
from collections.abc import Callable

from amper.flow.stream import wake

Callback = Callable[[], object]


class CancellationToken:
    """A request to stop, which can be made once and is never taken back."""

    __slots__ = ("__weakref__", "_callbacks", "_requests")

    def __init__(self) -> None:
        self._requests: list[str | None] = []
        self._callbacks: dict[object, Callback] = {}

    @property
    def is_cancelled(self) -> bool:
        """Whether somebody asked to stop."""
        return bool(self._requests)

    @property
    def reason(self) -> str | None:
        """What the first who asked gave as the reason."""
        return self._requests[0] if self._requests else None

    def cancel(self, reason: str | None = None) -> None:
        """Ask to stop: this token and all below it. Once is enough, and any thread may."""
        if self._requests:
            return
        self._requests.append(reason)
        for key in tuple(self._callbacks):
            self._call(key)

    def child_token(self) -> CancellationToken:
        """Return a token that is cancelled with this one, but not the other way round.

        It is kept alive by its holder alone, and keeps this one alive.
        """
        return _ChildToken(self)

    def on_cancel(self, callback: Callback) -> Callable[[], object]:
        """Call `callback` when the token is cancelled, or now if it is; return how to take it back.

        It is called in the thread that cancels. What it raises is reported and stops nothing.
        """
        key = object()
        self._callbacks[key] = callback
        if self._requests:
            self._call(key)
        return lambda: self._callbacks.pop(key, None)

    async def wait_cancelled(self) -> None:
        """Wait until the token is cancelled. A waiter that is cancelled itself leaves nothing behind."""
        if self._requests:
            return
        waiter = asyncio.get_running_loop().create_future()
        forget = self.on_cancel(lambda: wake(waiter))
        try:
            await waiter
        finally:
            forget()

    def _call(self, key: object) -> None:
        callback = self._callbacks.pop(key, None)
        if callback is None:
            return
        try:
            callback()
        except Exception:  # noqa: BLE001 - one listener must not keep the others from hearing.
            with contextlib.suppress(Exception):
                sys.excepthook(*sys.exc_info())


class _ChildToken(CancellationToken):
    """A token that listens to its parent, which knows it only as one more callback.

    The parent is kept alive, so that a chain stays whole when nobody holds its middle any more.
    """

    __slots__ = ("_forget", "_parent")

    def __init__(self, parent: CancellationToken) -> None:
        super().__init__()
        self._parent = parent
        hear = weakref.WeakMethod(self._hear)
        self._forget = parent.on_cancel(lambda: (method := hear()) is not None and method())

    def __del__(self) -> None:
        self._forget()

    def _hear(self) -> None:
        self.cancel(self._parent.reason)
