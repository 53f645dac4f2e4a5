"""`stop`: hold jobs where they are."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from amper.builtins.manual import Manual, Report, UsageError, builtin, found
from amper.manager import JobManager

MANUAL: Final = Manual(
    "stop job ...",
    """
Stop jobs where they are, as Ctrl-Z does; bg or fg lets them run on.
""",
)


@builtin(MANUAL)
async def stop(manager: JobManager, arguments: Sequence[str], report: Report) -> None:
    """Stop jobs."""
    _, specs = MANUAL.read(arguments)
    if not specs:
        raise UsageError("which job? %+ is the current one")
    for info in await found(manager, specs, report):
        if await manager.stop(info.id):
            continue
        if info.status.is_final:
            report.complain(f"job {info.id} has terminated: wait %{info.id} returns its code")
        else:
            report.complain(f"job {info.id} cannot be stopped")
