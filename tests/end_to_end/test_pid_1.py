"""`amper` as pid 1 of a namespace, as the program of a container is: no signal has a default action."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path

import pytest

from tests.end_to_end.command import AMPER, started, words
from tests.end_to_end.console import console
from tests.end_to_end.prompts import OurPrompt
from tests.faults.test_pid_1 import AS_PID_1, is_allowed
from tests.handshakes import watching
from tests.unruly import unruly

pytestmark = pytest.mark.skipif(
    not is_allowed(), reason="no pid namespace can be made here: it takes unshare(1), and root"
)


def pid_1_of(process: subprocess.Popen[bytes]) -> int:
    """Return the pid, as we know it, of what `unshare` has started."""
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    return int(children[0])


def test_the_code_of_a_command_is_that_of_the_container() -> None:
    with started("run", "--", "sh", "-c", "exit 5", before=AS_PID_1) as process:
        assert process.wait() == 5
    with started("run", "-c", "exit 0", "-c", "exit 3", before=AS_PID_1) as process:
        assert process.wait() == 3
    with started("shell", "-c", "sleep 100 & kill -9 %1; wait %1", before=AS_PID_1) as process:
        assert process.wait() == 137


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT])
def test_a_signal_that_tells_to_end_ends_it_and_its_command(number: signal.Signals) -> None:
    with started("run", "--", "sh", "-c", "echo ready; exec sleep 100", before=AS_PID_1) as process:
        words(process)
        os.kill(pid_1_of(process), number)
        assert process.wait() == 128 + number


def test_a_command_ends_in_its_own_way_when_the_container_is_stopped() -> None:
    with started("run", "--", *unruly("handle_term_and_exit", 7), before=AS_PID_1) as process:
        words(process)
        os.kill(pid_1_of(process), signal.SIGTERM)
        assert process.wait() == 7


def test_a_script_ends_when_the_container_is_stopped() -> None:
    script = "sh -c 'echo ready; exec sleep 100'; echo never"
    with started("shell", "-c", script, before=AS_PID_1) as process:
        words(process)
        os.kill(pid_1_of(process), signal.SIGTERM)
        assert process.wait() == 143


def test_a_prompt_has_jobs_as_anywhere() -> None:
    # Of a container's terminal pid 1 leads the session.
    command = (*AS_PID_1, "setsid", "--ctty", *AMPER, "shell")
    with console(*command, variables={"AMPER_HISTFILE": "", "AMPER_PS1": "PS>"}) as person:
        shell = OurPrompt(person)
        shell.begin("sh -c 'echo rea''dy; exec sleep 100' | cat")
        person.until(b"ready")
        assert "Stopped" in shell.stop()
        assert shell.says("bg") == "[1]+ sh -c 'echo rea''dy; exec sleep 100' | cat &\n"
        said = shell.says("kill %1; wait %1; echo code $?")
        assert "code 143\n" in said
        shell.begin("sleep 100 &")
        person.until(b"[")
        shell.end()
        with watching(pid_1_of(person.process)) as pid_1:
            pid_1.signal(signal.SIGTERM)
            assert person.code() == 143
