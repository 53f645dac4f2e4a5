"""`Lines`: cutting bytes into lines, however they come."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from amper.frontends.cli.lines import LONGEST_LINE, Lines


@given(st.lists(st.text("ab\n\r", max_size=5).map(str.encode)))
def test_lines_put_together_are_the_bytes_and_each_is_one(parts: list[bytes]) -> None:
    lines = Lines()
    whole = [line for part in parts for line in lines.feed(part)]
    rest = lines.end()
    assert b"".join(whole + rest) == b"".join(parts)
    assert all(line.endswith(b"\n") and line.count(b"\n") == 1 for line in whole)
    assert all(line and b"\n" not in line for line in rest)
    assert lines.end() == []


def test_a_line_that_does_not_end_comes_in_pieces_and_is_not_kept() -> None:
    lines = Lines()
    assert lines.feed(b"x" * LONGEST_LINE) == []
    assert lines.feed(b"y") == [b"x" * LONGEST_LINE + b"y"]
    assert lines.feed(b"z\n") == [b"z\n"]
