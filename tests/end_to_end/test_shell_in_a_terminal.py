from __future__ import annotations

import os
import re
import shlex
import signal
import subprocess
import sys
import termios
from pathlib import Path

import pytest

from tests.end_to_end.command import AMPER, DEADLINE
from tests.end_to_end.console import CTRL_BACKSLASH, CTRL_C, CTRL_D, amper_console, console
from tests.end_to_end.prompts import READY, RUNS, OurPrompt, TheirPrompt, prompt
from tests.handshakes import watching

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


def test_commands_run_and_what_they_leave_stays() -> None:
    with prompt() as shell:
        assert shell.says("echo hello | tr a-z A-Z") == "HELLO\n"
        assert shell.says("cd / && X='a  b'; false") == ""
        assert shell.says('echo $? "$X" $PWD') == "1 a  b /\n"
        assert "unexpected" in shell.says("if ; then")
        assert shell.says("echo $?") == "2\n"
        shell.begin("exit 7")
        assert shell.person.code() == 7


def test_on_a_terminal_that_does_not_control_it_there_is_no_prompt() -> None:
    master, slave = os.openpty()
    try:
        done = subprocess.run(
            [*AMPER, "shell"],
            stdin=slave,
            stdout=slave,
            stderr=subprocess.PIPE,
            start_new_session=True,
            timeout=DEADLINE,
            check=False,
        )
    finally:
        os.close(master)
        os.close(slave)
    assert (done.returncode, done.stderr.count(b"\n")) == (1, 1)
    assert done.stderr.startswith(b"amper: this terminal does not control our session")


def test_a_command_may_take_several_lines() -> None:
    with prompt() as shell:
        assert shell.says("if true\rthen cat <<E\r$HOME\rE\rfi") == f"{os.environ['HOME']}\n"
        assert shell.says("echo 'a\rb' \\\rc") == "a\nb c\n"


def test_the_pid_that_was_told_is_the_last_one_in_the_background() -> None:
    with prompt() as shell:
        said = shell.says("sleep 100 & echo $!; kill -9 $!; wait $!; echo $?; jobs >/dev/null")
        _, told, pid, code = said.split()[:4]
        assert (told, code) == (pid, "137")
        assert shell.says(f"wait {pid}; [ $! = {pid} ]; echo $?") == "0\n"


def test_a_directory_that_is_gone_can_be_left(tmp_path: Path) -> None:
    with prompt() as shell:
        shell.says(f"cd {tmp_path}; mkdir gone; cd gone; rmdir ../gone")
        assert "gone" in shell.says("pwd")
        assert "if" in shell.says("help")
        assert shell.says("cd /; pwd") == "/\n"
        shell.says(f"cd {tmp_path}; mkdir gone; cd gone; rmdir ../gone")
        shell.begin("exit 3")
        assert shell.person.code() == 3


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


@pytest.mark.seeds(2)
def test_a_screen_program_gets_its_modes_back_and_we_get_ours(seed: int) -> None:
    program = shlex.join([sys.executable, "-c", RAW])
    # All modes and control characters, as numbers.
    modes = "stty -g"
    with prompt() as shell:
        before = shell.says(modes)
        shell.begin(program)
        shell.person.until(b"raw\r\n")
        for _ in range(3):
            shell.person.type(b"z")
            assert "Stopped" in shell.end()
            assert shell.says(modes) == before
            assert "Stopped" in shell.says("jobs")
            shell.begin("fg")
            shell.person.until(b"raw\r\n")
        shell.person.type(b"q")
        shell.end()
        assert shell.says(f"{modes}; jobs") == before


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
        said = shell.says("cat & wait %1")
        assert said.endswith("\n[1]+  Stopped                 cat\n")
        shell.begin("fg")
        shell.person.until(b"cat\r\n")
        shell.person.type(b"typed\n")
        shell.person.until(b"typed\r\ntyped\r\n")
        shell.person.type(CTRL_D)
        shell.end()
        assert shell.says("jobs; echo $?") == "0\n"


def test_no_program_finds_the_terminal_non_blocking_because_another_left_it_so() -> None:
    leaving = "import os, sys; os.set_blocking(0, False); os.kill(os.getpid(), int(sys.argv[1]))"
    asking = "import os; print(*map(os.get_blocking, range(3)))"
    with prompt() as shell:
        for number in (0, signal.SIGSTOP):
            shell.says(shlex.join([sys.executable, "-c", leaving, f"{number:d}"]))
            assert shell.says(shlex.join([sys.executable, "-c", asking])) == "True True True\n"
        shell.begin("kill -9 %+; exit; exit")


