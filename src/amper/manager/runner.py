"""What the manager's own runners have in common: a job, a place to report to, process groups."""

from __future__ import annotations

import signal
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Final, Protocol

from amper.flow.cancel import CancellationToken
from amper.job.job import CommandJob, Job
from amper.job.runner import Runner, Streams
from amper.process.group import ProcessGroup
from amper.process.kernel import Kernel
from amper.process.scan import Look
from amper.supervisor.keepers import Keepers
from amper.values import Ended, EndedBy

if TYPE_CHECKING:
    from amper.manager.killing import Cascade
    from amper.manager.stopping import Confirmation

STOP_LIMIT: Final = 5.0
"""Seconds until we admit that something (traced, or in the D state) does not stop now."""

_NOT_DEADLY: Final = frozenset(
    {0, signal.SIGCHLD, signal.SIGCONT, signal.SIGURG, signal.SIGWINCH}
    | {signal.SIGSTOP, signal.SIGTSTP, signal.SIGTTIN, signal.SIGTTOU}
)


class Reports(Protocol):
    """Where a runner says that its job is over."""

    @property
    def kernel(self) -> Kernel:
        """What commands need. Raises OSError where there is no descriptor to open it."""
        ...

    @property
    def keepers(self) -> Keepers:
        """Who starts contained commands. Raises OSError where there is no descriptor to open it."""
        ...

    def job_ended(self, runner: LocalRunner, report: Ended) -> None:
        """Take the one report of `runner`."""
        ...

    def runs(self, runner: LocalRunner) -> None:
        """No shim has what runs there: read from the kernel whether it is stopped, when somebody asks."""
        ...

    def job_stopped(self, runner: LocalRunner) -> None:
        """Take note that the job of `runner` was stopped."""
        ...

    def job_resumed(self, runner: LocalRunner) -> None:
        """Take note that the job of `runner` runs on."""
        ...

    def cascade_ended(self, runner: LocalRunner) -> None:
        """Take note that the cascade of `runner` is over."""
        ...

    def kill_soon(self, runner: LocalRunner) -> None:
        """Begin the cascade that ends `runner` and everything of its groups."""
        ...

    def on_loop(self, step: Callable[[], None]) -> None:
        """Run `step` on the manager's loop, from whatever thread."""
        ...

    def is_loop_ending(self) -> bool:
        """Return whether every task of the loop is being cancelled."""
        ...


