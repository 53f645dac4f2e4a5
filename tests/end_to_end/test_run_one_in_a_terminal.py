"""`amper run -- COMMAND` in front of a person."""

from __future__ import annotations

import os
import shlex
import signal
import sys
import termios
from pathlib import Path
from typing import Any, Final

from tests.end_to_end.command import AMPER, PATIENT
from tests.end_to_end.console import CTRL_BACKSLASH, CTRL_C, CTRL_D, CTRL_Z, amper_console, console
from tests.handshakes import watching

SLEEPER: Final = ["sh", "-c", "echo ready $$; exec sleep 100"]

RAW: Final = [
    sys.executable, "-c", "import signal, tty; tty.setcbreak(0); print('ready', flush=True); signal.pause()",
]  # fmt: skip
"""It changes the terminal, as an editor does, and has no time to set it back when it is killed."""


def is_cooked(modes: list[Any]) -> bool:
    return bool(modes[3] & termios.ECHO and modes[3] & termios.ICANON)


def test_a_program_reads_lines_and_the_end_of_the_file_from_the_terminal() -> None:
    with amper_console("run", "--", "cat") as person:
        person.type(b"hello\n")
        # Once by the terminal's echo, and once by the program.
        person.until(b"hello\r\nhello\r\n")
        person.type(CTRL_D)
        assert (person.rest(), person.code()) == (b"", 0)


def test_a_program_may_ask_and_be_answered() -> None:
    ask = "import sys; print(sys.stdin.isatty(), input('name? '))"
    with amper_console("run", "--", sys.executable, "-c", ask) as person:
        person.until(b"name? ")
        person.type(b"Ada\n")
        assert (person.rest(), person.code()) == (b"Ada\r\nTrue Ada\r\n", 0)


def test_a_pager_at_the_end_of_a_pipe_obeys_keys(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("".join(f"line {number}.\n" for number in range(100)))
    script = f"cat {tmp_path}/text | {shlex.join(AMPER)} run -- less; echo code $?"
    with console("sh", "-c", script) as person:
        person.until(b"line 22.")
        person.type(b" ")
        person.until(b"line 40.")
        person.type(b"q")
        person.until(b"code 0\r\n")
        assert is_cooked(person.modes)


def test_ctrl_c_ends_the_job_and_is_what_ended_us() -> None:
    with (
        amper_console("run", "--", *SLEEPER) as person,
        watching(person.number_after(b"ready")) as job,
    ):
        person.type(CTRL_C)
        # So that a shell ends its loop or script, too.
        assert person.code() == -signal.SIGINT
        assert job.is_dead
        assert person.rest() == b"^C"


def test_ctrl_c_ends_a_loop_of_the_shell() -> None:
    # dash loses a signal that comes while it forks, so it does not fork.
    command = f"{shlex.join(AMPER)} run -- sh -c 'echo turn '$turn'; exec sleep 100'"
    script = f"for turn in 1 2; do {command}; done"
    with console("bash", "-c", script) as person:
        person.until(b"turn 1")
        person.type(CTRL_C)
        assert b"turn" not in person.rest()


def test_a_second_ctrl_c_kills_what_ignores_it() -> None:
    with amper_console("run", "--grace-period", "1000", "--", *PATIENT) as person:
        person.until(b"ready")
        person.type(CTRL_C)
        person.until(b"told")
        person.type(CTRL_C)
        assert person.code() == 137


def test_no_key_ends_us_and_leaves_the_job() -> None:
    with (
        amper_console("run", "--", *SLEEPER) as person,
        watching(person.number_after(b"ready")) as job,
    ):
        person.type(CTRL_BACKSLASH)
        assert person.code() == 128 + signal.SIGQUIT
        assert job.is_dead


def test_a_terminal_that_goes_away_ends_the_job() -> None:
    with (
        amper_console("run", "--", *SLEEPER) as person,
        watching(person.number_after(b"ready")) as job,
    ):
        person.hang_up()
        assert person.code() == 128 + signal.SIGHUP
        assert job.is_dead


def test_the_terminal_is_set_back_for_a_program_that_is_killed() -> None:
    with amper_console("run", "--", *RAW) as person:
        person.until(b"ready")
        assert not is_cooked(person.modes)
        os.kill(person.process.pid, signal.SIGTERM)
        assert person.code() == 128 + signal.SIGTERM
        assert is_cooked(person.modes)


def test_a_program_that_ends_by_itself_leaves_the_terminal_as_it_likes() -> None:
    with amper_console("run", "--", "stty", "-echo") as person:
        assert person.code() == 0
        assert not is_cooked(person.modes)


def test_ctrl_z_stops_the_job_until_we_continue() -> None:
    command = f"{shlex.join(AMPER)} run -- {shlex.join(SLEEPER)}"
    with (
        console("bash", "-c", f"set -m; {command}; echo code $?; read line; fg") as person,
        watching(person.number_after(b"ready")) as job,
    ):
        person.type(CTRL_Z)
        # As of every program that Ctrl-Z stops: 128 + SIGTSTP.
        person.until(b"code 148\r\n")
        # Nobody but its parent is told when a process has really stopped.
        while not is_stopped(job.pid):
            os.sched_yield()
        person.type(b"\n")
        while is_stopped(job.pid):
            os.sched_yield()
        person.type(CTRL_C)
        assert person.code() == 128 + signal.SIGINT


def test_a_screen_program_goes_on_with_its_modes_and_draws_itself_anew() -> None:
    script = """
import os, signal, tty
signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGWINCH})
tty.setcbreak(0)
os.write(1, b"ready %d\\n" % os.getpid())
signal.sigwait({signal.SIGWINCH})
os.write(1, b"drawn\\n")
os.write(1, b"got %r\\n" % os.read(0, 9))
"""
    command = shlex.join([*AMPER, "run", "--", sys.executable, "-c", script])
    # dash leaves the terminal as it finds it.
    with console("dash", "-c", f"set -m; {command}; echo code $?; read line; fg") as person:
        pid = person.number_after(b"ready")
        person.type(CTRL_Z)
        person.until(b"code 148\r\n")
        assert is_stopped(pid)
        assert is_cooked(person.modes)
        person.type(b"\n")
        person.until(b"drawn\r\n")
        person.type(b"x")
        person.until(b"got b'x'\r\n")


def test_ctrl_z_where_no_shell_could_continue_us_stops_nothing_for_good() -> None:
    asking = "echo ready; read line; echo got $line"
    with amper_console("run", "--", "sh", "-c", asking) as person:
        person.until(b"ready\r\n")
        person.type(CTRL_Z)
        person.type(b"mine\n")
        person.until(b"got mine\r\n")
        assert person.code() == 0


def test_in_the_background_it_leaves_the_keys_to_the_shell() -> None:
    background = f"{shlex.join(AMPER)} run -- sh -c 'cat; echo the end' &"
    with console("bash", "-c", f"set -m; {background} wait; read line; echo got $line") as person:
        person.until(b"the end\r\n")
        person.type(b"mine\n")
        person.until(b"got mine\r\n")


def test_a_program_is_told_of_the_terminals_new_size() -> None:
    script = """
import os, signal
signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGWINCH})
print("ready", flush=True)
signal.sigwait({signal.SIGWINCH})
print("now", os.get_terminal_size().columns)
"""
    with amper_console("run", "--", sys.executable, "-c", script) as person:
        person.until(b"ready\r\n")
        person.resize(columns=123)
        person.until(b"now 123\r\n")


def is_stopped(pid: int) -> bool:
    with open(f"/proc/{pid}/stat") as file:
        return file.read().rpartition(")")[2].split()[0] == "T"
