"""Our terminal, in a real one: each test is a person in front of a host (`terminal_host.py`)."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import termios
from collections.abc import Iterator
from pathlib import Path

from amper.process.terminals.terminal import (
    Size,
    Terminal,
    controlling_terminal,
    modes_of,
    set_modes_of,
    set_size_of,
    size_of,
)
from tests.end_to_end.console import CTRL_C, Console, console
from tests.handshakes import run_script


@contextlib.contextmanager
def host(way: str, *arguments: object) -> Iterator[Console]:
    """Run a host in front of a new terminal; it must end with 0."""
    path = os.pathsep.join([os.getcwd(), *(path for path in sys.path if path)])
    words = ["-X", "dev", "-W", "error", "-m", "tests.process.terminals.terminal_host", way]
    with console(
        sys.executable, *words, *map(str, arguments), variables={"PYTHONPATH": path}
    ) as person:
        yield person
        seen = person.rest()
        assert person.code() == 0, seen.decode()


def test_a_program_is_in_front_from_its_start_and_we_are_after_its_end() -> None:
    with host("give_and_take"):
        pass


def test_the_first_thing_a_program_does_finds_the_terminal_given() -> None:
    with host("give_at_once"):
        pass


def test_a_program_in_front_reads_what_is_typed() -> None:
    with host("read_a_line") as person:
        person.until(b"line?\r\n")
        person.type(b"hello\n")
        person.until(b"got hello\r\n")


def test_ctrl_c_is_for_the_group_in_front_only() -> None:
    with host("interrupt") as person:
        person.until(b"ready")
        person.type(CTRL_C)


def test_each_has_its_own_modes_over_stop_and_continue() -> None:
    times = 20
    with host("stop_and_resume", times) as person:
        for key in [b"z"] * times + [b"q"]:
            person.until(b"raw")
            person.type(key)


def test_a_program_that_is_killed_leaves_the_terminal_as_it_was() -> None:
    with host("killed_while_raw"):
        pass


def test_what_a_program_sets_and_leaves_stays() -> None:
    with host("end_by_itself"):
        pass


def test_a_program_in_the_background_stops_when_it_reads_and_can_be_brought_to_the_front() -> None:
    with host("start_in_background_and_bring_to_front") as person:
        person.until(b"line?\r\n")
        person.type(b"hello\n")
        person.until(b"got hello\r\n")


def test_a_group_that_is_not_there_is_not_given_the_terminal() -> None:
    with host("give_to_nobody"):
        pass


def test_the_terminal_is_taken_from_what_a_dead_job_put_in_front() -> None:
    with host("take_from_what_a_job_left"):
        pass


def test_in_the_background_nothing_is_taken_from_the_shell_above() -> None:
    with host("be_in_the_background"):
        pass


def test_a_shell_above_that_takes_the_terminal_keeps_it_and_may_give_it_to_another() -> None:
    with host("lose_it"):
        pass


def test_a_terminal_that_hung_up_is_an_answer_and_no_error() -> None:
    with host("be_hung_up") as person:
        person.until(b"hang up")
        person.hang_up()
        assert person.code() == 0
        person.rest = lambda: b""  # type: ignore[method-assign]


def test_the_size_is_read_and_set() -> None:
    with host("resize"):
        pass


def test_only_the_terminal_that_controls_us_is_opened_clear_of_the_streams(tmp_path: Path) -> None:
    with host("open_by_descriptor", tmp_path / "done"):
        pass
    assert (tmp_path / "done").read_text() == "ok"


NO_TERMINAL = """
import os, signal
from amper.process.terminals.terminal import Terminal, controlling_terminal
signal.signal(signal.SIGHUP, signal.SIG_IGN)
assert Terminal.open() is None
assert controlling_terminal(os.getpid()) is None
"""


def test_without_a_terminal_there_is_none() -> None:
    run_script(NO_TERMINAL, through=("setsid", "--wait"))


@contextlib.contextmanager
def pty() -> Iterator[tuple[int, int]]:
    master, slave = os.openpty()
    try:
        yield master, slave
    finally:
        os.close(master)
        os.close(slave)


def test_modes_are_equal_only_if_every_character_is() -> None:
    with pty() as (_, slave):
        before = modes_of(slave)
        assert before is not None
        for index in range(termios.NCCS):
            if index in (termios.VMIN, termios.VTIME):
                continue
            changed = termios.tcgetattr(slave)
            changed[6][index] = b"x"
            termios.tcsetattr(slave, termios.TCSANOW, changed)
            # The kernel has fewer than the library, which drops the rest.
            if termios.tcgetattr(slave) == changed and index < 17:
                assert modes_of(slave) != before
            assert set_modes_of(slave, before)
            assert modes_of(slave) == before


def test_what_is_no_terminal_has_no_modes_and_no_size() -> None:
    read_end, write_end = os.pipe()
    try:
        assert modes_of(read_end) is None
        assert size_of(read_end) is None
        assert not set_size_of(read_end, Size(80, 24))
        with pty() as (_, slave):
            modes = modes_of(slave)
        assert modes is not None
        assert not set_modes_of(read_end, modes)
        assert Terminal.open(read_end) is None
    finally:
        os.close(read_end)
        os.close(write_end)
    assert controlling_terminal(2**22) is None
    assert signal.SIGTTOU not in signal.pthread_sigmask(signal.SIG_BLOCK, ())
