"""Every order of two things at once, one after another: a race that needs no luck to be seen.

Another thread, a signal handler or a finalizer may come in between any two steps of the
interpreter. So something is done once for each of its steps, and what may come in does so there.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Any, Final, TypeVar

import amper

T = TypeVar("T")

_LIBRARY: Final = str(Path(amper.__file__).parent)


def at_every_step(
    set_up: Callable[[], T], action: Callable[[T], object], intruder: Callable[[T], object]
) -> Iterator[T]:
    """Yield, for each step of the library's own in `action`, a state in which `intruder` came there."""
    for step in range(steps_of(partial(action, set_up()))):
        state = set_up()
        intrusion = _Intrusion(step, partial(intruder, state))
        intrusion.into(partial(action, state))
        assert intrusion.count > step, "it had fewer steps this time"
        yield state


def steps_of(action: Callable[[], object]) -> int:
    """Return how many steps of the library's own there are in `action`."""
    nobody = _Intrusion(None, lambda: None)
    nobody.into(action)
    assert nobody.count > 0, "the action never was in the library"
    return nobody.count


class SeenLock:
    """A lock for one thread that plays two: who finds it held would wait, and comes later."""

    def __init__(self) -> None:
        self.is_held = False

    def __enter__(self) -> None:
        assert not self.is_held
        self.is_held = True

    def __exit__(self, *_: object) -> None:
        self.is_held = False


class _Intrusion:
    """Calls `intruder` before the step with this number."""

    def __init__(self, step: int | None, intruder: Callable[[], object]) -> None:
        self.count = 0
        self._step = step
        self._intruder = intruder
        self._error: BaseException | None = None

    def into(self, action: Callable[[], object]) -> None:
        before = sys.gettrace()
        # Python 3.12 looks for this once, before the first frame that is traced.
        sys._getframe().f_trace_opcodes = True
        sys.settrace(self._trace)
        try:
            action()
        finally:
            sys.settrace(before)
        # What is raised in a trace function would be the action's, which may swallow it.
        if self._error is not None:
            raise self._error

    def _trace(self, frame: FrameType, event: str, _argument: Any) -> Any:
        if not frame.f_code.co_filename.startswith(_LIBRARY):
            return None
        frame.f_trace_opcodes = True
        if event == "opcode":
            if self.count == self._step:
                self._come_in()
            self.count += 1
        return self._trace

    def _come_in(self) -> None:
        try:
            self._intruder()
        except BaseException as error:  # noqa: BLE001 - it is raised again where it can be seen.
            self._error = error
