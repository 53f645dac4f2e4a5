"""The manager's side of keepers: start one when a job needs it, hand jobs over, end it with the manager.

1. A keeper that is gone takes no job with it: its shims go on, and the next job starts another.
2. Only so many jobs are under way to a keeper that has not begun with them: the kernel bounds how many
   descriptors of a user are in flight. The others wait here, in order.
3. A keeper has the user and the groups that this process had when it was started. Where those have
   changed since, another one is started: no job ever has more rights than its owner.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import sys
from collections import deque
from pathlib import Path
from typing import Final, Protocol

import amper
from amper.flow.settle import settle
from amper.process.kernel import Kernel
from amper.process.poller import READABLE, WRITABLE
from amper.process.reap import reap
from amper.process.spawn import NOT_EXECUTABLE, CannotStart, Program, cannot_start, spawn
from amper.supervisor.descent import is_alive
from amper.supervisor.wire import JOB, numbered, send

MOST_UNDER_WAY: Final = 16

LONGEST_END: Final = 1.0
"""Seconds until a keeper that does not end is left alone: something of a job cannot be killed."""

MOST_KEEPERS: Final = 8
"""So many that end before they have begun with a job are no accident, and one more will not mend it."""

NO_KEEPER: Final = "cannot contain it: no keeper can be started"
KEEPERS_DIE: Final = "cannot contain it: its keeper ended before it could start it"
NO_PYTHON: Final = f"{NO_KEEPER}: this program was not started by a Python interpreter"

_CODE: Final = """\
import sys
sys.path.append(sys.argv[1])
from amper.supervisor.keeper import main
main(int(sys.argv[2]), int(sys.argv[3]))
"""


class Handover(Protocol):
    """A job on its way to a shim."""

    def take_channel(self) -> int:
        """Return the other end of the job's channel, with all in it that a shim needs; -1 to go by.

        Raises OSError.
        """
        ...

    def handed_over(self) -> None:
        """A keeper has it."""
        ...

    def cannot_start(self, error: CannotStart) -> None:
        """There is no keeper to start it, and will not be."""
        ...


class Keeper:
    """One keeper, as the manager that started it sees it. It ends when it is closed or collected."""

    def __init__(self, kernel: Kernel) -> None:
        """Start it. Raises CannotStart, OSError."""
        self.rights = rights()
        self._pidfd = -1
        self._orders, childs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        try:
            self.pid = _start(kernel, childs)
        except BaseException:
            self._orders.close()
            raise
        finally:
            childs.close()
        with contextlib.suppress(OSError):
            # Where SIGCHLD is ignored it may be gone already, which the first job will find out.
            self._pidfd = kernel.reserve.pidfd_open(self.pid)

    @property
    def pidfd(self) -> int:
        """What holds it; -1 where nothing does."""
        return self._pidfd

    def fileno(self) -> int:
        """Return the descriptor that is writable when it takes more jobs."""
        return self._orders.fileno()

    def hand(self, channel: int, grace_period: float) -> bool:
        """Hand a job over; False if it cannot take one now. Raises OSError."""
        self.wake()
        return send(self._orders, numbered(JOB, int(grace_period * 1000)), [channel])

    def wake(self) -> None:
        """Let it run on if somebody has stopped it."""
        if self._pidfd >= 0:
            # It may be gone, which its pidfd tells, or belong to a user that we no longer are.
            with contextlib.suppress(ProcessLookupError, PermissionError):
                signal.pidfd_send_signal(self._pidfd, signal.SIGCONT)

    def release(self) -> None:
        """Let it go: it ends when its last shim does."""
        self._orders.close()

    @property
    def is_over(self) -> bool:
        """Whether it has ended, as far as anybody can tell."""
        return self._pidfd < 0 or not is_alive(self._pidfd)

    def collect(self) -> bool:
        """Reap it; False if it is not over."""
        if self._pidfd < 0:
            return True
        if reap(self.pid, self._pidfd) is None:
            return False
        os.close(self._pidfd)
        self._pidfd = -1
        return True

    def __del__(self) -> None:
        # A manager that is dropped without being closed ends its keeper, and leaves nothing open.
        if not hasattr(self, "_orders"):
            # There was no descriptor for it, and nothing was started.
            return
        self.release()
        if self._pidfd >= 0 and not self.collect():
            os.close(self._pidfd)
            self._pidfd = -1


class Keepers:
    """The keepers of one manager: one that takes jobs, and those that only finish theirs."""

    def __init__(self, kernel: Kernel, grace_period: float) -> None:
        self._kernel = kernel
        self._grace_period = grace_period
        self._current: Keeper | None = None
        self._former: list[Keeper] = []
        self._waiting: deque[Handover] = deque()
        self._under_way = 0
        self._users = 0
        self._watched = -1
        self._is_busy = False
        self._closing: asyncio.Future[None] | None = None

    def hand(self, job: Handover) -> None:
        """Hand a job over as soon as there is a keeper for it, after those that came before."""
        self._waiting.append(job)
        self._advance()

    def begun(self) -> None:
        """A shim has begun with a job that was handed over, or never will."""
        self._under_way -= 1
        self._advance()

    def add_user(self) -> None:
        """A job needs the keeper: somebody wants to know if it dies."""
        self._users += 1
        self._watch()

    def remove_user(self) -> None:
        """A job needs it no more. Where there is none nothing of ours keeps the loop, or is kept by it."""
        self._users -= 1
        self._watch()

    def wake(self) -> None:
        """Let all of them run on: where one is stopped, a stopped shim stays so, and its job with it."""
        for keeper in (self._current, *self._former):
            if keeper is not None:
                keeper.wake()

    def close(self) -> asyncio.Future[None]:
        """End the keepers; the future is done when they are reaped, or will not end."""
        loop = self._kernel.loop
        self._closing = loop.create_future()
        self._retire()
        self.wake()
        for keeper in self._former:
            if keeper.pidfd >= 0:
                # Whoever began to close on a loop that is over may have come as far as this.
                self._kernel.poller.remove(keeper.pidfd)
                self._kernel.poller.add(keeper.pidfd, READABLE, self)
        timer = loop.call_later(LONGEST_END, self._stop_waiting)
        self._closing.add_done_callback(lambda _: timer.cancel())
        self._collect()
        return self._closing

    def ready(self, fd: int, events: int) -> None:
        """The keeper takes jobs again, or is dead."""
        current = self._current
        if current is not None and fd == current.fileno():
            self._kernel.poller.remove(fd)
        elif current is not None and fd == current.pidfd:
            self._retire()
        self._collect()
        self._advance()

    def _advance(self) -> None:
        """Hand over what waits, as far as there is room."""
        # One that cannot be started may let the next one begin, which comes here, too.
        if self._is_busy:
            return
        self._is_busy = True
        try:
            while self._waiting and self._under_way < MOST_UNDER_WAY and self._hand_next():
                pass
        finally:
            self._is_busy = False

    def _hand_next(self) -> bool:
        """Hand over the first; return whether the next may follow."""
        job = self._waiting[0]
        try:
            channel = job.take_channel()
            if channel >= 0 and not self._hand(channel):
                return False
        except CannotStart as error:
            self._waiting.popleft()
            job.cannot_start(error)
            return True
        except OSError as error:
            self._waiting.popleft()
            job.cannot_start(cannot_start(error))
            return True
        self._waiting.popleft()
        if channel >= 0:
            self._under_way += 1
            job.handed_over()
        return True

    def _hand(self, channel: int) -> bool:
        """Hand over to a keeper that lives; False if it has no room. Raises CannotStart, OSError."""
        for _ in range(MOST_KEEPERS):
            keeper = self._fitting()
            try:
                if keeper.hand(channel, self._grace_period):
                    return True
            except (BrokenPipeError, ConnectionResetError):
                # It is gone, if nobody has noticed yet.
                self._retire()
                continue
            # Another job may have found the same before.
            self._kernel.poller.remove(keeper.fileno())
            self._kernel.poller.add(keeper.fileno(), WRITABLE, self)
            return False
        raise CannotStart(NOT_EXECUTABLE, KEEPERS_DIE)

    def _fitting(self) -> Keeper:
        """Return a keeper with the rights of this moment."""
        current = self._current
        if current is not None and current.rights != rights():
            self._retire()
            current = None
        if current is None:
            self._collect()
            current = self._current = Keeper(self._kernel)
            self._watch()
        return current

    def _retire(self) -> None:
        """Give the current keeper no more jobs."""
        keeper, self._current = self._current, None
        self._watch()
        if keeper is not None:
            self._kernel.poller.remove(keeper.fileno())
            keeper.release()
            self._former.append(keeper)

    def _watch(self) -> None:
        """Watch the current keeper as long as jobs need it."""
        keeper = self._current
        wanted = keeper.pidfd if keeper is not None and self._users else -1
        if wanted == self._watched:
            return
        if self._watched >= 0:
            self._kernel.poller.remove(self._watched)
        self._watched = wanted
        if wanted >= 0:
            self._kernel.poller.add(wanted, READABLE, self)

    def _collect(self) -> None:
        """Reap those that are over."""
        for keeper in list(self._former):
            pidfd = keeper.pidfd
            if keeper.is_over:
                if pidfd >= 0:
                    self._kernel.poller.remove(pidfd)
                keeper.collect()
                self._former.remove(keeper)
        if not self._former:
            self._stop_waiting()

    def _stop_waiting(self) -> None:
        for keeper in self._former:
            if keeper.pidfd >= 0:
                self._kernel.poller.remove(keeper.pidfd)
        if self._closing is not None:
            settle(self._closing, None)


def rights() -> tuple[object, ...]:
    """Return what decides what this process may do, as far as it may change on the way."""
    root = os.stat("/")
    return os.getresuid(), os.getresgid(), os.getgroups(), root.st_dev, root.st_ino


def _start(kernel: Kernel, orders: socket.socket) -> int:
    """Start a keeper; return its pid. Raises CannotStart."""
    if not sys.executable or getattr(sys, "frozen", False):
        raise CannotStart(NOT_EXECUTABLE, NO_PYTHON)
    library = Path(amper.__file__).parent.parent
    try:
        kernel.reserve.fill()
        owner = kernel.reserve.pidfd_open(os.getpid())
    except OSError as error:
        raise cannot_start(error) from error
    try:
        # Descriptors that are passed on keep their numbers.
        fds = (orders.fileno(), owner)
        words = [sys.executable, "-I", "-S", "-c", _CODE, str(library), *map(str, fds)]
        program = Program(words, pass_fds=fds, session="ours")
        null = kernel.reserve.null
        return spawn(program, null, null, null, kernel.reports)
    except CannotStart as error:
        raise CannotStart(NOT_EXECUTABLE, f"{NO_KEEPER}: {error.reason}") from error
    finally:
        os.close(owner)
