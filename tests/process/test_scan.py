"""The look through /proc: who is in which group, and who shares a look."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest

from amper.process import procfs, scan
from amper.process.descriptors import Reserve
from amper.process.procfs import EXECUTING, read_mark, read_stat, ticks_now
from amper.process.scan import Look, ProcessScanner
from tests.handshakes import leading, turns, turns_until
from tests.support import on_all_loops, run
from tests.work import NO_PROCESS, on_a_loop


@on_all_loops
async def test_a_look_finds_the_members_of_all_groups() -> None:
    scanner = ProcessScanner(Reserve())
    scanner.attach(asyncio.get_running_loop())
    with leading("sleep 1000 & sleep 1000 & echo ready $!; wait") as (pid, (child,)):
        found = await ask(scanner)
        assert len(found.groups[pid]) == 3
        assert {pid, child} <= set(found.groups[pid])
        assert os.getpid() in found.groups[os.getpgrp()]


@on_all_loops
async def test_those_who_ask_together_share_a_look_and_who_asks_later_gets_a_fresh_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Each of them is told once, and of nothing older than its question."""
    scanner = ProcessScanner(Reserve())
    scanner.attach(asyncio.get_running_loop())
    monkeypatch.setattr(scan, "PROCESSES_PER_TURN", 1)
    first, second = ask(scanner), ask(scanner)
    await turns(2)
    with leading("echo ready; exec sleep 1000") as (pid, _):
        late = ask(scanner)
        assert await first is await second
        found = await late
        assert found is not await first
        assert found.groups[pid] == [pid]


