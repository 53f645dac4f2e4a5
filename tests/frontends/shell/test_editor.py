from __future__ import annotations

import pytest

from amper.frontends.shell.editor import prompt_text
from amper.frontends.shell.state import State


def shown(directory: str, code: int = 0, **variables: str) -> str:
    state = State(variables)
    state.move(directory)
    state.code = code
    return "".join(fragment[1] for fragment in prompt_text(state))


@pytest.mark.parametrize(
    "directory, home, text",
    [
        ("/h/x", "/h", "~/x $ "),
        ("/h", "/h", "~ $ "),
        ("/hx", "/h", "/hx $ "),
        ("/x", "/", "/x $ "),
        ("/a\x1b[2Jb", "/h", "/a?[2Jb $ "),
    ],
)
def test_the_prompt_shows_the_directory(directory: str, home: str, text: str) -> None:
    assert shown(directory, HOME=home) == text


def test_it_shows_a_code_that_is_not_0() -> None:
    assert shown("/", code=3) == "/ [3] $ "


def test_it_can_be_another() -> None:
    assert shown("/tmp", code=3, AMPER_PS1="{code} {directory}> ") == "3 /tmp> "
    assert shown("/tmp", AMPER_PS1="{other> ") == "{other> "
