"""Cancellation tokens: a request to stop that stays on, and reaches everything below it.

A token says that somebody asked; what happens then is up to whoever listens.
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

    __slots__ = ("__weakref__", "_callbacks", "_children", "_is_cancelled", "_reason")

    def __init__(self) -> None:
        self._is_cancelled = False
        self._reason: str | None = None
        self._callbacks: dict[object, Callback] | None = None
        self._children: weakref.WeakSet[CancellationToken] | None = None

    @property
    def is_cancelled(self) -> bool:
        """Whether somebody asked to stop."""
        return self._is_cancelled

    @property
    def reason(self) -> str | None:
        """What the first who asked gave as the reason."""
        return self._reason

    def cancel(self, reason: str | None = None) -> None:
        """Ask to stop: this token and all below it. Once is enough, and any thread may."""
        if self._is_cancelled:
            return
        self._reason = reason
        self._is_cancelled = True
        callbacks, self._callbacks = self._callbacks, None
        for callback in (callbacks or {}).values():
            _call(callback)
        children, self._children = self._children, None
        for child in children or ():
            child.cancel(reason)

    def child_token(self) -> CancellationToken:
        """Return a token that is cancelled with this one, but not the other way round.

        It is kept alive by its holder alone.
        """
        child = CancellationToken()
        if self._is_cancelled:
            child.cancel(self._reason)
            return child
        if self._children is None:
            self._children = weakref.WeakSet()
        self._children.add(child)
        # Another thread may have cancelled us before it could see the child.
        if self._is_cancelled:
            child.cancel(self._reason)
        return child

    def on_cancel(self, callback: Callback) -> Callable[[], object]:
        """Call `callback` when the token is cancelled, or now if it is; return how to take it back.

        It is called in the thread that cancels. What it raises is reported and stops nothing.
        """
        if self._is_cancelled:
            _call(callback)
            return lambda: None
        key = object()
        if self._callbacks is None:
            self._callbacks = {}
        self._callbacks[key] = callback
        # Another thread may have cancelled before it could see the callback.
        if self._is_cancelled and self._forget(key):
            _call(callback)
        return lambda: self._forget(key)

    async def wait_cancelled(self) -> None:
        """Wait until the token is cancelled. A waiter that is cancelled itself leaves nothing behind."""
        if self._is_cancelled:
            return
        waiter = asyncio.get_running_loop().create_future()
        forget = self.on_cancel(lambda: wake(waiter))
        try:
            await waiter
        finally:
            forget()

    def _forget(self, key: object) -> bool:
        callbacks = self._callbacks
        return callbacks is not None and callbacks.pop(key, None) is not None


def _call(callback: Callback) -> None:
    try:
        callback()
    except Exception:  # noqa: BLE001 - one listener must not keep the others from hearing.
        with contextlib.suppress(Exception):
            sys.excepthook(*sys.exc_info())
