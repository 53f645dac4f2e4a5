"""Waiting for a job as a shell does in the foreground: until it is over, or stops."""

from __future__ import annotations

from typing import Final

from amper.manager import JobManager
from amper.values import JobId, JobStatus

STOPPED_CODE: Final = 148
"""128 + SIGTSTP: what a shell's `$?` is after Ctrl-Z."""

NOT_FOUND: Final = 127


async def code_of(manager: JobManager, id: JobId) -> int:
    """Wait until a job ends or stops; return the shell's code for it."""
    result = await manager.wait(id)
    if result is not None:
        return result.code
    info = await manager.get(id)
    return NOT_FOUND if info is None or info.status is not JobStatus.STOPPED else STOPPED_CODE
