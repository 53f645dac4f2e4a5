"""A process group that is provably still the same, and the watch that tells when it is gone."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import Callable, Iterator

import pytest

from amper.process.descriptors import Reserve
from amper.process.group import GroupWatch, ProcessGroup
from amper.process.kernel import Kernel
from amper.process.scan import Look
from tests.handshakes import leading, run_script, turns, turns_until, watching
from tests.places import be_older_kernel
from tests.unruly import unruly
from tests.work import NO_PROCESS, on_a_loop


@pytest.fixture(params=["this kernel", "older kernel"], autouse=True)
def which_kernel(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.param == "older kernel":
        be_older_kernel(monkeypatch)


def held(pid: int) -> ProcessGroup:
    """Return the group of a leader of ours; the test collects the leader itself."""
    return ProcessGroup(pid, os.pidfd_open(pid))


@contextlib.contextmanager
def kernel() -> Iterator[Kernel]:
    opened = Kernel(asyncio.get_running_loop())
    with contextlib.closing(opened):
        yield opened


class Told:
    """Counts how often it is told that a group is gone."""

    def __init__(self) -> None:
        self.count = 0

    def group_gone(self) -> None:
        self.count += 1


# Signals.


def test_a_signal_reaches_every_member() -> None:
    with (
        leading(unruly("crowd", 2)) as (pid, (first, second)),
        watching(first) as one,
        watching(second) as two,
        contextlib.closing(held(pid)) as group,
    ):
        assert group.signal(0)
        assert not group.is_gone()
        assert group.signal(signal.SIGKILL)
        one.wait()
        two.wait()


def test_a_group_is_signalled_without_its_leader() -> None:
    """Its zombie is still there on an older kernel, and need not be on this one."""
    with (
        leading(unruly("fork_and_leave")) as (pid, (child,)),
        watching(child) as left,
        watching(pid) as leader,
        contextlib.closing(held(pid)) as group,
    ):
        leader.wait()
        assert group.signal(0)
        assert group.signal(signal.SIGTERM)
        left.wait()


def test_a_group_whose_identity_was_let_go_is_never_signalled() -> None:
    with leading(unruly("behave")) as (pid, _), watching(pid) as process:
        group = held(pid)
        assert not group.is_closed
        group.close()
        assert group.is_closed
        assert not group.signal(signal.SIGKILL)
        assert group.is_gone()
        group.close()
        assert not process.is_dead


def test_a_group_of_which_nothing_is_left_is_gone() -> None:
    child = os.posix_spawn("/bin/sh", ["sh", "-c", "exit 0"], {}, setsid=True)
    group = held(child)
    os.waitpid(child, 0)
    assert group.is_gone()
    assert not group.signal(signal.SIGTERM)
    group.close()


RECYCLED = """
import os, signal, sys, time
from amper.process import group
if sys.argv[1] == "older kernel":
    group.reap_leader_late = True

def number_next(pid):
    with open("/proc/sys/kernel/ns_last_pid", "w") as file:
        file.write(str(pid - 1))

def leader(pid):
    number_next(pid)
    child = os.fork()
    if child == 0:
        os.setsid()
        signal.pause()
    while os.getpgid(child) != child:
        os.sched_yield()
    return child

first = leader(1000)
assert first == 1000
mine = group.ProcessGroup(first, os.pidfd_open(first))
assert mine.signal(signal.SIGKILL)
# Somebody else collects it: nothing holds the number any more.
os.waitpid(first, 0)
stranger = leader(1000)
assert stranger == first
assert not mine.signal(signal.SIGKILL)
assert mine.is_gone()
mine.close()
assert os.waitpid(stranger, os.WNOHANG) == (0, 0)
os.kill(stranger, signal.SIGKILL)
os.waitpid(stranger, 0)
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can choose the number of a process")
@pytest.mark.parametrize("place", ["this kernel", "older kernel"])
def test_a_number_that_was_recycled_is_never_signalled(place: str) -> None:
    unshare = ("unshare", "--pid", "--fork", "--mount-proc")
    run_script(RECYCLED, place, through=unshare)


# Finding a group by its number.


def test_a_group_is_found_by_its_leader_or_by_a_member_that_outlives_it() -> None:
    with leading(unruly("behave")) as (pid, _), watching(pid) as process:
        group = ProcessGroup.find(pid, Reserve())
        assert group is not None
        assert group.pgid == pid
        assert group.signal(signal.SIGKILL)
        process.wait()
        group.close()
    with (
        leading(unruly("fork_and_leave")) as (pid, (child,)),
        watching(child) as left,
        watching(pid) as leader,
    ):
        leader.wait()
        group = ProcessGroup.find(pid, Reserve())
        assert group is not None
        assert group.signal(signal.SIGKILL)
        left.wait()
        group.close()


