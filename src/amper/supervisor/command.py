"""A command under a shim: the same pipes as any other, and a channel instead of a child.

What the shim reports plays the part of the leader's death: when it says that the leader is collected,
all that the leader wrote is in the pipes.

1. A command is started at most once. Where the channel ends before STARTING, it has not been, and goes
   to another shim; where it ends between that and STARTED, nobody knows, and it is lost.
2. The leader's pidfd comes from its parent, so that it is the leader's. It is how its group is reached,
   and the second witness of its end if shim and keeper are killed.
3. Nothing is told before all that waits in the channel is read: an end with nothing left is one event.
"""

from __future__ import annotations

from typing import Any, Final, Protocol

from amper.process.command import Command, Owner
from amper.process.descendants import hold_child, hold_descendants
from amper.process.group import ProcessGroup
from amper.process.kernel import Kernel
from amper.process.reap import Exit, decoded
from amper.process.spawn import NOT_EXECUTABLE, CannotStart, Program
from amper.process.state import is_stopped
from amper.supervisor.delivery import Delivery
from amper.supervisor.keepers import KEEPERS_DIE, Keepers
from amper.supervisor.wire import (
    ASK,
    CONTINUED,
    END,
    EXITED,
    FAILED,
    GONE,
    INSIST,
    LET_RUN,
    ORPHANED,
    REAPED,
    STARTED,
    STARTING,
    STOPPED,
    Record,
    close_all,
)
from amper.supervisor.witness import Witness
from amper.values import ExitStatus, Usage

UNKNOWN: Final = Exit(None, None)


class ContainedOwner(Owner, Protocol):
    """Whoever runs a contained command. All of it is called on the loop."""

    def leader_started(self) -> None:
        """The leader runs: `pid` and `group` are known."""
        ...

    def leader_stopped(self) -> None:
        """The leader was stopped."""
        ...

    def leader_continued(self) -> None:
        """The leader runs on."""
        ...

    def start_failed(self, error: CannotStart) -> None:
        """It could not be started."""
        ...

    def start_withdrawn(self) -> None:
        """It was asked to end before it was started, and is not started now."""
        ...

    def tree_gone(self) -> None:
        """Nothing of the job is left: that is proved."""
        ...

    def shim_lost(self) -> None:
        """Shim and keeper are gone: from now on the leader's group is all that can be reached."""
        ...


