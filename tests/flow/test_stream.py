"""What a stream keeps, and what a reader is told. Followers have a file of their own."""

from __future__ import annotations

import array
from collections.abc import Callable

import pytest

from amper import BoundedStream, Chunk, StreamStats
from tests.interleaving import SeenLock, at_every_step


def stream_of(*writes: bytes, max_size: int = 100) -> BoundedStream:
    stream = BoundedStream(max_size)
    for data in writes:
        stream.write(data)
    return stream


def test_ten_mebibytes_are_kept_unless_something_else_is_said() -> None:
    assert BoundedStream().stats().max_size == 10 * 1024 * 1024


def test_a_bound_below_one_byte_is_refused() -> None:
    with pytest.raises(ValueError, match="max_size"):
        BoundedStream(0)
    with pytest.raises(TypeError, match="max_size"):
        BoundedStream(1.5)  # type: ignore[arg-type]


def test_the_last_bytes_are_kept_and_the_others_are_counted() -> None:
    stream = stream_of(b"hello ", b"big world", max_size=10)
    assert stream.read() == b" big world"
    assert stream.stats() == StreamStats(10, 10, 15, 5, closed=False)
    assert (stream.total_written, stream.bytes_evicted) == (15, 5)


def test_one_write_may_be_larger_than_the_bound() -> None:
    stream = stream_of(b"ab", b"0123456789", max_size=4)
    assert stream.read() == b"6789"
    assert stream.bytes_evicted == 8


def test_reading_takes_nothing_away() -> None:
    stream = stream_of(b"hello")
    assert stream.read() == stream.read() == b"hello"


def test_everything_that_has_bytes_can_be_written() -> None:
    stream = stream_of(b"a")
    stream.write(bytearray(b"b"))
    stream.write(memoryview(b"-c-")[1:2])
    stream.write(memoryview(array.array("H", [0x6464])))
    stream.write(b"")
    assert stream.read() == b"abcdd"


def test_text_is_refused() -> None:
    with pytest.raises(TypeError):
        BoundedStream().write("text")  # type: ignore[arg-type]  # That is the point.


def test_what_is_written_is_copied() -> None:
    data = bytearray(b"before")
    stream = BoundedStream()
    stream.write(data)
    data[:] = b"after!"
    assert stream.read() == b"before"


def test_a_cursor_reads_each_byte_once() -> None:
    stream = stream_of(b"0123456789")
    assert stream.read_from(0, 4) == Chunk(b"0123", 4)
    assert stream.read_from(4, 4) == Chunk(b"4567", 8)
    assert stream.read_from(8, 4) == Chunk(b"89", 10)
    assert stream.read_from(10, 4) == Chunk(b"", 10)
    stream.write(b"ab")
    assert stream.read_from(10) == Chunk(b"ab", 12)


def test_a_cursor_that_was_overtaken_is_told_how_much_it_missed() -> None:
    stream = stream_of(b"0123456789", max_size=4)
    assert stream.read_from(0) == Chunk(b"6789", 10, dropped=6)
    assert stream.read_from(5, 2) == Chunk(b"67", 8, dropped=1)
    assert stream.read_from(6, 2) == Chunk(b"67", 8, dropped=0)
    assert stream.read_from(3, 0) == Chunk(b"", 6, dropped=3)


def test_a_cursor_beyond_the_end_reads_nothing_and_goes_on_from_the_end() -> None:
    stream = stream_of(b"abc")
    assert stream.read_from(1000) == Chunk(b"", 3)
    assert stream.read_from(1000, 5) == Chunk(b"", 3)


@pytest.mark.parametrize("offset, limit", [(-1, None), (0, -1)])
def test_a_negative_number_is_refused(offset: int, limit: int | None) -> None:
    with pytest.raises(ValueError, match="negative"):
        stream_of(b"abc").read_from(offset, limit)


def test_the_last_chunk_of_a_closed_stream_says_so() -> None:
    stream = stream_of(b"abc")
    assert not stream.read_from(0).closed
    stream.close()
    assert stream.read_from(0, 2) == Chunk(b"ab", 2)
    assert stream.read_from(2) == Chunk(b"c", 3, closed=True)
    assert stream.read_from(3) == Chunk(b"", 3, closed=True)


def test_a_closed_stream_can_be_read_and_takes_nothing_more() -> None:
    stream = stream_of(b"abc")
    stream.close()
    stream.close()
    stream.write(b"more")
    assert stream.read() == b"abc"
    assert stream.stats() == StreamStats(3, 100, 3, 0, closed=True)


def test_a_frozen_stream_is_closed_and_is_the_bytes_that_it_gives() -> None:
    stream = stream_of(b"0123456789", max_size=4)
    data = stream.freeze()
    assert data == b"6789"
    assert stream.is_frozen_as(data)
    assert not stream.is_frozen_as(bytes(bytearray(data)))
    assert stream.freeze() is data
    assert stream.read() is data
    stream.write(b"more")
    assert stream.read_from(0) == Chunk(b"6789", 10, dropped=6, closed=True)


