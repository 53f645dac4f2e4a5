"""Every exception that amper raises, by who must act. Each carries data, and makes its message of it.

An expected outcome (a job that fails, an unknown id, a deadline) is a value and never an exception.
"""

from __future__ import annotations

from collections.abc import Iterable


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
            "this JobManager belongs to another event loop that still runs: "
            "use it there, or make one manager for each loop"
        )


class ChannelClosed(AmperError):
    """The sender of a `oneshot()` went away without a value; whoever held it must say why."""

    def __str__(self) -> str:
        return "the sender went away without sending a result"


class ChannelUsed(AmperError, RuntimeError):
    """The caller sent a second value through a `oneshot()`, which carries one."""

    def __str__(self) -> str:
        return "this channel has carried its one value, or was closed: make a new one"


class InternalError(AmperError, AssertionError):
    """A bug of amper's own. Please report it with the history that it carries."""

    def __init__(self, what: str, history: Iterable[object] = ()) -> None:
        """Say what went wrong, and what had happened to the job until then."""
        self.what = what
        self.history = tuple(history)
        super().__init__(what, self.history)

    def __str__(self) -> str:
        return "\n".join(map(str, (self.what, *self.history, "This is a bug: please report it.")))
