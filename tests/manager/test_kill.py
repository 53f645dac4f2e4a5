"""`kill`: TERM, grace, KILL, until nothing of the job is left; the answer says whether that is so."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import signal
from typing import Any

import pytest

from amper import CancellationToken, EndedBy, ExecResult, JobId, JobManager, oneshot
from amper.manager import killing
from amper.manager.killing import Cascade
from amper.process.forks import Forks
from amper.process.group import GroupWatch, ProcessGroup
from amper.process.scan import ProcessScanner
from amper.process.sweep import Sweep
from tests.handshakes import (
    is_zombie_or_gone,
    leading,
    on_a_shifted_loop,
    outcome,
    put_forward,
    result_of,
    said,
    state_of,
    turns_until,
    watching,
)
from tests.places import everywhere
from tests.support import cancelled, on_all_loops
from tests.unruly import unruly
from tests.work import endless, info_of, on_a_loop, turn


@on_a_loop
async def test_who_ended_a_job_and_why_is_told_in_words() -> None:
    async with JobManager() as jobs:
        id = jobs.spawn("work", endless())
        wrong: Any = ValueError("too slow")
        for call in (
            jobs.kill(id, reason=wrong),
            jobs.kill(id, by=wrong),
            jobs.cancel(id, reason=wrong),
            jobs.aclose(reason=wrong),
        ):
            with pytest.raises(TypeError, match="is a str, not ValueError"):
                await call
        assert await jobs.get_status_string(id) == "running"
        assert jobs.spawn("more", endless()) == id + 1


@everywhere
async def test_a_killed_job_is_dead_when_kill_returns_and_it_is_on_record_who_did_it() -> None:
    async with JobManager() as jobs:
        id = await jobs.start(unruly("behave"))
        with watching(*await said(jobs, id)) as process:
            assert await jobs.kill(id, reason="too slow", by="the boss")
            assert process.is_dead
        result = await jobs.try_result(id)
        assert result is not None
        assert (result.code, result.ended_by) == (143, EndedBy("kill", "too slow", "the boss"))
        info = await info_of(jobs, id)
        assert (info.status_string, info.signal) == ("killed:143", signal.SIGTERM)
        last = (await jobs.read_events()).events[-1]
        assert (last.kind, last.ended_by) == ("ended", result.ended_by)
        assert not await jobs.kill(id)


@everywhere
async def test_a_killed_job_is_dead_with_all_its_children() -> None:
    async with JobManager(grace_period=0.02) as jobs:
        for child in ("quiet_child", "stubborn_child"):
            id = await jobs.start(unruly("crowd", 3, child))
            with contextlib.ExitStack() as stack:
                pids = await said(jobs, id)
                crowd = [stack.enter_context(watching(pid)) for pid in pids]
                assert await jobs.kill(id)
                assert all(process.is_dead for process in crowd)
            assert (await result_of(jobs, id)).code == 143


@on_a_shifted_loop
async def test_whoever_ignores_term_has_the_grace_period_and_not_more() -> None:
    async with JobManager() as jobs:
        id = await jobs.start(unruly("refuse_term"))
        await said(jobs, id)
        killing = asyncio.ensure_future(jobs.kill(id, grace_period=10))
        await said(jobs, id, "ignored")
        assert await jobs.get_status_string(id) == "running"
        assert not killing.done()
        put_forward(10)
        assert await killing
        assert (await result_of(jobs, id)).code == 137
        assert (await jobs.read_stdout(id) or b"").count(b"ignored") == 1


@on_a_shifted_loop
async def test_the_grace_period_is_the_managers_unless_one_is_given() -> None:
    async with JobManager(grace_period=5) as jobs:
        id = await jobs.start(unruly("refuse_term"))
        await said(jobs, id)
        killing = asyncio.ensure_future(jobs.kill(id))
        await said(jobs, id, "ignored")
        put_forward(5)
        assert await killing


@everywhere
async def test_a_leader_that_obeys_does_not_save_a_child_that_does_not() -> None:
    """The grace period is for all of the job; nobody is forgotten because the leader is gone."""
    async with JobManager() as jobs:
        id = await jobs.start(unruly("obey_but_leave_refusing"))
        with watching(*await said(jobs, id)) as child:
            killing = asyncio.ensure_future(jobs.kill(id, grace_period=1000))
            result = await result_of(jobs, id)
            assert result.code == 143
            assert not child.is_dead
            assert not killing.done()
            assert await jobs.kill(id, grace_period=0)
            assert await killing
            assert child.is_dead


@on_all_loops
async def test_one_that_handles_term_and_exits_0_is_done() -> None:
    async with JobManager() as jobs:
        id = await jobs.start(unruly("handle_term_and_exit_0"))
        await said(jobs, id)
        assert await jobs.kill(id, reason="enough")
        assert await jobs.get_status_string(id) == "done:0"
        failed = await jobs.start(unruly("handle_term_and_exit", 3))
        await said(jobs, failed)
        assert await jobs.kill(failed, reason="enough")
        assert await jobs.get_status_string(failed) == "killed:3"
        assert (await result_of(jobs, failed)).ended_by == EndedBy("kill", "enough")


@everywhere
async def test_stopped_processes_are_killed_too() -> None:
    async with JobManager() as jobs:
        id = await jobs.start(unruly("stop_self"))
        (pid,) = await said(jobs, id)
        with watching(pid) as process:
            await process.stop()
            assert await jobs.kill(id)
            assert process.is_dead
        assert (await result_of(jobs, id)).code == 143
        crowd = await jobs.start(unruly("crowd", 2))
        first, second = await said(jobs, crowd)
        with watching(first) as one, watching(second) as two:
            await one.stop()
            assert await jobs.kill(crowd)
            assert one.is_dead
            assert two.is_dead


@everywhere
async def test_a_zombie_counts_as_gone() -> None:
    async with JobManager() as jobs:
        id = await jobs.start(unruly("zombie_child"))
        (pid,) = await said(jobs, id)
        assert await jobs.kill(id)
        assert is_zombie_or_gone(pid)
        kept = await jobs.start(unruly("zombie_of_another_session"))
        zombie, keeper = await said(jobs, kept)
        with watching(keeper):
            assert await jobs.kill(kept)
            assert is_zombie_or_gone(zombie)


@everywhere
async def test_what_a_finished_job_left_behind_can_be_killed() -> None:
    async with JobManager(grace_period=0.02) as jobs:
        for way in ("fork_and_leave", "fork_stubborn_and_leave", "hold_pipe"):
            id = await jobs.start(unruly(way))
            with watching(*await said(jobs, id)) as left:
                before = await result_of(jobs, id)
                assert not left.is_dead
                assert await jobs.kill(id, reason="tidy up")
                assert left.is_dead
                assert not await jobs.kill(id)
            assert await jobs.get_status_string(id) == "done:0"
            assert await result_of(jobs, id) == before
            assert before.ended_by is None


@on_all_loops
async def test_it_can_be_killed_after_its_job_was_forgotten() -> None:
    async with JobManager(finished_retention=1) as jobs:
        id = await jobs.start(unruly("fork_and_leave"))
        with watching(*await said(jobs, id)) as left:
            await result_of(jobs, id)
            for _ in range(10):
                await outcome(jobs, ["true"])
            assert not await jobs.exists(id)
            assert await jobs.kill(id)
            assert left.is_dead
        removed = await jobs.start(unruly("fork_and_leave"))
        with watching(*await said(jobs, removed)) as left:
            await result_of(jobs, removed)
            assert [info.id for info in await jobs.reap_finished()][-1] == removed
            assert await jobs.kill(removed)
            assert left.is_dead


@everywhere
async def test_where_there_is_nothing_to_kill_the_answer_is_false() -> None:
    async with JobManager() as jobs:
        over = await jobs.start(["true"])
        await result_of(jobs, over)
        failed = await jobs.start(["no-such-program"])
        _, rx = oneshot()
        elsewhere = await jobs.register("elsewhere", rx)
        for id in (JobId(99), over, failed, elsewhere):
            assert not await jobs.kill(id)
            assert not await jobs.kill(id, grace_period=0, reason="?", by="?")
        assert await jobs.get_status_string(elsewhere) == "running"
        with pytest.raises(ValueError, match="grace_period"):
            await jobs.kill(JobId(99), grace_period=-1)


@on_all_loops
async def test_the_first_who_kills_is_the_one_and_all_get_the_answer() -> None:
    async with JobManager() as jobs:
        id = await jobs.start(unruly("refuse_term"))
        await said(jobs, id)
        first = asyncio.ensure_future(jobs.kill(id, grace_period=1000, reason="first"))
        await said(jobs, id, "ignored")
        others = [jobs.kill(id, grace_period=grace, reason="late") for grace in (1000, 0, 500)]
        assert await asyncio.gather(first, *others) == [True] * 4
        assert (await result_of(jobs, id)).ended_by == EndedBy("kill", "first")
        ends = [event for event in (await jobs.read_events()).events if event.kind == "ended"]
        assert len(ends) == 1


@on_all_loops
async def test_a_caller_that_is_cancelled_leaves_the_cascade_going() -> None:
    async with JobManager() as jobs:
        id = await jobs.start(unruly("refuse_term"))
        with watching(*await said(jobs, id)) as process:
            killing = asyncio.ensure_future(jobs.kill(id, grace_period=0.02))
            await said(jobs, id, "ignored")
            await cancelled(killing)
            assert (await result_of(jobs, id)).code == 137
            assert process.is_dead


@on_all_loops
async def test_cancel_asks_for_the_same_and_does_not_wait() -> None:
    async with JobManager(grace_period=0.02) as jobs:
        id = await jobs.start(unruly("crowd", 1, "stubborn_child"))
        with watching(*await said(jobs, id)) as child:
            assert await jobs.cancel(id, reason="enough")
            assert await jobs.get_status_string(id) == "running"
            result = await result_of(jobs, id)
            assert (result.code, result.ended_by) == (143, EndedBy("cancel", "enough"))
            assert await jobs.get_status_string(id) == "killed:143"
            await child.death()
        assert not await jobs.cancel(id)
        assert not await jobs.cancel(JobId(99))


@on_all_loops
async def test_a_token_that_was_set_is_all_that_cancel_trips_and_kill_still_kills() -> None:
    async with JobManager() as jobs:
        id = await jobs.start(unruly("behave"))
        await said(jobs, id)
        token = CancellationToken()
        await jobs.set_cancel_token(id, token)
        assert await jobs.cancel(id, reason="please")
        assert (token.is_cancelled, token.reason) == (True, "please")
        await asyncio.sleep(0)
        assert await jobs.get_status_string(id) == "running"
        assert await jobs.kill(id)
        # The first who asked is on record, and the code is what came of all that.
        assert (await result_of(jobs, id)).ended_by == EndedBy("cancel", "please")


@on_all_loops
async def test_many_are_killed_at_once() -> None:
    async with JobManager(finished_retention=None) as jobs:
        ids = [await jobs.start(["sleep", "1000"]) for _ in range(200)]
        assert await asyncio.gather(*[jobs.kill(id) for id in ids]) == [True] * 200
        assert {info.status_string for info in await jobs.list()} == {"killed:143"}


@everywhere
async def test_the_groups_of_somebody_elses_processes_are_killed_with_their_job() -> None:
    async with JobManager(grace_period=0.02) as jobs:
        sender, receiver = oneshot()
        id = await jobs.register("elsewhere", receiver)
        with leading(unruly("behave")) as (pid, _), watching(pid) as process:
            await jobs.add_pgid(id, pid)
            killing = asyncio.ensure_future(jobs.kill(id, reason="enough"))
            await process.death()
            # Whoever runs it sees that and reports; the job is over then, and not before.
            assert not killing.done()
            sender.send(ExecResult(143))
            assert await killing
        assert (await result_of(jobs, id)).ended_by == EndedBy("kill", "enough")
        spawned = jobs.spawn("work", endless())
        with leading(unruly("ignore_term")) as (pid, _), watching(pid) as process:
            await jobs.add_pgid(spawned, pid)
            assert await jobs.kill(spawned)
            assert process.is_dead
        assert await jobs.get_status_string(spawned) == "killed:130"


@pytest.mark.parametrize("child", ["behave", "ignore_term"])
@everywhere
async def test_a_group_that_is_recorded_during_a_kill_is_killed_too(child: str) -> None:
    """The work that was asked to end has started one more, and ends before anybody insists."""
    with leading(unruly(child)) as (pid, _), watching(pid) as process:
        async with JobManager(grace_period=0.05) as jobs:

            async def work() -> None:
                try:
                    await endless()
                finally:
                    await jobs.add_pgid(JobId(1), pid)

            id = jobs.spawn("work", work())
            await turn()
            assert await jobs.kill(id)
            assert process.is_dead


# What kill cannot do.


@everywhere
async def test_what_survives_sigkill_makes_the_answer_false_and_the_next_try_may_succeed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A process in the D state takes no signal; here the signals are lost on the way."""
    async with JobManager(grace_period=0) as jobs:
        running = await jobs.start(unruly("crowd", 1))
        left = await jobs.start(unruly("fork_and_leave"))
        (child,) = await said(jobs, running)
        (orphan,) = await said(jobs, left)
        await result_of(jobs, left)
        with watching(child) as one, watching(orphan) as two:
            with monkeypatch.context() as lost:
                lost.setattr(killing, "KILL_LIMIT", 0.02)
                lost.setattr(ProcessGroup, "signal", lambda *_: True)
                lost.setattr(GroupWatch, "signal_members", lambda *_: None)
                assert not await jobs.kill(running, reason="in vain")
                assert not await jobs.kill(left)
            assert await jobs.get_status_string(running) == "running"
            assert await jobs.kill(running)
            assert await jobs.kill(left)
            assert one.is_dead
            assert two.is_dead
        assert await jobs.get_status_string(running) == "killed:143"


