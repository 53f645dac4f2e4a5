"""A sweep touches nobody whom it cannot prove to be the command's."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import Iterator

import pytest

from amper.process import sweep
from amper.process.group import GroupWatch, ProcessGroup
from amper.process.kernel import Kernel
from amper.process.procfs import EXECUTING, read_mark, ticks_now
from amper.process.sweep import Sweep
from tests.handshakes import leading, turns_until, watching
from tests.support import on_all_loops
from tests.unruly import unruly


class Told:
    count = 0

    def group_gone(self) -> None:
        self.count += 1


@contextlib.contextmanager
def kernel() -> Iterator[Kernel]:
    opened = Kernel(asyncio.get_running_loop())
    try:
        yield opened
    finally:
        opened.close()


def sweep_of(group: ProcessGroup, kernel: Kernel, told: Told) -> Sweep:
    return Sweep(GroupWatch(group, kernel, Told()), None, kernel, told)


def led_by(pid: int) -> ProcessGroup:
    """Return a group as that of a command that we have started."""
    return ProcessGroup(pid, os.pidfd_open(pid))


@on_all_loops
async def test_it_signals_and_waits_for_those_of_the_session() -> None:
    with kernel() as opened, leading(unruly("orphan_in_own_group")) as (pid, (orphan,)):
        told, group = Told(), led_by(pid)
        swept = sweep_of(group, opened, told)
        with watching(orphan) as process:
            swept.signal((signal.SIGTERM,))
            await turns_until(lambda: swept.is_gone)
            assert process.is_dead
        assert (told.count, swept.survivors()) == (1, set())
        swept.close()
        group.close()


@on_all_loops
async def test_it_asks_once_for_a_look_that_has_not_begun() -> None:
    with kernel() as opened, leading("echo ready; exec sleep 1000") as (pid, _):
        told, group = Told(), led_by(pid)
        swept = sweep_of(group, opened, told)
        swept.look()
        swept.look()
        await turns_until(lambda: swept.is_gone)
        assert (told.count, opened.scanner.begun) == (1, 1)
        swept.close()
        group.close()


@on_all_loops
async def test_a_session_whose_number_may_be_a_strangers_is_nobodys() -> None:
    """The group is gone before we have looked at the clock, or the process is younger than that look."""
    with kernel() as opened, leading(unruly("orphan_in_own_group")) as (pid, (orphan,)):
        gone, late = Told(), Told()
        group = led_by(pid)
        younger = sweep_of(group, opened, late)
        # As if the group's number had been free in between.
        younger._began = 0
        group.close()
        stranger = sweep_of(group, opened, gone)
        with watching(orphan) as process:
            for swept in (stranger, younger):
                swept.signal((signal.SIGKILL,))
            await turns_until(lambda: stranger.is_gone and younger.is_gone)
            assert not process.is_dead
        assert (gone.count, late.count) == (1, 1)


@on_all_loops
async def test_an_older_one_is_known_also_when_the_group_is_gone() -> None:
    with kernel() as opened, leading(unruly("orphan_in_own_group")) as (pid, (orphan,)):
        group = led_by(pid)
        swept = sweep_of(group, opened, Told())
        swept._began = ticks_now() + 1000
        group.close()
        with watching(orphan) as process:
            swept.signal((signal.SIGKILL,))
            await turns_until(lambda: swept.is_gone)
            assert process.is_dead


@on_all_loops
async def test_one_that_was_closed_tells_nobody_and_holds_nobody() -> None:
    with kernel() as opened, leading(unruly("orphan_in_own_group")) as (pid, (orphan,)):
        told, group = Told(), led_by(pid)
        swept, other = sweep_of(group, opened, told), sweep_of(group, opened, Told())
        swept.signal((0,))
        other.signal((0,))
        await turns_until(lambda: bool(other.survivors()))
        assert other.survivors() == {orphan}
        swept.close()
        other.close()
        swept.signal((signal.SIGKILL,))
        with watching(orphan) as process:
            assert not process.is_dead
        assert told.count == 0
        group.close()


@on_all_loops
async def test_one_in_the_midst_of_an_exec_is_looked_for_once_more(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Nobody can tell at that moment whether it carries the mark that it has just been seen with."""
    program = "AMPER_JOB=a-6 setsid sh -c 'echo ready $$; exec sleep 1000' & wait"
    with kernel() as opened, leading(program) as (pid, (marked,)):
        answers = [EXECUTING]
        monkeypatch.setattr(
            sweep,
            "read_mark",
            lambda pid, reserve: answers.pop() if answers else read_mark(pid, reserve),
        )
        told, group = Told(), led_by(pid)
        swept = Sweep(GroupWatch(group, opened, Told()), b"a-6", opened, told)
        with watching(marked) as process:
            swept.signal((signal.SIGKILL,))
            await turns_until(lambda: swept.is_gone)
            assert process.is_dead
        assert (answers, told.count) == ([], 1)
        swept.close()
        group.close()
