"""Commands that a shim contains, as jobs: the same job, whose end is heard of by mail.

1. It is in the table, and has its streams, before it is started; which process it has is known when the
   shim says so.
2. As long as the shim lives it is the shim that ends what the job has started, and proves it. What the
   cascade decides is when.
"""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Sequence

from amper.flow.stream import wake
from amper.job.job import CommandJob
from amper.manager.commands import CommandRunner
from amper.manager.coroutines import CANCELLED, closed
from amper.manager.options import CommandOptions
from amper.process.command import Command
from amper.process.group import ProcessGroup, no_group
from amper.process.kernel import Kernel
from amper.process.reap import Exit
from amper.process.scan import Look
from amper.process.spawn import CannotStart
from amper.supervisor.command import ContainedCommand
from amper.values import Ended


class ContainedRunner(CommandRunner):
    """Runs one OS command under a shim."""

    is_confirmed = False
    command: ContainedCommand | None

    def __init__(self, options: CommandOptions) -> None:
        super().__init__(options)
        self.is_contained = True
        self._curious: list[asyncio.Future[None]] = []
        """Those of any thread who want to know which process it is."""

    def _command(self, kernel: Kernel, options: CommandOptions) -> ContainedCommand:
        return ContainedCommand(
            self.reports.keepers, kernel, options.program, *self._arguments(options)
        )

    def _begun(self, command: Command) -> None:
        """Nothing is known yet."""

    # What the shim says.

    def leader_started(self) -> None:
        """Put down which process the job has."""
        assert self.command is not None
        self._put_down(self.command)
        self._be_confirmed()

    def leader_stopped(self) -> None:
        """Put down that the job was stopped, by whomever."""
        if not self.is_over:
            self.reports.job_stopped(self)

    def leader_continued(self) -> None:
        """Put down that it runs on."""
        if not self.is_over:
            self.reports.job_resumed(self)

    def leader_ended(self, exit: Exit) -> None:
        status = exit.status
        if self.cascade is None and status is not None and status.signal != signal.SIGKILL:
            # Nothing else ends what is stopped: it ran on, and was over before the shim had seen that.
            self.leader_continued()
        super().leader_ended(exit)

    def start_failed(self, failure: CannotStart) -> None:
        if self.command is not None:
            self.command.close()
        self._be_confirmed()
        if not self.is_over:
            super().start_failed(failure)

    def start_withdrawn(self) -> None:
        """It was asked to end before it ran."""
        assert self.command is not None
        self.command.close()
        self._be_confirmed()
        if not self.is_over:
            self._report(Ended(closed(self.streams, CANCELLED)))

    def tree_gone(self) -> None:
        """Nothing of the job is left."""
        self._be_confirmed()
        if self.cascade is not None:
            self.cascade.work_ended()
        self.all_died()

    def shim_lost(self) -> None:
        """From now on the leader's group is all that can be reached."""
        self._be_confirmed()
        assert isinstance(self.job, CommandJob)
        self.job.containment = "group"
        self.reports.runs(self)
        if self.command is not None and not self.command.pid:
            # It may have been forked, and nobody can say which process it would be, but by its mark.
            self.add_group(no_group())
        elif self.cascade is not None:
            self.cascade.groups_added()
        elif self._exit is not None and not self.is_over and self.command is not None:
            # The leader is over, and who was to say that the rest is, is gone.
            super()._await_descendants(self.command)

    # Whether anything is left, and how it is ended.

    @property
    def _has_shim(self) -> bool:
        command = self.command
        return command is not None and not command.is_gone and not command.is_adrift

    @property
    def has_work(self) -> bool:
        return self._has_shim or super().has_work

    @property
    def has_remains(self) -> bool:
        return self._has_shim or super().has_remains

    @property
    def watched_groups(self) -> Sequence[ProcessGroup]:
        command = self.command
        if command is None or command.is_adrift:
            return self.groups
        # What the shim has, or has seen the end of, is nobody else's to look for.
        return [group for group in self.groups if group is not command.group]

    def has_members(self, look: Look) -> bool:
        return self._has_shim or super().has_members(look)

    def ask_to_end(self) -> None:
        if self.command is not None:
            self.command.ask()

    def insist(self) -> None:
        if self.command is not None:
            self.command.insist()

    def survivors(self) -> set[int]:
        return set() if self.command is None else self.command.survivors()

    def ask_to_resume(self) -> bool:
        # The groups are signalled by whoever asks. Only what the shim reports comes after its report
        # of the stop, should that be under way; of those that the leader has left it reports neither.
        return self._has_shim and self._exit is None

    def _has_descendants(self, command: Command) -> bool:
        return self._has_shim or super()._has_descendants(command)

    def _await_descendants(self, command: Command) -> None:
        # The shim says when they are gone.
        if not self._has_shim:
            super()._await_descendants(command)

    # Those who want to know which process it is.

    async def confirmed(self) -> None:
        while not self.is_confirmed and not self.is_over:
            waiter = asyncio.get_running_loop().create_future()
            self._curious.append(waiter)
            # In another thread it may have become known after the look, and before this one was seen.
            if not self.is_confirmed:
                await waiter

    def _be_confirmed(self) -> None:
        self.is_confirmed = True
        # In their order: who has come first may be about to wait for more.
        while self._curious:
            wake(self._curious.pop(0))

    def discard(self) -> None:
        self._be_confirmed()
        super().discard()

    def abandon(self) -> None:
        self._be_confirmed()
        super().abandon()
