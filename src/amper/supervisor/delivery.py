"""The way of a job to a shim: what it takes along, and the channel over which both talk from then on.

1. One shim at a time gets it. Where the channel ends before a shim has begun, another one may.
2. A keeper that dies with the job in its hands ends the channel: nobody needs to watch it for that.
"""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Iterable
from typing import Protocol

from amper.process.descriptors import NO_DESCRIPTORS
from amper.process.poller import READABLE, Poller, Watcher
from amper.process.spawn import CannotStart, Program, no_descriptor
from amper.supervisor.keepers import MOST_KEEPERS, Keepers
from amper.supervisor.wire import Record, Spec, close_all, receive, send, send_load


class Addressee(Watcher, Protocol):
    """Whose job it is: told, as a watcher, when there is something to `receive`."""

    def undeliverable(self, error: CannotStart) -> None:
        """There is no keeper for it."""
        ...


class Delivery:
    """One job on its way, or arrived."""

    __slots__ = (
        "_attempts",
        "_channel",
        "_is_handed",
        "_is_user",
        "_keepers",
        "_load",
        "_owner",
        "_poller",
        "_theirs",
    )

    def __init__(self, keepers: Keepers, poller: Poller, owner: Addressee) -> None:
        self._keepers = keepers
        self._poller = poller
        self._owner = owner
        self._channel: socket.socket | None = None
        self._theirs: socket.socket | None = None
        self._load: list[int] = []
        self._attempts = 0
        self._is_handed = False
        self._is_user = False

    def send_off(self, program: Program, streams: Iterable[int]) -> None:
        """Hand it to a keeper, or let it wait for its turn. Raises CannotStart, OSError."""
        # Under the numbers of standard streams the command has its own.
        passed = tuple(fd for fd in program.passed_fds if fd > 2)
        spec = Spec(
            program.arguments,
            program.executables,
            program.cwd,
            program.pin_environment(),
            passed,
            program.session,
        )
        self._keepers.add_user()
        self._is_user = True
        load = self._load
        load.append(spec.to_file())
        load.append(_directory(program))
        for fd in (*streams, *passed):
            try:
                load.append(os.dup(fd))
            except OSError as error:
                if error.errno in NO_DESCRIPTORS:
                    raise
                raise no_descriptor(program, error.strerror or str(error)) from error
        self._keepers.hand(self)

    def send_again(self) -> bool:
        """Hand it over once more; False if that was tried often enough."""
        if self._attempts >= MOST_KEEPERS:
            return False
        self._keepers.hand(self)
        return True

    # What the keepers ask for.

    def take_channel(self) -> int:
        """Return the end that a shim gets; -1 if the job is not to be started any more."""
        if not self._load:
            return -1
        if self._theirs is None:
            self._channel, self._theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            send_load(self._channel, self._load)
            self._poller.add(self._channel.fileno(), READABLE, self._owner)
        return self._theirs.fileno()

    def handed_over(self) -> None:
        """A keeper has it: when that dies, the channel ends."""
        assert self._theirs is not None
        self._theirs.close()
        self._theirs = None
        self._attempts += 1
        self._is_handed = True

    def cannot_start(self, error: CannotStart) -> None:
        """There is no keeper for it."""
        self._owner.undeliverable(error)

    # The channel.

    @property
    def is_waiting(self) -> bool:
        """Whether it waits for its turn yet."""
        return self._channel is None and bool(self._load)

    @property
    def is_open(self) -> bool:
        """Whether anything may come yet."""
        return self._channel is not None

    def receive(self) -> Record | None:
        """Return the next record, END after the last, or None if there is none now."""
        return None if self._channel is None else receive(self._channel)

    def send(self, order: bytes) -> None:
        """Send an order to whoever has the job, if anybody has."""
        if self._channel is not None:
            # Whoever had the job is gone: then the channel's end says so.
            with contextlib.suppress(OSError):
                send(self._channel, order)

    def urge(self, order: bytes) -> None:
        """Send an order for the job's end: a job may stop its supervisors, which run on for that."""
        self._keepers.wake()
        self.send(order)

    def arrived(self) -> None:
        """A shim has begun with it, and needs nothing more."""
        self._leave_keeper()
        self._drop_load()

    def hang_up(self) -> None:
        """Close the channel: to whoever is at its other end, the job has no owner any more."""
        channel, self._channel = self._channel, None
        if channel is not None:
            self._poller.remove(channel.fileno())
            channel.close()
        if self._theirs is not None:
            self._theirs.close()
            self._theirs = None
        self._leave_keeper()

    def let_go(self) -> None:
        """Nothing is left to be handed over, or to need a keeper."""
        self._drop_load()
        if self._is_user:
            self._is_user = False
            self._keepers.remove_user()

    def _leave_keeper(self) -> None:
        if self._is_handed:
            self._is_handed = False
            self._keepers.begun()

    def _drop_load(self) -> None:
        load, self._load = self._load, []
        close_all(load)

    # A manager that is dropped without being closed leaves nothing open.
    def __del__(self) -> None:
        for end in (self._channel, self._theirs):
            if end is not None:
                end.close()
        self._drop_load()


def _directory(program: Program) -> int:
    """Open the directory that we are in, in which a command begins."""
    flags = os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC
    try:
        return os.open(".", flags)
    except PermissionError:
        if program.cwd is None or not os.path.isabs(program.cwd):
            raise
        return os.open("/", flags)
