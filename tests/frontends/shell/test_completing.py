from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from prompt_toolkit.completion import CompleteEvent
from prompt_toolkit.document import Document

from amper import DEVNULL, JobManager
from amper.frontends.shell.completing import ShellCompleter
from amper.frontends.shell.state import State
from tests.support import run


@pytest.fixture
def place(tmp_path: Path) -> Path:
    (tmp_path / "bin").mkdir()
    for name in ("bin/frob", "bin/frown", "bin/a b", "two words", "text", ".hidden"):
        (tmp_path / name).touch()
    (tmp_path / "folder" / "inner").mkdir(parents=True)
    return tmp_path


def offered(place: Path, text: str, jobs: JobManager | None = None) -> list[str]:
    """Return what a line may become."""
    state = State({"PATH": str(place / "bin"), "HOME": str(place), "FROZEN": "x"})
    state.move(str(place))
    completer = ShellCompleter(state, (jobs or JobManager()).table)
    found = completer.get_completions(Document(text), CompleteEvent())
    return [text[: len(text) + each.start_position] + each.text for each in found]


@pytest.mark.parametrize(
    "text, lines",
    [
        ("fro", ["frob", "frown"]),
        ("a; if fro", ["a; if frob", "a; if frown"]),
        ("make | frob", ["make | frob"]),
        ("jo", ["jobs"]),
        ("a\\ ", ["a\\ b"]),
        ("ls fro", []),
        ("ls t", ["ls text", "ls two\\ words"]),
        ("ls two\\ w", ["ls two\\ words"]),
        ("ls f", ["ls folder/"]),
        ("ls folder/", ["ls folder/inner/"]),
        ("ls >te", ["ls >text"]),
        ("ls .h", ["ls .hidden"]),
        ("ls ~/te", ["ls ~/text"]),
        ("echo $FRO", ["echo $FROZEN"]),
        ("ls nothing/", []),
        ("folder/", ["folder/inner/"]),
    ],
)
def test_a_word_is_completed_for_what_it_is(place: Path, text: str, lines: list[str]) -> None:
    assert offered(place, text) == lines


def test_jobs_are_completed_by_number_and_by_a_name_that_means_one(place: Path) -> None:
    async def test() -> None:
        async with JobManager() as jobs:
            for command in ("sleep 100", "cat x; sleep 100", "cat y; sleep 100"):
                await jobs.start(command, stdin=DEVNULL)
            assert offered(place, "kill %", jobs) == [
                "kill %1",
                "kill %2",
                "kill %3",
                "kill %sleep",
            ]
            assert offered(place, "fg %s", jobs) == ["fg %sleep"]

    run(test())


def test_a_job_that_is_over_is_offered_where_it_is_of_use(place: Path) -> None:
    async def test() -> None:
        async with JobManager() as jobs:
            await jobs.wait(await jobs.start("true"))
            await jobs.start("sleep 100")
            for line in ("kill %", "kill -9 %", "fg %", "ls; bg %", "true && stop %", "kill %2 %"):
                start = line.removesuffix("%")
                assert offered(place, line, jobs) == [f"{start}%2", f"{start}%sleep"], line
            for line in ("output %", "wait %", "ls kill.txt %", "kill %2; wait %", "ls kill %"):
                assert f"{line}1" in offered(place, line, jobs), line

    run(test())


@given(st.text())
@example("\0/")
def test_no_line_makes_it_raise(text: str) -> None:
    completer = ShellCompleter(State({"PATH": "/nowhere"}), JobManager().table)
    list(completer.get_completions(Document(text), CompleteEvent()))
