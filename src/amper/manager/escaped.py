"""Daemons of commands that are over: in no group of theirs any more, and known by the mark alone.

Nothing is held for them, since nobody knows whether there are any. They are looked for when somebody
kills such a job, and once when the manager ends.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Final

from amper.flow.settle import settle
from amper.job.job import Job
from amper.manager.killing import KILL_LIMIT, Cascade
from amper.manager.runner import LocalRunner
from amper.process.group import no_group
from amper.process.kernel import Kernel
from amper.process.scan import Look
from amper.values import EndedBy, JobId

if TYPE_CHECKING:
    from amper.manager.core import Core

_ID: Final = re.compile(rb"[1-9][0-9]{0,17}")


class Escaped(LocalRunner):
    """Stands for what carries the mark of a job that is over, so that a cascade can end it."""

    def __init__(self, escapes: Escapes, id: JobId, mark: bytes) -> None:
        super().__init__()
        self.is_over = True
        self._escapes = escapes
        self._id = id
        self._mark = mark
        # The command's group is gone.
        self.groups = (no_group(),)

    @property
    def mark(self) -> bytes:
        return self._mark

    @property
    def is_killable(self) -> bool:
        return True

    def start(self) -> None:
        """It runs already."""

    def cascade_ended(self) -> None:
        self.cascade = None
        self._escapes.forget(self._id, self)


class Escapes:
    """What is still being ended of jobs that are over, and what nobody has found yet."""

    __slots__ = ("_core", "_dying", "are_possible")

    def __init__(self, core: Core) -> None:
        self._core = core
        self._dying: dict[JobId, LocalRunner] = {}
        """Of jobs that are over, with a cascade that is not."""
        self.are_possible = False
        """Whether any command was held by its group alone."""

    def dying(self) -> Iterable[LocalRunner]:
        """Return the runners of jobs that are over, and whose cascades are not."""
        return self._dying.values()

    def moved(self) -> None:
        """Go on, on another loop, with those whose cascades have begun anew there."""
        dying, self._dying = self._dying, {}
        for id, runner in dying.items():
            self.keep(id, runner)

    def keep(self, id: JobId, runner: LocalRunner) -> None:
        """A job is over; if a cascade has still to see something of it die, it can be joined."""
        if runner.cascade is not None:
            self._dying[id] = runner

    def forget(self, id: JobId, runner: LocalRunner) -> None:
        """Its cascade has ended."""
        if self._dying.get(id) is runner:
            del self._dying[id]

    def kill(self, job: Job | None, ended_by: EndedBy, grace_period: float) -> asyncio.Future[bool]:
        """Kill what a command that is over has left outside of its group.

        The future tells whether there was anything, and all of it died. Nobody needs to wait for it.
        """
        core = self._core
        outcome: asyncio.Future[bool] = core.enter().create_future()
        dying = None if job is None else self._dying.get(job.id)
        if dying is not None and dying.cascade is not None:
            return core.cascade(dying, grace_period).waiter()
        if job is None or not _may_have_left_some(job) or not self.are_possible or core.is_closed:
            outcome.set_result(False)
            return outcome
        id = job.id

        def found(marks: dict[JobId, bytes]) -> None:
            if id in marks:
                cascade = self.cascade(id, marks[id], ended_by, grace_period)
                cascade.waiter().add_done_callback(lambda waiter: settle(outcome, waiter.result()))
            else:
                settle(outcome, False)

        _look_for_escaped(core.kernel, found, grace_period)
        return outcome

    def look(self, grace_period: float) -> asyncio.Future[dict[JobId, bytes]]:
        """Look what all commands of this manager have left outside of their groups, by its marks."""
        outcome: asyncio.Future[dict[JobId, bytes]] = self._core.enter().create_future()

        def found(marks: dict[JobId, bytes]) -> None:
            settle(outcome, marks)

        if self.are_possible:
            _look_for_escaped(self._core.kernel, found, grace_period)
        else:
            found({})
        return outcome

    def cascade(self, id: JobId, mark: bytes, ended_by: EndedBy, grace_period: float) -> Cascade:
        """Begin to end what carries a job's mark, or join whoever has begun."""
        runner = self._dying.get(id) or Escaped(self, id, mark)
        runner.claim(ended_by)
        cascade = self._core.cascade(runner, grace_period)
        self.keep(id, runner)
        return cascade


def _look_for_escaped(
    kernel: Kernel, tell: Callable[[dict[JobId, bytes]], None], grace_period: float
) -> None:
    """Find which marks of this manager's are carried, and tell them by the ids of the jobs, once.

    Where nobody can look for want of descriptors, none are found in the time that a kill may take.
    """

    def found(look: Look | None) -> None:
        # The look and the timer may come in the same turn.
        if not timer.cancelled():
            timer.cancel()
            tell({} if look is None else _marks(look, kernel.mark + b"-"))

    timer = kernel.loop.call_later(grace_period + KILL_LIMIT, found, None)
    kernel.scanner.ask_for_marks(found)


def _marks(look: Look, prefix: bytes) -> dict[JobId, bytes]:
    marks = {mark: mark.removeprefix(prefix) for mark in look.marks if mark.startswith(prefix)}
    # Whoever runs there may have written anything.
    return {JobId(int(id)): mark for mark, id in marks.items() if _ID.fullmatch(id)}


def _may_have_left_some(job: Job) -> bool:
    """Return whether a job is a command that is over, and was held by its group alone."""
    return job.result is not None and job.containment == "group"
