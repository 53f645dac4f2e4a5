from __future__ import annotations

import contextlib
import os
import re
import shlex
import signal
import sys
import termios
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.end_to_end.command import AMPER
from tests.end_to_end.console import CTRL_C, CTRL_D, CTRL_Z, Console, amper_console, console
from tests.handshakes import watching
from tests.shells import SHELLS, shell_says

READY = b"\x1b[?2004h"
"""The line editor begins to read: it wants to be told what is pasted."""

RUNS = b"\x1b[?2004l"
"""The line editor has read a line."""

RAW = """
import os, signal, sys, termios, tty
before = termios.tcgetattr(0)
def show(*_):
    tty.setraw(0)
    os.write(1, b"raw\\r\\n")
signal.signal(signal.SIGCONT, show)
show()
while os.read(0, 1) != b"q":
    os.kill(0, signal.SIGTSTP)
termios.tcsetattr(0, termios.TCSANOW, before)
"""
"""A program of the whole screen: it stops itself when a key is pressed, and ends with q."""


class Prompt:
    """A person at the prompt of `amper shell`."""

    def __init__(self, person: Console) -> None:
        self.person = person
        self.person.until(READY)

    def begin(self, line: str) -> None:
        """Type a line and see it begin to run."""
        self.person.type(line.encode() + b"\r")
        self.person.until(RUNS)

    def end(self) -> str:
        """Return what was printed until the next prompt."""
        said = self.person.until(READY).removesuffix(READY)
        # What lets the prompt begin a line.
        said = re.sub(rb"\x1b\[7m%\x1b\[0m +\r\x1b\[K", b"", said)
        return said.decode().replace("\r\n", "\n")

    def says(self, line: str) -> str:
        self.begin(line)
        return self.end()


@contextlib.contextmanager
def prompt(*arguments: str, **variables: str) -> Iterator[Prompt]:
    variables = {"AMPER_HISTFILE": "", "AMPER_PS1": "PS>"} | variables
    with amper_console("shell", *arguments, variables=variables) as person:
        yield Prompt(person)


def test_commands_run_and_what_they_leave_stays() -> None:
    with prompt() as shell:
        assert shell.says("echo hello | tr a-z A-Z") == "HELLO\n"
        assert shell.says("cd / && X='a  b'; false") == ""
        assert shell.says('echo $? "$X" $PWD') == "1 a  b /\n"
        assert "unexpected" in shell.says("if ; then")
        assert shell.says("echo $?") == "2\n"
        shell.begin("exit 7")
        assert shell.person.code() == 7


def test_a_command_may_take_several_lines() -> None:
    with prompt() as shell:
        assert shell.says("if true\rthen cat <<E\r$HOME\rE\rfi") == f"{os.environ['HOME']}\n"
        assert shell.says("echo 'a\rb' \\\rc") == "a\nb c\n"


def test_it_goes_as_in_every_shell_with_ctrl_z(tmp_path: Path) -> None:
    script = """
sleep 100 | cat & wait_for=$!
kill -STOP %1; until_state $wait_for T
wait %1; echo "stopped $?"; jobs >/dev/null
bg >/dev/null; kill %1; wait %1; echo "killed $?"
"""
    with prompt() as shell:
        shell.begin("sh -c 'echo ready; exec sleep 100' | cat")
        shell.person.until(b"ready")
        shell.person.type(CTRL_Z)
        told = shell.end()
        assert "[1]+  Stopped                 sh -c 'echo ready; exec sleep 100' | cat\n" in told
        assert shell.says("echo $?") == "148\n"
        assert "[1]+  Stopped" in shell.says("jobs")
        assert shell.says("bg") == "[1]+ sh -c 'echo ready; exec sleep 100' | cat &\n"
        assert "[1]+  Running" in shell.says("jobs")
        assert shell.says("kill %1; wait %1; echo killed $?") == "killed 143\n"
        for other in SHELLS:
            assert "killed 143\n" in shell_says(other, script, tmp_path)


@pytest.mark.parametrize("other", SHELLS)
@pytest.mark.parametrize(
    "text",
    [
        "(exit 3) & wait %1; echo code $?",
        "sleep 100 & kill %1; wait %1; echo code $?",
        "sleep 100 & kill -9 %1; wait %1; echo code $?",
        "sleep 100 | cat & kill %1; wait %1; echo code $?",
        "sleep 100 | (trap '' TERM; cat) & kill -KILL %1; wait %1; echo code $?",
        "wait; echo code $?",
    ],
)
def test_the_codes_are_those_of_other_shells(text: str, other: str, tmp_path: Path) -> None:
    # They print lines about jobs here and there.
    with prompt() as shell:
        ours = shell.says(text)
    theirs = shell_says(other, text, tmp_path)
    found = re.findall(r"^code .*", theirs, re.MULTILINE)
    assert re.findall(r"^code .*", ours, re.MULTILINE) == found != []


def test_ctrl_c_reaches_the_job_in_front_and_no_other() -> None:
    with prompt() as shell:
        shell.begin("sh -c 'exec sleep 100' &")
        pid = int(shell.person.until(b"\r\n").split()[1])
        shell.end()
        with watching(pid) as background:
            shell.begin("sh -c 'echo ready; exec sleep 100'; echo never")
            shell.person.until(b"ready")
            shell.person.type(CTRL_C)
            assert "never" not in shell.end()
            assert shell.says("echo $?") == "130\n"
            assert not background.is_dead
        shell.begin("kill -9 %1; exit 3")


