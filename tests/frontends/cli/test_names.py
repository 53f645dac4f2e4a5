"""What the jobs of a run are called."""

from __future__ import annotations

import pytest

from amper.frontends.cli.names import LONGEST_NAME, Command, distinct_names, printable


@pytest.mark.parametrize(
    "command, name",
    [
        ("make -j8", "make"),
        ("/usr/bin/make", "make"),
        ("CC=clang LANG=C make", "make"),
        ("exec make", "make"),
        ("(cd docs; make)", "cd"),
        ("'my program' x", "my"),
        (["/usr/bin/my program", "x"], "my program"),
        ("", "sh"),
        ("A=b", "sh"),
        ([""], "sh"),
        ("\x1b[31mred", "[31mred"),
        ("\x1b\x07", "sh"),
        ("a\udcffb", "a\ufffdb"),
        ("x" * 21, "x" * 19 + "…"),
    ],
)
def test_a_job_has_the_name_of_its_program(command: Command, name: str) -> None:
    assert distinct_names([command]) == [name]
    assert len(name) <= LONGEST_NAME


def test_jobs_of_one_program_are_numbered_and_no_two_have_the_same_name() -> None:
    assert distinct_names(["a", "b", "a", ["a#1"], "a"]) == ["a#2", "b", "a#3", "a#1", "a#4"]
    assert len(set(distinct_names(["x" * 50] * 3 + [f"{'x' * 50}y"]))) == 4
    assert len(set(distinct_names(["a"] * 5000))) == 5000


def test_what_is_printed_stays_on_its_line_and_moves_no_cursor() -> None:
    assert printable("a\nb\tc\r\x1b[2Jd\x7f\x9b") == "a b c  [2Jd  "
    assert printable("ä \udcff…") == "ä \ufffd…"
