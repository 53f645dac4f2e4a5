"""`fg`: go on with a job in the foreground."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from amper.builtins.listing import command_of
from amper.builtins.manual import Manual, Report, builtin, find_one
from amper.builtins.steering import code_after
from amper.manager import JobManager
from amper.values import JobInfo, JobStatus

MANUAL: Final = Manual(
    "fg [job]",
    """
Let a job run on, the current one if none is named, and wait until it is over or stops. The code is
its own, or 148 if it stops.
""",
)


@builtin(MANUAL)
async def fg(manager: JobManager, arguments: Sequence[str], report: Report) -> None:
    """Bring a job to the foreground and wait for it; its command is what this prints."""
    info = await chosen(manager, arguments, report)
    if info is None:
        return
    is_reachable = not info.pgids or await manager.signal(info.id, 0)
    if info.status is JobStatus.STOPPED and not is_reachable:
        report.complain(f"job {info.id} cannot be resumed")
        return
    report.say(command_of(info))
    report.code = await code_after(manager, info.id, await manager.foreground(info.id))


async def chosen(manager: JobManager, arguments: Sequence[str], report: Report) -> JobInfo | None:
    """Return the job that is to come to the front; None if that is over, or there is none."""
    _, specs = MANUAL.read(arguments)
    info = await find_one(manager, specs, report)
    if info is None or not info.status.is_final:
        return info
    report.complain(f"job {info.id} has terminated: wait %{info.id} returns its code")
    return None