class LocalRunner(Runner):
    """A runner on this machine. The manager tells it its job, and where to report, before it starts."""

    job: Job
    reports: Reports
    signals_sent: frozenset[int] = frozenset()
    is_confirmed = True
    """Whether it is known which process the job has, if any."""

    def __init__(self, streams: Streams | None = None) -> None:
        super().__init__(streams)
        self.groups: Sequence[ProcessGroup] = ()
        self.cascade: Cascade | None = None
        self.confirmation: Confirmation | None = None
        self.has_place = False
        self.is_contained = False
        """Whether somebody beside us ends what the job has started, and proves it."""

    def be_cancelled(self) -> None:
        """The job's own token was tripped."""
        raise NotImplementedError

    def ask_to_stop(self) -> bool:
        """Ask the work itself to stop; its process groups are stopped by the manager.

        Return whether the runner will report it. If not, the process groups are all there is to see.
        """
        return False

    def ask_to_resume(self) -> bool:
        """Let the work run on; return whether the runner reports it."""
        return False

    def take_back_stop(self) -> None:
        """The work did not stop in time, and need not any more."""

    @property
    def is_stop_requested(self) -> bool:
        """Whether somebody who asked for a stop that is reported may still expect one."""
        return True

    def stop_limit(self, grace_period: float) -> float:
        """Return how many seconds a stop that is reported may take."""
        return STOP_LIMIT

    def own_token(self) -> CancellationToken:
        """Return the token that was set last, or else the job's own, which ends the job."""
        if self.token is None:
            token = CancellationToken()
            # Any thread may trip it, and may have it by `asyncio.to_thread`.
            token.on_cancel(lambda: self.reports.on_loop(lambda: self._token_cancelled(token)))
            self.token = token
        return self.token

    async def confirmed(self) -> None:
        """Wait until it is known which process the job has, if any."""

    @property
    def watched_groups(self) -> Sequence[ProcessGroup]:
        """The groups that a cascade has to end itself."""
        return self.groups

    def survivors(self) -> set[int]:
        """Look, at once, who lives of what the job has started, beside its groups."""
        return set()

    def add_group(self, group: ProcessGroup) -> None:
        """Count a process group as the job's; it is closed with the rest."""
        self.groups = (*self.groups, group)
        if self.cascade is not None:
            self.cascade.groups_added()

    def put_down_process(self, pid: int, pgid: int) -> None:
        """Put down which process of the embedder's works for the job now, in which group."""
        facts = self.job.own_facts()
        facts.pid, facts.pgid = pid, pgid
        self.put_down_group(pgid, pid)

    def put_down_group(self, pgid: int, member: int | None = None) -> None:
        """Put down a group that works for the job, once; it is the job's as long as that is proved."""
        facts = self.job.own_facts()
        if pgid in facts.pgids or (pgid == self.job.pgid and isinstance(self.job, CommandJob)):
            return
        facts.pgids = (*facts.pgids, pgid)
        try:
            group = ProcessGroup.find(pgid, self.reports.kernel.reserve, member)
        except OSError:
            # Without a descriptor nobody can prove whose group it is, and nobody will signal it.
            return
        if group is not None:
            self.add_group(group)

    def signal(self, number: int) -> bool:
        """Signal every group that is provably still the job's; False if there is none."""
        sent = [group.signal(number) for group in self.groups]
        if any(sent) and number not in _NOT_DEADLY:
            self.signals_sent |= {number}
        return any(sent)

    def remove_group(self, group: ProcessGroup) -> None:
        """Count a process group no more: nothing of it is left."""
        if self.groups == (group,):
            # Most jobs have no other.
            self.groups = ()
        else:
            self.groups = [other for other in self.groups if other is not group]

    @property
    def needs_place(self) -> bool:
        """Whether the job counts among those of which `max_running` may run."""
        return True

    @property
    def has_remains(self) -> bool:
        """Whether anything of a job that is over may still be there."""
        return any(not group.is_closed for group in self.groups)

    @property
    def is_killable(self) -> bool:
        """Whether there is anything that a signal or a token could reach."""
        return self.has_work or any(not group.is_gone() for group in self.groups)

    def hold(self) -> None:
        """The start comes later, out of the caller's sight."""

    def loop_closed(self) -> None:
        """The event loop that the job began on is over; the manager is on another one now."""

    def drop_cascade(self) -> bool:
        """Let go of a cascade whose loop is over, with all who waited for it; was there one?"""
        cascade, self.cascade = self.cascade, None
        if cascade is None:
            return False
        cascade.abandon()
        return True

    def cascade_ended(self) -> None:
        """The cascade is over, whatever it has found."""
        self.cascade = None
        self.reports.cascade_ended(self)

    def all_died(self) -> None:
        """The cascade has found that nothing of the job is left."""

    def close(self) -> None:
        """The manager ends: report at once what there is no way to end."""

    def abandon(self) -> None:
        """The manager has ended, with all that it could do: report what is not over, and let go."""
        self.give_up()
        self.let_go()

    @property
    def mark(self) -> bytes | None:
        """What the job's descendants carry in their environment, if anything."""
        return None

    def name_survivors(self, pids: Sequence[int]) -> None:
        """Put on record which processes SIGKILL did not end."""
        ended_by = self.ended_by
        if ended_by is not None:
            named = f"not ended by SIGKILL: {', '.join(map(str, pids))}"
            reason = f"{ended_by.reason}; {named}" if ended_by.reason else named
            self.ended_by = replace(ended_by, reason=reason)

    def let_go(self) -> None:
        """Close the descriptors that are still held for the job, whatever still runs."""
        self.let_go_of_groups()

    def let_go_of_groups(self) -> None:
        """Give up the identity of the job's process groups: nothing of them is left, or may be."""
        for group in self.groups:
            group.close()

    def has_members(self, look: Look) -> bool:
        """Return whether a look at all processes found any of the job's groups."""
        return any(group.pgid in look.groups for group in self.groups if not group.is_closed)

    def forget_dead_and_zombies(self) -> None:
        """Close what is held for groups of which nobody lives; it costs a look at all processes."""
        for group in self.groups:
            group.close_if_dead(self.reports.kernel.reserve)

    def forget_dead_groups(self) -> None:
        """Close what is held for groups of which nothing is left."""
        for group in self.groups:
            if group.is_gone():
                group.close()

    def _token_cancelled(self, token: CancellationToken) -> None:
        # One that was replaced meanwhile has nothing to say any more.
        if token is self.token and not self.is_over:
            self.claim(EndedBy("cancel", token.reason))
            self.be_cancelled()
