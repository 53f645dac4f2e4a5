"""What manager, keeper and shim tell each other: small records on SOCK_SEQPACKET sockets.

A record is a letter and its numbers; what may be large (arguments, environment) is in a memory file
whose descriptor comes with it. Both ends are of one installation, so that no version is agreed upon.
Keeper and shim use this file: it imports next to nothing.
"""

from __future__ import annotations

import array
import errno
import marshal
import os
import struct
from _socket import CMSG_LEN, MSG_CMSG_CLOEXEC, MSG_DONTWAIT, SCM_RIGHTS, SOL_SOCKET, socket
from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

from amper.process.spawn import Session

# From the manager to the keeper.
JOB: Final = b"J"
"""Here is a job (milliseconds of grace when its owner is gone), and the other end of its channel."""

# From the manager to the shim, waiting in the channel when that is handed over.
LOAD: Final = b"L"
"""What it needs (how many descriptors in all): its spec, its directory, three streams, and what is
passed on, in as many records as it takes."""

# From the shim, or from the keeper in its place, to the manager.
STARTING: Final = b"S"
"""The shim (its pid) is about to fork: from here on the job may have run."""
STARTED: Final = b"P"
"""The leader (its pid) runs; a pidfd of it comes along."""
FAILED: Final = b"F"
"""It could not be started: the code and the reason."""
STOPPED: Final = b"T"
CONTINUED: Final = b"C"
EXITED: Final = b"X"
"""The leader is over, and still a zombie: its wait status."""
REAPED: Final = b"U"
"""The leader is collected: microseconds of user and system time, KiB of memory."""
GONE: Final = b"G"
"""The kernel says that nothing of the job is left."""
ORPHANED: Final = b"O"
"""The shim was killed; the keeper, the next one up, goes on in its place."""

# From the manager to whoever has the job.
ASK: Final = b"t"
"""SIGTERM and SIGCONT to everything of the job."""
LET_RUN: Final = b"r"
"""The command of our session, which is held back, is where it belongs."""
INSIST: Final = b"k"
"""SIGKILL to everything of the job, until nothing is left."""

LONGEST_RECORD: Final = 8192
MOST_DESCRIPTORS: Final = 240
"""The kernel passes no more than 253 with a record."""


LEADER: Final = struct.Struct("i")
"""How the memory that a shim and its keeper share holds the leader's pid; 0 before it is started."""


class Spec(NamedTuple):
    """What a shim is to start."""

    arguments: list[bytes]
    executables: tuple[bytes, ...]
    cwd: bytes | None
    environment: list[bytes]
    passed_fds: tuple[int, ...]
    session: Session

    def to_file(self) -> int:
        """Return the descriptor of a memory file that holds it. Raises OSError."""
        fd = os.memfd_create("amper-job", os.MFD_CLOEXEC)
        try:
            data = memoryview(marshal.dumps(tuple(self)))
            while data:
                data = data[os.write(fd, data) :]
        except BaseException:
            os.close(fd)
            raise
        return fd

    @classmethod
    def from_file(cls, fd: int) -> Spec:
        """Read what `to_file` wrote."""
        data = b""
        # One read gives no more than two gibibytes.
        while part := os.pread(fd, os.fstat(fd).st_size, len(data)):
            data += part
        return cls(*marshal.loads(data))


class Record(NamedTuple):
    """What came: a letter, the rest, and descriptors that now belong to whoever received them."""

    kind: bytes
    rest: bytes
    fds: Sequence[int] = ()

    @property
    def numbers(self) -> list[int]:
        """The rest as numbers. Raises ValueError where it holds anything else."""
        return [int(word) for word in self.rest.split()]


END: Final = Record(b"", b"")
"""Nobody is left who could send anything."""


def numbered(kind: bytes, *numbers: int) -> bytes:
    """Return a record that holds numbers."""
    return kind + b" ".join(b"%d" % number for number in numbers)


def send(channel: socket, record: bytes, fds: Iterable[int] = ()) -> bool:
    """Send a record, at once; False if the other end takes none now. Raises OSError if it is gone."""
    passed = array.array("i", fds)
    rights = [(SOL_SOCKET, SCM_RIGHTS, passed)] if passed else []
    try:
        channel.sendmsg([record], rights, MSG_DONTWAIT)
    except BlockingIOError:
        return False
    return True


def send_load(channel: socket, fds: Sequence[int]) -> None:
    """Send what a shim needs. Raises OSError, also where there is no room for it."""
    for first in range(0, len(fds), MOST_DESCRIPTORS):
        part = fds[first : first + MOST_DESCRIPTORS]
        if not send(channel, numbered(LOAD, len(fds)), part):
            raise OSError(errno.ENOBUFS, os.strerror(errno.ENOBUFS))


def receive_load(channel: socket) -> list[int]:
    """Take what `send_load` sent. Raises OSError if it is not there, or not all of it."""
    fds: list[int] = []
    while True:
        record = receive(channel)
        if record is None or record.kind != LOAD:
            close_all(fds if record is None else [*fds, *record.fds])
            raise OSError(errno.EPROTO, os.strerror(errno.EPROTO))
        fds += record.fds
        if len(fds) >= record.numbers[0]:
            return fds


def receive(channel: socket, most_descriptors: int = MOST_DESCRIPTORS) -> Record | None:
    """Return the next record, END after the last, or None if there is none now.

    A peer that died with a record of ours unread shows as an error, behind which more may wait.
    """
    room = CMSG_LEN(most_descriptors * array.array("i").itemsize)
    while True:
        try:
            data, rights, _, _ = channel.recvmsg(
                LONGEST_RECORD, room, MSG_DONTWAIT | MSG_CMSG_CLOEXEC
            )
        except BlockingIOError:
            return None
        except ConnectionResetError:
            continue
        fds = array.array("i")
        for _, _, passed in rights:
            fds.frombytes(passed[: len(passed) - len(passed) % fds.itemsize])
        return Record(data[:1], data[1:], fds) if data else END


def close_all(fds: Iterable[int]) -> None:
    """Close descriptors that somebody sent."""
    for fd in fds:
        os.close(fd)
