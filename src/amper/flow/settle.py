"""Let somebody go on who waits, and who may give up at any time."""

from __future__ import annotations

import asyncio
from typing import Protocol, TypeVar

T_contra = TypeVar("T_contra", contravariant=True)


class Waiter(Protocol[T_contra]):
    """Somebody who waits; a future of an event loop is one."""

    def set_result(self, value: T_contra, /) -> None:
        """Let it go on. Raises InvalidStateError where it waits no more."""
        ...


def settle(waiter: Waiter[T_contra], value: T_contra) -> bool:
    """Let a waiter go on with a value; False if it waits no more.

    To ask before would not do: Ctrl-C, as `asyncio.run` handles it, cancels what the main task waits
    for between any two instructions.
    """
    try:
        waiter.set_result(value)
    except asyncio.InvalidStateError:
        return False
    return True
