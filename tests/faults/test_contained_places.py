"""Contained commands where the process around them is unusual."""

from __future__ import annotations

import asyncio
import os
import resource
import signal
import sys

from amper import PIPE, JobManager
from tests.handshakes import (
    in_a_process_of_its_own,
    is_zombie_or_gone,
    outcome,
    result_of,
    run_script,
    said,
)
from tests.survivors import run_wild, tree
from tests.unruly import unruly


async def check_everything(jobs: JobManager) -> None:
    """What has to work wherever we are: exact codes, stops, and a proved kill."""
    for way, code in (("exit 0", 0), ("exit 3", 3), ("kill -KILL $$", 137)):
        id = await jobs.start(f"echo ready; read x; {way}", stdin=PIPE)
        await said(jobs, id)
        assert await jobs.close_stdin(id)
        assert (await result_of(jobs, id)).code == code
    assert (await outcome(jobs, ["no-such-program"])).code == 127
    results = await asyncio.gather(*[jobs.run("echo out; exit 3") for _ in range(20)])
    assert {(result.code, result.out) for result in results} == {(3, b"out\n")}
    with tree() as wild:
        id = await run_wild(jobs, wild)
        waiting = asyncio.ensure_future(jobs.wait(id))
        assert await jobs.signal(id, signal.SIGSTOP)
        assert await waiting is None
        assert await jobs.kill(id)
        assert not wild.tagged()
        assert not wild.is_held()


@in_a_process_of_its_own
async def test_a_host_that_ignores_sigchld() -> None:
    """Nothing is lost here, other than for direct commands: it is the shim that collects."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    async with JobManager(containment="tree", grace_period=0.02) as jobs:
        await check_everything(jobs)


@in_a_process_of_its_own
async def test_a_host_that_collects_all_children_in_a_handler() -> None:
    def collect(*_: object) -> None:
        try:
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        except ChildProcessError:
            return

    signal.signal(signal.SIGCHLD, collect)
    async with JobManager(containment="tree", grace_period=0.02) as jobs:
        await check_everything(jobs)


@in_a_process_of_its_own
async def test_a_host_that_blocks_every_signal() -> None:
    signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
    async with JobManager(containment="tree", grace_period=0.02) as jobs:
        await check_everything(jobs)


@in_a_process_of_its_own
async def test_what_nohup_ignores_stays_ignored_in_the_command() -> None:
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    async with JobManager(containment="tree") as jobs:
        assert (await outcome(jobs, "kill -HUP $$; exit 3")).code == 3


@in_a_process_of_its_own
async def test_a_host_with_ten_thousand_descriptors() -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 20_000), hard))
    held = [os.open(os.devnull, os.O_RDONLY) for _ in range(min(hard - 200, 10_000))]
    for fd in held[::2]:
        os.set_inheritable(fd, True)
    async with JobManager(containment="tree", grace_period=0.02) as jobs:
        assert (await outcome(jobs, unruly("list_descriptors"))).out == b"0 1 2 3\n"
        await check_everything(jobs)


@in_a_process_of_its_own
async def test_a_host_without_standard_streams() -> None:
    for fd in (0, 1):
        os.close(fd)
    async with JobManager(containment="tree", grace_period=0.02) as jobs:
        assert (await outcome(jobs, "echo out; cat", stdin=b"in")).out == b"out\nin"
    os.open(os.devnull, os.O_RDWR)
    os.open(os.devnull, os.O_RDWR)


@in_a_process_of_its_own
async def test_a_host_that_gives_up_its_rights_gives_its_jobs_no_more() -> None:
    """As an unprivileged user everything works; a keeper from before is not used any more."""
    async with JobManager(containment="tree", grace_period=0.02) as jobs:
        if os.getuid() == 0:
            assert (await outcome(jobs, ["id", "-u"])).out == b"0\n"
            os.chdir("/")
            os.setgroups([])
            os.setgid(65534)
            os.setuid(65534)
        if not os.access(sys.executable, os.X_OK):
            # It is in a home that is closed to others: then no keeper can be started, and nothing
            # else starts anything instead.
            result = await outcome(jobs, ["id", "-u"])
            assert (result.code, result.out) == (126, b"")
            assert "no keeper can be started" in result.text_err()
            sys.executable = f"/usr/bin/python{sys.version_info[0]}.{sys.version_info[1]}"
            if not os.access(sys.executable, os.X_OK):
                return
        assert (await outcome(jobs, ["id", "-u"])).out == b"%d\n" % os.getuid()
        id = await jobs.start("setsid sleep 1000 & echo ready $!; wait")
        (pid,) = await said(jobs, id)
        assert await jobs.kill(id)
        assert is_zombie_or_gone(pid)
        assert (await outcome(jobs, "exit 3")).code == 3


def test_nothing_of_a_keeper_is_heavy() -> None:
    """It is started for each manager, and each shim is a copy of it."""
    heavy = {"asyncio", "subprocess", "json", "socket", "dataclasses", "inspect", "threading"}
    loaded = run_script("import amper.supervisor.keeper, sys; print(*sys.modules)", flags=("-S",))
    assert not heavy & set(loaded.split())
