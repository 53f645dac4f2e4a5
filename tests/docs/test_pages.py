"""What the documentation says of the repository is so."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from amper.job.lifecycle import diagram
from tests.docs.pages import ALL_BLOCKS, KINDS, PAGES, ROOT, blocks

MADE: Final = frozenset({"build", "dist"})


@pytest.mark.parametrize("page", PAGES, ids=str)
def test_a_link_leads_somewhere(page: Path) -> None:
    for target, _, anchor in re.findall(
        r"\]\((?!https?:)([^)#]*)(#([^)]*))?\)", (ROOT / page).read_text()
    ):
        linked = ROOT / page.parent / target if target else ROOT / page
        assert linked.exists(), target
        assert not anchor or anchor in anchors(linked), anchor


def test_every_block_says_of_which_kind_it_is() -> None:
    assert [block for block in ALL_BLOCKS if block.kind not in KINDS] == []


def test_the_diagram_of_a_life_is_that_of_the_code() -> None:
    (drawn,) = [
        block.text for block in blocks(Path("docs/lifecycle.md")) if block.kind == "mermaid"
    ]
    assert drawn == f"{diagram()}\n"


def test_the_readme_names_the_two_commands_for_a_fresh_machine() -> None:
    shown = "".join(block.text for block in blocks(Path("README.md")) if block.kind == "sh")
    targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert re.findall(r"^make ([a-z-]+)", shown, re.MULTILINE) == ["demo", "test"]
    assert {"demo", "test"} <= set(targets)


def test_the_extras_that_the_readme_names_are_those_that_users_need() -> None:
    shown = "".join(block.text for block in blocks(Path("README.md")) if block.kind == "sh")
    assert re.findall(r"\.\[(\w+)\]", shown) == ["cli", "shell", "vfs"]


def test_the_architecture_is_short() -> None:
    assert len((ROOT / "ARCHITECTURE.md").read_text().splitlines()) <= 120


def test_the_map_shows_what_there_is() -> None:
    shown = set(paths_of_map())
    for path in shown:
        assert (ROOT / path).exists(), path
    for folder in {Path(), *(path.parent for path in shown)} - {Path("src")}:
        assert children(folder) <= shown | {Path("src")}


def children(folder: Path) -> set[Path]:
    """Return the folders and modules in a folder of the repository, but for what was made there."""
    found = (path for path in (ROOT / folder).glob("[!._]*") if path.name not in MADE)
    return {path.relative_to(ROOT) for path in found if path.is_dir() or path.suffix == ".py"}


def paths_of_map() -> Iterator[Path]:
    """Yield what the map of ARCHITECTURE.md names; a deeper line lies in the folder above it."""
    (text,) = [block.text for block in blocks(Path("ARCHITECTURE.md"))]
    folders = [Path()]
    for indent, name in re.findall(r"^( *)(\S+)", text, re.MULTILINE):
        del folders[len(indent) // 2 + 1 :]
        path = folders[-1] / name
        folders.append(path)
        yield path


def anchors(page: Path) -> set[str]:
    """Return the anchors that a page's headings get where Markdown is shown."""
    headings = re.findall(r"^#+ (.*)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}
