from __future__ import annotations

import os
from pathlib import Path

import pytest

from amper.frontends.shell.history import history_file, history_of


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
        history_of({"XDG_STATE_HOME": str(tmp_path)}).append_string("make")
    finally:
        os.umask(before)
    file = tmp_path / "amper" / "history"
    assert (file.parent.stat().st_mode & 0o777, file.stat().st_mode & 0o777) == (0o700, 0o600)
    assert "+make\n" in file.read_text()


def test_what_begins_with_a_blank_is_not_kept(tmp_path: Path) -> None:
    history = history_of({"AMPER_HISTFILE": str(tmp_path / "file")})
    for line in (" secret", "", "make", "for x in a\ndo b\ndone"):
        history.append_string(line)
    again = history_of({"AMPER_HISTFILE": str(tmp_path / "file")})
    assert list(again.load_history_strings()) == ["for x in a\ndo b\ndone", "make"]


def test_a_history_that_cannot_be_kept_stops_nobody(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    history = history_of({"AMPER_HISTFILE": str(tmp_path / "file" / "below")})
    history.append_string("make")
    assert history.get_strings() == ["make"]
