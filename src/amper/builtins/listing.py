"""One job in one line, as bash writes it: `[1]+  Running                 make &`."""

from __future__ import annotations

import signal

from amper.values import JobInfo, JobStatus

_STATES = {
    JobStatus.QUEUED: "Queued",
    JobStatus.RUNNING: "Running",
    JobStatus.STOPPED: "Stopped",
    JobStatus.LOST: "Lost",
}


def job_line(info: JobInfo) -> str:
    """Return the line about a job."""
    return f"[{info.id}]{info.mark or ' '}  {_state_and_command(info)}"


def long_job_line(info: JobInfo) -> str:
    """Return the line about a job with the pid of its leader; one without a process has a dash."""
    pid = "-" if info.pid is None else info.pid
    return f"[{info.id}]{info.mark or ' '} {pid:>5} {_state_and_command(info)}"


def command_of(info: JobInfo) -> str:
    """Return a job's command on one line, and without anything that a terminal would obey."""
    return "".join(
        character if character.isprintable() else character.encode("unicode_escape").decode()
        for character in info.command
    )


def state_of(info: JobInfo) -> str:
    """Return `Running`, `Done`, `Done(3)`, `Terminated`: what POSIX and bash call it."""
    state = _STATES.get(info.status)
    if state is not None:
        return state
    if info.signal is not None:
        return signal.strsignal(info.signal) or f"Signal {info.signal}"
    if info.ended_by is not None and info.exit_code == 130:
        # A coroutine, or a job that never began.
        return "Cancelled"
    return f"Done({info.exit_code})" if info.exit_code else "Done"


def _state_and_command(info: JobInfo) -> str:
    ampersand = " &" if info.status is JobStatus.RUNNING else ""
    return f"{state_of(info):<23} {command_of(info)}{ampersand}"
