"""The line about a job: its marks, its state, its command."""

from __future__ import annotations

import signal
from datetime import UTC, datetime
from typing import Any

import pytest

from amper import EndedBy, JobId, JobInfo, JobStatus
from amper.builtins.listing import job_line, long_job_line, state_of


def info(**facts: Any) -> JobInfo:
    given: dict[str, Any] = {"id": JobId(1), "command": "make", "status": JobStatus.RUNNING}
    return JobInfo(**(given | {"created_at": datetime.now(UTC)} | facts))


@pytest.mark.parametrize(
    "facts, state",
    [
        ({"status": JobStatus.QUEUED}, "Queued"),
        ({"status": JobStatus.RUNNING}, "Running"),
        ({"status": JobStatus.STOPPED}, "Stopped"),
        ({"status": JobStatus.LOST}, "Lost"),
        ({"status": JobStatus.DONE, "exit_code": 0}, "Done"),
        ({"status": JobStatus.FAILED, "exit_code": 3}, "Done(3)"),
        ({"status": JobStatus.FAILED, "exit_code": 143, "signal": 15}, "Terminated"),
        ({"status": JobStatus.KILLED, "exit_code": 137, "signal": 9}, "Killed"),
        ({"status": JobStatus.FAILED, "exit_code": 130, "signal": signal.SIGINT}, "Interrupt"),
        ({"status": JobStatus.FAILED, "exit_code": 130}, "Done(130)"),
        (
            {"status": JobStatus.KILLED, "exit_code": 130, "ended_by": EndedBy("cancel")},
            "Cancelled",
        ),
        ({"status": JobStatus.KILLED, "exit_code": 1, "ended_by": EndedBy("cancel")}, "Done(1)"),
    ],
)
def test_a_state_has_the_name_that_shells_give_it(facts: dict[str, Any], state: str) -> None:
    assert state_of(info(**facts)) == state


def test_a_line_has_number_mark_state_and_command() -> None:
    assert job_line(info(mark="+")) == "[1]+  Running                 make &"
    assert job_line(info(status=JobStatus.STOPPED)) == "[1]   Stopped                 make"
    long = long_job_line(info(pid=4711, mark="-", id=JobId(12)))
    assert long == "[12]-  4711 Running                 make &"
    assert long_job_line(info()) == "[1]      - Running                 make &"


def test_a_command_stays_on_its_line_and_cannot_talk_to_the_terminal() -> None:
    line = job_line(info(command="for x in é; do\n\x1b[31m\udcff"))
    assert line == "[1]   Running                 for x in é; do\\n\\x1b[31m\\udcff &"