@on_all_loops
async def test_a_few_of_those_who_asked_are_told_in_one_turn(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(scan, "ANSWERS_PER_TURN", 1)
    scanner = ProcessScanner(Reserve())
    scanner.attach(asyncio.get_running_loop())
    told: list[int] = []
    for number in range(3):
        scanner.ask(lambda look, number=number: told.append(number))  # type: ignore[misc]
    await turns_until(lambda: bool(told))
    assert told == [0]
    await turns_until(lambda: len(told) == 3)
    assert told == [0, 1, 2]


@on_all_loops
async def test_a_look_that_answers_a_crowd_is_followed_by_a_rest() -> None:
    loop = asyncio.get_running_loop()
    few, many = ProcessScanner(Reserve()), ProcessScanner(Reserve())
    for scanner, askers in ((few, scan.CROWD), (many, scan.CROWD + 1)):
        scanner.attach(loop)
        await asyncio.gather(*(ask(scanner) for _ in range(askers)))
    assert few._rests_until == 0
    assert many._rests_until > loop.time() - scan.LONGEST_REST
    many._rests_until += 1000
    waiting = ask(many)
    await ask(few)
    assert (few.begun, many.begun) == (2, 1)
    assert not waiting.done()
    waiting.cancel()


@on_all_loops
async def test_a_rest_is_over_when_leaders_have_ended_and_hardly_any_is_left_who_might_ask() -> (
    None
):
    scanner = ProcessScanner(Reserve())
    scanner.attach(asyncio.get_running_loop())
    scanner.leaders = {1: "1", 2: "2"}
    await asyncio.gather(*(ask(scanner) for _ in range(scan.CROWD + 1)))
    scanner._rests_until += 1000
    again = [ask(scanner) for _ in range(scan.MAJORITY * 2)]
    await turns(5)
    # Both may still ask, and these have asked before.
    assert scanner.begun == 1
    del scanner.leaders[1]
    await asyncio.gather(ask(scanner), *again)
    assert scanner.begun == 2
    del scanner.leaders[2]
    assert scanner._rest is None


@on_all_loops
async def test_a_scanner_that_was_closed_looks_no_more_and_holds_nothing() -> None:
    before = os.listdir("/proc/self/fd")
    scanner = ProcessScanner(Reserve())
    scanner.attach(asyncio.get_running_loop())
    await asyncio.gather(*(ask(scanner) for _ in range(scan.CROWD + 1)))
    scanner._rests_until += 1000
    resting = ask(scanner)
    await turns(2)
    scanner.close()
    other = ProcessScanner(Reserve())
    other.attach(asyncio.get_running_loop())
    looking = ask(other)
    other.close()
    await turns(5)
    assert not resting.done()
    assert not looking.done()
    assert (scanner.begun, other.begun) == (1, 0)
    assert os.listdir("/proc/self/fd") == before


@on_all_loops
async def test_a_look_takes_as_many_turns_as_there_are_many_processes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(scan, "PROCESSES_PER_TURN", 1)
    scanner = ProcessScanner(Reserve())
    scanner.attach(asyncio.get_running_loop())
    asked = ask(scanner)
    await turns(3)
    assert not asked.done()
    assert os.getpid() in (await asked).groups[os.getpgrp()]


@on_all_loops
async def test_a_listing_of_very_many_takes_several_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(procfs, "NAMES_AT_ONCE", 8)
    monkeypatch.setattr(scan, "PROCESSES_PER_TURN", 1_000_000)
    scanner = ProcessScanner(Reserve())
    scanner.attach(asyncio.get_running_loop())
    with leading("echo ready; exec sleep 1000") as (pid, _):
        look = ask(scanner)
        await turns(5)
        assert not look.done()
        assert (await look).groups[pid] == [pid]


def test_whoever_was_not_told_yet_is_told_on_the_next_loop(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(scan, "ANSWERS_PER_TURN", 1)
    scanner = ProcessScanner(Reserve())
    told: list[Look] = []

    async def first() -> None:
        scanner.attach(asyncio.get_running_loop())
        for _ in range(30):
            scanner.ask(told.append)
        await turns_until(lambda: bool(told))

    async def second() -> None:
        scanner.attach(asyncio.get_running_loop())
        await turns_until(lambda: len(told) >= 30)
        await ask(scanner)

    run(first())
    assert 0 < len(told) < 30
    run(second())
    assert len(told) == 30


def test_a_look_that_a_loop_did_not_finish_begins_anew_on_the_next() -> None:
    scanner = ProcessScanner(Reserve())
    told: list[Look] = []

    async def first() -> None:
        scanner.attach(asyncio.get_running_loop())
        scanner.ask(told.append)

    async def second() -> None:
        scanner.attach(asyncio.get_running_loop())
        await turns_until(lambda: bool(told))
        await ask(scanner)

    run(first())
    run(second())
    assert len(told) == 1


def ask(scanner: ProcessScanner) -> asyncio.Future[Look]:
    found: asyncio.Future[Look] = asyncio.get_running_loop().create_future()
    scanner.ask(found.set_result)
    return found


async def marks(scanner: ProcessScanner) -> dict[bytes, list[int]]:
    found: asyncio.Future[Look] = asyncio.get_running_loop().create_future()
    scanner.ask_for_marks(found.set_result)
    return (await found).marks


@on_all_loops
async def test_marks_are_read_only_for_those_who_ask_for_them() -> None:
    scanner = ProcessScanner(Reserve())
    scanner.attach(asyncio.get_running_loop())
    with leading("AMPER_JOB=a-1 sh -c 'echo ready $$; exec sleep 1000'") as (_, (marked,)):
        await turns_until(lambda: Path(f"/proc/{marked}/comm").read_bytes() == b"sleep\n")
        plain, asked = ask(scanner), asyncio.get_running_loop().create_future()
        assert (await plain).marks == {}
        scanner.ask_for_marks(asked.set_result)
        look: Look = await asked
        assert look.marks[b"a-1"] == [marked]
        assert read_mark(marked, Reserve()) == b"a-1"
        assert read_mark(NO_PROCESS, Reserve()) is None
        stat = look.stats[marked]
        assert (stat.session, stat.is_stopped) == (os.getsid(marked), False)


@on_all_loops
async def test_a_mark_is_read_of_one_that_executes_programs_without_end(tmp_path: Path) -> None:
    """In the midst of that a process has no environment that could be read."""
    script = tmp_path / "again"
    script.write_text(f"exec sh {script}")
    scanner = ProcessScanner(Reserve())
    scanner.attach(asyncio.get_running_loop())
    with leading(f"AMPER_JOB=a-4 sh -c 'echo ready $$; exec sh {script}'") as (_, (marked,)):
        for _ in range(100):
            assert (await marks(scanner))[b"a-4"] == [marked]


@on_a_loop
async def test_one_without_any_environment_is_not_taken_for_one_that_executes_a_program() -> None:
    with leading("exec env -i sh -c 'echo ready $$; kill -STOP $$'") as (_, (bare,)):
        assert read_mark(bare, Reserve()) is None


@on_a_loop
async def test_a_look_does_not_wait_for_ever_for_a_program_that_cannot_be_read(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """From a disk that does not answer, as it may be."""
    monkeypatch.setattr(scan, "LONGEST_EXEC", 0.01)
    scanner = ProcessScanner(Reserve())
    scanner.attach(asyncio.get_running_loop())
    sleeper = "AMPER_JOB=a-5 sh -c 'echo ready $$; kill -STOP $$'"
    with leading(sleeper) as (group, (stuck,)), leading(sleeper) as (_, (other,)):
        read = procfs._read_mark
        monkeypatch.setattr(
            procfs, "_read_mark", lambda pid: EXECUTING if pid == stuck else read(pid)
        )
        found = await marks(scanner)
        assert EXECUTING not in found
        assert found[b"a-5"] == [other]
        assert stuck in (await ask(scanner)).groups[group]


@on_all_loops
async def test_the_marks_of_those_whose_group_is_known_are_not_read() -> None:
    scanner = ProcessScanner(Reserve())
    scanner.attach(asyncio.get_running_loop())
    marked = "AMPER_JOB=a-3 sh -c 'echo ready $$; kill -STOP $$'"
    with leading(marked) as (group, (known,)), leading(marked) as (_, (unknown,)):
        scanner.leaders[group] = str(group)
        asked = asyncio.get_running_loop().create_future()
        scanner.ask_for_marks(asked.set_result)
        look: Look = await asked
        assert look.marks[b"a-3"] == [unknown]
        assert known in look.groups[group]


@on_all_loops
async def test_leaders_of_commands_that_run_are_visited_for_those_who_ask_for_them() -> None:
    scanner = ProcessScanner(Reserve())
    scanner.attach(asyncio.get_running_loop())
    with leading("sh -c 'echo ready $$; kill -STOP $$'") as (group, (member,)):
        scanner.leaders[group] = str(group)
        asked = asyncio.get_running_loop().create_future()
        scanner.ask_for_descendants(asked.set_result)
        look: Look = await asked
        assert look.groups[group] == [member]
        # One look does for both who ask, and has what either needs.
        asked = asyncio.get_running_loop().create_future()
        scanner.ask_for_descendants(asked.set_result)
        assert set((await ask(scanner)).groups[group]) == {group, member}
        assert group in (await asked).stats
        assert scanner.begun == 2


class Numbers:
    """Gives what the test says for the number that the kernel gave last."""

    def __init__(self, last: int) -> None:
        self.last = last

    def last_pid(self) -> int:
        return self.last


@on_all_loops
async def test_who_had_no_child_in_a_look_has_none_as_long_as_nobody_is_forked(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    scanner, numbers = ProcessScanner(Reserve()), Numbers(7)
    scanner._forks = numbers  # type: ignore[assignment]  # All that is asked of them.
    scanner.attach(asyncio.get_running_loop())
    with leading("sleep 1000 & echo ready $!; wait") as (parent, (child,)):
        assert not scanner.is_childless(child)
        await ask(scanner)
        assert scanner.is_childless(child)
        assert not scanner.is_childless(parent)
        numbers.last = 8
        assert not scanner.is_childless(child)
        monkeypatch.setattr(scan, "PROCESSES_PER_TURN", 1)
        asked = ask(scanner)
        await turns(2)
        # During the look: it may have passed by before.
        numbers.last = 9
        await asked
        assert not scanner.is_childless(child)
        # Nobody can tell.
        numbers.last = 0
        await ask(scanner)
        assert not scanner.is_childless(child)


@on_a_loop
async def test_a_look_in_which_a_parent_dies_proves_that_nobody_is_childless(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Its children are another's now, and nobody was forked for that."""
    scanner = ProcessScanner(Reserve())
    scanner._forks = Numbers(7)  # type: ignore[assignment]
    scanner.attach(asyncio.get_running_loop())
    with leading("sleep 1000 & echo ready $!; wait") as (parent, (child,)):
        read = read_stat
        await ask(scanner)
        assert scanner.is_childless(child)
        # It died after its child was visited, and before it was itself.
        monkeypatch.setattr(
            scan, "read_stat", lambda pid, kept: None if pid == parent else read(pid, kept)
        )
        await ask(scanner)
        assert not scanner.is_childless(child)
        # A leader need not be visited.
        scanner.leaders[parent] = str(parent)
        await ask(scanner)
        assert scanner.is_childless(child)


@on_a_loop
async def test_no_mark_is_read_of_those_that_are_older_than_any() -> None:
    with leading("AMPER_JOB=a-3 sh -c 'echo ready $$; kill -STOP $$'") as (_, (older,)):
        stat = read_stat(older, None)
        assert stat is not None
        # A tick is a hundredth of a second.
        await turns_until(lambda: ticks_now() > stat.started + 1)
        scanner = ProcessScanner(Reserve())
        scanner.attach(asyncio.get_running_loop())
        asked = asyncio.get_running_loop().create_future()
        scanner.ask_for_marks(asked.set_result)
        look: Look = await asked
        assert older in look.stats
        assert b"a-3" not in look.marks


def test_marks_are_still_asked_for_on_the_next_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scan, "PROCESSES_PER_TURN", 1)
    scanner = ProcessScanner(Reserve())
    told: list[Look] = []

    async def first() -> None:
        scanner.attach(asyncio.get_running_loop())
        scanner.ask_for_marks(told.append)

    async def second() -> None:
        scanner.attach(asyncio.get_running_loop())
        await turns_until(lambda: bool(told))

    run(first())
    with leading("AMPER_JOB=a-2 sh -c 'echo ready $$; kill -STOP $$'") as (_, (marked,)):
        run(second())
        assert told[0].marks[b"a-2"] == [marked]
