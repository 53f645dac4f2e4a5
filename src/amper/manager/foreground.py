"""Commands of our terminal, as jobs: groups of our session, one of which may be in front.

Only a parent sees a stop while it happens, and a host's SIGCHLD is not ours. So such a command runs
under a shim, whatever the containment of others, and is held back until it is where it belongs.

1. The terminal is taken back before anybody hears of the stop or the end: whoever waits for it has it.
2. Nobody needs to wait: a job that was started in front gives the terminal back all the same.
"""

from __future__ import annotations

from amper.manager.commands import CommandOptions
from amper.manager.contained import ContainedRunner
from amper.process.descriptors import Reserve
from amper.process.reap import Exit
from amper.process.scan import members_of
from amper.process.terminals.foreground import Foreground
from amper.process.terminals.input_wait import waits_for_input
from amper.process.terminals.terminal import Terminal
from amper.supervisor.command import UNKNOWN


class TerminalRunner(ContainedRunner):
    """Runs one command in our session."""

    _turns: Foreground | None = None

    def __init__(self, options: CommandOptions, terminal: Terminal, *, in_front: bool) -> None:
        super().__init__(options)
        self._terminal = terminal
        self._begins_in_front = in_front

    def waits_for_input(self) -> bool | None:
        turns, device = self._turns, self._terminal.device
        if turns is None or device is None or self.is_over:
            return None
        is_in_front = turns.pgid == self._terminal.foreground
        return is_in_front and waits_for_input(members_of(turns.pgid, Reserve()), device)

    def come_to_front(self) -> bool:
        """Give the job the terminal, set as it left it; False if that could not be."""
        return self._turns is not None and self._turns.resume()

    def step_back(self) -> None:
        """Take the terminal back from a job that runs on, or is stopped."""
        if self._turns is not None:
            self._turns.stopped()

    def leader_started(self) -> None:
        super().leader_started()
        command = self.command
        assert command is not None
        self._turns = Foreground(self._terminal, command.pid)
        if self._begins_in_front:
            self._turns.resume()
        command.let_run()

    def leader_stopped(self) -> None:
        self.step_back()
        super().leader_stopped()

    def leader_ended(self, exit: Exit) -> None:
        self._give_back(exit)
        super().leader_ended(exit)

    def abandon(self) -> None:
        self._give_back(UNKNOWN)
        super().abandon()

    def _give_back(self, exit: Exit) -> None:
        if self._turns is not None:
            self._turns.ended(exit)
