"""A host that is pid 1 of its namespace, as the program of a container is: orphans come to it."""

from __future__ import annotations

import functools
import os
import signal
import subprocess
from collections.abc import Callable, Coroutine
from typing import Any, Final

import pytest

from amper import JobManager
from tests.faults.test_contained_places import check_everything
from tests.handshakes import (
    ALONE,
    is_zombie_or_gone,
    outcome,
    parent_of,
    result_of,
    run_script,
    said,
    turns_until,
)

AS_PID_1: Final = ("unshare", "--pid", "--fork", "--mount-proc", "--kill-child")


def is_allowed() -> bool:
    try:
        return subprocess.run([*AS_PID_1, "true"], capture_output=True, check=False).returncode == 0
    except FileNotFoundError:
        return False


pytestmark = pytest.mark.skipif(
    not is_allowed(), reason="no pid namespace can be made here: it takes unshare(1), and root"
)


def collected(pid: int) -> tuple[int, int] | None:
    """Collect a child that is dead, as a host does; None if there is no child at all."""
    try:
        return os.waitpid(pid, os.WNOHANG)
    except ChildProcessError:
        return None


def as_pid_1(test: Callable[[], Coroutine[Any, Any, None]]) -> Callable[[], None]:
    """Make an async test a plain one that is pid 1 of a namespace of its own."""

    @functools.wraps(test)
    def elsewhere() -> None:
        run_script(ALONE, test.__module__, test.__name__, through=AS_PID_1)

    return elsewhere


@as_pid_1
async def test_contained_jobs_leave_nothing_to_pid_1() -> None:
    assert os.getpid() == 1
    async with JobManager(containment="tree", grace_period=0.02) as jobs:
        await check_everything(jobs)
        id = await jobs.start("setsid sleep 1000 & echo ready $!")
        orphan = int((await result_of(jobs, id)).out.split()[1])
        # It went to the shim, and not to us.
        assert parent_of(orphan) != 1
        assert await jobs.kill(id)
    assert collected(-1) is None


@as_pid_1
async def test_orphans_of_direct_jobs_come_to_pid_1_and_are_killed_but_not_collected() -> None:
    assert os.getpid() == 1
    async with JobManager(grace_period=0.02) as jobs:
        for way, code in (("exit 0", 0), ("exit 3", 3), ("kill -KILL $$", 137)):
            assert (await outcome(jobs, way)).code == code
        id = await jobs.start("(setsid sleep 1000 & echo ready $!); exec sleep 1000")
        (orphan,) = await said(jobs, id)
        await turns_until(lambda: parent_of(orphan) == 1)
        assert await jobs.kill(id)
        assert is_zombie_or_gone(orphan)
        # No child is collected but our own: this one is the host's, as every orphan of pid 1.
        assert collected(orphan) == (orphan, signal.SIGTERM)
        other = await jobs.start("(setsid sleep 1000 & echo ready $!); exec sleep 1000")
        (daemon,) = await said(jobs, other)
    assert collected(daemon) == (daemon, signal.SIGTERM)
    # A subshell whose shell was killed before it could collect it is the host's as well. All are dead.
    while (child := collected(-1)) is not None:
        assert child[0] > 0


@as_pid_1
async def test_a_stop_is_seen_by_pid_1_also() -> None:
    for level in ("group", "tree"):
        async with JobManager(containment=level, grace_period=0.02) as jobs:
            id = await jobs.start("echo ready; exec sleep 1000")
            await said(jobs, id)
            assert await jobs.stop(id)
            assert await jobs.get_status_string(id) == "stopped"
            assert await jobs.wait(id) is None
            assert await jobs.resume(id)
            assert await jobs.kill(id)
