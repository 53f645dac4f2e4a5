"""`jobs`: what there is, in one line each."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Final

from amper.builtins.listing import job_line, long_job_line
from amper.builtins.manual import Manual, Report, UsageError, builtin, found
from amper.manager import JobManager
from amper.values import JobInfo, JobStatus

MANUAL: Final = Manual(
    "jobs [-a] [-l | -p | --json] [-r | -s] [job ...]",
    """
List the jobs, or those that are named: number, + for the current and - for the previous
one, state, command. A job that is over is listed once, unless it is named.

  -a, --all   all that the table still holds, also those that were seen when they were over
  -l          with the pid of each leader
  -p          the pids of the leaders and nothing else
  -r          only those that run
  -s          only those that are stopped
  --json      all that is known of them, as a JSON array
""",
    {
        "a": "all",
        "all": "all",
        "l": "long",
        "p": "pids",
        "r": "running",
        "s": "stopped",
        "json": "json",
    },
)


@builtin(MANUAL)
async def jobs(manager: JobManager, arguments: Sequence[str], report: Report) -> None:
    """List jobs; `data` is what is known of them. A job that is over counts as looked at then."""
    flags, specs = MANUAL.read(arguments)
    if len(flags & {"long", "pids", "json"}) > 1 or {"running", "stopped"} <= flags:
        raise UsageError("these options exclude each other")
    if specs:
        infos = await found(manager, specs, report)
    else:
        infos = [
            info for info in await manager.list() if "all" in flags or not _is_old(manager, info)
        ]
    infos = [info for info in infos if _is_wanted(info, flags)]
    report.data = [info.to_dict() for info in infos]
    if "json" in flags:
        report.say(json.dumps(report.data))
    else:
        _print(infos, flags, report)
    if "pids" not in flags:
        # Whoever has read that they are over knows it.
        for info in infos:
            await manager.try_result(info.id)


def _is_old(manager: JobManager, info: JobInfo) -> bool:
    """Return whether somebody knows already that a job is over."""
    job = manager.table.get(info.id)
    return info.status.is_final and job is not None and job.is_taken


def _is_wanted(info: JobInfo, flags: set[str]) -> bool:
    if "running" in flags:
        return info.status is JobStatus.RUNNING
    return "stopped" not in flags or info.status is JobStatus.STOPPED


def _print(infos: list[JobInfo], flags: set[str], report: Report) -> None:
    for info in infos:
        if "long" in flags:
            report.say(long_job_line(info))
        elif "pids" not in flags:
            report.say(job_line(info))
        elif info.pid is not None:
            report.say(str(info.pid))