@on_all_loops
async def test_the_event_names_what_survived_sigkill(monkeypatch: pytest.MonkeyPatch) -> None:
    async with JobManager(grace_period=0) as jobs:
        id = await jobs.start(unruly("crowd", 1))
        (child,) = await said(jobs, id)
        leader, _ = await jobs.get_process_info(id) or (0, 0)
        with monkeypatch.context() as lost:
            lost.setattr(killing, "KILL_LIMIT", 0.02)
            lost.setattr(ProcessGroup, "signal", lambda *_: True)
            lost.setattr(GroupWatch, "signal_members", lambda *_: None)
            assert not await jobs.kill(id, reason="in vain")
        assert await jobs.kill(id)
        ended_by = (await jobs.read_events()).events[-1].ended_by
        assert ended_by is not None
        for named in ("in vain", str(leader), str(child)):
            assert named in (ended_by.reason or "")


@on_all_loops
async def test_what_is_dead_is_not_given_up_because_the_proof_takes_its_time() -> None:
    """Where there are very many processes a look takes longer than a kill may."""
    held: list[tuple[ProcessScanner, Any]] = []
    ask = ProcessScanner._ask

    def last_looks() -> list[tuple[ProcessScanner, Any]]:
        return [
            each for each in held if isinstance(getattr(each[1], "__self__", None), killing.Cascade)
        ]

    async with JobManager(grace_period=0) as jobs:
        id = await jobs.start(unruly("ignore_term"))
        (pid,) = await said(jobs, id)
        with pytest.MonkeyPatch.context() as slow, watching(pid) as process:
            slow.setattr(killing, "KILL_LIMIT", 0.02)
            slow.setattr(ProcessScanner, "_ask", lambda *asked: held.append(asked))
            kill = asyncio.ensure_future(jobs.kill(id))
            await process.death()
            await turns_until(lambda: bool(last_looks()))
        ((scanner, last),) = last_looks()
        ask(scanner, last)
        await turns_until(lambda: scanner._turns is None and not scanner._answers)
        assert not kill.done()
        for _, listener in held:
            ask(scanner, listener)
        assert await kill


