"""Who is at the other end of a Unix socket, as the kernel says."""

from __future__ import annotations

import os
import socket

import pytest

from amper.process.terminals.socket_peer import peer_of


def inode(of: socket.socket) -> int:
    return os.fstat(of.fileno()).st_ino


def test_the_two_of_a_pair_are_each_others_peers() -> None:
    left, right = socket.socketpair()
    with left, right:
        assert peer_of(inode(left)) == inode(right)
        assert peer_of(inode(right)) == inode(left)


def test_the_two_of_a_connection_are_each_others_peers() -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind("")  # The kernel finds a name.
        listener.listen()
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(listener.getsockname())
            accepted, _ = listener.accept()
            with accepted:
                assert peer_of(inode(client)) == inode(accepted)
        assert peer_of(inode(listener)) is None


def test_a_socket_that_is_not_connected_has_no_peer() -> None:
    with socket.socket(socket.AF_UNIX) as alone:
        assert peer_of(inode(alone)) is None


def test_what_is_no_unix_socket_is_not_found() -> None:
    with socket.socket(socket.AF_INET) as other, pytest.raises(FileNotFoundError):
        peer_of(inode(other))