def test_a_number_that_no_group_has_finds_none() -> None:
    assert ProcessGroup.find(NO_PROCESS, Reserve()) is None
    with leading("sleep 1000 & echo ready $!; wait") as (_, (child,)):
        assert ProcessGroup.find(child, Reserve()) is None


def test_our_own_group_is_nobodys_job() -> None:
    """A process that a script has started has no group of its own, and its host must not die of it."""
    group = ProcessGroup.find(os.getpgrp(), Reserve())
    if group is not None:
        group.close()
    assert group is None


# The watch.


@on_a_loop
async def test_the_last_who_goes_is_told_of_once() -> None:
    with kernel() as opened, leading(unruly("crowd", 2)) as (pid, pids):
        told, group = Told(), held(pid)
        watch = GroupWatch(group, opened, told)
        watch.check()
        watch.check()
        with watching(pids[0]) as one, watching(pids[1]) as two, watching(pid) as leader:
            for process in (leader, one):
                process.signal(signal.SIGKILL)
                await process.death()
                await turns(5)
                assert (told.count, watch.is_gone) == (0, False)
            two.signal(signal.SIGKILL)
            await turns_until(lambda: told.count > 0)
            assert watch.is_gone
            watch.check()
            await turns(5)
        assert told.count == 1
        watch.close()
        group.close()


@on_a_loop
async def test_a_group_of_zombies_is_gone() -> None:
    with kernel() as opened, leading(unruly("behave")) as (pid, _), watching(pid) as leader:
        leader.signal(signal.SIGKILL)
        leader.wait()
        told, group = Told(), held(pid)
        assert not group.is_gone()
        watch = GroupWatch(group, opened, told)
        watch.check()
        await turns_until(lambda: told.count > 0)
        group.close()


@on_a_loop
async def test_members_that_left_the_group_count_and_are_signalled() -> None:
    with kernel() as opened, leading(unruly("leave_group_when_told")) as (pid, (child,)):
        told, group = Told(), held(pid)
        watch = GroupWatch(group, opened, told)
        watch.check()
        await turns_until(lambda: bool(watch._members))
        with watching(child) as process, watching(pid) as leader:
            process.signal(signal.SIGUSR1)
            await turns_until(lambda: os.getpgid(child) == child)
            leader.signal(signal.SIGKILL)
            await leader.death()
            await turns(10)
            assert told.count == 0
            assert child in watch.known
            watch.signal_members(signal.SIGTERM)
            await turns_until(lambda: told.count > 0)
            assert process.is_dead
        group.close()


@on_a_loop
async def test_a_watch_that_was_closed_tells_nobody() -> None:
    with kernel() as opened, leading(unruly("behave")) as (pid, _), watching(pid) as leader:
        told, group = Told(), held(pid)
        looking, watching_already = GroupWatch(group, opened, told), GroupWatch(group, opened, told)
        watching_already.check()
        await turns_until(lambda: bool(watching_already._members))
        looking.check()
        for watch in (looking, watching_already):
            watch.close()
        leader.signal(signal.SIGKILL)
        await leader.death()
        await turns(10)
        assert told.count == 0
        group.close()


@on_a_loop
async def test_one_empty_look_proves_nothing() -> None:
    """A look is no snapshot: a member may have had a child behind its back, and died before it came by."""

    class Looks:
        """Answers what the test says, when it says so."""

        def __init__(self) -> None:
            self.asked: list[Callable[[Look], None]] = []

        def ask(self, listener: Callable[[Look], None]) -> None:
            self.asked.append(listener)

        def close(self) -> None:
            """Nothing is open."""

    with kernel() as opened, leading(unruly("fork_and_leave")) as (pid, (child,)):
        looks = Looks()
        opened.scanner = looks  # type: ignore[assignment]  # All that is asked of one.
        told, group = Told(), held(pid)
        watch = GroupWatch(group, opened, told)
        watch.check()
        looks.asked.pop()(Look())
        full = Look()
        full.groups[pid] = [child]
        looks.asked.pop()(full)
        assert (told.count, looks.asked) == (0, [])
        with watching(child) as process:
            process.signal(signal.SIGKILL)
            await turns_until(lambda: bool(looks.asked) or told.count > 0)
        if looks.asked:
            # The zombies are still there, but nobody else.
            looks.asked.pop()(Look())
            looks.asked.pop()(Look())
        assert told.count == 1
        group.close()


@on_a_loop
async def test_a_look_that_has_seen_somebody_who_is_dead_now_is_no_empty_one() -> None:
    """A relay: each has forked the next one, which the look was too early to see."""
    with kernel() as opened, leading(unruly("behave")) as (pid, _):
        told, group = Told(), held(pid)
        watch = GroupWatch(group, opened, told)
        look = Look()
        look.groups[pid] = [NO_PROCESS]
        for _ in range(3):
            watch._found(look)
        assert (told.count, watch.is_gone) == (0, False)
        watch._found(Look())
        assert not watch.is_gone
        watch._found(Look())
        assert watch.is_gone
        watch.close()
        group.close()
