"""A host with habits of its own about signals, children and standard streams; and what we leave alone."""

from __future__ import annotations

import asyncio
import os
import platform
import resource
import signal
import subprocess
import threading
from pathlib import Path

import pytest

from amper import PIPE, JobManager
from amper.process import gate
from tests.handshakes import (
    in_a_process_of_its_own,
    is_zombie_or_gone,
    outcome,
    parent_of,
    result_of,
    run_script,
    said,
    watching,
)
from tests.places import everywhere
from tests.support import on_all_loops
from tests.unruly import unruly

CAN_TELL = tuple(map(int, platform.release().split(".")[:2])) >= (6, 15)
"""Whether the kernel tells how a process ended that somebody else has collected."""


async def check_end(jobs: JobManager, way: str, code: int) -> None:
    """One that was seen to run is known for how it ended, as far as the kernel can tell."""
    id = await jobs.start(f"echo ready; read x; {way}", stdin=PIPE)
    await said(jobs, id)
    assert await jobs.close_stdin(id)
    result = await result_of(jobs, id)
    status = await jobs.get_status_string(id)
    known = f"failed:{code}" if code else "done:0"
    if CAN_TELL:
        assert (status, result.code) == (known, code)
    else:
        assert status in (known, "lost")
        assert status == known or not result.ok


async def check_quick_end(jobs: JobManager) -> None:
    """One that was collected before anybody could look is lost, which is no success."""
    id = await jobs.start("echo out; exit 3")
    result = await result_of(jobs, id)
    assert (result.ok, result.out) == (False, b"out\n")
    assert await jobs.get_status_string(id) in ("failed:3", "lost")


async def check_everything(jobs: JobManager) -> None:
    """What has to work whoever collects our children."""
    for way, code in (("exit 0", 0), ("exit 3", 3), ("kill -KILL $$", 137)):
        await check_end(jobs, way, code)
    await asyncio.gather(*[check_end(jobs, "exit 3", 3) for _ in range(20)])
    await asyncio.gather(*[check_quick_end(jobs) for _ in range(20)])
    assert (await outcome(jobs, ["no-such-program"])).code == 127
    id = await jobs.start(unruly("crowd", 2, "stubborn_child"))
    pids = await said(jobs, id)
    assert await jobs.kill(id, grace_period=0)
    assert not (await result_of(jobs, id)).ok
    assert all(is_zombie_or_gone(pid) for pid in pids)


@in_a_process_of_its_own
async def test_a_host_that_ignores_sigchld_so_that_the_kernel_collects() -> None:
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    async with JobManager() as jobs:
        await check_everything(jobs)
        if CAN_TELL:
            ends = await asyncio.gather(*[jobs.run("exit 3") for _ in range(50)])
            assert {end.code for end in ends} == {3}
            assert (await jobs.run(["true"])).ok
            assert (await jobs.run(["true"], pty=True)).ok
            await check_end_without_low_descriptors(jobs)
    assert signal.getsignal(signal.SIGCHLD) == signal.SIG_IGN


async def check_end_without_low_descriptors(jobs: JobManager) -> None:
    """It takes a shell that knows descriptors above 9 to hold a program back; without one it runs."""
    held = [os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC) for _ in range(10)]
    await check_end(jobs, "exit 3", 3)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(gate, "KNOWING_SHELLS", ())
        await check_end(jobs, "exit 3", 3)
    for fd in held:
        os.close(fd)


@in_a_process_of_its_own
async def test_a_host_with_ten_thousand_descriptors() -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 20_000), hard))
    held = [os.open(os.devnull, os.O_RDONLY) for _ in range(min(hard - 200, 10_000))]
    for fd in held[::2]:
        os.set_inheritable(fd, True)
    async with JobManager() as jobs:
        assert (await outcome(jobs, unruly("list_descriptors"))).out == b"0 1 2 3\n"
        await check_everything(jobs)


@in_a_process_of_its_own
async def test_a_host_that_is_an_unprivileged_user() -> None:
    if os.getuid() == 0:
        os.chdir("/")
        os.setgroups([])
        os.setgid(65534)
        os.setuid(65534)
    async with JobManager(grace_period=0.02) as jobs:
        assert (await outcome(jobs, ["id", "-u"])).out == b"%d\n" % os.getuid()
        for code in (0, 3):
            await check_end(jobs, f"exit {code}", code)
        id = await jobs.start("setsid sleep 1000 & echo ready $!; wait")
        (pid,) = await said(jobs, id)
        assert await jobs.stop(id)
        assert await jobs.kill(id)
        assert is_zombie_or_gone(pid)


@in_a_process_of_its_own
async def test_what_nohup_ignores_stays_ignored_in_the_command() -> None:
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    async with JobManager() as jobs:
        assert (await outcome(jobs, "kill -HUP $$; exit 3")).code == 3


@in_a_process_of_its_own
async def test_a_host_that_collects_all_children_in_a_handler() -> None:
    collected: list[int] = []

    def collect(*_: object) -> None:
        while True:
            try:
                pid, _status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            collected.append(pid)

    signal.signal(signal.SIGCHLD, collect)
    async with JobManager() as jobs:
        await check_everything(jobs)
    assert signal.getsignal(signal.SIGCHLD) == collect


