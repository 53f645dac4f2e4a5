"""Records between manager, keeper and shim: whole or not at all, with their descriptors."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator

import pytest

from amper.supervisor.wire import (
    ASK,
    END,
    LOAD,
    STARTED,
    Spec,
    close_all,
    numbered,
    receive,
    receive_load,
    send,
    send_load,
)

Ends = tuple[socket.socket, socket.socket]


@pytest.fixture
def ends() -> Iterator[Ends]:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours, theirs:
        yield ours, theirs


def test_records_keep_their_bounds_and_their_order(ends: Ends) -> None:
    ours, theirs = ends
    assert receive(theirs) is None
    assert send(ours, numbered(STARTED, 4711))
    assert send(ours, ASK)
    first, second = receive(theirs), receive(theirs)
    assert first is not None
    assert second is not None
    assert (first.kind, first.numbers, second.kind, second.numbers) == (STARTED, [4711], ASK, [])
    ours.close()
    assert receive(theirs) is END


def test_a_peer_that_died_with_a_record_unread_is_heard_to_its_end(ends: Ends) -> None:
    """The kernel tells of the reset first, once, and keeps what the peer had sent before."""
    ours, theirs = ends
    send(theirs, ASK)
    send(ours, numbered(STARTED, 1))
    ours.close()
    record = receive(theirs)
    assert record is not None
    assert record.kind == STARTED
    assert receive(theirs) is END
    with pytest.raises(BrokenPipeError):
        send(theirs, ASK)


def test_descriptors_that_come_along_are_closed_on_exec(ends: Ends) -> None:
    ours, theirs = ends
    send(ours, STARTED, [0, 1])
    record = receive(theirs)
    assert record is not None
    assert len(record.fds) == 2
    assert not any(os.get_inheritable(fd) for fd in record.fds)
    close_all(record.fds)


def test_nothing_blocks_where_there_is_no_room(ends: Ends) -> None:
    while send(ends[0], b"x" * 4000):
        pass
    with pytest.raises(OSError, match="buffer"):
        send_load(ends[0], [0])


@pytest.mark.parametrize("count", [5, 240, 241, 600])
def test_a_load_of_any_size_arrives_in_order(ends: Ends, count: int) -> None:
    fds = [os.dup(number % 3) for number in range(count)]
    try:
        send_load(ends[0], fds)
        arrived = receive_load(ends[1])
        assert len(arrived) == count
        assert [os.fstat(fd)[:3] for fd in arrived] == [os.fstat(fd)[:3] for fd in fds]
    finally:
        close_all(fds)
    close_all(arrived)


def test_half_a_load_is_none(ends: Ends) -> None:
    send(ends[0], numbered(LOAD, 2), [0])
    with pytest.raises(OSError, match="rotocol"):
        receive_load(ends[1])
    send(ends[0], ASK)
    with pytest.raises(OSError, match="rotocol"):
        receive_load(ends[1])


def test_a_spec_of_any_size_comes_back_from_its_file() -> None:
    spec = Spec([b"a", b"\xff" * 3_000_000], (b"/bin/a",), None, [b"A=b"] * 1000, (3, 500), "ours")
    fd = spec.to_file()
    try:
        assert Spec.from_file(fd) == spec
        assert Spec.from_file(fd) == spec
        assert not os.get_inheritable(fd)
    finally:
        os.close(fd)
