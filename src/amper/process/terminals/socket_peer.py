"""Which socket a Unix socket is connected to, as the kernel tells anybody who asks (sock_diag(7))."""

from __future__ import annotations

import socket
import struct
from typing import Final

_NETLINK_SOCK_DIAG: Final = 4
_SOCK_DIAG_BY_FAMILY: Final = 20
_NLM_F_REQUEST: Final = 1
_NLMSG_ERROR: Final = 2

_HEADER: Final = struct.Struct("=IHHII")
"""The length, the type, flags, a number of ours, and an address that is the kernel's to fill in."""

_REQUEST: Final = struct.Struct("=BBHIIIII")
"""The family, the protocol, padding, states, the inode, what to show, and a cookie."""

_ATTRIBUTE: Final = struct.Struct("=HH")
"""The length, and the type."""

_INODE: Final = struct.Struct("=I")

_ALL_ONES: Final = 0xFFFFFFFF
_SHOW_PEER: Final = 4
_PEER: Final = 2
_ANSWER_SIZE: Final = 16
"""Before the attributes."""


def peer_of(inode: int) -> int | None:
    """Return the inode of the peer of the Unix socket that has this one; None if it has none.

    Raises OSError where the kernel does not tell, and FileNotFoundError for what is no such socket of
    our network.
    """
    request = _REQUEST.pack(
        socket.AF_UNIX, 0, 0, _ALL_ONES, inode, _SHOW_PEER, _ALL_ONES, _ALL_ONES
    )
    header = _HEADER.pack(_HEADER.size + len(request), _SOCK_DIAG_BY_FAMILY, _NLM_F_REQUEST, 0, 0)
    kind = socket.SOCK_RAW | socket.SOCK_CLOEXEC
    with socket.socket(socket.AF_NETLINK, kind, _NETLINK_SOCK_DIAG) as kernel:
        kernel.send(header + request)
        answer = kernel.recv(8192)
    length, type, *_ = _HEADER.unpack_from(answer)
    if type == _NLMSG_ERROR:
        (number,) = struct.unpack_from("=i", answer, _HEADER.size)
        raise OSError(-number, f"no peer is told of socket {inode}")
    position = _HEADER.size + _ANSWER_SIZE
    while position < length:
        size, name = _ATTRIBUTE.unpack_from(answer, position)
        if name == _PEER:
            (peer,) = _INODE.unpack_from(answer, position + _ATTRIBUTE.size)
            return int(peer)
        # They are aligned to four bytes.
        position += (size + 3) & ~3
    return None
