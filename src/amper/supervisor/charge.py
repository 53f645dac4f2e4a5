"""One job as its supervisor sees it: what it reports, and how it is brought to an end.

A shim has one charge; a keeper has one for each job whose shim was killed. It knows the job's channel
and leader, and not whose loop it is in: whoever has it calls, and hands in the children that count.

1. An exit is reported before it is collected: whoever dies between the two leaves a zombie that tells
   the next one up.
2. Reports are few. Stops that nobody reads are summed up in the last one.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
from _socket import socket
from collections.abc import Callable
from math import ceil
from typing import Final

from amper.process.gate import Gate
from amper.supervisor.descent import signal_descent
from amper.supervisor.wire import (
    ASK,
    CONTINUED,
    END,
    EXITED,
    INSIST,
    LET_RUN,
    REAPED,
    STARTED,
    STOPPED,
    close_all,
    numbered,
    receive,
    send,
)

ANY_CHANGE: Final = os.WEXITED | os.WSTOPPED | os.WCONTINUED | os.WNOHANG

ENDING: Final = (signal.SIGTERM, signal.SIGCONT)
"""A stopped process gets no other signal but the second, and SIGKILL."""

MOST_LOOKS: Final = 8
"""Whoever forks faster than it is asked to end is killed after the grace period."""

_CORE_DUMPED: Final = 0x80


class Charge:
    """A job that somebody supervises."""

    __slots__ = (
        "_grace_period",
        "_is_stopped",
        "_killed",
        "_unsent",
        "channel",
        "deadline",
        "gate",
        "has_owner",
        "is_killing",
        "leader",
    )

    def __init__(self, channel: socket, leader: int, grace_period: float) -> None:
        self.channel = channel
        self.leader = leader
        """The pid of the leader; 0 when there is none that could be asked about any more."""
        self.gate: Gate | None = None
        """What holds the command back, if anything."""
        self.has_owner = True
        self._is_stopped = False
        self.is_killing = False
        self.deadline: float | None = None
        """When an end that its owner's death asked for begins to kill."""
        self._grace_period = grace_period
        self._killed: set[int] = set()
        self._unsent: list[bytes] = []

    @property
    def has_unsent(self) -> bool:
        """Whether reports wait until there is room for them."""
        return bool(self._unsent) and self.has_owner

    def tell_started(self) -> None:
        """Report the leader, with a pidfd that its parent alone can be sure of."""
        record = numbered(STARTED, self.leader)
        try:
            pidfd = os.pidfd_open(self.leader)
        except OSError:
            self.report(record)
            return
        try:
            send(self.channel, record, [pidfd])
        except OSError:
            # Nobody listens any more, or the kernel takes no descriptor now: too many are under way.
            self.report(record)
        finally:
            os.close(pidfd)

    def report(self, record: bytes) -> None:
        """Tell the owner, now or as soon as it reads."""
        if self._unsent and _is_about_stops(record) and _is_about_stops(self._unsent[-1]):
            self._unsent.pop()
        self._unsent.append(record)
        self.send_unsent()

    def send_unsent(self) -> None:
        """Send what waits, as far as there is room."""
        try:
            while self._unsent and send(self.channel, self._unsent[0]):
                del self._unsent[0]
        except OSError:
            # Nobody listens any more, which the reading half of the channel tells, too.
            self._unsent.clear()

    def obey(self, roots: Callable[[], list[int]]) -> None:
        """Do what the owner wants; if it is gone, begin to end the job."""
        while self.has_owner:
            try:
                record = receive(self.channel)
            except OSError:
                record = END
            if record is None:
                return
            close_all(record.fds)
            if record is END:
                self.lose_owner(roots)
            elif record.kind == ASK:
                self.ask(roots)
            elif record.kind == INSIST:
                self.is_killing = True
            elif record.kind == LET_RUN and self.gate is not None:
                self.gate.open()

    def lose_owner(self, roots: Callable[[], list[int]]) -> None:
        """Nobody is left whose job this is: ask it to end, and kill it after the grace period."""
        if self.has_owner:
            self.has_owner = False
            self._unsent.clear()
            if self.gate is not None:
                # Nobody will say any more where it belongs, and it must not run elsewhere.
                self.gate.close()
            self.deadline = time.monotonic() + self._grace_period
            self.ask(roots)

    def ask(self, roots: Callable[[], list[int]]) -> None:
        """Ask everything of the job to end."""
        # Who has left the leader's group comes first, while its parents live. If they end of it, the
        # next look finds it among our own children.
        asked = signal_descent(roots(), ENDING, but_group=self.leader)
        for number in ENDING if self.leader > 0 else ():
            # One call that nobody escapes; while the leader is not collected its number is its own.
            with contextlib.suppress(OSError):
                os.killpg(self.leader, number)
        for _ in range(MOST_LOOKS):
            new = signal_descent(roots(), ENDING, but_group=self.leader, but=asked)
            if not new:
                return
            asked |= new

    def timeout(self) -> int | None:
        """Return the milliseconds until `tick` has something to do."""
        if self.deadline is None:
            return None
        return max(0, ceil((self.deadline - time.monotonic()) * 1000))

    def tick(self) -> None:
        """Begin to kill if it is time."""
        if self.deadline is not None and time.monotonic() >= self.deadline:
            self.deadline = None
            self.is_killing = True

    def kill(self, roots: list[int]) -> bool:
        """Kill everything that is there; return whether anything of it is new.

        Then there may be more. If not, the death of one of them tells.
        """
        reached = signal_descent(roots, [signal.SIGKILL])
        is_new = not reached <= self._killed
        self._killed |= reached
        return is_new

    def child_changed(self, change: os.waitid_result) -> None:
        """Report what became of a child that `waitid` has shown (WNOWAIT), and take note of it there."""
        pid = change.si_pid
        if pid != self.leader:
            change = os.waitid(os.P_PID, pid, ANY_CHANGE) or change
        elif is_end(change):
            self._leader_ended(change)
        else:
            # It may have been continued since it was shown: what counts is what is taken. Where it has
            # died the kernel says that there is no such child, and its end is shown next.
            with contextlib.suppress(ChildProcessError):
                taken = os.waitid(os.P_PID, pid, ANY_CHANGE & ~os.WEXITED)
                if taken is not None:
                    self._leader_changed(taken)
        if is_end(change):
            self._killed.discard(pid)

    def _leader_changed(self, taken: os.waitid_result) -> None:
        is_stop = taken.si_code != os.CLD_CONTINUED
        if is_stop and self._is_stopped:
            # A new stop takes the place of the notice that it was continued.
            self.report(CONTINUED)
        self._is_stopped = is_stop
        self.report(numbered(STOPPED, taken.si_status) if is_stop else CONTINUED)

    def _leader_ended(self, change: os.waitid_result) -> None:
        self.report(numbered(EXITED, _wait_status(change)))
        _, _, used = os.wait4(self.leader, os.WNOHANG)
        self.leader = 0
        user, system = int(used.ru_utime * 1e6), int(used.ru_stime * 1e6)
        self.report(numbered(REAPED, user, system, used.ru_maxrss))


def is_end(change: os.waitid_result) -> bool:
    """Return whether a change is the last one of a process."""
    return change.si_code in (os.CLD_EXITED, os.CLD_KILLED, os.CLD_DUMPED)


def _wait_status(change: os.waitid_result) -> int:
    if change.si_code == os.CLD_EXITED:
        return (change.si_status & 0xFF) << 8
    return change.si_status | (_CORE_DUMPED if change.si_code == os.CLD_DUMPED else 0)


def _is_about_stops(record: bytes) -> bool:
    return record[:1] in (STOPPED, CONTINUED)
