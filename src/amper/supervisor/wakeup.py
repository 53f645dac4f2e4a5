"""Signals of a supervisor: which of them it takes note of, and a descriptor that SIGCHLD makes ready."""

from __future__ import annotations

import contextlib
import os
import signal
from types import FrameType
from typing import Final

SURVIVED: Final = (
    signal.SIGHUP,
    signal.SIGINT,
    signal.SIGQUIT,
    signal.SIGTERM,
    signal.SIGTSTP,
    signal.SIGTTIN,
    signal.SIGTTOU,
    signal.SIGUSR1,
    signal.SIGUSR2,
    signal.SIGALRM,
)
"""What a whole session or group may be sent, and what is no supervisor's to obey."""


def take_signals() -> None:
    """Survive what can be survived, and hear of children whatever whoever started us made of SIGCHLD.

    With handlers that do nothing: exec gives a job the default action back. What was ignored before
    stays so, for the jobs too, as nohup means it.
    """
    for number in SURVIVED:
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _do_nothing)
    signal.signal(signal.SIGCHLD, _do_nothing)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())


class Wakeup:
    """A pipe that is ready when a signal has come."""

    __slots__ = ("_write_end", "fd")

    def __init__(self) -> None:
        self.fd, self._write_end = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        signal.set_wakeup_fd(self._write_end, warn_on_full_buffer=False)

    def clear(self) -> None:
        """Take note of what has come."""
        with contextlib.suppress(BlockingIOError):
            os.read(self.fd, 4096)

    def close(self) -> None:
        """Hear of signals no more."""
        self.forget()
        os.close(self.fd)
        os.close(self._write_end)

    @staticmethod
    def forget() -> None:
        """After a fork: the pipe is the parent's."""
        signal.set_wakeup_fd(-1)


def _do_nothing(number: int, frame: FrameType | None) -> None:
    """Only be no default action."""
