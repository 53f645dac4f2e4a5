"""What the documentation shows is what happens."""

from __future__ import annotations

import ast
import asyncio
import doctest
import importlib
import os
import pkgutil
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

import amper
from tests.docs.pages import Block, chosen
from tests.handshakes import SCRIPT_DEADLINE
from tests.support import run

PIECES: Final = [block for block in chosen("python") if block.is_piece]
PROGRAMS: Final = [block for block in chosen("python") if not block.is_piece and not block.name]
FILES: Final = [block for block in chosen("python") if block.name]
SESSIONS: Final = chosen("console")


@pytest.fixture(autouse=True)
def own_temporary_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let output files go where pytest cleans up."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))


@pytest.mark.parametrize("block", PROGRAMS, ids=str)
def test_a_program_prints_what_is_shown(block: Block, tmp_path: Path) -> None:
    (tmp_path / "program.py").write_text(block.text)
    printed = shell("python -X dev -W error program.py", tmp_path)
    assert_matches(block.output, printed)


@pytest.mark.parametrize("block", PIECES, ids=str)
def test_a_piece_prints_what_is_shown(block: Block, capsys: pytest.CaptureFixture[str]) -> None:
    run(run_piece(block.text))
    assert_matches(block.output, capsys.readouterr().out)


@pytest.mark.parametrize("block", SESSIONS, ids=str)
def test_a_session_goes_as_shown(block: Block, tmp_path: Path) -> None:
    for file in FILES:
        if file.page == block.page:
            (tmp_path / file.name).write_text(file.text)
    for command, output in block.commands:
        assert_matches(output, shell(command, tmp_path))


@pytest.mark.parametrize("file", FILES, ids=str)
def test_a_file_is_used_in_a_session(file: Block) -> None:
    used = [block for block in chosen("console", "python") if block is not file]
    assert any(file.name in block.text for block in used if block.page == file.page)


def test_examples_in_docstrings_are_true() -> None:
    for module in pkgutil.walk_packages(amper.__path__, "amper."):
        assert doctest.testmod(importlib.import_module(module.name)).failed == 0


async def run_piece(text: str) -> None:
    code = compile(text, "piece", "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    names = {name: getattr(amper, name) for name in amper.__all__}
    async with amper.JobManager() as jobs:
        await eval(code, names | {"asyncio": asyncio, "jobs": jobs})


def shell(command: str, directory: Path) -> str:
    """Run a command with this very Python and its `amper`; return all that it prints."""
    binaries = Path(sys.executable).parent
    done = subprocess.run(
        ["/bin/sh", "-c", command],
        cwd=directory,
        env=os.environ | {"PATH": f"{binaries}:{os.environ['PATH']}"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=SCRIPT_DEADLINE,
        check=False,
    )
    return "".join(f"{line.rstrip()}\n" for line in done.stdout.splitlines())


def assert_matches(expected: str, printed: str) -> None:
    checker, example = doctest.OutputChecker(), doctest.Example("", expected)
    matches = checker.check_output(expected, printed, doctest.ELLIPSIS)
    assert matches, checker.output_difference(example, printed, doctest.ELLIPSIS)
