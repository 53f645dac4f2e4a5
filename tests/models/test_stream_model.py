"""A stream against all the bytes that were ever written to it, in one `bytes`."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from amper import BoundedStream, StreamStats
from amper.flow import ring, stream
from tests.virtual_clock import run_virtually

# To find the smallest example of a failure takes longer than to find one.
pytestmark = pytest.mark.timeout(400)

SIZES = st.integers(0, 70)


class StreamModel(RuleBasedStateMachine):
    """`written` is everything; the stream keeps the end of it."""

    @initialize(max_size=st.integers(1, 40))
    def begin(self, max_size: int) -> None:
        # The same paths as with megabytes: it grows in steps, and is put in order in pieces.
        self.patch = pytest.MonkeyPatch()
        for name, value in (("FIRST_CAPACITY", 3), ("LARGEST_STEP", 8)):
            self.patch.setattr(ring, name, value)
        for name, value in (("SWAP_SIZE", 2), ("KEPT_ASIDE", 4)):
            self.patch.setattr(ring, name, value)
        self.max_size = max_size
        self.stream = BoundedStream(max_size)
        self.written = b""
        self.evicted = 0
        self.is_closed = False
        self.is_frozen = False
        self.cursors = [0, 0]

    def teardown(self) -> None:
        self.patch.undo()

    def next_bytes(self, count: int) -> bytes:
        """Return bytes that are different from those just before and a bound before."""
        return bytes((len(self.written) + i) % 251 for i in range(count))

    def append(self, data: bytes) -> None:
        self.written += data
        self.evicted = max(self.evicted, len(self.written) - self.max_size)

    @rule(size=SIZES)
    def write(self, size: int) -> None:
        data = self.next_bytes(size)
        self.stream.write(data)
        if not self.is_closed:
            self.append(data)

    @precondition(lambda self: not self.is_closed)
    @rule(wanted=SIZES, share=st.floats(0, 1))
    def write_to_the_room(self, wanted: int, share: float) -> None:
        views = self.stream.room(wanted)
        size = sum(map(len, views))
        assert size == min(wanted, self.max_size)
        # While the room is lent the bytes that it lies over are not shown.
        kept = self.written[self.evicted :]
        over = max(0, len(kept) + size - self.max_size)
        assert self.stream.read() == kept[over:]
        data = rest = self.next_bytes(int(size * share))
        for view in views:
            view[: len(rest)] = rest[: len(view)]
            rest = rest[len(view) :]
        del view, views
        self.stream.commit(len(data))
        self.append(data)

    @rule()
    def close(self) -> None:
        self.stream.close()
        self.is_closed = True

    @rule()
    def freeze(self) -> None:
        self.is_closed = self.is_frozen = True
        frozen = self.stream.freeze()
        assert frozen == self.written[self.evicted :]
        assert self.stream.is_frozen_as(frozen)

    @precondition(lambda self: self.is_frozen)
    @rule()
    def evict(self) -> None:
        assert self.stream.evict() == len(self.written) - self.evicted
        self.evicted = len(self.written)

    @rule(which=st.integers(0, 1), limit=st.none() | SIZES)
    def read_on(self, which: int, limit: int | None) -> None:
        cursor = self.cursors[which]
        chunk = self.stream.read_from(cursor, limit)
        start = max(cursor, self.evicted)
        end = len(self.written) if limit is None else min(start + limit, len(self.written))
        assert chunk.data == self.written[start:end]
        assert chunk.next == end
        assert chunk.dropped == start - cursor
        assert chunk.closed == (self.is_closed and end == len(self.written))
        self.cursors[which] = chunk.next

    @rule(offset=st.integers(0, 300), limit=st.none() | SIZES)
    def read_anywhere(self, offset: int, limit: int | None) -> None:
        chunk = self.stream.read_from(offset, limit)
        start = max(min(offset, len(self.written)), self.evicted)
        end = len(self.written) if limit is None else min(start + limit, len(self.written))
        assert (chunk.data, chunk.next) == (self.written[start:end], end)

    @invariant()
    def it_keeps_the_end_of_what_was_written(self) -> None:
        assert self.stream.read() == self.written[self.evicted :]
        size = len(self.written) - self.evicted
        assert self.stream.stats() == StreamStats(
            size, self.max_size, len(self.written), self.evicted, self.is_closed
        )


TestStreamModel = StreamModel.TestCase


@given(
    text=st.text(st.sampled_from("aä€😀\n\r\0")),
    garbage=st.binary(max_size=3),
    cuts=st.lists(st.integers(0, 60), max_size=6),
    piece=st.integers(1, 8),
)
def test_the_lines_are_those_of_the_whole_text(
    text: str, garbage: bytes, cuts: list[int], piece: int
) -> None:
    data = text.encode() + garbage
    bounds = sorted({0, len(data), *(cut for cut in cuts if cut < len(data))})

    async def follow() -> list[str]:
        output = BoundedStream(len(data) + 1)
        for begin, end in pairwise(bounds):
            output.write(data[begin:end])
        output.close()
        return [line async for line in output.lines()]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(stream, "CHUNK_SIZE", piece)
        lines = run_virtually(follow())
    expected = data.decode("utf-8", "replace").split("\n")
    assert lines == (expected if expected[-1] else expected[:-1])
