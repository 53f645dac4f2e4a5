"""Collecting a dead child of ours, and nobody else's."""

from __future__ import annotations

import os
import platform
import signal
import subprocess
from collections.abc import Iterator

import pytest

from amper import ExitStatus
from amper.process.reap import Exit, peek, reap


class Child:
    """A child that has ended, or runs, held by its pidfd."""

    def __init__(self, command: str) -> None:
        self.popen = subprocess.Popen(["/bin/sh", "-c", command])
        self.pid = self.popen.pid
        self.pidfd = os.pidfd_open(self.pid)

    def wait_until_dead(self) -> None:
        os.waitid(os.P_PIDFD, self.pidfd, os.WEXITED | os.WNOWAIT)

    def close(self) -> None:
        os.close(self.pidfd)
        # Whoever has collected it behind its back tells it so.
        self.popen.returncode = 0


@pytest.fixture
def children() -> Iterator[list[Child]]:
    made: list[Child] = []
    yield made
    for child in made:
        child.close()


ENDS = [
    ("exit 0", ExitStatus.exited(0)),
    ("exit 3", ExitStatus.exited(3)),
    ("exit 255", ExitStatus.exited(255)),
    ("kill -TERM $$", ExitStatus.signaled(signal.SIGTERM)),
    ("kill -KILL $$", ExitStatus.signaled(signal.SIGKILL)),
    ("ulimit -c 0; kill -ABRT $$", ExitStatus.signaled(signal.SIGABRT)),
]


@pytest.mark.parametrize("command, status", ENDS)
def test_a_dead_child_is_collected_with_its_status_and_what_it_used(
    command: str, status: ExitStatus, children: list[Child]
) -> None:
    children.append(child := Child(command))
    child.wait_until_dead()
    looked = peek(child.pidfd)
    assert looked is not None
    assert looked.status == status
    assert looked.usage is not None
    # A look leaves it as it is.
    assert peek(child.pidfd) == looked
    reaped = reap(child.pid, child.pidfd)
    assert reaped is not None
    assert reaped.status == status
    assert reaped.usage is not None
    assert reaped.usage.to_dict() == looked.usage.to_dict()
    assert looked.usage.max_rss > 100_000
    with pytest.raises(ChildProcessError):
        os.waitpid(child.pid, os.WNOHANG)


def test_a_child_that_runs_is_left_alone(children: list[Child]) -> None:
    children.append(child := Child("kill -STOP $$"))
    os.waitid(os.P_PIDFD, child.pidfd, os.WSTOPPED)
    for _ in range(2):
        assert reap(child.pid, child.pidfd) is None
        assert peek(child.pidfd) is None
    signal.pidfd_send_signal(child.pidfd, signal.SIGKILL)
    child.wait_until_dead()
    assert reap(child.pid, child.pidfd) is not None


def test_what_a_child_used_is_its_own(children: list[Child]) -> None:
    children.append(busy := Child("i=0; while [ $i -lt 30000 ]; do i=$((i+1)); done"))
    children.append(idle := Child("exit 0"))
    for child in (busy, idle):
        child.wait_until_dead()
    ends = [reap(child.pid, child.pidfd) for child in (busy, idle)]
    used = [end.usage.user + end.usage.system for end in ends if end and end.usage]
    assert used[0] > used[1] > 0


@pytest.mark.parametrize("command, status", ENDS)
def test_a_child_that_somebody_else_collected_is_told_of_where_the_kernel_can(
    command: str, status: ExitStatus, children: list[Child]
) -> None:
    children.append(child := Child(command))
    os.waitpid(child.pid, 0)
    release = tuple(map(int, platform.release().split(".")[:2]))
    expected = Exit(status if release >= (6, 15) else None, None)
    assert reap(child.pid, child.pidfd) == expected
    assert peek(child.pidfd) == expected
