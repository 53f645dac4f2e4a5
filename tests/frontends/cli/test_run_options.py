"""What `amper run` accepts, and what it says of everything else."""

from __future__ import annotations

import pytest

from amper.frontends.cli import run
from amper.frontends.cli.parser import make_parser
from amper.frontends.cli.run import RunOptions, checked
from amper.frontends.cli.usage import UsageError


def parsed(*arguments: str) -> RunOptions:
    return checked(make_parser().parse_args(["run", *arguments]))


def test_without_options_everything_has_its_default() -> None:
    assert parsed("--", "make", "-j8") == RunOptions(
        command=["make", "-j8"],
        commands=[],
        jobs=None,
        fail_fast=False,
        timeout=None,
        grace_period=2.0,
        json=False,
    )


def test_every_option_is_taken() -> None:
    commands = ["-c", "a", "--command", "b"]
    options = ["-j", "3", "--fail-fast", "--timeout", "1.5", "--grace-period", "0", "--json"]
    assert parsed(*commands, *options) == RunOptions([], ["a", "b"], 3, True, 1.5, 0.0, True)


@pytest.mark.parametrize(
    "option, values, complaint",
    [
        ("--jobs", ["0", "-1", "1.5", "many", ""], "is not a number from 1 up"),
        ("--timeout", ["nan", "inf", "-1", "1e999", "soon", ""], "is not a number of seconds"),
        ("--grace-period", ["nan", "-0.1"], "is not a number of seconds"),
    ],
)
def test_a_value_that_is_of_no_use_is_named(
    option: str, values: list[str], complaint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    for value in values:
        with pytest.raises(SystemExit) as exit:
            parsed(f"{option}={value}", "-c", "true")
        assert exit.value.code == 2
        assert f"{value!r} {complaint}" in capsys.readouterr().err


@pytest.mark.parametrize("mistake", [["--time", "3"], ["--dance"], ["-c"], ["--json=yes"]])
def test_an_option_has_to_be_written_as_it_is_called(mistake: list[str]) -> None:
    with pytest.raises(SystemExit) as exit:
        parsed(*mistake, *(["true"] if len(mistake) > 1 else []))
    assert exit.value.code == 2


@pytest.mark.parametrize(
    "arguments, complaint",
    [
        ([], "nothing to run"),
        (["--"], "nothing to run"),
        (["--json"], "nothing to run"),
        (["-c", "true", "--", "true"], "not both"),
        (["-j2", "--", "true"], "for several commands"),
        (["--fail-fast", "true"], "for several commands"),
    ],
)
def test_what_makes_no_sense_together_is_explained(arguments: list[str], complaint: str) -> None:
    with pytest.raises(UsageError, match=complaint):
        parsed(*arguments)


@pytest.mark.parametrize(
    "arguments, home",
    [
        (["--", "true"], "run_one"),
        (["-c", "true"], "run_several"),
        (["--json", "--", "true"], "run_several"),
    ],
)
def test_one_command_is_run_alone_and_what_has_to_be_told_is_run_side_by_side(
    arguments: list[str], home: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[RunOptions] = []

    def run_it(options: RunOptions) -> int:
        asked.append(options)
        return 7

    monkeypatch.setattr(f"amper.frontends.cli.{home}.{home}", run_it)
    assert run.act(make_parser().parse_args(["run", *arguments])) == 7
    assert len(asked) == 1
