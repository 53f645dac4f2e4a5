"""`disown`: forget jobs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from amper.builtins.manual import Manual, Report, UsageError, builtin, found
from amper.manager import JobManager
from amper.values import JobStatus

MANUAL: Final = Manual(
    "disown [-a] [-r] [job ...]",
    """
Take jobs out of the table: those that are named, or the current one. What runs goes on, and
only the manager's end still reaches it.

  -a   all jobs
  -r   only those that run
""",
    {"a": "all", "r": "running"},
)


@builtin(MANUAL)
async def disown(manager: JobManager, arguments: Sequence[str], report: Report) -> None:
    """Take jobs out of the table."""
    flags, specs = MANUAL.read(arguments)
    if specs and "all" in flags:
        raise UsageError("-a is all jobs: name none")
    if specs or not flags:
        infos = await found(manager, specs or ["%+"], report)
    else:
        infos = await manager.list()
    for info in infos:
        if "running" not in flags or info.status is JobStatus.RUNNING:
            await manager.remove(info.id)
