"""`bg`: let stopped jobs run on in the background."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from amper.builtins.listing import command_of
from amper.builtins.manual import Manual, Report, builtin, found
from amper.manager import JobManager
from amper.values import JobStatus

MANUAL: Final = Manual(
    "bg [job ...]",
    """
Let stopped jobs run on in the background: those that are named, or the current one.
""",
)


@builtin(MANUAL)
async def bg(manager: JobManager, arguments: Sequence[str], report: Report) -> None:
    """Resume jobs, and print a line for each."""
    _, specs = MANUAL.read(arguments)
    for info in await found(manager, specs or ["%+"], report):
        # Also one that seems to run: it may have been told to stop a moment ago.
        runs = await manager.resume(info.id)
        if info.status is JobStatus.RUNNING:
            report.complain(f"job {info.id} already in background", report.code)
        elif runs:
            report.say(f"[{info.id}]{info.mark or ' '} {command_of(info)} &")
        elif info.status.is_final:
            report.complain(f"job {info.id} has terminated: wait %{info.id} returns its code")
        else:
            report.complain(f"job {info.id} cannot be resumed: it is {info.status}")
