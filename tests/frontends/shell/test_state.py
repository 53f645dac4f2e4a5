from __future__ import annotations

import os
from pathlib import Path

import pytest

from amper.frontends.shell.state import State


def test_a_variable_stays_as_exported_as_it_was() -> None:
    state = State({"A": "1"})
    state.assign("A", "2")
    state.assign("B", "3")
    state.export("C")
    state.assign("C", "4")
    assert (state.exported["A"], state.plain, state.exported["C"]) == ("2", {"B": "3"}, "4")
    state.export("B")
    assert (state.exported["B"], state.plain) == ("3", {})
    state.unset("B")
    assert state.get("B") is None


def test_the_prelude_sets_only_what_the_text_cannot_know() -> None:
    state = State({"A": "1"})
    assert state.prelude("echo $?") == ""
    state.assign("B", "it's")
    state.functions["f"] = "f() { :; }"
    state.code = 3
    assert state.prelude("echo") == "f() { :; }\nB='it'\"'\"'s'\n"
    assert state.prelude("echo ${?}").endswith("(exit 3)\n")


def test_an_overlay_ends() -> None:
    state = State({"A": "1"})
    with state.overlaid({"A": "2", "B": "3"}):
        assert (state.get("A"), state.get("B")) == ("2", "3")
    assert (state.get("A"), state.get("B")) == ("1", None)


def test_the_directory_has_the_name_that_our_parent_knows_it_by(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    monkeypatch.chdir(tmp_path / "link")
    assert State({"PWD": str(tmp_path / "link")}).directory == str(tmp_path / "link")
    for wrong in ("/", "/nowhere", "real", str(tmp_path)):
        assert State({"PWD": wrong}).directory == os.getcwd()
    assert State({}).exported["PWD"] == os.getcwd()
