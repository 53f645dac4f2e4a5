"""Stopping jobs, letting them run on, and waiting for them as a shell does in the foreground."""

from __future__ import annotations

import signal
from typing import Final

from amper.manager import JobManager
from amper.values import JobId, JobStatus

STOPPED_CODE: Final = 148
"""128 + SIGTSTP: what a shell's `$?` is after Ctrl-Z."""

NOT_FOUND: Final = 127


async def stop_job(manager: JobManager, id: JobId) -> bool:
    """Stop a job; False if there is nothing of it that could stop."""
    return await manager.signal(id, signal.SIGSTOP)


async def resume_job(manager: JobManager, id: JobId) -> bool:
    """Let a job run on; False if there is nothing of it that could."""
    if not await manager.signal(id, signal.SIGCONT):
        return False
    # An embedder's own process: the record is ours to keep.
    await manager.resume_job(id)
    return True


async def code_of(manager: JobManager, id: JobId) -> int:
    """Wait until a job ends or stops; return the shell's code for it."""
    result = await manager.wait(id)
    if result is not None:
        return result.code
    info = await manager.get(id)
    return NOT_FOUND if info is None or info.status is not JobStatus.STOPPED else STOPPED_CODE
