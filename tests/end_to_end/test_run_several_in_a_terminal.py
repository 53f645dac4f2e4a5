"""`amper run -c CMD -c CMD ...` in front of a person."""

from __future__ import annotations

import re
import shlex
import signal
from pathlib import Path

import pytest

from tests.end_to_end.command import AMPER
from tests.end_to_end.console import CTRL_C, amper_console, console
from tests.handshakes import watching

CLEAR = b"\r\x1b[K"


def screen(output: bytes) -> str:
    """Return what stands on the screen in the end: a line that is cleared is written anew."""
    text = re.sub(rb"\x1b\[[0-9;]*m", b"", output).replace(b"\r\n", b"\n")
    return "\n".join(line.rpartition(CLEAR)[2].decode() for line in text.split(b"\n"))


def test_each_job_has_a_colour_of_its_own_and_the_status_line_is_gone_at_the_end() -> None:
    with amper_console("run", "-c", "echo a", "-c", "printf b >&2", "-c", "exit 3") as person:
        output = person.rest()
        assert person.code() == 3
    marks = re.findall(rb"\x1b\[(\d+)m(echo  |printf) \| \x1b\[0m[ab]\r\n", output)
    assert sorted(name for _, name in marks) == [b"echo  ", b"printf"]
    assert len({colour for colour, _ in marks}) == 2
    assert re.search(rb"\[\d+ s\] (3 waiting|.*running: .*echo)", output)
    lines = screen(output).splitlines()
    assert sorted(lines[:2]) == ["echo   | a", "printf | b"]
    assert lines[2].split() == ["job", "code", "time", "memory", "command"]
    assert [line.split()[0] for line in lines[3:]] == ["done", "done", "failed"]


def test_the_status_line_tells_what_runs_and_stays_below_what_is_printed() -> None:
    # While dash forks, it may take a Ctrl-C for itself that its child does not get.
    with amper_console("run", "-j1", "-c", "echo one", "-c", "exec sleep 100") as person:
        shown = screen(person.until(b"1 done, 1 running: sleep"))
        assert re.fullmatch(r"echo  \| one\n\[\d+ s\] 1 done, 1 running: sleep", shown)
        person.type(CTRL_C)
        assert person.code() == -signal.SIGINT


@pytest.mark.parametrize("variable, value", [("NO_COLOR", "1"), ("TERM", "dumb"), ("TERM", "")])
def test_without_colours_nothing_is_coloured(variable: str, value: str) -> None:
    variables = {variable: value}
    with amper_console("run", "-c", "echo a", "-c", "exit 3", variables=variables) as person:
        output = person.rest()
    assert not re.search(rb"\x1b\[[0-9;]*m", output)
    # A dumb terminal has no line that could be cleared, either.
    assert (b"\x1b" in output) == (variable == "NO_COLOR")
    assert "echo | a\n" in screen(output)


@pytest.mark.parametrize("columns", [1, 7, 30])
def test_a_narrow_terminal_cuts_the_status_line_and_nothing_that_was_printed(columns: int) -> None:
    with amper_console("run", "-c", "echo something long", "-c", "true", columns=columns) as person:
        output = person.rest()
        assert person.code() == 0
    assert b"echo | \x1b[0msomething long\r\n" in output
    drawn = [line.partition(b"\r")[0] for line in output.split(CLEAR) if line.startswith(b"[")]
    assert all(len(line) < max(columns, 2) for line in drawn)


def test_nothing_is_drawn_for_a_program_that_shares_the_screen() -> None:
    with console(
        "sh", "-c", f"{shlex.join(AMPER)} run -c 'echo a' -c 'echo b >&2' | cat"
    ) as person:
        output = person.rest()
    assert CLEAR not in output
    # Each stream is coloured, or not, for itself.
    assert b"echo#1 | a\r\n" in output
    assert re.search(rb"\x1b\[\d+mecho#2 \| \x1b\[0mb\r\n", output)


def test_output_that_goes_to_a_file_leaves_the_status_line_on_the_screen(tmp_path: Path) -> None:
    with (
        open(tmp_path / "out", "wb") as file,
        amper_console("run", "-c", "echo a", "-c", "exit 3", stdout=file.fileno()) as person,
    ):
        output = person.rest()
    assert CLEAR + b"[" in output
    assert (tmp_path / "out").read_bytes() == b"echo | a\n"


def test_ctrl_c_ends_a_flood_and_leaves_out_what_is_still_to_be_printed() -> None:
    flood = ["-c", "exec yes"]
    with amper_console("run", *flood, *flood, "--grace-period", "1000") as person:
        person.until(b"yes#2 | ")
        person.type(CTRL_C)
        output = person.rest()
        assert person.code() == -signal.SIGINT
    assert [line.split()[:3] for line in screen(output).splitlines()[-2:]] == [
        ["killed", "yes#1", "130"],
        ["killed", "yes#2", "130"],
    ]
    assert b"were not printed" in output


@pytest.mark.parametrize("options", [[], ["--json"], ["-j1"]])
def test_a_terminal_that_goes_away_ends_all_and_the_code_tells_so(options: list[str]) -> None:
    # What is told of the command itself does not hold what it prints.
    sleeper = "echo p''id $$; exec sleep 100"
    with amper_console("run", *options, "-c", sleeper, "-c", sleeper) as person:
        person.until(b"pid ")
        pid = int(re.findall(rb"\d+", person.until(b"\r\n"))[0])
        with watching(pid) as job:
            person.hang_up()
            assert person.code() == 128 + signal.SIGHUP
            assert job.is_dead
