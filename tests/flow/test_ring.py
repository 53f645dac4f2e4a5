"""The memory under a stream. What it keeps and gives is in the model of it; here is what it costs."""

from __future__ import annotations

import gc
import sys
import tracemalloc
from typing import Final

import pytest

from amper.flow.ring import LARGEST_STEP, Ring
from tests.interleaving import steps_of

MIB: Final = 1024 * 1024
SMALL: Final = 16 * 1024
"""More than a ring's own objects take, and less than any copy that would matter."""


class Memory:
    """What is allocated within a block, and still there at its end; and the most that it was."""

    def __enter__(self) -> Memory:
        tracemalloc.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.kept, self.peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()

    def forget_peak(self) -> None:
        tracemalloc.reset_peak()


def ring_with(max_size: int, *writes: bytes) -> Ring:
    ring = Ring(max_size)
    for data in writes:
        ring.write(data)
    return ring


@pytest.mark.parametrize("size", [0, -1])
def test_a_bound_below_one_byte_is_refused(size: int) -> None:
    with pytest.raises(ValueError, match="max_size"):
        Ring(size)


@pytest.mark.parametrize("data", [None, b"", b"hello"])
def test_a_ring_that_holds_little_costs_little_whatever_its_bound(data: bytes | None) -> None:
    with Memory() as memory:
        ring = Ring(1024 * MIB)
        if data is not None:
            ring.write(data)
    assert memory.kept < (SMALL if data else 1024)


def test_memory_grows_with_what_is_kept_and_ends_at_the_bound() -> None:
    data = bytes(64 * 1024)
    with Memory():
        ring = Ring(4 * MIB)
        while ring.total < 16 * MIB:
            ring.write(data)
            # A BytesIO may take an eighth more than it was asked for.
            most = min(ring.total + LARGEST_STEP, ring.max_size) * 9 // 8 + SMALL
            assert tracemalloc.get_traced_memory()[0] < most


def test_what_is_larger_than_the_bound_takes_no_more_than_the_bound() -> None:
    data = bytes(8 * MIB)
    with Memory() as memory:
        ring = ring_with(MIB, data)
    assert memory.peak < MIB * 9 // 8 + SMALL
    assert ring.start == 7 * MIB


@pytest.mark.parametrize("written", [3 * MIB, 4 * MIB, 4 * MIB + 1, 6 * MIB, 7 * MIB + 12345])
def test_freezing_makes_the_memory_the_bytes_and_copies_nothing(written: int) -> None:
    pattern = (bytes(range(251)) * (written // 251 + 1))[:written]
    with Memory() as memory:
        ring = ring_with(4 * MIB, *(pattern[i : i + MIB] for i in range(0, written, MIB)))
        memory.forget_peak()
        frozen = ring.freeze()
    # A ring that has wrapped is put in order in place, with a little of it aside.
    assert memory.peak < min(written, 4 * MIB) * 9 // 8 + LARGEST_STEP
    assert frozen == pattern[-4 * MIB :]
    assert sys.getsizeof(frozen) < len(frozen) + 100
    assert ring.freeze() is frozen
    assert ring.read() == (ring.start, frozen)
    assert ring.read()[1] is frozen


def test_freezing_takes_as_many_steps_wherever_the_ring_has_wrapped(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for constant in ("SWAP_SIZE", "KEPT_ASIDE"):
        monkeypatch.setattr(f"amper.flow.ring.{constant}", 16)
    steps = {}
    for wrapped in range(1, 1024, 7):
        ring = ring_with(1024, bytes(1024), bytes(wrapped))
        steps[wrapped] = steps_of(ring.freeze)
    # Each of the 64 parts of the memory is moved about once.
    assert max(steps.values()) < 64 * 200


def test_a_frozen_ring_takes_nothing_more() -> None:
    ring = ring_with(4, b"abcdef")
    frozen = ring.freeze()
    ring.write(b"gh")
    assert ring.extent() == (2, 6)
    assert ring.freeze() is frozen
    assert ring.read(3) == (3, b"def")


def test_evicting_leaves_the_numbers_and_no_bytes() -> None:
    ring = ring_with(4, b"abcdef")
    ring.freeze()
    assert ring.evict() == 4
    assert ring.evict() == 0
    assert ring.extent() == (6, 6)
    assert ring.read(3) == (6, b"")


def test_a_ring_over_existing_bytes_copies_nothing_and_is_closed() -> None:
    data = b"kept" * 10
    ring = Ring.of(data, 7, 100)
    ring.write(b"more")
    assert ring.extent() == (7, 47)
    assert ring.freeze() is data
    assert ring.read(9, 12) == (9, data[2:5])


def test_the_room_is_the_memory_itself_in_at_most_two_parts() -> None:
    ring = ring_with(8, b"abcdef")
    first, second = ring.room(5)
    assert (len(first), len(second)) == (2, 3)
    first[:] = b"gh"
    second[:1] = b"i"
    ring.commit(3)
    assert ring.read() == (1, b"bcdefghi")


def test_the_room_is_no_larger_than_the_bound() -> None:
    ring = ring_with(8, b"abc")
    assert sum(map(len, ring.room(100))) == 8


def test_bytes_that_a_room_lies_over_are_not_read_until_it_is_committed() -> None:
    ring = ring_with(8, b"abcdefgh")
    views = ring.room(3)
    views[0][:] = b"???"
    assert ring.read() == (3, b"defgh")
    assert ring.read(0, 3) == (3, b"")
    del views
    ring.commit(3)
    assert ring.read() == (3, b"defgh???")


def test_a_room_of_which_nothing_was_used_takes_nothing_away() -> None:
    ring = ring_with(8, b"abcdefgh")
    ring.room(3)
    ring.commit(0)
    assert ring.read() == (0, b"abcdefgh")


def test_a_ring_that_is_collected_in_a_cycle_is_collected_in_silence(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    complaints: list[object] = []
    monkeypatch.setattr(sys, "unraisablehook", complaints.append)
    # The storage was made after the ring, and may come before it in the collector's order or not.
    for _ in range(3):
        ring = ring_with(100, b"hello")
        cycle: list[object] = [ring._storage, ring]
        cycle.append(cycle)
        del ring, cycle
        gc.collect()
    assert complaints == []
