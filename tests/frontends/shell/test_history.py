from __future__ import annotations

import os
from pathlib import Path

import pytest

from amper.frontends.shell.history import MOST_READ, history_file, history_of


@pytest.mark.parametrize(
    "environment, path",
    [
        ({"XDG_STATE_HOME": "/s", "HOME": "/h"}, Path("/s/amper/history")),
        ({"XDG_STATE_HOME": "relative", "HOME": "/h"}, Path("/h/.local/state/amper/history")),
        ({"HOME": "/h"}, Path("/h/.local/state/amper/history")),
        ({"AMPER_HISTFILE": "/f", "HOME": "/h"}, Path("/f")),
        ({"AMPER_HISTFILE": "", "HOME": "/h"}, None),
        ({}, None),
    ],
)
def test_the_history_is_kept_where_the_person_wants_it(
    environment: dict[str, str], path: Path | None
) -> None:
    assert history_file(environment) == path


def test_nobody_else_can_read_it(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        history_of({"XDG_STATE_HOME": str(tmp_path)})[0].append_string("make")
    finally:
        os.umask(before)
    file = tmp_path / "amper" / "history"
    assert (file.parent.stat().st_mode & 0o777, file.stat().st_mode & 0o777) == (0o700, 0o600)
    assert "+make\n" in file.read_text()


def test_what_begins_with_a_blank_is_not_kept(tmp_path: Path) -> None:
    history, _ = history_of({"AMPER_HISTFILE": str(tmp_path / "file")})
    for line in (" secret", "", "make", "for x in a\ndo b\ndone"):
        history.append_string(line)
    again, _ = history_of({"AMPER_HISTFILE": str(tmp_path / "file")})
    assert list(again.load_history_strings()) == ["for x in a\ndo b\ndone", "make"]


@pytest.mark.parametrize(
    "name, why",
    [
        ("file/below", "Not a directory"),
        ("folder", "Is a directory"),
        ("pipe", "this is no regular file"),
        ("/dev/full", "this is no regular file"),
    ],
)
def test_what_no_history_can_be_kept_in_is_named_and_stops_nobody(
    tmp_path: Path, name: str, why: str
) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    path = tmp_path / name
    history, complaint = history_of({"AMPER_HISTFILE": str(path)})
    assert complaint == f"amper: no history is kept: {path}: {why}\n"
    history.append_string("make")
    assert history.get_strings() == ["make"]


@pytest.mark.parametrize("line", ["+half\n", "+one\n+two\n\n# now\n"])
def test_of_a_huge_history_the_newest_part_is_read(tmp_path: Path, line: str) -> None:
    path = tmp_path / "file"
    newest = "\n# now\n+for x\n+do y\n\n# now\n+make\n"
    with open(path, "wb") as file:
        file.truncate(2**40)
        file.seek(2**40)
        file.write(f"{line * (MOST_READ // len(line))}{newest}".encode())
    history, complaint = history_of({"AMPER_HISTFILE": str(path)})
    strings = list(history.load_history_strings())
    assert complaint == ""
    assert strings[:2] == ["make", "for x\ndo y"]
    assert set(strings[2:]) <= {"one\ntwo"}


def test_a_history_that_becomes_something_else_meanwhile_is_not_read(tmp_path: Path) -> None:
    history, _ = history_of({"AMPER_HISTFILE": str(tmp_path / "file")})
    (tmp_path / "file").unlink()
    os.mkfifo(tmp_path / "file")
    assert list(history.load_history_strings()) == []
