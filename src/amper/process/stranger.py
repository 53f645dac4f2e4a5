"""Signals to processes that are nobody's jobs: whoever has typed a number answers for it."""

from __future__ import annotations

import os
import signal


def signal_stranger(pid: int, number: int) -> None:
    """Send a signal to a process; 0 and a negative number are process groups, as for kill(2).

    A process is held by a pidfd meanwhile. Raises OSError where there is none, or where we may not,
    and ValueError for -1, which is every process that we could reach.
    """
    if pid == -1:
        raise ValueError("that is every process there is: not from here")
    if pid <= 0:
        os.kill(pid, number)
        return
    pidfd = os.pidfd_open(pid)
    try:
        signal.pidfd_send_signal(pidfd, number)
    finally:
        os.close(pidfd)
