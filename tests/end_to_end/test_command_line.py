"""`amper` itself: help, version, mistakes, and a machine on which not all is well."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.metadata import version

import pytest

from tests.end_to_end.command import DEADLINE, amper, python, shell


def test_the_installed_command_and_the_module_are_one() -> None:
    script = os.path.join(os.path.dirname(sys.executable), "amper")
    done = subprocess.run([script, "--version"], capture_output=True, timeout=DEADLINE, check=True)
    assert done.stdout == amper("--version").stdout == f"amper {version('amper')}\n".encode()


def test_help_tells_the_verbs_and_each_verb_tells_what_it_does() -> None:
    done = amper("--help")
    assert (done.returncode, done.stderr) == (0, b"")
    for word in (b"run", b"completion", b"124", b"128+n"):
        assert word in done.stdout
    done = amper("run", "--help")
    for word in (b"amper run -- make", b"--fail-fast", b"--json", b"summary", b"Ctrl-C", b"setsid"):
        assert word in done.stdout


@pytest.mark.parametrize(
    "arguments, answer",
    [
        ([], "VERB"),
        (["dance"], "dance"),
        (["run"], "nothing to run"),
        (["run", "--dance", "--", "true"], "--dance"),
    ],
)
def test_a_mistake_is_explained_on_standard_error(arguments: list[str], answer: str) -> None:
    done = amper(*arguments)
    assert (done.returncode, done.stdout) == (2, b"")
    assert answer in done.stderr.decode()
    assert b"Traceback" not in done.stderr


@pytest.mark.parametrize(
    "verb, arguments",
    [
        ("amper", ["--bogus"]),
        ("amper", ["--bogus", "run"]),
        ("amper run", ["--bogus"]),
        ("amper run", ["--bogus", "--", "true"]),
        ("amper run", ["--jobs", "none"]),
        ("amper shell", ["-x"]),
        ("amper completion", ["--bogus", "bash"]),
    ],
)
def test_an_unknown_option_leads_to_the_help_of_its_verb(verb: str, arguments: list[str]) -> None:
    done = amper(*verb.split()[1:], *arguments)
    assert (done.returncode, done.stdout) == (2, b"")
    usage, *_, mistake = done.stderr.decode().splitlines()
    assert usage.startswith(f"usage: {verb} [")
    assert mistake.startswith(f"{verb}: ")
    assert mistake.endswith(f": try {verb} --help")


@pytest.mark.parametrize("asked", ["--version", "--help", "run --help", "shell --help"])
@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_help_that_cannot_be_printed_is_an_error(asked: str, unbuffered: str) -> None:
    done = shell(f"PYTHONUNBUFFERED={unbuffered} amper {asked} >/dev/full")
    assert (done.returncode, done.stderr) == (1, b"amper: No space left on device\n")


def test_help_that_nobody_reads_is_no_error() -> None:
    done = shell("amper run --help | true; echo ${PIPESTATUS[0]}")
    # Whether it was written before or after the reader went away.
    assert done.stdout in (b"0\n", b"141\n")
    assert done.stderr == b""


def test_where_there_are_no_descriptors_there_is_a_message() -> None:
    done = shell("ulimit -n 10; amper run -- echo x; ulimit -n 6; amper run -- echo x")
    first, second = done.stderr.decode().splitlines()
    assert first.startswith("amper: cannot start: Too many open files (raise the limit")
    assert second == "amper: Too many open files"


@pytest.mark.parametrize(
    "library, arguments",
    [("shtab", ["completion", "bash"]), ("rich", ["run", "-c", "echo it runs"])],
)
def test_a_library_that_is_missing_is_named_before_anything_runs(
    library: str, arguments: list[str]
) -> None:
    done = without(library, *arguments)
    assert (done.returncode, done.stdout) == (2, b"")
    assert done.stderr.decode() == (
        f"amper: amper {' '.join(arguments[:2])} needs {library}, which is not installed: "
        "pip install 'amper[cli]', or '.[cli]' in a checkout\n"
    ).replace("completion bash", "completion")


def test_what_needs_no_library_works_without_any() -> None:
    for arguments in (["run", "--", "echo", "x"], ["run", "--json", "-c", "echo x"], ["--help"]):
        done = without("rich", *arguments, also="shtab")
        assert (done.returncode, done.stderr) == (0, b"")


def test_help_and_version_import_nothing_heavy() -> None:
    heavy = {"asyncio", "rich", "shtab", "subprocess", "amper.manager"}
    for arguments in (["--help"], ["--version"], ["run", "--help"]):
        script = (
            "import sys; from amper.frontends.cli import main; main(sys.argv[1:])\n"
            f"print(*{heavy} & sys.modules.keys(), file=sys.stderr)"
        )
        done = python(script, *arguments)
        assert (done.returncode, done.stderr.split()) == (0, [])


def without(library: str, *arguments: str, also: str = "") -> subprocess.CompletedProcess[bytes]:
    """Run `amper` where a library is not installed."""
    script = (
        f"import sys; sys.modules['{library}'] = sys.modules['{also or library}'] = None\n"
        "from amper.frontends.cli import main; sys.exit(main())"
    )
    return python(script, *arguments)
