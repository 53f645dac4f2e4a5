"""A process group that we may signal, because we can prove that its number is still the same group.

1. A pidfd of the group's leader reaches the group also after the leader is gone (Linux 6.9), and
   never reaches a recycled number. The kernel does not reuse a number that a group still has.
2. On an older kernel (`reap_leader_late`) the leader's zombie holds the number: it is reaped only
   when its group is let go.
3. A group whose leader is gone when we hear of it is held by one of its members.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import signal
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Final, Protocol

from amper.process.descendants import hold_descendants, is_alive_at
from amper.process.descriptors import Reserve
from amper.process.kernel import Kernel
from amper.process.poller import READABLE
from amper.process.procfs import members_of, read_group
from amper.process.reap import reap
from amper.process.scan import Look
from amper.process.state import is_stopped

if TYPE_CHECKING:
    from amper.process.sweep import Sweep

_PIDFD_SIGNAL_PROCESS_GROUP: Final = 1 << 2


def _can_signal_groups() -> bool:
    """Ask the kernel, once, whether a pidfd can reach a process group."""
    try:
        fd = os.pidfd_open(os.getpid())
    except OSError:
        return False
    try:
        signal.pidfd_send_signal(fd, 0, None, _PIDFD_SIGNAL_PROCESS_GROUP)
    except ProcessLookupError:
        return True  # We lead no group, and the kernel understood the question.
    except OSError:
        return False
    finally:
        os.close(fd)
    return True


reap_leader_late: Final = not _can_signal_groups()


class ProcessGroup:
    """A process group and the proof of its identity. Whoever makes one closes it."""

    __slots__ = ("_is_child", "_pidfd", "_witness", "leads_session", "pgid")

    def __init__(
        self,
        pgid: int,
        pidfd: int,
        *,
        witness: int | None = None,
        is_child: bool = False,
        leads_session: bool = False,
    ) -> None:
        self.pgid = pgid
        self._pidfd = pidfd
        self._witness = pgid if witness is None else witness
        self._is_child = is_child
        self.leads_session = leads_session
        """Whether its leader is a command of ours, which led the session of the same number."""

    @classmethod
    def find(cls, pgid: int, reserve: Reserve, member: int | None = None) -> ProcessGroup | None:
        """Return the group that has this number now, or None if there is none, or if it is our own.

        Whoever records a process that never got a group of its own must not end its host by that.
        `member` is a process that is likely to be in it: without that or a leader that lives, only a
        look at all processes finds one.
        """
        if pgid == os.getpgrp():
            return None
        try:
            os.killpg(pgid, 0)
        except ProcessLookupError:
            return None
        except PermissionError:
            """There is one, of another user's."""
        likely = (pgid,) if member is None else (pgid, member)
        for pid in itertools.chain(likely, members_of(pgid, reserve)):
            try:
                pidfd = reserve.pidfd_open(pid)
            except OSError:
                continue
            if read_group(pid, reserve) == pgid:
                return cls(pgid, pidfd, witness=pid)
            os.close(pidfd)
        return None

    @property
    def is_closed(self) -> bool:
        """Whether its identity was let go."""
        return self._pidfd < 0

    def signal(self, number: int) -> bool:
        """Signal every member. False if there is none left, or none that we may signal."""
        try:
            self._send(number)
        except (ProcessLookupError, PermissionError):
            return False
        return True

    def is_gone(self) -> bool:
        """Return whether no member is left. False may also mean that only zombies are."""
        if self._pidfd < 0:
            return True
        try:
            self._send(0)
        except ProcessLookupError:
            return True
        except PermissionError:
            return False
        return False

    def is_there(self) -> bool:
        """Return whether a member is left, if only as a zombie."""
        return not self.is_gone()

    def close_if_gone(self) -> None:
        """Let go of the group if no member is left, not even a zombie."""
        try:
            self._send(0)
        except ProcessLookupError:
            self.close()
        except PermissionError:
            """There is one, of another user's."""

    def close_if_dead(self, reserve: Reserve) -> None:
        """Let go of the group if nobody of it lives: zombies answer a signal as if they did.

        It looks at all processes, at once; since a look is no snapshot, two must agree.
        """
        if self.is_closed:
            return
        if self.is_gone() or not any(
            True for _ in range(2) for _ in members_of(self.pgid, reserve)
        ):
            self.close()

    def close(self) -> None:
        """Let go of the group's identity; it cannot be signalled any more."""
        pidfd, self._pidfd = self._pidfd, -1
        if pidfd < 0:
            return
        if self._is_child and reap_leader_late:
            reap(self.pgid, pidfd)
        os.close(pidfd)

    # A manager that is dropped without being closed leaves nothing open.
    __del__ = close

    def _send(self, number: int) -> None:
        if self._pidfd < 0:
            raise ProcessLookupError
        if not reap_leader_late and self._witness == self.pgid:
            signal.pidfd_send_signal(self._pidfd, number, None, _PIDFD_SIGNAL_PROCESS_GROUP)
        elif self._is_witnessed():
            os.killpg(self.pgid, number)
        else:
            raise ProcessLookupError

    def _is_witnessed(self) -> bool:
        """Return whether the process that we hold still exists (if only as a zombie) in the group."""
        try:
            signal.pidfd_send_signal(self._pidfd, 0)
            return os.getpgid(self._witness) == self.pgid
        except OSError:
            return False


def no_group() -> ProcessGroup:
    """Return one that reaches nobody, for a command of which only its session's mark is known."""
    return ProcessGroup(0, -1, leads_session=True)