def test_what_is_typed_behind_a_command_is_for_that_command() -> None:
    with prompt() as shell:
        # All at once, as a slow connection or a program brings it.
        shell.person.type(b"read X\rfirst\n")
        shell.end()
        assert shell.says("echo $X") == "first\n"


def test_what_a_builtin_or_an_assignment_runs_may_ask_the_person() -> None:
    asking = "$(printf 'where? ' >&2; head -n 1 </dev/tty)"
    with prompt() as shell:
        for line, question in ((f"cd {asking}", "pwd"), (f"X={asking}", "echo $X")):
            shell.begin(line)
            shell.person.until(b"where? ")
            shell.person.type(b"/usr\n")
            shell.end()
            assert shell.says(question) == "/usr\n"
        shell.begin("X=$(echo ready >&2; head -n 1)")
        shell.person.until(b"ready")
        shell.person.type(CTRL_C)
        shell.end()
        assert shell.says("echo $? $X") == "130 /usr\n"


@pytest.mark.parametrize("modes", ["tostop", "-tostop"])
def test_what_a_background_job_wrote_comes_with_fg(modes: str) -> None:
    with prompt() as shell:
        # What is behind must not write then, and while the job is in front that is us.
        shell.says(f"stty {modes}")
        said = shell.says("{ echo first; read line; echo got $line; } & wait %+")
        assert "Stopped" in said
        assert "first\n" not in said
        assert shell.says("output %+") == "first\n"
        shell.begin("fg")
        shell.person.until(b"first\r\n")
        shell.person.type(b"it\n")
        shell.person.until(b"got it\r\n")
        shell.end()


def test_a_ctrl_z_that_comes_too_late_is_no_part_of_the_next_line() -> None:
    with prompt() as shell:
        assert shell.says("\x1aecho one\x1a") == "one\n"


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


@pytest.mark.parametrize("key", [CTRL_C, CTRL_BACKSLASH])
def test_keys_while_the_jobs_are_ended_end_them_at_once(key: bytes) -> None:
    stubborn = "trap 'echo told >/dev/tty' TERM; echo ready; while :; do sleep 100; done"
    with prompt() as shell:
        shell.begin(f'sh -c "{stubborn}" &')
        pid = shell.person.number_after(b"[1]")
        shell.end()
        while "ready" not in shell.says("output %1"):
            pass
        with watching(pid) as job:
            shell.begin("exit")
            shell.end()
            shell.begin("exit 3")
            shell.person.until(b"told\r\n")
            shell.person.type(key)
            assert b"Traceback" not in shell.person.rest()
            assert shell.person.code() == 3
            assert job.is_dead


@pytest.mark.parametrize("behind", ["", " & wait"])
def test_leaving_asks_once_more_also_for_what_a_command_has_left_behind(behind: str) -> None:
    with prompt() as shell:
        command = "sh -c 'sleep 100 >/dev/null 2>&1 & echo pid $!'"
        shell.begin(command + behind + ("; output" if behind else ""))
        pid = shell.person.number_after(b"pid")
        shell.end()
        with watching(pid) as job:
            said = shell.says("exit")
            assert f"something of `{command}` still runs; leaving once more ends it\n" in said
            assert not job.is_dead
            shell.begin("exit")
            assert shell.person.code() == 0
            assert job.is_dead


def test_leaving_after_commands_that_left_nothing_asks_nothing() -> None:
    with prompt() as shell:
        shell.begin("yes | head -n 1; sh -c 'kill -KILL $$' | true; exit 3")
        assert shell.person.code() == 3


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
        shell = OurPrompt(person)
        assert shell.says("echo hello") == "hello\n"
        shell.begin("exit 3")
        person.until(b"back 3\r\n")
        person.type(b"mine\n")
        person.until(b"got mine\r\n")


@pytest.mark.parametrize("ending", [CTRL_C, CTRL_D + CTRL_C])
def test_more_than_the_screen_holds_is_shown_in_part_and_asks_nothing(
    ending: bytes, tmp_path: Path
) -> None:
    for number in range(2000):
        (tmp_path / f"{number} file").touch()
    with prompt() as shell:
        shell.says(f"cd {tmp_path}; touch 'a\rb'")
        shell.person.type(b": \t")
        shell.person.until(b"...")
        shell.end()
        shell.person.type(ending)
        shell.end()
        assert shell.says("echo one") == "one\n"
        shell.person.type(b": \t")
        shell.person.until(b"...")
        os.kill(shell.person.process.pid, signal.SIGTERM)
        assert shell.person.code() == 128 + signal.SIGTERM


