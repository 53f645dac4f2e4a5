"""The terminal that controls our session: who is in front of it, its modes, its size.

1. No handler of the host's is changed: where a call would stop whoever is in the background, SIGTTOU
   is blocked in the calling thread for that moment.
2. A terminal that is gone, or a group that is, makes the answer False or None, and no exception.
3. It is taken from whoever we gave it to, and from whoever took it there. It is not taken from those
   above us: from a shell that put us in the background, and from what that shell runs now.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import signal
import stat
import struct
import termios
from collections.abc import Iterator
from typing import Final, NamedTuple, NewType

from amper.process.descriptors import Reserve, above_streams
from amper.process.procfs import members_of, read_stat

Modes = NewType("Modes", bytes)
"""All of a terminal's modes and control characters, as the kernel has them: equal or not."""

_ROOM: Final = bytes(256)
"""More than any kernel's `struct termios`."""

_MASTERS: Final = os.makedev(5, 2)
"""The device of every master of a pty, which answers as its terminal would."""

_SIZE: Final = struct.Struct("HHHH")


class Size(NamedTuple):
    """How many characters a terminal shows."""

    columns: int
    rows: int


class Terminal:
    """The terminal of our own session. Whoever opens one closes it."""

    __slots__ = ("_given", "_reserve", "fd")

    def __init__(self, fd: int, reserve: Reserve | None = None) -> None:
        self.fd = fd
        self._reserve = reserve or Reserve()
        self._given = 0
        """The group that was given the terminal last."""

    @classmethod
    def open(cls, fd: int | None = None, reserve: Reserve | None = None) -> Terminal | None:
        """Open the terminal that controls us, or take that behind `fd`, which stays the caller's.

        None if we have none, and if the one behind `fd` is another session's. With a `reserve` it is
        taken back from whoever took it also while no descriptor is free.
        """
        own = _open_tty() if fd is None else _duplicate(fd)
        if own is None:
            return None
        terminal = cls(own, reserve)
        if not _is_master(own) and terminal.foreground is not None:
            return terminal
        terminal.close()
        return None

    @property
    def foreground(self) -> int | None:
        """The process group in front of it, dead or alive; None if the terminal is gone."""
        try:
            return os.tcgetpgrp(self.fd)
        except OSError:
            return None

    @property
    def is_ours(self) -> bool:
        """Whether we are in front of it, and may read from it: Ctrl-C is meant for us."""
        return self.foreground == os.getpgrp()

    @property
    def device(self) -> int | None:
        """The number of the device, whatever name it was opened by; None if we have lost it."""
        return controlling_terminal(os.getpid())

    def give(self, pgid: int) -> bool:
        """Put a group of our session in front; False if it is gone, or the terminal not ours to give."""
        return self._is_ours_to_move() and self._set_foreground(pgid)

    def take_back(self) -> bool:
        """Put ourselves in front again; False if the terminal is gone, or those above us have it now."""
        if not self.is_ours and not (
            self._is_ours_to_move() and self._set_foreground(os.getpgrp())
        ):
            return False
        self._given = 0
        return True

    def modes(self) -> Modes | None:
        """Return how it is set; None if it is gone."""
        return modes_of(self.fd)

    def set_modes(self, modes: Modes) -> bool:
        """Set it, once all that was written is out; False if it is gone, or not ours to set."""
        return self._is_ours_to_move() and set_modes_of(self.fd, modes)

    def size(self) -> Size | None:
        """Return its size; None if it is gone."""
        return size_of(self.fd)

    def set_size(self, size: Size) -> bool:
        """Change its size, which the group in front hears of (SIGWINCH); False if it is gone."""
        return set_size_of(self.fd, size)

    def close(self) -> None:
        """Close our descriptor. What is in front stays there."""
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1

    # A manager that is dropped without being closed leaves nothing open.
    __del__ = close

    def _set_foreground(self, pgid: int) -> bool:
        with unstopped():
            try:
                os.tcsetpgrp(self.fd, pgid)
            except OSError:
                # The group is gone (EPERM, ESRCH), the terminal hung up (EIO) or is not ours any
                # more (ENOTTY). Who is there now is read anew whenever it matters.
                return False
        self._given = pgid
        return True

    def _is_ours_to_move(self) -> bool:
        foreground = self.foreground
        if foreground is None:
            return False
        if foreground in (os.getpgrp(), self._given):
            return True
        try:
            return not _is_above(foreground, self._reserve)
        except OSError:
            # There is no descriptor to look with.
            return False


def modes_of(fd: int) -> Modes | None:
    """Return how the terminal behind a descriptor is set; None if there is none."""
    try:
        return Modes(fcntl.ioctl(fd, termios.TCGETS, _ROOM))
    except OSError:
        return None


def set_modes_of(fd: int, modes: Modes) -> bool:
    """Set a terminal, whoever is in front of it, once all that was written is out (TCSADRAIN)."""
    with unstopped():
        try:
            fcntl.ioctl(fd, termios.TCSETSW, modes)
        except OSError:
            return False
    return True


def size_of(fd: int) -> Size | None:
    """Return the size of the terminal behind a descriptor; None if there is none."""
    try:
        rows, columns, _, _ = _SIZE.unpack(fcntl.ioctl(fd, termios.TIOCGWINSZ, bytes(_SIZE.size)))
    except OSError:
        return None
    return Size(columns, rows)


def set_size_of(fd: int, size: Size) -> bool:
    """Change the size; of a pty, the group in front of it gets SIGWINCH."""
    try:
        fcntl.ioctl(fd, termios.TIOCSWINSZ, _SIZE.pack(size.rows, size.columns, 0, 0))
    except OSError:
        return False
    return True


def controlling_terminal(pid: int) -> int | None:
    """Return the device that controls a process, as `os.stat` would number it; None if none does."""
    try:
        with open(f"/proc/{pid}/stat", "rb", buffering=0) as file:
            text = file.read(512)
    except OSError:
        return None
    number = int(text[text.rindex(b")") + 2 :].split(b" ", 5)[4])
    # The kernel tells it in a packing of its own.
    return (
        os.makedev(number >> 8 & 0xFFF, number & 0xFF | number >> 12 & 0xFFF00) if number else None
    )


@contextlib.contextmanager
def unstopped() -> Iterator[None]:
    """Keep what a process in the background must not do from stopping us."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTTOU})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _open_tty() -> int | None:
    try:
        fd = os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        return above_streams(fd)
    except OSError:
        os.close(fd)
        return None


def _duplicate(fd: int) -> int | None:
    try:
        return fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 3)
    except OSError:
        return None


def _is_master(fd: int) -> bool:
    status = os.fstat(fd)
    return stat.S_ISCHR(status.st_mode) and status.st_rdev == _MASTERS


def _is_above(pgid: int, reserve: Reserve) -> bool:
    """Return whether a group is that of a shell above us, or of what such a shell runs beside us.

    A dead group is not, and what our jobs have left is not either.
    """
    above = set(_ancestors(reserve))
    for pid in members_of(pgid, reserve):
        place = read_stat(pid, reserve)
        if pid in above or (place is not None and place.parent in above):
            return True
    return False


def _ancestors(reserve: Reserve) -> Iterator[int]:
    """Yield the processes of our session that we descend from."""
    session = os.getsid(0)
    pid = os.getppid()
    with contextlib.suppress(ProcessLookupError, PermissionError):
        while pid > 0 and os.getsid(pid) == session:
            yield pid
            place = read_stat(pid, reserve)
            pid = 0 if place is None else place.parent
