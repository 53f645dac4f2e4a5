"""Every exception that amper raises, by who must act. Each carries data, and makes its message of it.

An expected outcome (a job that fails, an unknown id, a deadline) is a value and never an exception.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

_SHOWN: Final = 10
"""A message is for people; the whole list is in the exception."""


class AmperError(Exception):
    """The base of everything that amper raises of its own."""


class ManagerClosed(AmperError, RuntimeError):
    """The caller asked a closed manager for a new job; make a new `JobManager`."""

    def __str__(self) -> str:
        return "this JobManager is closed: make a new one for new jobs"


class WrongLoop(AmperError, RuntimeError):
    """The caller used a manager on one event loop while another one runs its jobs."""

    def __str__(self) -> str:
        return (
            "this JobManager belongs to another event loop that still runs: use it there "
            "(asyncio.run_coroutine_threadsafe), or make one manager for each loop"
        )


class ChannelClosed(AmperError):
    """The sender of a `oneshot()` went away without a value; whoever held it must say why."""

    def __str__(self) -> str:
        return "the sender went away without sending a result"


class ChannelUsed(AmperError, RuntimeError):
    """The caller sent a second value through a `oneshot()`, which carries one."""

    def __str__(self) -> str:
        return "this channel has carried its one value, or was closed: make a new one"


class InvalidJobSpec(AmperError, ValueError):
    """The caller named a job by a text that is no job spec."""

    def __init__(self, spec: str) -> None:
        """Keep the text."""
        self.spec = spec
        super().__init__(spec)

    def __str__(self) -> str:
        return (
            f"{self.spec!r} is no job spec: "
            "write %1 or 1, %+ or %- (current, previous), %name or %?text"
        )


class NoSuchJob(AmperError, LookupError):
    """The caller named a job that is not there."""

    def __init__(self, spec: str) -> None:
        """Keep what was looked for."""
        self.spec = spec
        super().__init__(spec)

    def __str__(self) -> str:
        what = {"": "current job", "%": "current job", "+": "current job", "-": "previous job"}
        if self.spec.startswith("%") and self.spec[1:] in what:
            return f"{self.spec}: there is no {what[self.spec[1:]]}: start or stop one first"
        return f"{self.spec}: no such job: list the jobs to see which there are"


class AmbiguousJobSpec(AmperError, LookupError):
    """The caller named a job by a text that fits several; `candidates` are their ids and commands."""

    def __init__(self, spec: str, candidates: Iterable[tuple[int, str]]) -> None:
        """Keep the text and what it fits."""
        self.spec = spec
        self.candidates = tuple(candidates)
        super().__init__(spec, self.candidates)

    def __str__(self) -> str:
        shown = [f"%{id} ({_shortened(command)})" for id, command in self.candidates[:_SHOWN]]
        if len(self.candidates) > _SHOWN:
            shown.append(f"{len(self.candidates) - _SHOWN} more")
        return f"{self.spec} is ambiguous: choose one of {', '.join(shown)}"


class InternalError(AmperError, AssertionError):
    """A bug of amper's own. Please report it with the history that it carries."""

    def __init__(self, what: str, history: Iterable[object] = ()) -> None:
        """Say what went wrong, and what had happened to the job until then."""
        self.what = what
        self.history = tuple(history)
        super().__init__(what, self.history)

    def __str__(self) -> str:
        return "\n".join(map(str, (self.what, *self.history, "This is a bug: please report it.")))


def _shortened(command: str) -> str:
    line = " ".join(command.split())
    return line if len(line) <= 40 else f"{line[:39]}…"
