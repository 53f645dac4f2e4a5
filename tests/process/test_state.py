"""Whether a process is stopped: what the kernel tells, whoever has listened before."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from amper.process.procfs import read_stat
from amper.process.scan import Look
from amper.process.state import are_stopped, is_any_notice, is_dying, is_stopped, stop_notice
from tests.handshakes import leading, state_of, watching
from tests.support import DEADLINE
from tests.unruly import unruly


@pytest.fixture
def child() -> Iterator[int]:
    with leading("echo ready; exec sleep 1000") as (pid, _):
        yield pid


def wait_stopped(pid: int, *, take: bool) -> None:
    """Wait until a child of ours has stopped, and consume the notice or leave it."""
    keep = 0 if take else os.WNOWAIT
    assert os.waitid(os.P_PID, pid, os.WSTOPPED | keep) is not None


def test_a_stop_and_a_continue_are_seen_and_left_to_whoever_waits_for_them(child: int) -> None:
    with watching(child) as process:
        assert stop_notice(process.pidfd) is None
        assert not is_any_notice()
        assert is_stopped(child, process.pidfd) is False
        process.signal(signal.SIGSTOP)
        wait_stopped(child, take=False)
        assert is_any_notice()
        for _ in range(3):
            assert stop_notice(process.pidfd) is True
            assert is_stopped(child, process.pidfd) is True
        assert os.waitpid(child, os.WUNTRACED) == (child, 0x137F)
        process.signal(signal.SIGCONT)
        for _ in range(3):
            assert stop_notice(process.pidfd) is False
            assert is_stopped(child, process.pidfd) is False
        assert os.waitpid(child, os.WCONTINUED) == (child, 0xFFFF)


def test_a_stop_whose_notice_was_taken_is_seen_all_the_same(child: int) -> None:
    with watching(child) as process:
        process.signal(signal.SIGSTOP)
        wait_stopped(child, take=True)
        assert stop_notice(process.pidfd) is None
        assert is_stopped(child, process.pidfd) is True
        process.signal(signal.SIGCONT)
        os.waitpid(child, os.WCONTINUED)
        assert stop_notice(process.pidfd) is None
        assert is_stopped(child, process.pidfd) is False


def test_a_host_that_waits_for_stops_misses_none_that_we_have_seen(child: int) -> None:
    """It waits in a thread of its own, while we look as often as we can."""
    seen: list[int] = []

    def host() -> None:
        for _ in range(20):
            seen.append(os.waitpid(child, os.WUNTRACED)[1])
            os.kill(child, signal.SIGCONT)
            seen.append(os.waitpid(child, os.WCONTINUED)[1])
            os.kill(child, signal.SIGSTOP)
        os.waitpid(child, os.WUNTRACED)

    with watching(child) as process:
        process.signal(signal.SIGSTOP)
        thread = threading.Thread(target=host)
        thread.start()
        while thread.is_alive():
            is_stopped(child, process.pidfd)
        thread.join(DEADLINE)
        assert seen == [0x137F, 0xFFFF] * 20


def test_of_one_that_is_gone_nobody_can_tell() -> None:
    process = subprocess.Popen(["true"])
    pidfd = os.pidfd_open(process.pid)
    os.waitid(os.P_PIDFD, pidfd, os.WEXITED | os.WNOWAIT)
    assert is_stopped(process.pid, pidfd) is None
    process.wait()
    assert is_stopped(process.pid, pidfd) is None
    # The number of somebody who lives proves nothing either.
    assert is_stopped(os.getpid(), pidfd) is None
    os.close(pidfd)


def test_one_that_sits_in_vfork_is_stopped_when_its_child_is(tmp_path: Path) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    with leading(unruly("sit_in_vfork", fifo)) as (pid, _), watching(pid) as leader:
        while state_of(pid) != "D":
            os.sched_yield()
        assert is_stopped(pid, leader.pidfd) is False
        os.killpg(pid, signal.SIGSTOP)
        while not is_stopped(pid, leader.pidfd):
            os.sched_yield()
        assert state_of(pid) == "D"
        os.killpg(pid, signal.SIGCONT)
        assert is_stopped(pid, leader.pidfd) is False


def look(*processes: tuple[int, str, int]) -> Look:
    """Return a look that found these in group 5: pid, state, parent."""
    found = Look()
    model = read_stat(os.getpid(), None)
    assert model is not None
    for pid, state, parent in processes:
        found.add(pid, model._replace(state=state.encode(), parent=parent, group=5))
    return found


@pytest.mark.parametrize(
    "found, expected",
    [
        (look(), False),
        (look((5, "T", 1)), True),
        (look((5, "T", 1), (6, "T", 5)), True),
        (look((5, "T", 1), (6, "S", 5)), False),
        (look((5, "T", 1), (6, "t", 5)), False),
        # In vfork, and so is its child; a sleep for the disk holds nobody.
        (look((5, "D", 1), (6, "T", 5)), True),
        (look((5, "D", 1), (6, "D", 5), (7, "T", 6)), True),
        (look((5, "D", 1), (6, "D", 5), (7, "T", 5)), False),
        (look((5, "D", 1)), False),
    ],
)
def test_a_group_is_stopped_when_all_of_it_is_as_far_as_it_can(found: Look, expected: bool) -> None:
    assert are_stopped(found, 5) is expected


def test_one_that_is_killed_while_it_is_stopped_is_dying_and_was_not_continued(child: int) -> None:
    with watching(child) as process:
        assert not is_dying(child)
        process.signal(signal.SIGSTOP)
        wait_stopped(child, take=False)
        assert not is_dying(child)
        process.signal(signal.SIGKILL)
        # From its wake-up until it is a zombie, which is what it stays.
        while state_of(child) != "Z":
            assert is_dying(child)
        assert is_dying(child)
        os.waitpid(child, 0)
        assert is_dying(child)
