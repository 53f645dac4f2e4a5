"""Which file a trampoline's program is. What becomes of it is tested where it is used: gates and ptys."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from amper.process.spawn import CannotStart, Program
from amper.process.trampoline import find_executable


def script(path: Path, text: str = "#!/bin/sh\n", mode: int = 0o700) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)
    path.chmod(mode)


def test_it_is_the_first_on_path_that_can_be_executed(tmp_path: Path) -> None:
    folders = [tmp_path / name for name in "abcde"]
    script(folders[1] / "tool", mode=0o600)
    (folders[2] / "tool").mkdir(parents=True)
    script(folders[3] / "tool", "#! /no/such/interpreter\n")
    script(folders[4] / "tool")
    path = ":".join(map(str, folders))
    program = Program(["tool"], env={"PATH": path})
    assert find_executable(program) == os.fsencode(folders[4] / "tool")
    (folders[4] / "tool").unlink()
    with pytest.raises(CannotStart) as raised:
        find_executable(program)
    assert (raised.value.code, "Permission denied" in raised.value.reason) == (126, True)


def test_it_is_looked_for_from_the_working_directory(tmp_path: Path) -> None:
    script(tmp_path / "tool", "#!interpreter\n")
    for program in (
        Program(["./tool"], tmp_path),
        Program(["tool"], tmp_path, {"PATH": ""}),
    ):
        with pytest.raises(CannotStart) as raised:
            find_executable(program)
        assert "interpreter was not found" in raised.value.reason
    script(tmp_path / "interpreter")
    assert find_executable(Program(["./tool"], tmp_path)) == b"./tool"


def test_what_may_be_executed_and_not_read_is_taken(tmp_path: Path) -> None:
    script(tmp_path / "tool", mode=0o100)
    assert find_executable(Program([str(tmp_path / "tool")])) == os.fsencode(tmp_path / "tool")
