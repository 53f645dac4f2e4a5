"""Whoever tells `amper run` to end, ends its jobs with it; and it has a word to say about nothing."""

from __future__ import annotations

import signal
from typing import Final

import pytest

from tests.end_to_end.command import DEADLINE, PATIENT, python, started, words
from tests.handshakes import watching
from tests.unruly import unruly

SLEEPER: Final = ["sh", "-c", "echo ready; exec sleep 100"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT])
def test_a_signal_is_passed_on_and_the_exit_code_tells_which(number: signal.Signals) -> None:
    with started("run", "--", *SLEEPER) as process:
        words(process)
        process.send_signal(number)
        # The input was never closed, and the output ends only when the job is dead.
        assert process.stdout is not None
        assert process.stdout.read() == b""
        assert process.wait() == 128 + number


def test_a_command_that_makes_something_else_of_the_signal_decides_the_exit_code() -> None:
    with started("run", "--", *unruly("handle_term_and_exit", 7)) as process:
        words(process)
        process.terminate()
        assert process.wait() == 7


def test_a_command_has_the_grace_period_for_what_it_makes_of_ctrl_c() -> None:
    with started("run", "--grace-period", "1000", "--", *PATIENT) as process:
        words(process)
        process.send_signal(signal.SIGINT)
        words(process, "told")
        out, _ = process.communicate(b"bye\n", DEADLINE)
        assert (out, process.returncode) == (b"bye\n", 5)


def test_what_ignores_the_signal_is_killed_after_the_grace_period() -> None:
    with started("run", "--grace-period", "0.1", "--", *unruly("ignore_term")) as process:
        (pid,) = words(process)
        with watching(pid) as job:
            process.terminate()
            assert process.wait() == 137
            assert job.is_dead


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_second_signal_does_not_wait_for_the_grace_period(number: signal.Signals) -> None:
    with started("run", "--grace-period", "1000", "--", *PATIENT) as process:
        words(process)
        process.send_signal(number)
        words(process, "told")
        process.send_signal(number)
        assert process.wait() == 137


def test_a_second_signal_hurries_the_end_of_what_a_command_has_left_running() -> None:
    script = (
        "(trap '' INT TERM HUP; echo ready; exec sleep 100 >/dev/null 2>&1) & read line; exit 0"
    )
    with started("run", "--grace-period", "1000", "--", "sh", "-c", script) as process:
        words(process)
        assert process.stdin is not None
        process.stdin.close()
        process.terminate()
        process.send_signal(signal.SIGHUP)
        process.wait()
        assert process.returncode in (0, 129, 143)


def test_nohup_means_that_a_hangup_is_no_reason_to_end() -> None:
    command = unruly("handle_term_and_exit", 7)
    with started("run", "--", *command, before=["nohup"]) as process:
        words(process)
        process.send_signal(signal.SIGHUP)
        process.terminate()
        assert process.wait() == 7


# Ctrl-C at the worst moments.

AT_IMPORT: Final = """
class Finder:
    def find_spec(name, path=None, target=None):
        if name == "{}":
            signal.raise_signal(signal.SIGINT)
sys.meta_path.insert(0, Finder)
"""

BEFORE: Final = """
import {0}
before = {0}.{1}
def interrupted(*arguments, **options):
    signal.raise_signal(signal.SIGINT)
    return before(*arguments, **options)
{0}.{1} = interrupted
"""

AFTER: Final = """
import {0}
before = {0}.{1}
def interrupted(*arguments, **options):
    # Once: who presses it again does not want to wait.
    {0}.{1} = before
    result = before(*arguments, **options)
    signal.raise_signal(signal.SIGINT)
    return result
{0}.{1} = interrupted
"""


def interrupted(moment: str, *arguments: str) -> tuple[int, bytes, bytes]:
    """Run `amper` and press Ctrl-C at a moment; return the exit code and what was printed."""
    script = f"import signal, sys\n{moment}\nfrom amper.frontends.cli import main; sys.exit(main())"
    done = python(script, *arguments)
    return done.returncode, done.stdout, done.stderr


@pytest.mark.parametrize(
    "moment",
    [
        AT_IMPORT.format("amper.frontends.cli.parser"),
        AT_IMPORT.format("amper.frontends.cli.run_one"),
        AT_IMPORT.format("asyncio.runners"),
        BEFORE.format("asyncio", "Runner.__enter__"),
    ],
)
def test_ctrl_c_before_anything_runs_is_the_end_without_a_word(moment: str) -> None:
    assert interrupted(moment, "run", "--", "echo", "x") == (-signal.SIGINT, b"", b"")


def test_ctrl_c_in_the_moment_of_the_start_ends_what_was_started() -> None:
    moment = AFTER.format("amper.supervisor.keepers", "Keepers.hand")
    assert interrupted(moment, "run", "--", "sleep", "1000") == (130, b"", b"")


@pytest.mark.parametrize("options", [["-j1"], []])
def test_ctrl_c_while_many_are_started_ends_those_and_starts_no_more(options: list[str]) -> None:
    moment = AFTER.format("amper.supervisor.keepers", "Keepers.hand")
    # A shell that is interrupted just before it executes its command loses that signal, and ends by
    # the SIGTERM that comes after the grace period.
    code, _, table = interrupted(moment, "run", *options, *["-c", "exec sleep 100"] * 30)
    assert code in (130, 143)
    assert table.count(b"\nkilled ") + table.count(b"\nnot run ") == 30
    assert table.count(b"\nnot run ") > 20


def test_ctrl_c_when_all_is_over_changes_nothing() -> None:
    moment = BEFORE.format("amper.frontends.cli.table", "table_of")
    code, out, table = interrupted(moment, "run", "-c", "echo x")
    assert (code, out) == (0, b"echo | x\n")
    assert table.count(b"done") == 1
    moment = AFTER.format("asyncio", "Runner.close")
    assert interrupted(moment, "run", "--", "echo", "x") == (-signal.SIGINT, b"x\n", b"")
