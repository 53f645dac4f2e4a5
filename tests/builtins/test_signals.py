"""Names of signals, beside those that bash and dash have."""

from __future__ import annotations

import re
import signal
from pathlib import Path

import pytest

from amper.builtins.signals import signal_name, signal_names, signal_number, signal_of_code
from tests.shells import shell_says


@pytest.mark.parametrize(
    "name, number",
    [
        ("TERM", 15),
        ("SIGTERM", 15),
        ("term", 15),
        ("sigTerm", 15),
        ("9", 9),
        ("0", 0),
        ("EXIT", 0),
        ("CLD", signal.SIGCHLD),
        ("POLL", signal.SIGIO),
        ("RTMIN", signal.SIGRTMIN),
        ("RTMAX", signal.SIGRTMAX),
        ("SIGRTMIN+3", signal.SIGRTMIN + 3),
        ("rtmax-2", signal.SIGRTMAX - 2),
    ],
)
def test_a_signal_has_many_names(name: str, number: int) -> None:
    assert signal_number(name) == number


@pytest.mark.parametrize(
    "name",
    ["", "SIG", "FOO", "99", "32", "-1", "1.5", "9" * 5000, "RTMIN+31", "RTMIN-1", "RTMAX+1", "²"],
)
def test_what_is_no_signal(name: str) -> None:
    assert signal_number(name) is None


def test_each_name_leads_back_to_its_number() -> None:
    for number in signal.valid_signals():
        assert signal_number(signal_name(number)) == number


@pytest.mark.parametrize("text, number", [("9", 9), ("137", 9), ("0", 0), ("192", 64)])
def test_a_code_means_a_signal(text: str, number: int) -> None:
    assert signal_of_code(text) == number


@pytest.mark.parametrize("text", ["128", "193", "255", "TERM", "", "9" * 5000, "160"])
def test_a_code_that_means_no_signal(text: str) -> None:
    assert signal_of_code(text) is None


def test_the_names_are_those_of_bash(tmp_path: Path) -> None:
    listed = re.findall(r"\d+\) SIG(\S+)", shell_says("bash", "kill -l", tmp_path))
    assert signal_names() == listed


def test_codes_mean_in_bash_what_they_mean_here(tmp_path: Path) -> None:
    # The two signals between 31 and SIGRTMIN belong to the C library.
    codes = [*range(1, 32), *range(34, 65), *range(129, 160), *range(162, 193)]
    script = f"for code in {' '.join(map(str, codes))}; do kill -l $code; done"
    numbers = [signal_of_code(str(code)) for code in codes]
    ours = [signal_name(number) for number in numbers if number is not None]
    assert shell_says("bash", script, tmp_path).split() == ours
