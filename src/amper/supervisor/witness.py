"""The second witness of a leader's end: its pidfd, for when shim and keeper were killed."""

from __future__ import annotations

import os
from collections.abc import Callable

from amper.process.poller import HUNG_UP, READABLE, Poller
from amper.process.reap import status_of_reaped, tells_exits
from amper.values import ExitStatus


class Witness:
    """Watches a leader that is no child of ours, and says once how it ended, as far as that is known."""

    __slots__ = ("_pidfd", "_poller", "_tell")

    def __init__(
        self, leader: int, poller: Poller, tell: Callable[[ExitStatus | None], None]
    ) -> None:
        """Watch it by a duplicate of its pidfd. Raises OSError where that is not possible."""
        self._poller = poller
        self._tell = tell
        self._pidfd = os.dup(leader)
        try:
            poller.add(self._pidfd, READABLE, self)
        except BaseException:
            self.close()
            raise

    def ready(self, fd: int, events: int) -> None:
        """The leader is over. How, the kernel tells when init has collected it."""
        status = status_of_reaped(fd)
        if status is None and not events & HUNG_UP and tells_exits():
            self._poller.remove(fd)
            self._poller.add(fd, 0, self)
            return
        self.close()
        self._tell(status)

    def close(self) -> None:
        """Watch it no more."""
        if self._pidfd >= 0:
            self._poller.remove(self._pidfd)
            os.close(self._pidfd)
            self._pidfd = -1
