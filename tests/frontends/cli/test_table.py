"""The table at the end of a run."""

from __future__ import annotations

import re
import resource
from collections.abc import Mapping
from typing import Any

import pytest

from amper import JobId, JobInfo, JobStatus, Usage
from amper.frontends.cli import terminal
from amper.frontends.cli.table import memory_of, table_of, time_of
from amper.values import utc

HUGE = 2**50


def info(**fields: Any) -> JobInfo:
    plain: dict[str, Any] = {
        "id": JobId(1),
        "command": "make all",
        "name": "make",
        "created_at": utc(0),
        "started_at": utc(0),
        "elapsed": 1.25,
        "status": JobStatus.DONE,
        "exit_code": 0,
        "usage": Usage(0.0, 0.0, HUGE),
    }
    return JobInfo(**(plain | fields))


def rows(infos: list[JobInfo], not_run: Mapping[str, str] | None = None) -> list[list[str]]:
    lines = table_of(infos, not_run or {}).decode().splitlines()
    return [re.split(r" {2,}", line) for line in lines]


def test_a_row_tells_state_name_code_time_memory_and_command() -> None:
    failed = info(status=JobStatus.FAILED, exit_code=3, name="npm", command="npm test")
    assert rows([info(), failed], {"never": "never this"}) == [
        ["", "job", "code", "time", "memory", "command"],
        ["done", "make", "0", "1.25 s", "1073741824.0 MiB", "make all"],
        ["failed", "npm", "3", "1.25 s", "1073741824.0 MiB", "npm test"],
        ["not run", "never", "-", "-", "-", "never this"],
    ]


def test_a_command_stays_on_its_row_and_is_not_obeyed() -> None:
    *_, command = rows([info(command="a\nb\x1b[31m[bold]\udcff " + "x" * 500)])[1]
    assert command == "a b [31m[bold]\ufffd " + "x" * 500


def test_what_is_not_known_is_not_told() -> None:
    never = info(started_at=None, usage=None, exit_code=None)
    assert (time_of(never), memory_of(never)) == ("-", "-")


def test_less_memory_than_we_had_ourselves_is_told_as_less_than_that() -> None:
    # The kernel counts what we held when the command was started.
    ours = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    assert memory_of(info(usage=Usage(0.0, 0.0, 2**20))) == "< 1.0 MiB"
    assert memory_of(info(usage=Usage(0.0, 0.0, ours + 2**30))).startswith(
        f"{ours / 2**20 + 1024:.1f}"
    )


@pytest.mark.parametrize("columns", [1, 20, 40, 80])
def test_on_a_screen_no_line_is_longer_than_the_screen_is_wide(
    columns: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(terminal, "is_terminal", lambda fd: True)
    monkeypatch.setattr(terminal, "width", lambda fd: columns)
    lines = table_of([info(command="make " * 50)], {"x": "make " * 50}).decode().splitlines()
    assert max(map(len, lines)) <= columns


def test_colours_are_for_those_who_want_them(monkeypatch: pytest.MonkeyPatch) -> None:
    assert b"\x1b" not in table_of([info()], {})
    monkeypatch.setattr(terminal, "has_colours", lambda fd: True)
    assert b"\x1b[32mdone" in table_of([info()], {})
    assert b"\x1b[31mfailed" in table_of([info(status=JobStatus.FAILED, exit_code=1)], {})
