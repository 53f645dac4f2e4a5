"""`wait`: until jobs are over."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from amper.builtins.manual import Manual, Report, builtin, find, find_by_pid
from amper.builtins.steering import NOT_FOUND, STOPPED_CODE, code_of
from amper.job.jobspec import is_id
from amper.manager import JobManager
from amper.values import JobId, JobStatus

MANUAL: Final = Manual(
    "wait [-n] [job | pid ...]",
    """
Wait until the jobs are over, or all of them if none is named. The code is that of the last one
named; 0 if none is named; 127 if it is not there, and 148 if it is stopped or stops.

  -n   wait for one of them, whichever is over first, and return its code; 127 if there is none

A bare number is a pid.
""",
    {"n": "next"},
)


@builtin(MANUAL)
async def wait(manager: JobManager, arguments: Sequence[str], report: Report) -> None:
    """Wait for jobs; with `-n` the id of the one that was over first is in `data`."""
    flags, targets = MANUAL.read(arguments)
    if "next" in flags:
        await _wait_for_next(manager, targets, report)
    elif not targets:
        await manager.wait_all()
    else:
        for target in targets:
            await _wait_for(manager, target, report)


async def _wait_for(manager: JobManager, target: str, report: Report) -> None:
    id = await _job(manager, target, report)
    if id is None:
        return
    report.code = await code_of(manager, id)
    if report.code == STOPPED_CODE:
        await _complain_if_stopped(manager, id, report)


async def _complain_if_stopped(manager: JobManager, id: JobId, report: Report) -> None:
    info = await manager.get(id)
    if info is not None and info.status is JobStatus.STOPPED:
        report.complain(f"job {id} is stopped: bg %{id} lets it run on", STOPPED_CODE)


async def _wait_for_next(manager: JobManager, targets: Sequence[str], report: Report) -> None:
    if targets:
        named = [await _job(manager, target, report) for target in targets]
        ids = [id for id in named if id is not None]
    else:
        ids = [job.id for job in manager.table.jobs() if not job.is_taken]
    first = await manager.wait_any(ids)
    if first is None:
        report.code = NOT_FOUND
        for id in ids:
            await _complain_if_stopped(manager, id, report)
    else:
        report.data, result = first
        report.code = result.code


async def _job(manager: JobManager, target: str, report: Report) -> JobId | None:
    """Return the job that is meant; in every shell a bare number is a pid."""
    if not is_id(target):
        info = await find(manager, target, report, code=NOT_FOUND)
    elif (info := await find_by_pid(manager, target)) is None:
        report.complain(f"pid {target} is no job of this shell (a job is %{target})", NOT_FOUND)
    return None if info is None else info.id
