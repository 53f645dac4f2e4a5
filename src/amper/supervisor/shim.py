"""The shim: the process between the keeper and one job. It is forked, and never returns.

It starts the job's command as its child, so that it sees its stops and its exit, and it is a subreaper:
whoever of the job loses its parent becomes its child, too. When the kernel says that it has no child
(ECHILD), nothing of the job is left; that is the proof that no look at processes can give.

1. The command is started at most once: STARTING is sent before, and a shim that cannot send it starts
   nothing.
2. It stays as long as anything of the job does, and ends all of it when its owner is gone.
"""

from __future__ import annotations

import fcntl
import mmap
import os
import select
from _socket import AF_UNIX, SOCK_SEQPACKET, socket, socketpair
from collections.abc import Sequence
from typing import Final

from amper.process.gate import spawn_held
from amper.process.spawn import CannotStart, Program, ReportPipe, cannot_start, spawn
from amper.supervisor.charge import ANY_CHANGE, Charge
from amper.supervisor.descent import OwnChildren, is_alive
from amper.supervisor.privileges import Privileges, become_subreaper
from amper.supervisor.wakeup import Wakeup
from amper.supervisor.wire import (
    FAILED,
    GONE,
    LEADER,
    STARTING,
    Spec,
    close_all,
    numbered,
    receive,
    receive_load,
    send,
    send_load,
)

FIXED: Final = 5
"""Descriptors that come for every job: the spec, the directory, three streams."""

STARTS_REHEARSED: Final = 10
"""Code that has run so often is rewritten by the interpreter (PEP 659), in memory that a fork shares."""


class Shim:
    """The supervisor of one job."""

    def __init__(self, channel: int, grace_period: float, owner: int) -> None:
        self._channel = socket(fileno=channel)
        self._charge = Charge(self._channel, 0, grace_period)
        self._owner = owner

    def run(self, shared: mmap.mmap, privileges: Privileges) -> None:
        """Supervise the job to its end. `shared` is where the keeper looks for the leader's pid."""
        os.setpgid(0, 0)
        close_all_but((0, 1, 2, self._channel.fileno(), self._owner))
        become_subreaper()
        if not self._start(shared, privileges):
            return
        # Not earlier: its descriptors might have had the numbers of those that are passed on.
        wakeup = Wakeup()
        children = OwnChildren()
        while self._has_children(children):
            self._wait(wakeup, children)
        self._charge.report(GONE)
        while self._charge.has_unsent:
            self._wait(wakeup, children)

    @classmethod
    def rehearse(cls, owner: int, privileges: Privileges) -> None:
        """Do all that a shim does, in a process without children that is to fork shims.

        What the interpreter and the linker keep from the first times is shared by all shims then,
        and not copied by each: a fifth of a shim's memory. Raises OSError.
        """
        ours, theirs = socketpair(AF_UNIX, SOCK_SEQPACKET)
        shared = mmap.mmap(-1, LEADER.size)
        wakeup = Wakeup()
        try:
            shim = cls(theirs.detach(), 0.0, owner)
            for _ in range(STARTS_REHEARSED):
                load = [Spec([b"/"], (b"/",), None, [], (), "own").to_file()]
                try:
                    load.append(os.open("/", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC))
                    send_load(ours, [*load, *([load[-1]] * (FIXED - len(load)))])
                finally:
                    close_all(load)
                # A directory is no program, and then the privileges stay dropped.
                shim._start(shared, privileges)
                privileges.take()
            shim._charge.leader = os.fork()
            if shim._charge.leader == 0:
                os._exit(0)
            shim._charge.tell_started()
            children = OwnChildren()
            try:
                while shim._has_children(children):
                    shim._wait(wakeup, children)
            finally:
                children.close()
            shim._charge.report(GONE)
            while (record := receive(ours)) is not None:
                close_all(record.fds)
            shim._channel.close()
        finally:
            wakeup.close()
            shared.close()
            ours.close()
            theirs.close()

    # The start.

    def _start(self, shared: mmap.mmap, privileges: Privileges) -> bool:
        """Start the command; return whether it was tried, and the owner knows."""
        fds = receive_load(self._channel)
        spec = Spec.from_file(fds[0])
        fds = self._placed(fds, spec.passed_fds)
        if not is_alive(self._owner):
            return False
        try:
            send(self._channel, numbered(STARTING, os.getpid()))
        except OSError:
            return False
        privileges.drop()
        try:
            pid = self._spawn(spec, fds)
        except CannotStart as error:
            reason = error.reason.encode("utf-8", "surrogateescape")
            self._charge.report(numbered(FAILED, error.code) + b" " + reason[:4096])
            return True
        LEADER.pack_into(shared, 0, pid)
        self._charge.leader = pid
        self._charge.tell_started()
        privileges.take()
        return True

    def _spawn(self, spec: Spec, fds: Sequence[int]) -> int:
        """Start the command, and keep nothing of what it was given."""
        _, directory, stdin, stdout, stderr = fds[:FIXED]
        program = Program.of_parts(*spec)
        reports = ReportPipe()
        try:
            os.fchdir(directory)
            if program.session == "own":
                return spawn(program, stdin, stdout, stderr, reports)
            pid, self._charge.gate = spawn_held(program, stdin, stdout, stderr, reports)
            return pid
        except OSError as error:
            raise cannot_start(error) from error
        finally:
            reports.close()
            close_all(fds)
            os.chdir("/")

    def _placed(self, fds: list[int], numbers: Sequence[int]) -> list[int]:
        """Give the descriptors that are passed on the numbers that they had at their owner's."""
        if not numbers:
            return fds
        above = max(numbers) + 1
        self._channel = socket(fileno=_moved(self._channel.detach(), above))
        self._charge.channel = self._channel
        self._owner = _moved(self._owner, above)
        fds = [_moved(fd, above) for fd in fds]
        for fd, number in zip(fds[FIXED:], numbers, strict=True):
            os.dup2(fd, number, inheritable=False)
            os.close(fd)
        return [*fds[:FIXED], *numbers]

    # The loop.

    def _wait(self, wakeup: Wakeup, children: OwnChildren) -> None:
        charge = self._charge
        poll = select.poll()
        poll.register(wakeup.fd, select.POLLIN)
        channel = self._channel.fileno()
        if charge.has_owner:
            # At its end a channel is always ready.
            poll.register(channel, select.POLLIN | (select.POLLOUT if charge.has_unsent else 0))
            poll.register(self._owner, select.POLLIN)
        for fd, _ in poll.poll(charge.timeout()):
            if fd == wakeup.fd:
                wakeup.clear()
            elif fd == self._owner:
                charge.lose_owner(children)
            else:
                charge.send_unsent()
                charge.obey(children)
        charge.tick()

    def _has_children(self, children: OwnChildren) -> bool:
        """Take note of what became of children, and kill if that is asked for; False at ECHILD."""
        charge = self._charge
        while True:
            try:
                while (change := os.waitid(os.P_ALL, 0, ANY_CHANGE | os.WNOWAIT)) is not None:
                    charge.child_changed(change)
            except ChildProcessError:
                return False
            if not charge.is_killing or not charge.kill(children()):
                return True


def close_all_but(fds: Sequence[int]) -> None:
    """Close every descriptor that is not among these."""
    last = -1
    for fd in sorted(set(fds)):
        # Nothing between 0 and 0 would be taken for everything.
        if fd > last + 1:
            os.closerange(last + 1, fd)
        last = fd
    os.closerange(last + 1, 1 << 30)


def _moved(fd: int, above: int) -> int:
    try:
        return fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, above)
    finally:
        os.close(fd)