class ContainedCommand(Command):
    """A command that a shim starts and contains."""

    __slots__ = (
        "_delivery",
        "_exit",
        "_failure",
        "_is_asked",
        "_is_begun",
        "_is_launched",
        "_is_told",
        "_leader",
        "_leads_session",
        "_shim",
        "_status",
        "_witness",
        "is_adrift",
        "is_gone",
    )
    _owner: ContainedOwner

    def __init__(self, keepers: Keepers, kernel: Kernel, *arguments: Any, **options: Any) -> None:
        """Hand it to a keeper. Raises CannotStart, and then nothing is left behind."""
        self._delivery = Delivery(keepers, kernel.poller, self)
        self._shim = 0
        self._leader = -1
        self._leads_session = False
        self._status: ExitStatus | None = None
        self._exit: Exit | None = None
        self._failure: CannotStart | None = None
        self._witness: Witness | None = None
        self._is_asked = False
        self._is_begun = False
        self._is_launched = False
        self._is_told = False
        self.is_gone = False
        self.is_adrift = False
        super().__init__(kernel, *arguments, **options)
        self._is_launched = True

    # What the embedder's side asks for.

    def ask(self) -> None:
        """Ask everything of the job to end."""
        self._is_asked = True
        if self._delivery.is_waiting:
            self._delivery.let_go()
            self._withdraw()
        else:
            self._delivery.urge(ASK)

    def let_run(self) -> None:
        """Let a command of our session run: it is where it belongs."""
        self._delivery.send(LET_RUN)

    def insist(self) -> None:
        """Kill everything of the job, until nothing is left."""
        self._delivery.urge(INSIST)

    def is_stopped(self) -> bool | None:
        group = self.group
        return None if group is None or group.is_closed else is_stopped(self.pid, self._leader)

    def survivors(self) -> set[int]:
        """Look who of the job lives, at once."""
        if not self._delivery.is_open or not self._shim:
            return set()
        # The shim lives as long as its channel does not end, and then its number is its own.
        held = hold_descendants(self._shim, lambda: True, self._kernel.reserve)
        close_all(pidfd for _, pidfd in held)
        return {pid for pid, _ in held}

    def close(self) -> None:
        super().close()
        self._delivery.hang_up()
        self._delivery.let_go()
        if self._witness is not None:
            self._witness.close()

    def _launch(
        self, program: Program, stdin: int, stdout: int, stderr: int, childs: list[int]
    ) -> None:
        self.pid = 0
        if program.reason is not None:
            raise CannotStart(NOT_EXECUTABLE, program.reason)
        program.audit()
        self._leads_session = program.session == "own"
        self._delivery.send_off(program, (stdin, stdout, stderr))
        if self._failure is not None:
            raise self._failure

    def undeliverable(self, error: CannotStart) -> None:
        """There is no keeper for it."""
        self._failure = error
        self._settle(is_end=False)

    # What the shim says.

    def ready(self, fd: int, events: int) -> None:
        """Read what came over the channel."""
        record: Record | None = None
        while record is not END:
            record = self._delivery.receive()
            if record is None:
                break
            self._take(record)
        self._settle(is_end=record is END)

    def _take(self, record: Record) -> None:
        kind, owner = record.kind, self._owner
        if kind == STARTING:
            (self._shim,) = record.numbers
            self._is_begun = True
            self._delivery.arrived()
        elif kind == STARTED:
            self._started(record)
        elif kind == FAILED:
            code, _, reason = record.rest.partition(b" ")
            self._failure = CannotStart(int(code), reason.decode("utf-8", "surrogateescape"))
        elif kind == STOPPED:
            owner.leader_stopped()
        elif kind == CONTINUED:
            owner.leader_continued()
        elif kind == EXITED:
            self._status = self._status or decoded(record.numbers[0])
        elif kind == REAPED:
            self._exit = self._exit or Exit(self._status, _usage(record))
        elif kind == GONE:
            self.is_gone = True
        elif kind == ORPHANED:
            # There is no shim any more whose children could be looked at.
            self._shim = 0

    def _started(self, record: Record) -> None:
        if self.pid:
            # The keeper does not know what the shim has told already.
            close_all(record.fds)
            return
        (self.pid,) = record.numbers
        pidfd = record.fds[0] if record.fds else self._held_leader()
        if pidfd is not None:
            self._leader = pidfd
            self.group = ProcessGroup(self.pid, pidfd, leads_session=self._leads_session)
        self._owner.leader_started()

    def _held_leader(self) -> int | None:
        """Hold the leader where its pidfd was lost on the way: there was no descriptor for it."""
        return hold_child(self.pid, self._shim, lambda: True, self._kernel.reserve)

    def _settle(self, *, is_end: bool) -> None:
        """Tell the owner what has become of the job, now that all of it is known."""
        if self._failure is not None:
            self._fail(self._failure)
            return
        if is_end or self.is_gone:
            self._delivery.hang_up()
        if is_end and not self.is_gone and not self._is_begun:
            self._begin_again()
            return
        if is_end and not self.is_gone:
            self._go_adrift()
        try:
            self._tell_exit()
        finally:
            if self.is_gone:
                self._delivery.let_go()
                if self.group is not None:
                    self.group.close()
                self._owner.tree_gone()

    def _tell_exit(self) -> None:
        if self._exit is not None and not self._is_told:
            self._is_told = True
            self._owner.leader_ended(self._exit)

    def _fail(self, failure: CannotStart) -> None:
        self._delivery.hang_up()
        self._delivery.let_go()
        self.is_gone = True
        # Whoever starts it is told by the exception.
        if self._is_launched and not self._is_told:
            self._is_told = True
            self._owner.start_failed(failure)

    def _withdraw(self) -> None:
        self.is_gone = self._is_told = True
        self._owner.start_withdrawn()

    def _begin_again(self) -> None:
        """It has provably never been started: whoever had it is gone."""
        if self._is_asked:
            self._delivery.let_go()
            self._withdraw()
        elif not self._delivery.send_again():
            self._fail(CannotStart(NOT_EXECUTABLE, KEEPERS_DIE))

    def _go_adrift(self) -> None:
        """Shim and keeper are gone; init has what is left."""
        self._delivery.let_go()
        self.is_adrift = True
        if self._status is not None and self._exit is None:
            self._exit = Exit(self._status, None)
        if self._exit is None and not self._call_witness():
            self._exit = UNKNOWN
        self._owner.shim_lost()

    def _call_witness(self) -> bool:
        """Watch the leader ourselves; False where that is not possible."""
        if self.group is None or self.group.is_closed:
            return False
        try:
            self._witness = Witness(self._leader, self._kernel.poller, self._testified)
        except OSError:
            return False
        return True

    def _testified(self, status: ExitStatus | None) -> None:
        self._exit = Exit(status, None)
        self._tell_exit()

    # A manager that is dropped without being closed leaves nothing open.
    def __del__(self) -> None:
        for pump in self._pumps:
            pump.close()


def _usage(record: Record) -> Usage | None:
    if not record.rest:
        return None
    user, system, max_rss = record.numbers
    return Usage(user / 1e6, system / 1e6, max_rss * 1024)
