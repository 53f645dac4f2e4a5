"""Who of a job is left: counted by a tag in the command line, and by a pipe that they all hold."""

from __future__ import annotations

import contextlib
import itertools
import os
import select
import signal
from collections.abc import Iterator
from typing import Final

from amper import JobId, JobManager
from amper.manager.contained import ContainedRunner
from tests.handshakes import SCRIPT_DEADLINE, said, state_of, turns_until
from tests.unruly import unruly

_numbers = itertools.count()


class Tree:
    """A tag, and a pipe whose write end every process of a tree inherits."""

    def __init__(self) -> None:
        self.tag: Final = f"tree-{os.getpid()}-{next(_numbers)}"
        self._read_end, self.write_end = os.pipe()
        os.set_inheritable(self.write_end, True)

    def tagged(self) -> set[int]:
        """Return the pids of those that live and have the tag in their command line."""
        found = set()
        for name in filter(str.isdigit, os.listdir("/proc")):
            with contextlib.suppress(OSError), open(f"/proc/{name}/cmdline", "rb") as file:
                if self.tag.encode() in file.read() and state_of(int(name)) not in "ZX":
                    found.add(int(name))
        return found - {os.getpid()}

    def is_held(self) -> bool:
        """Return whether anybody but us holds the pipe."""
        self._let_go()
        return not self._is_ready(0)

    def wait_until_dead(self, *, but: int = 0) -> None:
        """Hold up everything until nobody holds the pipe or has the tag, but for one process."""
        self._let_go()
        assert self._is_ready(SCRIPT_DEADLINE)
        assert os.read(self._read_end, 1) == b""
        # Those that let go of the pipe on purpose tell nobody when they die.
        while self.tagged() - {but}:
            os.sched_yield()

    def _is_ready(self, seconds: float) -> bool:
        poll = select.poll()
        poll.register(self._read_end, select.POLLIN)
        return bool(poll.poll(seconds * 1000))

    def close(self) -> None:
        self._let_go()
        os.close(self._read_end)

    def _let_go(self) -> None:
        if self.write_end >= 0:
            os.close(self.write_end)
            self.write_end = -1


@contextlib.contextmanager
def tree() -> Iterator[Tree]:
    """Make a tree that nothing of is left after the block, also where the test fails."""
    made = Tree()
    try:
        yield made
    finally:
        looks = 100
        while looks > 0:
            found = made.tagged()
            # One look may come between two lives of something that forks and ends.
            looks -= 1 if found else 25
            for pid in found:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        made.close()


async def run_wild(jobs: JobManager, wild: Tree) -> JobId:
    """Start a job that spreads in every way there is, and return when it has."""
    id = await jobs.start(unruly("run_wild", wild.tag), pass_fds=[wild.write_end])
    await said(jobs, id)
    return id


def keeper_of(jobs: JobManager) -> int:
    """Return the pid of the keeper that takes a manager's jobs."""
    keeper = jobs._core.keepers._current
    assert keeper is not None
    return keeper.pid


def runner_of(jobs: JobManager, id: JobId) -> ContainedRunner:
    job = jobs.table.get(id)
    assert job is not None
    assert isinstance(job.runner, ContainedRunner)
    return job.runner


async def shim_of(jobs: JobManager, id: JobId) -> int:
    """Return the pid of the shim of a job that has started."""
    assert await jobs.get_process_info(id) is not None
    command = runner_of(jobs, id).command
    assert command is not None
    return command._shim


async def killed(pid: int) -> None:
    """End a keeper or a shim as nobody can prevent it, and return when its sockets are closed."""
    os.kill(pid, signal.SIGKILL)
    await turns_until(lambda: state_of(pid) in "ZX")