@in_a_process_of_its_own
async def test_a_host_that_collects_all_children_in_a_thread() -> None:
    """It may be first or second with each of them."""
    is_over = threading.Event()

    def collect() -> None:
        while not is_over.is_set():
            try:
                os.wait()
            except ChildProcessError:
                os.sched_yield()

    thread = threading.Thread(target=collect)
    thread.start()
    try:
        async with JobManager() as jobs:
            await check_everything(jobs)
    finally:
        is_over.set()
        thread.join()


# What is the host's own.


@everywhere
async def test_a_hosts_own_children_are_never_collected() -> None:
    quick, slow = own_child("exit 3"), own_child("read x; exit 4")
    with watching(quick.pid) as process:
        process.wait()
    async with JobManager() as jobs:
        for _ in range(10):
            await outcome(jobs, "exit 5")
        left = await jobs.start(unruly("fork_and_leave"))
        await result_of(jobs, left)
        assert slow.stdin is not None
        slow.stdin.close()
        assert await jobs.kill(left)
    assert (quick.wait(), slow.wait()) == (3, 4)
    assert quick.stdin is not None
    quick.stdin.close()


@on_all_loops
async def test_a_hosts_signal_handlers_are_left_as_they_are() -> None:
    before = {number: signal.getsignal(number) for number in signal.valid_signals()}
    fd = signal.set_wakeup_fd(-1)
    signal.set_wakeup_fd(fd)
    async with JobManager(grace_period=0.02) as jobs:
        await outcome(jobs, ["true"])
        id = await jobs.start(unruly("ignore_term"), timeout=0.02)
        during = {number: signal.getsignal(number) for number in signal.valid_signals()}
        await result_of(jobs, id)
    after = {number: signal.getsignal(number) for number in signal.valid_signals()}
    assert before == during == after
    assert signal.set_wakeup_fd(fd) == fd
    assert signal.pthread_sigmask(signal.SIG_BLOCK, ()) == set()


@on_all_loops
async def test_a_host_is_not_made_a_subreaper() -> None:
    async with JobManager() as jobs:
        id = await jobs.start(unruly("double_fork_setsid"))
        (daemon,) = await said(jobs, id)
        with watching(daemon):
            await result_of(jobs, id)
            assert parent_of(daemon) != os.getpid()


@on_all_loops
async def test_a_host_hears_of_the_stops_of_its_own_children() -> None:
    child = own_child("kill -STOP $$")
    async with JobManager() as jobs:
        stopped = await jobs.start("kill -STOP $$")
        await outcome(jobs, ["true"])
        assert await asyncio.to_thread(stop_of, child) == signal.SIGSTOP
        assert await jobs.kill(stopped)
    child.kill()
    child.communicate()


def own_child(command: str) -> subprocess.Popen[bytes]:
    """Start a child that the manager must know nothing of."""
    return subprocess.Popen(["/bin/sh", "-c", command], stdin=subprocess.PIPE)


def stop_of(child: subprocess.Popen[bytes]) -> int:
    """Wait until a child is stopped, as a shell does; return the signal."""
    return os.WSTOPSIG(os.waitpid(child.pid, os.WUNTRACED)[1])


# Closed standard streams.

WITHOUT_STREAMS = """
import os, sys
from amper import PIPE, STDOUT, JobManager
from tests import support

async def main():
    async with JobManager() as jobs:
        result = await jobs.run("cat; echo err >&2; exit 3", stdin=b"x" * 100000)
        assert (result.code, result.out, result.err) == (3, b"x" * 100000, b"err\\n"), result
        result = await jobs.run("readlink /proc/self/fd/0; echo err >&2", stderr=STDOUT)
        assert result.out == b"/dev/null\\nerr\\n", result
        id = await jobs.start(["cat"], stdin=PIPE)
        assert await jobs.write_stdin(id, b"hello")
        assert await jobs.close_stdin(id)
        result = await jobs.wait(id)
        assert result.out == b"hello", result
        result = await jobs.run("ls /proc/self/fd | wc -l")
        # Its three, and that of the listing itself.
        assert int(result.out) == 4, result
        assert (await jobs.run(["no-such-program"])).code == 127
        id = await jobs.start(["sleep", "1000"])
        assert await jobs.kill(id)

try:
    support.run(main())
except BaseException:
    import traceback
    with open(sys.argv[1], "w") as file:
        traceback.print_exc(file=file)
    os._exit(1)
"""


@pytest.mark.parametrize("closed", [(0,), (1,), (2,), (0, 1, 2)])
def test_a_host_without_standard_streams_has_commands_with_theirs(
    closed: tuple[int, ...], tmp_path: Path
) -> None:
    """On asyncio alone: uvloop does not even start and stop there."""
    told = tmp_path / "told"
    try:
        run_script(WITHOUT_STREAMS, str(told), closed=closed)
    except AssertionError:
        # With no standard error there is no other way to say what happened.
        raise AssertionError(told.read_text() if told.exists() else "it said nothing") from None
