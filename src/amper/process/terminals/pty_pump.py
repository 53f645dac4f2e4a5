"""Bytes between the master of a pty and streams.

1. What a process has written to its terminal may still be on its way to the master when it is dead,
   where no count shows it. Only a read waits for it. So the end is found by reading until nothing
   comes, and no further than a pty can hold.
2. Our own hold on the slave end keeps a master whose processes have all closed their terminal from
   failing and, since they may open it again, from being closed: that would hang up their session.
3. A read returns a part of what is there, and a hang-up may be told before the last bytes are: only
   EIO is the end.
4. Nothing is typed before the terminal controls its session: a Ctrl-C would reach nobody, and be gone.
"""

from __future__ import annotations

import errno
import fcntl
import os
import termios
from typing import Final

from amper.flow.stream import BoundedStream
from amper.process.poller import WRITABLE, Poller
from amper.process.pump import DEFAULT_PIPE_SIZE, InputOwner, InputPump, OutputPump
from amper.process.terminals.pty import IN_CONTROL, Pty

HOLDS: Final = DEFAULT_PIPE_SIZE
"""More than the two buffers of a pty, of 8 and 4 KiB, ever hold at one moment."""

READS_PER_WAKE_UP: Final = 8
"""Each gives 4 KiB at the most."""


class MasterPump(OutputPump):
    """Moves what is written to a pty into a stream. It owns the pty from then on."""

    __slots__ = ("_is_in_control", "_pty", "typing")

    def __init__(self, pty: Pty, stream: BoundedStream, poller: Poller) -> None:
        self._pty = pty
        self._is_in_control = False
        self.typing: MasterInput | None = None
        """What is typed there, until it may begin."""
        os.set_blocking(pty.master, False)
        try:
            super().__init__(pty.master, stream, poller)
        except OSError:
            # It was closed.
            pty.master = -1
            pty.close()
            raise

    def finish(self) -> bool:
        """Take what was written until this instant, and let go of the slave end."""
        if self._fd < 0:
            return True
        remaining = HOLDS
        while remaining > 0 and (count := self._read(DEFAULT_PIPE_SIZE)) > 0:
            remaining -= count
        self._pty.close_slave()
        # If nobody else has it open, this read tells so.
        if self._read(DEFAULT_PIPE_SIZE) == 0:
            self.close()
        return self._fd < 0

    def close(self) -> None:
        """Close the pty: what is left of its session hangs up."""
        if self._fd < 0:
            return
        self._poller.remove(self._fd)
        self._pty.close()
        self._fd = -1
        if self._late is not None:
            self._late.open_pipes -= 1

    def ready(self, fd: int, events: int) -> None:
        """Read a few times: each read gives little."""
        for _ in range(READS_PER_WAKE_UP):
            if self._late is not None:
                count = self._drain()
            else:
                count = self._read(DEFAULT_PIPE_SIZE)
            if count == 0:
                self.close()
            if count <= 0:
                return

    def _read(self, size: int) -> int:
        try:
            return super()._read(size) if self._is_in_control else self._read_first(size)
        except OSError as error:
            return _end(error)

    def _read_first(self, size: int) -> int:
        """Read once, as long as it is not known that the terminal controls its session."""
        try:
            data = os.read(self._fd, size)
        except BlockingIOError:
            return -1
        # A shell may have something to complain of before.
        before, mark, behind = data.partition(IN_CONTROL)
        if shown := before + behind:
            self.stream.write(shown)
        if mark:
            self._is_in_control = True
            typing, self.typing = self.typing, None
            if typing is not None:
                typing.begin()
        return len(data)

    def _drain(self) -> int:
        try:
            return super()._drain()
        except OSError as error:
            return _end(error)


class MasterInput(InputPump):
    """Types what a program is to read from its pty, from `begin` on."""

    __slots__ = ("_has_begun", "_is_line_open")

    def __init__(self, pty: Pty, poller: Poller, owner: InputOwner) -> None:
        self._has_begun = False
        self._is_line_open = False
        # One file is watched for reading and for writing, under a number for each.
        super().__init__(fcntl.fcntl(pty.master, fcntl.F_DUPFD_CLOEXEC, 3), poller, owner)

    def write(self, data: bytes) -> int:
        """Type `data`, as fast as the terminal takes it."""
        if data:
            self._is_line_open = not data.endswith(b"\n")
        return super().write(data)

    def close_when_written(self) -> None:
        """Type the end of the file (Ctrl-D) after all that was handed over: a terminal stays open."""
        if self.is_open and (end := self._end_of_file()):
            # The first ends a line that is open, and only one at the beginning of a line ends the file.
            self.write(end * 2 if self._is_line_open else end)
        super().close_when_written()

    def _end_of_file(self) -> bytes:
        character: bytes | int = termios.tcgetattr(self._fd)[6][termios.VEOF]
        # Without lines it is a number; and NUL is how a terminal is told to have no such character.
        typed = bytes([character]) if isinstance(character, int) else character
        return b"" if typed == b"\0" else typed

    def begin(self) -> None:
        """Type what was handed over so far, and from now on at once."""
        self._has_begun = True
        if self._pending:
            self._poller.add(self._fd, WRITABLE, self)

    def _feed(self) -> None:
        if self._has_begun:
            super()._feed()

    def _push(self) -> None:
        try:
            super()._push()
        except OSError as error:
            if _end(error) == 0:
                self.close()


def _end(error: OSError) -> int:
    """Return what a pipe says at its end; raise what is no end."""
    if error.errno != errno.EIO:
        raise error
    return 0
