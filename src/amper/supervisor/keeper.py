"""The keeper: one small process of each manager, fresh, from which the shims of its jobs are forked.

It is the next subreaper above the shims: where one is killed, the keeper has its job.

1. An exception that nobody handles would take down more than any signal: each step is inside a `try`,
   and what fails is the job that it was about. Where nothing but exceptions comes it ends: the shims
   go on without it, and the next job gets another keeper.
2. Nothing is imported late: the files may be gone, or be those of another version.
3. It never is in the session or group of a job, and keeps nothing that a job could hold.
"""

from __future__ import annotations

import contextlib
import gc
import mmap
import os
import select
import sys
from _socket import socket
from typing import Final

from amper.process.spawn import KNOWN_SIGNATURES, NOT_EXECUTABLE
from amper.supervisor.descent import is_alive
from amper.supervisor.orphans import IsDone, Orphans
from amper.supervisor.privileges import Privileges, become_subreaper
from amper.supervisor.shim import Shim
from amper.supervisor.wakeup import Wakeup, take_signals
from amper.supervisor.wire import (
    END,
    FAILED,
    LEADER,
    close_all,
    numbered,
    receive,
    send,
)

if sys.version_info[:2] not in KNOWN_SIGNATURES:
    import subprocess  # noqa: F401 - what starts commands there, imported while its file is there.

BROKEN: Final = 70
"""The exit code of a shim that met what it did not expect (EX_SOFTWARE)."""


MOST_FAILURES: Final = 100
"""So many in a row are no accident of one job."""


class Ward:
    """A shim, and what the keeper holds to go on in its place."""

    __slots__ = ("channel", "grace_period", "shared")

    def __init__(self, channel: int, grace_period: float) -> None:
        self.channel = channel
        self.grace_period = grace_period
        self.shared = mmap.mmap(-1, LEADER.size)


class Keeper:
    """Forks shims, and collects what becomes of them."""

    def __init__(self, orders: int, owner: int, privileges: Privileges) -> None:
        self._privileges = privileges
        self._orders = socket(fileno=orders)
        self._owner = owner
        self._has_orders = True
        self._has_owner = True
        self._wards: dict[int, Ward] = {}
        self._orphans = Orphans()
        self._wakeup = Wakeup()

    def run(self) -> None:
        """Work until the manager is gone, and every job with it."""
        failures = 0
        while self._has_orders or self._wards or self._orphans.are_left:
            try:
                self._wait()
                self._orphans.collect(self._wards, self._shim_ended)
                failures = 0
            except Exception:
                # See 1: there is nobody who could be told.
                failures += 1
                if failures > MOST_FAILURES:
                    raise

    def _wait(self) -> None:
        poll = select.poll()
        poll.register(self._wakeup.fd, select.POLLIN)
        if self._has_orders:
            poll.register(self._orders.fileno(), select.POLLIN)
        if self._has_owner:
            poll.register(self._owner, select.POLLIN)
        self._orphans.register(poll)
        for fd, _ in poll.poll(self._orphans.timeout()):
            if fd == self._wakeup.fd:
                self._wakeup.clear()
            elif fd == self._orders.fileno():
                self._obey()
            elif fd == self._owner:
                self._has_owner = self._has_orders = False
                self._orphans.lose_owner()
        self._orphans.tick()

    def _obey(self) -> None:
        while True:
            try:
                record = receive(self._orders)
            except OSError:
                record = END
            if record is None:
                return
            if record is END:
                self._has_orders = False
                # Whatever it was that ended it, nobody may believe that we take more.
                self._orders.close()
                return
            try:
                (milliseconds,), (channel,) = record.numbers, record.fds
            except ValueError:
                # Whatever it was, it was no job.
                close_all(record.fds)
            else:
                self._begin(channel, milliseconds / 1000)

    def _begin(self, channel: int, grace_period: float) -> None:
        """Fork the shim of a job."""
        try:
            ward = Ward(channel, grace_period)
            pid = os.fork()
        except OSError as error:
            _fail(channel, f"cannot fork: {error.strerror}".encode())
            os.close(channel)
            return
        if pid == 0:
            self._be_shim(ward)
        self._wards[pid] = ward

    def _be_shim(self, ward: Ward) -> None:
        """Be the child, to the end."""
        try:
            self._wakeup.forget()
            shim = Shim(ward.channel, ward.grace_period, self._owner)
            shim.run(ward.shared, self._privileges)
        except BaseException:  # noqa: BLE001 - the keeper, which goes on in our place, sees the code.
            os._exit(BROKEN)
        os._exit(0)

    def _shim_ended(self, pid: int, is_done: IsDone) -> None:
        """Go on in the place of a shim that did not come to its end."""
        ward = self._wards.pop(pid)
        (leader,) = LEADER.unpack_from(ward.shared)
        ward.shared.close()
        orphans = self._orphans
        if is_done or not orphans.take_over(ward.channel, leader, ward.grace_period, self._wards):
            os.close(ward.channel)


def _fail(channel: int, reason: bytes) -> None:
    sender = socket(fileno=channel)
    try:
        send(sender, numbered(FAILED, NOT_EXECUTABLE) + b" " + reason)
    except OSError:
        """Nobody is there who would like to know."""
    finally:
        sender.detach()


def main(orders: int, owner: int) -> None:
    """Be the keeper of the manager that holds the other end of `orders`; `owner` is its process."""
    try:
        for fd in (orders, owner):
            os.set_inheritable(fd, False)
        take_signals()
        become_subreaper()
        os.chdir("/")
        privileges = Privileges()
        with contextlib.suppress(OSError):
            # Without it a shim is larger, and nothing else.
            Shim.rehearse(owner, privileges)
        # What is here now is never garbage, and stays shared with every shim.
        gc.disable()
        gc.freeze()
        keeper = Keeper(orders, owner, privileges)
        if is_alive(owner):
            keeper.run()
    except BaseException:  # noqa: BLE001 - the manager sees that its keeper is gone.
        os._exit(BROKEN)
    os._exit(0)