class Mourner(Protocol):
    """Whoever waits until a group is gone."""

    def group_gone(self) -> None:
        """Nothing of the group is left; called once."""
        ...


class GroupWatch:
    """Tells when nothing of a group is left: by the members' pidfds, without polling.

    A member that moved to a group of its own counts as long as it lives, since it was the group's.
    """

    __slots__ = (
        "_empty_looks",
        "_is_looking",
        "_kernel",
        "_members",
        "_mourner",
        "group",
        "is_gone",
        "sweep",
    )

    def __init__(self, group: ProcessGroup, kernel: Kernel, mourner: Mourner) -> None:
        self.group = group
        self._kernel = kernel
        self._mourner: Mourner | None = mourner
        self._members: dict[int, int] | None = None
        """The pids of known members by the pidfds that hold them."""
        self._empty_looks = 0
        self._is_looking = False
        self.is_gone = False
        self.sweep: Sweep | None = None
        """Who looks for those that no group holds, if anybody does."""

    @property
    def known(self) -> set[int]:
        """The pids of the members that are held."""
        return set((self._members or {}).values())

    def are_known_stopped(self) -> bool | None:
        """Return whether the members that are known are stopped; None if none is known."""
        members = list((self._members or {}).items())
        if not members:
            return None
        return all(is_stopped(pid, pidfd) for pidfd, pid in members)

    def adopt_descendants(self) -> None:
        """Count the leader's and the members' descendants that have left the group as members, too."""
        if not self._kernel.scanner.is_childless(self.group.pgid):
            self._adopt_below(self.group.pgid, self.group.is_there)
        for pidfd, pid in list((self._members or {}).items()):
            self._adopt_below(pid, partial(is_alive_at, pidfd))

    def _adopt_below(self, ancestor: int, is_ours: Callable[[], bool]) -> None:
        reserve = self._kernel.reserve
        for pid, pidfd in hold_descendants(ancestor, is_ours, reserve):
            known = self._members is not None and pid in self._members.values()
            if known or read_group(pid, reserve) in (None, self.group.pgid):
                os.close(pidfd)
            else:
                self._hold(pid, pidfd)

    def check(self) -> bool:
        """Return whether nobody is left. If somebody is, the mourner is told when nobody is."""
        if self.is_gone:
            return True
        if self._members or self._is_looking or self._mourner is None:
            return False
        if self.group.is_gone():
            self.is_gone = True
            return True
        self._is_looking = True
        self._kernel.scanner.ask(self._found)
        return False

    def signal_members(self, number: int) -> None:
        """Signal the known members one by one: it reaches those that left the group, too."""
        for pidfd in self._members or ():
            with contextlib.suppress(ProcessLookupError, PermissionError):
                signal.pidfd_send_signal(pidfd, number)

    def survivors(self) -> set[int]:
        """Return the pids of all that are known to be left, in the group or not."""
        return self.known if self.sweep is None else self.known | self.sweep.survivors()

    def close(self) -> None:
        """Watch no more, and tell nobody."""
        self._mourner = None
        if self.sweep is not None:
            self.sweep.close()
            # They know each other, and would wait for the collector.
            self.sweep = None
        for pidfd in list(self._members or ()):
            self._forget(pidfd)

    def ready(self, fd: int, events: int) -> None:
        """A member has ended."""
        self._forget(fd)
        self._check_again()

    def _found(self, look: Look) -> None:
        self._is_looking = False
        if self._mourner is None or self._members:
            return
        pids = look.groups.get(self.group.pgid, ())
        # One is enough for now: when it is gone, the next look finds the rest.
        is_out_of_descriptors = not all(self._watch(pid) for pid in pids)
        if self._members:
            self._empty_looks = 0
            return
        if is_out_of_descriptors or pids:
            # Whoever was seen and has died since may have left a child that was not.
            self._empty_looks = 0
            self._check_again()
            return
        # A look is no snapshot: a member may have had a child behind its back, and died before it
        # came by. Zombies stay for as long as their parent likes, so two looks must do.
        self._empty_looks += 1
        if self._empty_looks == 2:
            self.is_gone = True
        self._check_again()

    def _check_again(self) -> None:
        if self.check() and self._mourner is not None:
            mourner, self._mourner = self._mourner, None
            mourner.group_gone()

    def _watch(self, pid: int) -> bool:
        """Hold a process if it is a member; False if there was no descriptor to do so, or no watch."""
        reserve = self._kernel.reserve
        try:
            pidfd = reserve.pidfd_open(pid)
        except ProcessLookupError:
            return True
        except OSError:
            return False
        try:
            group = read_group(pid, reserve)
        except OSError:
            os.close(pidfd)
            return False
        if group == self.group.pgid:
            return self._hold(pid, pidfd)
        os.close(pidfd)
        return True

    def _hold(self, pid: int, pidfd: int) -> bool:
        """Watch a process; False, and its pidfd is closed, where that is not possible."""
        try:
            self._kernel.poller.add(pidfd, READABLE, self)
        except OSError:
            # A user may watch only so many descriptors (epoll(7)).
            self._kernel.poller.remove(pidfd)
            os.close(pidfd)
            return False
        if self._members is None:
            self._members = {}
        self._members[pidfd] = pid
        return True

    def _forget(self, pidfd: int) -> None:
        if self._members is not None:
            del self._members[pidfd]
        self._kernel.poller.remove(pidfd)
        os.close(pidfd)
