"""The one table of what a job may become. The diagram in the docs is drawn from it.

It knows states and happenings, and nothing of what causes them.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final

from amper.errors import InternalError
from amper.values import JobStatus


class Happening(StrEnum):
    """Everything that can happen to a job."""

    QUEUE = "queue"
    START = "start"
    STOP = "stop"
    RESUME = "resume"
    SUCCEED = "succeed"
    FAIL = "fail"
    BE_KILLED = "be killed"
    BE_LOST = "be lost"


_ENDINGS: Final = {
    Happening.SUCCEED: JobStatus.DONE,
    Happening.FAIL: JobStatus.FAILED,
    Happening.BE_KILLED: JobStatus.KILLED,
    Happening.BE_LOST: JobStatus.LOST,
}

TRANSITIONS: Final[dict[JobStatus | None, dict[Happening, JobStatus]]] = {
    None: {
        Happening.QUEUE: JobStatus.QUEUED,
        Happening.START: JobStatus.RUNNING,
        # A foreground process becomes a job by being stopped.
        Happening.STOP: JobStatus.STOPPED,
    },
    JobStatus.QUEUED: {
        Happening.START: JobStatus.RUNNING,
        Happening.BE_KILLED: JobStatus.KILLED,
    },
    JobStatus.RUNNING: {Happening.STOP: JobStatus.STOPPED, **_ENDINGS},
    # A stopped job may end as it is: SIGKILL needs no one to continue it first.
    JobStatus.STOPPED: {Happening.RESUME: JobStatus.RUNNING, **_ENDINGS},
}


def next_status(status: JobStatus | None, happening: Happening) -> JobStatus:
    """Return what a job in `status` becomes; `None` is a job that is not there yet.

    Raises InternalError for what cannot happen.
    """
    try:
        return TRANSITIONS[status][happening]
    except KeyError:
        raise InternalError(
            f"a job that is {status or 'not there yet'} cannot {happening}"
        ) from None


def diagram() -> str:
    """Return the table as a Mermaid state diagram."""
    lines = ["stateDiagram-v2"]
    for status, moves in TRANSITIONS.items():
        source = "[*]" if status is None else status.value
        lines += [f"    {source} --> {target}: {move}" for move, target in moves.items()]
    lines += [f"    {status.value} --> [*]" for status in JobStatus if status.is_final]
    return "\n".join(lines)