def test_what_was_evicted_at_the_end_is_counted_as_dropped() -> None:
    stream = stream_of(b"0123456789", max_size=4)
    stream.freeze()
    assert stream.evict() == 4
    assert stream.read_from(7) == Chunk(b"", 10, dropped=3, closed=True)
    assert stream.stats() == StreamStats(0, 4, 10, 10, closed=True)


def test_a_stream_over_existing_bytes_is_closed_and_has_its_offsets() -> None:
    data = b"the end"
    stream = BoundedStream.of(data, dropped=5)
    assert stream.read() is data
    assert stream.read_from(0) == Chunk(data, 12, dropped=5, closed=True)
    stream.write(b"more")
    assert stream.total_written == 12


# Threads: one thread plays both.

PATTERN = bytes(range(256))


class Shared(BoundedStream):
    """A stream whose lock can be seen."""

    def __init__(self) -> None:
        super().__init__(max_size=8)
        self.lock = self._own_ring().lock = SeenLock()  # type: ignore[assignment]  # It stands for one.
        self.write(PATTERN[:12])


def write_more(stream: Shared) -> None:
    if not stream.lock.is_held:
        stream.write(PATTERN[12:25])


def close(stream: Shared) -> None:
    if not stream.lock.is_held:
        stream.close()


def freeze(stream: Shared) -> None:
    if not stream.lock.is_held:
        stream.freeze()


@pytest.mark.parametrize("offset", [0, 5, 12])
@pytest.mark.parametrize("limit", [None, 0, 3, 8])
def test_a_chunk_is_true_whatever_another_thread_writes_meanwhile(
    offset: int, limit: int | None
) -> None:
    chunks: list[Chunk] = []

    def read(stream: Shared) -> None:
        chunks.append(stream.read_from(offset, limit))

    for _ in at_every_step(Shared, read, write_more):
        chunk = chunks[-1]
        start = offset + chunk.dropped
        assert chunk.data == PATTERN[start : chunk.next]
        assert limit is None or len(chunk.data) <= limit
        assert not chunk.closed


def test_the_last_chunk_is_the_last_whenever_the_stream_is_closed() -> None:
    chunks: list[Chunk] = []

    def read(stream: Shared) -> None:
        chunks.append(stream.read_from(4))

    def write_and_close(stream: Shared) -> None:
        if not stream.lock.is_held:
            stream.write(b"!")
            stream.close()

    for stream in at_every_step(Shared, read, write_and_close):
        if chunks[-1].closed:
            assert chunks[-1].next == stream.total_written


def test_stats_add_up_whatever_another_thread_does_meanwhile() -> None:
    stats: list[StreamStats] = []

    def look(stream: Shared) -> None:
        stats.append(stream.stats())

    for intruder in (write_more, freeze):
        for _ in at_every_step(Shared, look, intruder):
            assert stats[-1].current_size == 8
            assert stats[-1].total_written - stats[-1].bytes_evicted == 8


@pytest.mark.parametrize("end", [close, freeze])
def test_a_write_is_whole_before_the_end_or_did_not_happen(
    end: Callable[[Shared], None],
) -> None:
    for stream in at_every_step(Shared, write_more, end):
        # Where the lock was held it comes after the write.
        end(stream)
        before = stream.stats()
        stream.write(b"late")
        assert stream.stats() == before
        assert stream.total_written in (12, 25)
        assert stream.read() == PATTERN[: stream.total_written][-8:]
        assert stream.freeze() == PATTERN[: stream.total_written][-8:]


@pytest.mark.parametrize("max_size", [6, 100])
def test_a_finalizer_may_write_in_the_middle_of_a_write_of_its_own_thread(
    max_size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    # So that the memory grows, too.
    monkeypatch.setattr("amper.flow.ring.FIRST_CAPACITY", 1)
    for stream in at_every_step(
        lambda: stream_of(b"first", max_size=max_size),
        lambda stream: stream.write(b"-outer"),
        lambda stream: stream.write(b"-inner"),
    ):
        assert stream.total_written == len("first-outer-inner")
        assert stream.read() in (
            b"first-outer-inner"[-max_size:],
            b"first-inner-outer"[-max_size:],
        )


@pytest.mark.parametrize("end", [BoundedStream.close, BoundedStream.freeze])
def test_of_two_who_are_first_both_have_the_one_ring(
    end: Callable[[BoundedStream], object],
) -> None:
    for stream in at_every_step(
        BoundedStream, lambda stream: stream.write(b"a"), lambda stream: stream.write(b"b")
    ):
        assert sorted(stream.read()) == sorted(b"ab")
    for stream in at_every_step(
        BoundedStream, lambda stream: stream.write(b"a"), BoundedStream.close
    ):
        assert stream.stats().closed
        assert stream.freeze() == b"a" * stream.total_written
    # Nobody wrote to what all empty streams have in common.
    assert BoundedStream().stats() == StreamStats(0, 10 * 1024 * 1024, 0, 0, closed=False)
