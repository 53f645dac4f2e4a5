"""Jobs whose shim was killed: the keeper has become the parent of what is left of them.

Best effort, and small. What the shim knew is gone, but for the leader's pid in shared memory: who
belongs to which job is told by when they came, by session and by ancestry. Whoever cannot be told
apart (it takes two killed shims) is nobody's, and is ended with the last of these jobs, or the owner.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
from _socket import socket
from collections.abc import Callable, Collection
from functools import partial

from amper.supervisor.charge import ANY_CHANGE, Charge, is_end
from amper.supervisor.descent import OwnChildren, descent_of, signal_descent
from amper.supervisor.wire import GONE, ORPHANED, REAPED

IsDone = bool
"""Whether a shim has come to its end by itself."""


class Orphan:
    """One such job."""

    __slots__ = ("charge", "children", "has_heirs", "is_over", "known", "seen", "session")

    def __init__(self, charge: Charge) -> None:
        self.charge = charge
        self.session = charge.leader
        """That of its leader: it keeps its number as long as anybody is in it."""
        self.children: set[int] = set()
        """Those of its processes that are our children now."""
        self.seen: set[int] = set()
        """All of its processes, when we last looked."""
        self.known: set[int] = set()
        """Those, and who may have lost its parent before it could be seen again."""
        self.has_heirs = False
        """Whether one of them was collected after the look: its children are ours, and were not seen."""
        self.is_over = False
        """Whether it was told that nothing of it is left."""


class Orphans:
    """The jobs that a keeper supervises itself."""

    __slots__ = (
        "_children",
        "_has_owner",
        "_have_strays_heirs",
        "_is_look_old",
        "_jobs",
        "_killed",
        "_look",
        "_strays",
    )

    def __init__(self) -> None:
        self._look = OwnChildren()
        self._children: set[int] = set()
        """Those that a look has shown, and that were not collected since."""
        self._is_look_old = False
        self._have_strays_heirs = False
        self._killed: set[int] = set()
        """Those that were killed without a look at whose they are."""
        self._jobs: list[Orphan] = []
        self._strays: set[int] = set()
        self._has_owner = True

    @property
    def are_left(self) -> bool:
        """Whether there is anything to supervise."""
        return bool(self._jobs or self._strays) or self._have_strays_heirs

    def take_over(
        self, channel: int, leader: int, grace_period: float, shims: Collection[int]
    ) -> bool:
        """Go on with a job in the place of its shim; False if there is nothing to go on with.

        From then on the channel is ours.
        """
        self._children = set(self._look())
        if not leader:
            # It was killed after the fork, before it could tell: a leader leads its session.
            ours = {pid for job in self._jobs for pid in job.children}
            new = self._children.difference(ours, self._strays, shims)
            leaders = [pid for pid in new if _session_of(pid) == pid] or list(new)
            if not leaders:
                return False
            leader = leaders[0]
        self._is_look_old = True
        job = Orphan(Charge(socket(fileno=channel), leader, grace_period))
        self._jobs.append(job)
        job.charge.report(ORPHANED)
        if leader in self._children:
            # The shim may not have come to it.
            job.charge.tell_started()
            job.children.add(leader)
        else:
            # The shim had collected it, and may have said so or not.
            job.charge.leader = 0
            job.charge.report(REAPED)
        if not self._has_owner:
            job.charge.lose_owner(partial(self._roots, job))
        return True

    def lose_owner(self) -> None:
        """Nobody is left whose jobs these are."""
        self._has_owner = False
        for job in self._jobs:
            job.charge.lose_owner(partial(self._roots, job))

    # What the keeper's loop waits for.

    def register(self, poll: select.poll) -> None:
        """Wait for what the owner has to say."""
        for job in self._jobs:
            if job.charge.has_owner:
                wanted = select.POLLIN | (select.POLLOUT if job.charge.has_unsent else 0)
                poll.register(job.charge.channel.fileno(), wanted)

    def timeout(self) -> int | None:
        """Return the milliseconds until there is something to do that nobody tells."""
        if self._have_strays_heirs or any(job.has_heirs for job in self._jobs):
            return 0
        return min(
            (t for job in self._jobs if (t := job.charge.timeout()) is not None), default=None
        )

    def tick(self) -> None:
        """Do what is to be done now."""
        for job in self._jobs:
            job.charge.send_unsent()
            job.charge.obey(partial(self._roots, job))
            job.charge.tick()

    def collect(self, shims: Collection[int], shim_ended: Callable[[int, IsDone], None]) -> None:
        """Take note of what became of children, and kill what is to be killed."""
        while True:
            self._look_anew()
            if not self._collect_dead(shims, shim_ended):
                self._forget_heirs()
                break
            if self._is_look_old:
                # Only when no shim has died since may what the look has shown be shared out: then
                # all jobs that it may belong to are known.
                continue
            self._assign(shims)
            is_new = [
                job.charge.kill(self._roots(job)) for job in self._jobs if job.charge.is_killing
            ]
            if not self._has_owner and all(job.charge.is_killing for job in self._jobs):
                is_new.append(self._kill_all(shims))
            # Not earlier: whoever forks and ends all the time must be reached soon after the look.
            self._remember()
            if not any(is_new):
                break
        for job in list(self._jobs):
            # Else another look comes first, and whoever waits for us before that: somebody who forks
            # without end would keep us here.
            if not job.has_heirs:
                self._bury(job)

    def _look_anew(self) -> None:
        self._children = set(self._look())
        self._is_look_old = False
        self._forget_heirs()

    def _forget_heirs(self) -> None:
        self._have_strays_heirs = False
        for job in self._jobs:
            job.has_heirs = False

    def _kill_all(self, shims: Collection[int]) -> bool:
        """Kill everybody but shims; return whether anybody is new.

        It has a look of its own: whoever forks and ends all the time is reached right after one or not.
        """
        roots = [pid for pid in self._look() if pid not in shims]
        for pid in roots:
            with contextlib.suppress(PermissionError):
                os.kill(pid, signal.SIGKILL)
        reached = signal_descent(roots, [signal.SIGKILL])
        is_new = not reached <= self._killed
        self._killed |= reached
        return is_new

    def _bury(self, job: Orphan) -> None:
        """Tell that nothing of a job is left, once it is so, and forget it when that was heard."""
        charge = job.charge
        if self._roots(job):
            return
        if not job.is_over:
            job.is_over = True
            charge.report(GONE)
            left = self._left()
            if len(left) == 1 and (self._strays or self._have_strays_heirs):
                # They are the last one's, which is not over before another look has shown them.
                left[0].has_heirs = True
        if not charge.has_unsent:
            self._jobs.remove(job)
            charge.channel.close()

    def _collect_dead(
        self, shims: Collection[int], shim_ended: Callable[[int, IsDone], None]
    ) -> bool:
        """Return whether we have children at all."""
        try:
            while (change := os.waitid(os.P_ALL, 0, ANY_CHANGE | os.WNOWAIT)) is not None:
                if change.si_pid in shims:
                    self._children.discard(change.si_pid)
                    _collect_shim(change, shim_ended)
                else:
                    self._collect_orphan(change)
        except ChildProcessError:
            for job in self._jobs:
                job.children.clear()
            self._strays.clear()
            return False
        return True

    def _collect_orphan(self, change: os.waitid_result) -> None:
        pid = change.si_pid
        whose = [
            job
            for job in self._jobs
            if pid in job.children or pid in job.known or pid == job.charge.leader
        ]
        if whose:
            whose[0].charge.child_changed(change)
        else:
            os.waitid(os.P_PID, pid, ANY_CHANGE)
        if is_end(change):
            self._children.discard(pid)
            self._strays.discard(pid)
            self._killed.discard(pid)
            # One that came and died since the look is nobody's, where it may be that of several.
            known = whose or self._left()
            self._have_strays_heirs |= len(known) != 1
            for job in known if len(known) == 1 else ():
                job.has_heirs = True
                job.children.discard(pid)
                job.known.discard(pid)

    def _assign(self, shims: Collection[int]) -> None:
        """Find out whose our new children are."""
        children = self._children.difference(shims)
        self._strays &= children
        for pid in children.difference(*(job.children for job in self._jobs)):
            job = self._job_of(pid)
            if job is None:
                self._strays.add(pid)
            else:
                self._strays.discard(pid)
                job.children.add(pid)
        for job in self._jobs:
            job.children &= children

    def _remember(self) -> None:
        """Note who belongs to which job: a process that has lost its parent does not tell."""
        for job in self._jobs:
            before = job.known if job.has_heirs else job.seen
            job.seen = descent_of(job.children)
            # Who died since the look before has children that are ours, and that the next look shows.
            job.known = job.seen | before

    def _job_of(self, pid: int) -> Orphan | None:
        left = self._left()
        if len(left) == 1:
            return left[0]
        session = _session_of(pid)
        by_ancestry = [job for job in left if pid in job.known]
        # That comes first: an empty session's number may be another's by now.
        by_session = [job for job in left if session == job.session]
        return next(iter(by_ancestry + by_session), None)

    def _left(self) -> list[Orphan]:
        """Return the jobs that may have anybody: some have not heard yet that they are over."""
        return [job for job in self._jobs if not job.is_over]

    def _roots(self, job: Orphan) -> list[int]:
        return list(job.children)


def _collect_shim(change: os.waitid_result, shim_ended: Callable[[int, IsDone], None]) -> None:
    # It may have changed once more since it was shown.
    change = os.waitid(os.P_PID, change.si_pid, ANY_CHANGE) or change
    if change.si_code == os.CLD_STOPPED:
        # A job may do that to the parent of its leader, and nobody could end it then.
        os.kill(change.si_pid, signal.SIGCONT)
    elif is_end(change):
        shim_ended(change.si_pid, change.si_code == os.CLD_EXITED and change.si_status == 0)


def _session_of(pid: int) -> int:
    try:
        return os.getsid(pid)
    except OSError:
        return 0
