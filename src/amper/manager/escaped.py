"""Daemons of commands that are over: in no group of theirs any more, and known by the mark alone.

Nothing is held for them, since nobody knows whether there are any. They are looked for when somebody
kills such a job, and once when the manager ends.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final

from amper.job.job import Job
from amper.manager.killing import KILL_LIMIT
from amper.manager.runner import LocalRunner
from amper.process.group import ProcessGroup
from amper.process.kernel import Kernel
from amper.process.scan import Look
from amper.values import JobId

_ID: Final = re.compile(rb"[1-9][0-9]{0,17}")


class Escaped(LocalRunner):
    """Stands for what carries the mark of a job that is over, so that a cascade can end it."""

    is_over = True

    def __init__(self, mark: bytes) -> None:
        self._mark = mark
        # The command's group is gone. One that is closed reaches nobody, and lets the mark be swept.
        self.groups = (ProcessGroup(0, -1, is_child=True),)

    @property
    def mark(self) -> bytes:
        return self._mark

    @property
    def is_killable(self) -> bool:
        return True

    def start(self) -> None:
        """It runs already."""


def look_for_escaped(
    kernel: Kernel, tell: Callable[[dict[JobId, Escaped]], None], grace_period: float
) -> None:
    """Find what carries a mark of this manager's, and tell it by the ids of the jobs, once.

    Where nobody can look for want of descriptors, none are found in the time that a kill may take.
    """

    def found(look: Look | None) -> None:
        # The look and the timer may come in the same turn.
        if not timer.cancelled():
            timer.cancel()
            tell({} if look is None else _escaped(look, kernel.mark + b"-"))

    timer = kernel.loop.call_later(grace_period + KILL_LIMIT, found, None)
    kernel.scanner.ask_for_marks(found)


def _escaped(look: Look, prefix: bytes) -> dict[JobId, Escaped]:
    marks = {mark: mark.removeprefix(prefix) for mark in look.marks if mark.startswith(prefix)}
    # Whoever runs there may have written anything.
    return {JobId(int(id)): Escaped(mark) for mark, id in marks.items() if _ID.fullmatch(id)}


def may_have_escaped(job: Job | None) -> bool:
    """Return whether a job is a command that is over, and was held by its group alone."""
    return job is not None and job.result is not None and job.containment == "group"
