"""What finished jobs have left behind: processes of their groups, and pipes that those hold.

It is kept so that `kill` and the manager's end reach it, and let go when nothing of it is left: a
little of that is done for each new command, so that what is kept is bounded by what is alive.
"""

from __future__ import annotations

from itertools import islice
from typing import Final

from amper.manager.runner import LocalRunner
from amper.process.group import reap_leader_late
from amper.process.kernel import Kernel
from amper.process.scan import Look
from amper.values import JobId

LOOKS_PER_COMMAND: Final = 2
ZOMBIES_HELD: Final = 64
"""That many groups may be kept for zombies alone, and that many commands are started, before a look at
all processes is worth it."""


class Remains:
    """The runners of finished jobs of which something may be left, by their jobs' ids."""

    __slots__ = ("_commands_since_look", "_is_looking", "_runners")

    def __init__(self) -> None:
        self._runners: dict[JobId, LocalRunner] = {}
        self._is_looking = False
        self._commands_since_look = 0

    def add(self, runner: LocalRunner) -> None:
        """Keep what a job that has just ended left, if that is anything."""
        if runner.has_remains:
            self._runners[runner.job.id] = runner

    def get(self, id: JobId) -> LocalRunner | None:
        """Return what is left of a job."""
        return self._runners.get(id)

    def __len__(self) -> int:
        return len(self._runners)

    def all(self) -> list[LocalRunner]:
        """Return all that is kept."""
        return list(self._runners.values())

    def clear(self) -> None:
        """Keep nothing."""
        self._runners.clear()

    def sweep(self, kernel: Kernel) -> None:
        """Let go of some that are dead."""
        if not self._runners:
            return
        # On an older kernel it is we who hold each leader's zombie, and asking its group says nothing.
        if not reap_leader_late:
            for id in list(islice(self._runners, LOOKS_PER_COMMAND)):
                runner = self._runners.pop(id)
                runner.forget_dead_groups()
                self.add(runner)
        self._commands_since_look += 1
        if min(len(self._runners), self._commands_since_look) >= ZOMBIES_HELD:
            self._look_for_zombies(kernel)

    def _look_for_zombies(self, kernel: Kernel) -> None:
        """A group of zombies answers as if it lived: only a look at all processes tells."""
        if self._is_looking:
            return
        self._is_looking = True
        self._commands_since_look = 0
        asked = self.all()

        def found(look: Look) -> None:
            # A look is no snapshot, so that two must agree.
            dead = [runner for runner in asked if not runner.has_members(look)]
            kernel.scanner.ask(lambda look: self._reap(dead, look))

        kernel.scanner.ask(found)

    def _reap(self, runners: list[LocalRunner], look: Look) -> None:
        self._is_looking = False
        for runner in runners:
            if not runner.has_members(look):
                runner.let_go_of_groups()
                if not runner.has_remains:
                    self._runners.pop(runner.job.id, None)
