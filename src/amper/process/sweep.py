"""What a command has started and no signal to its group reaches: found, held, signalled, waited for.

It is known by its session, if the command led that; by a mark that the command got in its environment;
and as a descendant of one that is known. Best effort: whoever has cleared its environment, has made a
session of its own, and has lost its parent, is not found. But what is found is proved:

1. Each is held by a pidfd, and what makes it ours is read again after that.
2. A session's number is ours as long as the leader's group is there. Later it may be a stranger's, all
   of whose members are younger than the moment at which we knew.
"""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Sequence
from functools import partial

from amper.process.descendants import hold_descendants, is_alive_at
from amper.process.group import GroupWatch, Mourner
from amper.process.kernel import Kernel
from amper.process.poller import READABLE
from amper.process.procfs import EXECUTING, read_mark, read_stat, ticks_now
from amper.process.scan import Look


class Sweep:
    """One command's processes outside of its group, while it is being killed."""

    __slots__ = (
        "_began",
        "_begun",
        "_group",
        "_kernel",
        "_looks",
        "_mark",
        "_members",
        "_mourner",
        "_signals",
        "_watch",
        "is_gone",
    )

    def __init__(
        self, watch: GroupWatch, mark: bytes | None, kernel: Kernel, mourner: Mourner
    ) -> None:
        self._watch = watch
        self._group = watch.group
        self._mark = mark
        self._kernel = kernel
        self._mourner: Mourner | None = mourner
        self._members: dict[int, int] | None = None
        """The pids of those that are held, by their pidfds; most commands leave nobody to be held."""
        self._signals: tuple[int, ...] = ()
        self._looks = 0
        """How many were asked for and are not answered."""
        self._begun = 0
        """How many looks had begun when the last was asked for."""
        self._began = -1 if watch.group.is_gone() else ticks_now()
        self.is_gone = False
        """Whether the last look has found nobody, and nobody is held."""

    def signal(self, numbers: tuple[int, ...]) -> None:
        """Signal those that are held, and whoever a fresh look finds, when it does."""
        self._signals = numbers
        for pidfd in self._members or ():
            _send(pidfd, numbers)
        self.look()

    def look(self) -> None:
        """Look once more who is there, and tell the mourner when nobody is."""
        self.is_gone = False
        scanner = self._kernel.scanner
        if self._looks and self._begun == scanner.begun:
            # The one that was asked for has not begun.
            return
        self._looks += 1
        self._begun = scanner.begun
        if self._mark is None:
            scanner.ask_for_descendants(self)
        else:
            scanner.ask_for_marks(self)

    def survivors(self) -> set[int]:
        """Return the pids of those that are held."""
        return set((self._members or {}).values())

    def close(self) -> None:
        """Hold nobody any more, and tell nobody."""
        self._mourner = None
        for pidfd in list(self._members or ()):
            self._forget(pidfd)

    def ready(self, fd: int, events: int) -> None:
        """One of them has ended."""
        self._forget(fd)
        if not self._members and not self._looks and self._mourner is not None:
            self.look()

    def __call__(self, look: Look) -> None:
        """Take what a look has found. It listens itself: thousands may ask at once."""
        self._looks -= 1
        if self._mourner is None:
            return
        try:
            found = self._hold(look)
        except OSError:
            # There is no descriptor to hold them: those that are held may free some.
            found = 1
        if self._members or self._looks:
            return
        if found:
            self.look()
        else:
            self.is_gone = True
            self._mourner.group_gone()

    def _hold(self, look: Look) -> int:
        """Hold and signal those that are new, with their descendants; return how many there were.

        One that has died since the look counts: it may have left a child that the look has not seen.
        So does one of which nobody can tell at this moment whose it is: the next look finds it.
        """
        reserve, count = self._kernel.reserve, 0
        candidates = self._candidates(look)
        if candidates:
            # Whom the group's watch has found from above has got his signal.
            candidates -= self.survivors() | self._watch.known | {os.getpid()}
        for candidate in candidates:
            try:
                pidfd = reserve.pidfd_open(candidate)
            except ProcessLookupError:
                count += 1
                continue
            is_ours: bool | None = False
            try:
                count += read_stat(candidate, reserve) is None
                is_ours = self._is_ours(candidate, pidfd)
                count += is_ours is None
            finally:
                if not is_ours:
                    os.close(pidfd)
            if not is_ours:
                continue
            below = hold_descendants(candidate, partial(is_alive_at, pidfd), reserve)
            for pid, held in ((candidate, pidfd), *below):
                count += self._add(pid, held)
        return count

    def _add(self, pid: int, pidfd: int) -> bool:
        if pid in self.survivors() or pid in self._watch.known:
            os.close(pidfd)
            return False
        _send(pidfd, self._signals)
        try:
            self._kernel.poller.add(pidfd, READABLE, self)
        except OSError:
            # A user may watch only so many descriptors (epoll(7)). The next look finds it, if it lives.
            self._kernel.poller.remove(pidfd)
            os.close(pidfd)
        else:
            if self._members is None:
                self._members = {}
            self._members[pidfd] = pid
        return True

    def _candidates(self, look: Look) -> set[int]:
        """Return the pids of those that seem to be ours, and are in another group than the leader's."""
        pgid = self._group.pgid
        found: Sequence[int] = look.sessions.get(pgid, ()) if self._began >= 0 else ()
        if self._mark is not None:
            marked = look.marks.get(self._mark)
            if marked:
                found = [*found, *marked]
        # Most often there is nobody.
        return {pid for pid in found if look.stats[pid].group != pgid} if found else set()

    def _is_ours(self, pid: int, pidfd: int) -> bool | None:
        """Return whether the process that is held is the command's; None if it cannot be asked now."""
        reserve = self._kernel.reserve
        stat = read_stat(pid, reserve)
        if stat is None:
            return False
        is_ours = stat.session == self._group.pgid and self._is_session_ours(stat.started)
        if not is_ours and self._mark is not None:
            mark = read_mark(pid, reserve)
            if mark == EXECUTING:
                return None
            is_ours = mark == self._mark
        return is_ours and is_alive_at(pidfd)

    def _is_session_ours(self, started: int) -> bool:
        return 0 <= started < self._began or not self._group.is_gone()

    def _forget(self, pidfd: int) -> None:
        if self._members is not None:
            del self._members[pidfd]
        self._kernel.poller.remove(pidfd)
        os.close(pidfd)


def _send(pidfd: int, numbers: tuple[int, ...]) -> None:
    for number in numbers:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            signal.pidfd_send_signal(pidfd, number)
