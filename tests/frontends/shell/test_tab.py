from __future__ import annotations

import pytest
from prompt_toolkit.data_structures import Size

from amper.frontends.shell.tab import listed


@pytest.mark.parametrize(
    "words, columns, shown",
    [
        ("a b c", 80, "a b c\n"),
        ("a b c", 4, "a c\nb\n"),
        ("aa b cc d", 6, "aa cc\nb  d\n"),
        ("a\N{FULLWIDTH LATIN SMALL LETTER B} c", 8, "a\N{FULLWIDTH LATIN SMALL LETTER B} c\n"),
        ("long longer", 3, "long\nlonger\n"),
        ("a b c d e f g h", 4, "a d\nb e\nc f\n...\n"),
        ("long longer longest a b", 1, "long\nlonger\nlongest\n...\n"),
    ],
)
def test_words_stand_in_columns_and_no_more_than_the_screen_holds(
    words: str, columns: int, shown: str
) -> None:
    assert listed(words.split(), Size(rows=5, columns=columns)) == shown


def test_a_screen_without_rows_shows_something() -> None:
    assert listed(["a", "b"], Size(rows=0, columns=1)) == "a\n...\n"
