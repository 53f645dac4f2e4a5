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
        """Ask to stop: this token and all below it. Once is enough, and any thread may.

        Raises TypeError for a reason that is no text.
        """
        if reason is not None and not isinstance(reason, str):
            raise TypeError(f"a reason is a str, not {type(reason).__name__}")
        tokens: list[CancellationToken] = [self]
        # A loop, because there may be more generations than calls can be nested.
        for token in tokens:
            tokens += token._take(reason)  # noqa: SLF001 - one of us.

    def _take(self, reason: str | None) -> list[CancellationToken]:
        """Take a request and tell who listens; return the children, who are still to be told."""
        if self._requests:
            return []
        self._requests.append(reason)
        told = [self._call(key) for key in tuple(self._callbacks)]
        return [child for child in told if child is not None]

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
        if self._requests and (child := self._call(key)) is not None:
            child.cancel(self.reason)
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

    def _call(self, key: object) -> CancellationToken | None:
        """Tell a listener, once; a child is only returned, for the caller to tell."""
        callback = self._callbacks.pop(key, None)
        if callback is None:
            return None
        if isinstance(callback, weakref.ref):
            return callback()
        try:
            callback()
        except Exception:  # noqa: BLE001 - one listener must not keep the others from hearing.
            with contextlib.suppress(Exception):
                sys.excepthook(*sys.exc_info())
        return None


class _ChildToken(CancellationToken):
    """A token that its parent knows only weakly, as one more of those who listen.

    The parent is kept alive, so that a chain stays whole when nobody holds its middle any more.
    """

    __slots__ = ("_forget", "_parent")

    def __init__(self, parent: CancellationToken) -> None:
        super().__init__()
        self._parent = parent
        self._forget = parent.on_cancel(weakref.ref(self))

    def __del__(self) -> None:
        self._forget()
