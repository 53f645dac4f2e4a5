"""A job as its supervisor sees it: what it still reports when the kernel takes less than all of it."""

from __future__ import annotations

import errno
import os
from collections.abc import Sequence
from typing import Any, cast

from amper.supervisor.charge import Charge
from amper.supervisor.wire import STARTED, numbered


class NoMoreDescriptors:
    """A channel of a user that has too many descriptors under way already."""

    def __init__(self) -> None:
        self.sent: list[bytes] = []

    def sendmsg(self, parts: Sequence[bytes], rights: Sequence[object], flags: int) -> None:
        if rights:
            raise OSError(errno.ETOOMANYREFS, os.strerror(errno.ETOOMANYREFS))
        self.sent += parts


def test_a_leader_is_told_of_without_its_pidfd_where_that_cannot_be_sent() -> None:
    channel = NoMoreDescriptors()
    Charge(cast(Any, channel), os.getpid(), 0.1).tell_started()
    assert channel.sent == [numbered(STARTED, os.getpid())]
