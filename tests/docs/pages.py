"""The code blocks of our Markdown pages, by what their first line says.

    python         a program; one that awaits at its top level is a piece of one, run with a manager
                   called `jobs` and all public names. The comment after a `print` is what it prints
    python NAME    a program in a file of that name, for the sessions of the page
    console        a session: what stands behind each `$ ` is run, and its output follows
    text           what the program before it prints
    sh, mermaid    for the reader alone

In expected output `...` stands for anything.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[2]
PAGES: Final = sorted(
    path.relative_to(ROOT) for path in (*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"))
)

KINDS: Final = frozenset({"python", "console", "text", "sh", "mermaid"})

_FENCE: Final = re.compile(r"^```([^\n]*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_SESSION: Final = re.compile(r"^\$ (.*)\n((?:(?!\$ ).*\n)*)", re.MULTILINE)
_PRINT: Final = re.compile(r"^\s*print\(.*\)  # (.*)$", re.MULTILINE)


@dataclass(frozen=True)
class Block:
    """One fenced block."""

    page: Path
    line: int
    kind: str
    name: str
    text: str
    output: str
    """What it prints: the text block that follows, or the comments behind its prints."""

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"

    @property
    def is_piece(self) -> bool:
        """Whether it awaits at its top level, and so cannot stand alone."""
        try:
            compile(self.text, str(self), "exec")
        except SyntaxError:
            return True
        return False

    @property
    def commands(self) -> list[tuple[str, str]]:
        """The commands of a session, each with its output."""
        return _SESSION.findall(self.text)


def blocks(page: Path) -> Iterator[Block]:
    """Yield the blocks of a page in order."""
    text = (ROOT / page).read_text()
    found = list(_FENCE.finditer(text))
    for match, after in zip_longest(found, found[1:]):
        kind, _, name = match[1].partition(" ")
        line = text.count("\n", 0, match.start()) + 1
        if after is not None and after[1] == "text":
            output = after[2]
        else:
            output = "".join(f"{comment}\n" for comment in _PRINT.findall(match[2]))
        yield Block(page, line, kind, name, match[2], output)


ALL_BLOCKS: Final = [block for page in PAGES for block in blocks(page)]


def chosen(*kinds: str) -> list[Block]:
    """Return all blocks of these kinds."""
    return [block for block in ALL_BLOCKS if block.kind in kinds]
