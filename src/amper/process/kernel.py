"""What all commands of one manager share: the poller, the look through /proc, the reserve."""

from __future__ import annotations

import asyncio
import os

from amper.process.descriptors import Reserve
from amper.process.environment import OwnEnvironment
from amper.process.poller import Poller
from amper.process.scan import ProcessScanner
from amper.process.spawn import ReportPipe


class Kernel:
    """The descriptors and watchers of one manager, moved from one event loop to the next."""

    __slots__ = ("environment", "loop", "mark", "poller", "reports", "reserve", "scanner")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.reserve = Reserve()
        self.reports = ReportPipe()
        self.poller = Poller()
        self.environment = OwnEnvironment()
        self.mark = os.urandom(8).hex().encode()
        """By which the descendants of this manager's commands are known."""
        self.scanner = ProcessScanner(self.reserve)
        self.attach(loop)

    def attach(self, loop: asyncio.AbstractEventLoop) -> None:
        """Work on `loop` from now on."""
        self.loop = loop
        self.poller.attach(loop)
        self.scanner.attach(loop)

    def close(self) -> None:
        """Close every descriptor of ours. What is still watched is let go."""
        self.poller.close()
        self.scanner.close()
        self.reserve.close()
        self.reports.close()
