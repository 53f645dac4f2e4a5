"""What a shell makes of a job that it waited for: the code for its end, or for its stop."""

from __future__ import annotations

from typing import Final

from amper.manager import JobManager
from amper.values import ExecResult, JobId, JobStatus

STOPPED_CODE: Final = 148
"""128 + SIGTSTP: what a shell's `$?` is after Ctrl-Z."""

NOT_FOUND: Final = 127


async def code_of(manager: JobManager, id: JobId) -> int:
    """Wait until a job ends or stops; return the shell's code for it."""
    return await code_after(manager, id, await manager.wait(id))


async def code_after(manager: JobManager, id: JobId, result: ExecResult | None) -> int:
    """Return the shell's code for what became of a job that somebody waited for."""
    if result is not None:
        return result.code
    info = await manager.get(id)
    return NOT_FOUND if info is None or info.status is not JobStatus.STOPPED else STOPPED_CODE
