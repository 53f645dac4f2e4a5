from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from amper.frontends.shell.asking import CannotExpand, Sh, ends_too_early
from tests.frontends.shell.workbench import bench
from tests.support import on_all_loops, run


@contextlib.asynccontextmanager
async def asked(directory: Path) -> AsyncIterator[Sh]:
    async with bench(directory) as made:
        made.state.exported["HOME"] = "/home/me"
        made.state.positional = ("amper", "first")
        made.state.assign("X", "a  b")
        yield made.shell.sh


@pytest.mark.parametrize(
    "words, expanded",
    [
        (["%1", "-9", "a/b"], ["%1", "-9", "a/b"]),
        (["~", "~/x", "'~'"], ["/home/me", "/home/me/x", "~"]),
        (["$X", '"$X"', "$1"], ["a", "b", "a  b", "first"]),
        (["*.c", "*.h", "%?a"], ["1.c", "2.c", "*.h", "%?a"]),
        (["$(echo a b)", '""', "$NOTHING"], ["a", "b", ""]),
        (["'a\nb'", r"\$X"], ["a\nb", "$X"]),
        ([], []),
    ],
)
def test_words_are_what_sh_makes_of_them(
    words: list[str], expanded: list[str], tmp_path: Path
) -> None:
    for name in ("1.c", "2.c"):
        (tmp_path / name).touch()

    async def test() -> None:
        async with asked(tmp_path) as sh:
            assert await sh.expand(words) == expanded

    run(test())


@pytest.mark.parametrize(
    "words, expanded",
    [
        (["A=$X", 'B="$X"', "$X"], ["A=a  b", "B=a  b", "a", "b"]),
        (["A=~/x:~", "A", "-p", "A='~'"], ["A=/home/me/x:/home/me", "A", "-p", "A=~"]),
        (["A=$(echo a b)", "A=*"], ["A=a b", "A=*"]),
        ([], []),
    ],
)
def test_words_of_an_export_are_assignments_where_they_look_like_it(
    words: list[str], expanded: list[str], tmp_path: Path
) -> None:
    (tmp_path / "A=1").touch()

    async def test() -> None:
        async with asked(tmp_path) as sh:
            assert await sh.declared(words) == expanded

    run(test())


def test_bytes_that_are_no_text_survive(tmp_path: Path) -> None:
    async def test() -> None:
        async with asked(tmp_path) as sh:
            assert await sh.expand([r"$(printf '\377')"]) == ["\udcff"]

    run(test())


def test_what_cannot_be_expanded_is_an_error_that_says_why(tmp_path: Path) -> None:
    async def test() -> None:
        async with asked(tmp_path) as sh:
            with pytest.raises(CannotExpand, match="missing") as caught:
                await sh.expand(["${Y?missing}"])
            assert caught.value.result.code == 2
            with pytest.raises(CannotExpand):
                await sh.assigned(["Z"], "Z=${Y?missing}")

    run(test())


def test_an_assignment_has_the_code_of_its_substitution(tmp_path: Path) -> None:
    async def test() -> None:
        async with asked(tmp_path) as sh:
            values, said = await sh.assigned(["A", "B"], "A=$X B=$(echo b; exit 4)")
            assert (values, said.code) == (["a  b", "b"], 4)

    run(test())


@on_all_loops
async def test_sh_tells_what_is_wrong_from_what_is_not_over() -> None:
    async with asked(Path("/")) as sh:
        assert await sh.complaint("if a; then b; fi") is None
        early, wrong = await sh.complaint("if a; then b"), await sh.complaint("if ; then")
        assert early is not None
        assert wrong is not None
        assert (ends_too_early(early), ends_too_early(wrong), wrong.code) == (True, False, 2)