def test_a_screen_program_gets_its_modes_back_and_we_get_ours() -> None:
    program = shlex.join([sys.executable, "-c", RAW])
    with prompt() as shell:
        shell.begin("stty -a")
        before = shell.end()
        shell.begin(program)
        shell.person.until(b"raw\r\n")
        for _ in range(3):
            shell.person.type(b"z")
            assert "Stopped" in shell.end()
            assert shell.says("stty -a") == before
            shell.begin("fg")
            shell.person.until(b"raw\r\n")
        shell.person.type(b"q")
        shell.end()
        assert shell.says("stty -a; jobs") == before


def test_a_job_that_is_killed_in_front_leaves_a_sane_terminal() -> None:
    with prompt() as shell:
        before = shell.says("stty -a")
        shell.begin(f'sh -c \'echo pid $$; exec "$0" -c "$1"\' {sys.executable} {shlex.quote(RAW)}')
        pid = shell.person.number_after(b"pid")
        shell.person.until(b"raw\r\n")
        os.kill(pid, signal.SIGKILL)
        assert "Killed" in shell.end()
        assert shell.says("stty -a") == before


def test_a_background_job_that_reads_stops_with_a_notice_and_reads_in_front() -> None:
    with prompt() as shell:
        shell.begin("cat &")
        shell.end()
        said = ""
        while "Stopped" not in said:
            said = shell.says("true")
        assert said == "[1]+  Stopped                 cat\n"
        shell.begin("fg")
        shell.person.until(b"cat\r\n")
        shell.person.type(b"typed\n")
        shell.person.until(b"typed\r\ntyped\r\n")
        shell.person.type(CTRL_D)
        shell.end()
        assert shell.says("jobs; echo $?") == "0\n"


def test_what_a_background_job_wrote_comes_with_fg() -> None:
    with prompt() as shell:
        shell.begin("{ echo first; read line; echo got $line; } &")
        shell.end()
        said = ""
        while "Stopped" not in said:
            said = shell.says("true")
        assert "first\n" not in said
        assert shell.says("output %1") == "first\n"
        shell.begin("fg")
        shell.person.until(b"first\r\n")
        shell.person.type(b"it\n")
        shell.person.until(b"got it\r\n")
        shell.end()


def test_ctrl_c_ends_a_builtin_that_waits() -> None:
    with prompt() as shell:
        shell.begin("sleep 100 & wait")
        shell.person.until(b"[1] ")
        shell.person.until(b"\r\n")
        shell.person.type(CTRL_C)
        shell.end()
        assert shell.says("echo $?") == "130\n"
        assert "Running" in shell.says("jobs")


def test_leaving_with_jobs_asks_once_more_and_ends_them() -> None:
    with prompt() as shell:
        shell.begin("sleep 100 &")
        pid = int(shell.person.until(b"\r\n").split()[1])
        shell.end()
        with watching(pid) as job:
            shell.person.type(CTRL_D)
            assert "running jobs" in shell.end()
            assert shell.says("true") == ""
            shell.person.type(CTRL_D)
            assert "running jobs" in shell.end()
            shell.person.type(CTRL_D)
            assert shell.person.code() == 0
            assert job.is_dead


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
@pytest.mark.parametrize("front", ["", "sh -c 'echo ready; exec sleep 100'"])
def test_a_signal_ends_us_with_our_jobs(number: signal.Signals, front: str) -> None:
    with prompt() as shell:
        shell.begin("sleep 100 &")
        pid = int(shell.person.until(b"\r\n").split()[1])
        shell.end()
        if front:
            shell.begin(front)
            shell.person.until(b"ready")
        with watching(pid) as job:
            os.kill(shell.person.process.pid, number)
            assert shell.person.code() == 128 + number
            assert job.is_dead
        assert shell.person.modes[3] & termios.ICANON


def test_a_terminal_that_goes_away_ends_us_and_our_jobs() -> None:
    with prompt() as shell:
        shell.begin("sleep 100 &")
        pid = int(shell.person.until(b"\r\n").split()[1])
        shell.end()
        with watching(pid) as job:
            shell.person.hang_up()
            assert shell.person.code() == 128 + signal.SIGHUP
            assert job.is_dead


def test_under_another_shell_it_is_a_job_that_gives_the_terminal_back() -> None:
    command = f"{shlex.join(AMPER)} shell"
    variables = {"AMPER_HISTFILE": "", "AMPER_PS1": "PS>"}
    with console("bash", "-c", f"set -m; {command}; echo back $?; read line; echo got $line",
                 variables=variables) as person:  # fmt: skip
        shell = Prompt(person)
        assert shell.says("echo hello") == "hello\n"
        shell.begin("exit 3")
        person.until(b"back 3\r\n")
        person.type(b"mine\n")
        person.until(b"got mine\r\n")


def test_the_history_comes_back(tmp_path: Path) -> None:
    with prompt(AMPER_HISTFILE=str(tmp_path / "history")) as shell:
        shell.says("echo remembered")
        shell.begin("exit")
        shell.person.code()
    with prompt(AMPER_HISTFILE=str(tmp_path / "history")) as shell:
        assert shell.says("\x1b[A\x1b[A") == "remembered\n"


def test_no_colour_is_used_if_the_person_wants_none() -> None:
    for wish, is_coloured in (("", True), ("1", False)):
        with amper_console("shell", variables={"AMPER_HISTFILE": "", "NO_COLOR": wish}) as person:
            person.until(READY)
            seen = person.until(b"$")
            assert (re.search(rb"\x1b\[0;3[0-9]", seen) is not None) == is_coloured