@on_a_loop
async def test_a_kill_that_outlasts_its_job_keeps_nothing_of_its_output() -> None:
    async with JobManager(grace_period=100) as jobs:
        id = await jobs.start(unruly("obey_but_leave_refusing"))
        with watching(*await said(jobs, id)) as left:
            kill = asyncio.ensure_future(jobs.kill(id))
            assert (await result_of(jobs, id)).code == 143
            (runner,) = jobs._core.unfinished()
            assert (runner.cascade is not None, runner.streams) == (True, None)
            assert await jobs.read_output(id) is not None
            left.signal(signal.SIGKILL)
            assert await kill


@pytest.mark.parametrize("way", ["child_in_own_group", "child_in_own_session"])
@everywhere
async def test_a_descendant_that_left_the_group_is_swept_with_the_rest(way: str) -> None:
    """Best effort, at this level: it is found because its parents still lead to it."""
    async with JobManager(grace_period=0.02) as jobs:
        id = await jobs.start(unruly(way))
        with watching(*await said(jobs, id)) as child:
            assert await jobs.kill(id)
            assert child.is_dead


@on_a_loop
async def test_a_descendant_is_found_also_where_nobody_was_forked_since_the_last_look(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(Forks, "last_pid", lambda _: 7)
    async with JobManager(grace_period=0.02) as jobs:
        other = await jobs.start(unruly("behave"))
        id = await jobs.start(unruly("child_in_own_session"), env={})
        with watching(*await said(jobs, id)) as child:
            assert await jobs.kill(other)
            scanner = jobs._core.kernel.scanner
            info = await info_of(jobs, id)
            assert info.pid is not None
            assert scanner.is_childless(child.pid)
            assert not scanner.is_childless(info.pid)
            assert await jobs.kill(id)
            assert child.is_dead


@on_a_loop
async def test_a_kill_leaves_nothing_for_the_collector() -> None:
    """What it is made of knows one another: of thousands that would be very much."""

    def left() -> int:
        made = (Cascade, GroupWatch, Sweep)
        return sum(isinstance(thing, made) for thing in gc.get_objects())

    async with JobManager() as jobs:
        gc.collect()
        gc.disable()
        try:
            before = left()
            id = await jobs.start(unruly("child_in_own_session"))
            with watching(*await said(jobs, id)) as child:
                assert await jobs.kill(id)
                assert child.is_dead
            await turn()
            assert left() == before
        finally:
            gc.enable()


@on_a_loop
async def test_a_manager_that_is_closed_holds_nothing_open_that_it_looked_with() -> None:
    async with JobManager() as jobs:
        assert await jobs.kill(await jobs.start(unruly("behave")))
        assert "/proc/loadavg" in open_files()
    # It is still there, and says so: what it had open is not closed by its end.
    assert await jobs.list()
    assert "/proc/loadavg" not in open_files()


def open_files() -> list[str]:
    links = []
    for fd in os.listdir("/proc/self/fd"):
        with contextlib.suppress(FileNotFoundError):
            links.append(os.readlink(f"/proc/self/fd/{fd}"))
    return links


@on_a_loop
async def test_a_process_of_which_only_the_first_thread_has_ended_is_not_gone() -> None:
    """It looks like a zombie, and runs on; here it ignores SIGTERM, too."""
    async with JobManager() as jobs:
        id = await jobs.start(unruly("leave_headless"))
        with watching(*await said(jobs, id)) as headless:
            await result_of(jobs, id)
            assert state_of(headless.pid) == "Z"
            assert not headless.is_dead
            assert await jobs.kill(id, grace_period=0.2)
            assert headless.is_dead