def test_commands_get_the_descriptors_that_we_were_given(tmp_path: Path) -> None:
    (tmp_path / "given").write_text("once\n")
    script = f"exec 3<{tmp_path}/given; exec {shlex.join(AMPER)} shell"
    with console(
        "sh", "-c", script, variables={"AMPER_HISTFILE": "", "AMPER_PS1": "PS>"}
    ) as person:
        shell = OurPrompt(person)
        assert shell.says("cat <&3") == "once\n"
        assert "\n0\n" in shell.says("[ -e /dev/fd/3 ] & wait $!; echo $?")


def test_the_history_comes_back(tmp_path: Path) -> None:
    with prompt(AMPER_HISTFILE=str(tmp_path / "history")) as shell:
        shell.says("echo remembered")
        shell.begin("exit")
        shell.person.code()
    with prompt(AMPER_HISTFILE=str(tmp_path / "history")) as shell:
        assert shell.says("\x1b[A\x1b[A") == "remembered\n"


def test_a_history_that_has_no_end_is_refused() -> None:
    with amper_console("shell", variables={"AMPER_HISTFILE": "/dev/full"}) as person:
        person.until(b"amper: no history is kept: /dev/full: this is no regular file\r\n")
        assert OurPrompt(person).says("echo once") == "once\n"


def test_a_line_without_an_end_stays_where_a_terminal_does_not_know_its_width() -> None:
    variables = {"AMPER_HISTFILE": "", "AMPER_PS1": "PS>"}
    with amper_console("shell", columns=0, variables=variables) as person:
        person.until(READY)
        person.type(b"printf kept\r")
        person.until(RUNS)
        # What comes behind it fills the line, so that the prompt does not begin on it.
        assert person.until(READY).startswith(b"kept\x1b[7m%\x1b[0m" + b" " * 79 + b"\r")


def test_no_colour_is_used_if_the_person_wants_none() -> None:
    for wish, is_coloured in (("", True), ("1", False)):
        with amper_console("shell", variables={"AMPER_HISTFILE": "", "NO_COLOR": wish}) as person:
            person.until(READY)
            seen = person.until(b"$")
            assert (re.search(rb"\x1b\[0;3[0-9]", seen) is not None) == is_coloured


def test_a_terminal_that_knows_no_escape_sequences_gets_none() -> None:
    variables = {"TERM": "dumb", "AMPER_PS1": "PS>"}
    with amper_console("shell", variables=variables) as person:
        shell = TheirPrompt(person)
        said = shell.says("echo one; cd /; (exit 3)")
        assert said == "one\n"
        assert shell.says("echo $? $PWD") == "3 /\n"
        person.type(b"if true\n")
        person.until(b"> ")
        person.type(b"then echo yes\n")
        person.until(b"> ")
        assert shell.says("fi") == "yes\n"
        person.type(b"cat <<E\n")
        person.until(b"> ")
        person.type(CTRL_D)
        assert shell.end() == "\n"
        assert shell.says("sh -c 'kill -STOP $$; echo on'").startswith("[")
        assert shell.says("fg").endswith("\non\n")
        shell.begin("sh -c 'echo ready; exec sleep 100'; echo never")
        person.until(b"ready\r\n")
        person.type(CTRL_C)
        assert "never" not in shell.end()
        person.type(b"half")
        person.until(b"half")
        person.type(CTRL_C)
        assert shell.end() == "^C\n"
        assert shell.says("echo $?") == "130\n"
        person.type(CTRL_D)
        assert person.rest() == b"\r\n"
        assert person.code() == 0


def test_a_terminal_without_escape_sequences_that_goes_away_ends_us() -> None:
    with amper_console("shell", variables={"TERM": "dumb", "AMPER_PS1": "PS>"}) as person:
        shell = TheirPrompt(person)
        shell.begin("sleep 100 &")
        pid = int(person.until(b"\r\n").split()[1])
        shell.end()
        with watching(pid) as job:
            person.hang_up()
            assert person.code() == 128 + signal.SIGHUP
            assert job.is_dead


@pytest.mark.parametrize("term", ["dumb", ""])
def test_no_escape_sequence_begins_a_session_on_a_dumb_terminal(term: str) -> None:
    with amper_console("shell", variables={"TERM": term}) as person:
        seen = person.until(b"$ ")
        person.type(b"false\n")
        seen += person.until(b"[1] $ ")
        person.type(b"exit\n")
        assert b"\x1b" not in seen + person.rest()
