"""Commands under a shim: what `containment="tree"` promises beyond what holds for every job."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from amper import DEVNULL, PIPE, STDOUT, JobManager
from amper.manager.contained import ContainedRunner
from amper.supervisor import keepers
from amper.values import Containment
from tests.handshakes import (
    info_when,
    is_zombie_or_gone,
    on_a_shifted_loop,
    opened,
    outcome,
    parent_of,
    put_forward,
    result_of,
    said,
    state_of,
    turns_until,
    watching,
)
from tests.support import on_all_loops, run
from tests.survivors import keeper_of, run_wild, shim_of, tree
from tests.unruly import unruly
from tests.work import history, info_of, on_a_loop

LEVELS: tuple[Containment, ...] = ("group", "tree")


# Nothing is left.


@on_all_loops
async def test_a_kill_leaves_nobody_however_they_got_away() -> None:
    with tree() as wild:
        async with JobManager(containment="tree", grace_period=0.02) as jobs:
            id = await run_wild(jobs, wild)
            assert len(wild.tagged()) > 15
            assert await jobs.kill(id)
            assert not wild.tagged()
            assert not wild.is_held()
            assert not await jobs.kill(id)


@on_a_loop
async def test_a_kill_leaves_bystanders_alone() -> None:
    with tree() as wild, tree() as bystander:
        async with JobManager(containment="tree", grace_period=0.02) as jobs:
            ids = [await jobs.start(unruly("run_wild", made.tag)) for made in (wild, bystander)]
            for id in ids:
                await said(jobs, id)
            assert await jobs.kill(ids[0])
            assert not wild.tagged()
            assert len(bystander.tagged()) > 15


@on_all_loops
async def test_the_end_of_the_block_leaves_nobody() -> None:
    with tree() as wild:
        async with JobManager(containment="tree", grace_period=0.02) as jobs:
            leaving = await jobs.start(unruly("run_tagged", wild.tag, "double_fork_setsid"))
            assert (await result_of(jobs, leaving)).ok
            await run_wild(jobs, wild)
            keeper = keeper_of(jobs)
        assert not wild.tagged()
        assert not wild.is_held()
        assert is_zombie_or_gone(keeper)


@on_a_loop
async def test_what_a_finished_job_left_behind_is_killed_also_outside_of_its_group() -> None:
    async with JobManager(containment="tree", grace_period=0.02) as jobs:
        id = await jobs.start(unruly("double_fork_setsid"))
        (pid,) = await said(jobs, id)
        assert (await result_of(jobs, id)).ok
        with watching(pid) as left:
            assert not left.is_dead
            assert await jobs.kill(id)
            assert left.is_dead
        assert not await jobs.kill(id)


@on_a_loop
async def test_a_job_may_last_as_long_as_its_daemons_do() -> None:
    async with JobManager(containment="tree") as jobs:
        id = await jobs.start(unruly("double_fork_setsid"), descendants="wait")
        with watching(*await said(jobs, id)) as left:
            assert await jobs.wait(id, timeout=0) is None
            left.signal(signal.SIGKILL)
            assert (await result_of(jobs, id)).ok


@on_a_loop
async def test_a_job_that_lasts_as_long_as_its_descendants_is_stopped_and_resumed_through_them() -> (
    None
):
    """Of those the shim tells no stop and no continue."""
    async with JobManager(containment="tree") as jobs:
        id = await jobs.start(unruly("fork_and_leave"), descendants="wait")
        with watching(*await said(jobs, id)) as left:
            job = jobs.table.get(id)
            assert job is not None
            runner = job.runner
            assert isinstance(runner, ContainedRunner)
            await turns_until(lambda: runner._exit is not None)
            assert await jobs.stop(id)
            assert state_of(left.pid) == "T"
            assert await jobs.get_status_string(id) == "stopped"
            assert await jobs.resume(id)
            assert state_of(left.pid) != "T"
            assert await jobs.get_status_string(id) == "running"
        assert await history(jobs, id) == ["started", "stopped", "resumed"]


@on_a_loop
async def test_daemons_may_be_killed_with_the_leaders_end() -> None:
    async with JobManager(containment="tree", grace_period=0.02) as jobs:
        id = await jobs.start(unruly("double_fork_setsid"), descendants="kill")
        with watching(*await said(jobs, id)) as left:
            result = await result_of(jobs, id)
            assert (result.ok, result.ended_by) == (True, None)
            assert left.is_dead


@on_a_loop
async def test_everything_of_a_job_is_asked_before_it_is_killed() -> None:
    async with JobManager(containment="tree", grace_period=1000) as jobs:
        id = await jobs.start(unruly("child_in_own_session"))
        with watching(*await said(jobs, id)) as child:
            child.signal(signal.SIGSTOP)
            assert await jobs.kill(id)
            assert child.is_dead


@on_a_shifted_loop
async def test_a_contained_job_has_a_deadline_like_any_other() -> None:
    async with JobManager(containment="tree", grace_period=0.02) as jobs:
        id = await jobs.start(unruly("child_in_own_session"), timeout=20)
        with watching(*await said(jobs, id)) as child:
            put_forward(20)
            assert (await result_of(jobs, id)).code == 124
            assert await jobs.get_status_string(id) == "killed:124"
            await child.death()


# Stops.


@on_all_loops
async def test_a_stop_from_outside_is_seen_and_releases_who_waits() -> None:
    async with JobManager(containment="tree") as jobs:
        id = await jobs.start(unruly("behave"))
        with watching(*await said(jobs, id)) as leader:
            waiting = [asyncio.ensure_future(jobs.wait(id)), asyncio.ensure_future(jobs.wait_all())]
            await asyncio.sleep(0)
            leader.signal(signal.SIGSTOP)
            assert await asyncio.gather(*waiting) == [None, []]
            assert await jobs.get_status_string(id) == "stopped"
            assert await jobs.last_stopped() == id
            leader.signal(signal.SIGCONT)
            await info_when(jobs, id, lambda info: info.status_string == "running")
            leader.signal(signal.SIGKILL)
            assert (await result_of(jobs, id)).code == 137
        assert await history(jobs, id) == ["started", "stopped", "resumed", "ended"]


@on_a_loop
async def test_stop_and_resume_are_what_the_shim_reports() -> None:
    async with JobManager(containment="tree") as jobs:
        id = await jobs.start(unruly("behave"))
        assert await jobs.stop(id)
        assert await jobs.get_status_string(id) == "stopped"
        assert await jobs.resume(id)
        assert await jobs.get_status_string(id) == "running"
        assert await jobs.stop(id)
        assert await jobs.kill(id)
        assert not await jobs.stop(id)
        assert not await jobs.resume(id)
        # What is asked to end is continued, which the shim may or may not come to tell.
        assert (await history(jobs, id))[:4] == ["started", "stopped", "resumed", "stopped"]


# The start.


@on_all_loops
async def test_one_that_is_resumed_and_over_at_once_has_run_on_all_the_same() -> None:
    """The shim may find it dead before it has seen that it was continued."""
    async with JobManager(containment="tree") as jobs:
        for _ in range(5):
            id = await jobs.start("kill -STOP $$; exit 6")
            assert await jobs.wait(id) is None
            assert await jobs.resume(id)
            result = await jobs.wait(id)
            assert result is not None
            assert result.code == 6
            assert await history(jobs, id) == ["started", "stopped", "resumed", "ended"]
        id = await jobs.start("kill -STOP $$")
        assert await jobs.wait(id) is None
        await jobs.signal(id, signal.SIGKILL)
        await info_when(jobs, id, lambda info: info.status.is_final)
        assert await history(jobs, id) == ["started", "stopped", "ended"]


@on_all_loops
async def test_whoever_asks_for_the_process_at_once_waits_until_it_is_known() -> None:
    async with JobManager(containment="tree") as jobs:
        id = await jobs.start("echo $$; read x", stdin=PIPE)
        assert (await info_of(jobs, id)).pid is None
        asking = asyncio.ensure_future(jobs.get_process_info(id))
        await asyncio.sleep(0)
        asking.cancel()
        process = await jobs.get_process_info(id)
        assert process is not None
        assert process == ((await info_of(jobs, id)).pid, process[0])
        assert await jobs.job_pgids(id) == [process[0]]
        assert await jobs.close_stdin(id)
        assert (await result_of(jobs, id)).out == b"%d\n" % process[0]


@on_a_loop
async def test_a_signal_at_once_reaches_the_command() -> None:
    async with JobManager(containment="tree") as jobs:
        id = await jobs.start(["sleep", "1000"])
        assert await jobs.signal(id, signal.SIGTERM)
        assert (await result_of(jobs, id)).code == 143
        failed = await jobs.start(["no-such-program"])
        assert not await jobs.signal(failed, signal.SIGTERM)


@on_a_loop
async def test_a_kill_at_once_ends_a_command_that_may_not_have_begun() -> None:
    async with JobManager(containment="tree", grace_period=1000) as jobs:
        ids = [await jobs.start(["sleep", "1000"]) for _ in range(40)]
        assert all(await asyncio.gather(*map(jobs.kill, ids)))
        # Those that were still on their way never began.
        assert {(await result_of(jobs, id)).code for id in ids} <= {130, 143}


@on_a_loop
async def test_many_at_once_all_run() -> None:
    async with JobManager(containment="tree", max_running=50) as jobs:
        ids = [await jobs.start(f"echo {number}; exit {number}") for number in range(100)]
        for number, id in enumerate(ids):
            result = await result_of(jobs, id)
            assert (result.code, result.out) == (number, b"%d\n" % number)


@on_a_loop
async def test_a_command_that_cannot_start_says_why_in_the_same_words(tmp_path: Path) -> None:
    directory = str(tmp_path / "no-such-directory")
    (tmp_path / "text").write_text("text")
    cases: list[tuple[Any, dict[str, Any]]] = [
        (["no-such-program"], {}),
        (["./no-such-program"], {"cwd": tmp_path}),
        ([str(tmp_path / "text")], {}),
        (["true"], {"cwd": directory}),
        (["true"], {"pass_fds": [4000]}),
        (["true"], {"stdout": 4000}),
        (["a\0b"], {}),
        ("exit 3", {"env": {"A": "x" * 200_000}}),
    ]
    async with JobManager() as jobs:
        for command, options in cases:
            results = [
                await outcome(jobs, command, **options, containment=level) for level in LEVELS
            ]
            assert results[0] == results[1]
            assert results[0].code in (126, 127)


@on_a_loop
async def test_where_no_keeper_can_be_started_a_job_fails_and_says_so() -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "executable", "")
        async with JobManager(containment="tree") as jobs:
            result = await outcome(jobs, ["true"])
            assert result.code == 126
            assert "no keeper can be started" in result.text_err()
            # It does so for contained jobs alone.
            assert (await outcome(jobs, ["true"], containment="group")).ok
        patch.setattr(sys, "executable", "/bin/false")
        async with JobManager(containment="tree") as jobs:
            result = await outcome(jobs, ["true"])
            assert (result.code, result.out) == (126, b"")
            assert "its keeper ended before it could start it" in result.text_err()


@on_a_loop
async def test_a_host_whose_rights_have_changed_gets_another_keeper() -> None:
    with pytest.MonkeyPatch.context() as patch:
        async with JobManager(containment="tree") as jobs:
            id = await jobs.start(unruly("behave"))
            await said(jobs, id)
            first = keeper_of(jobs)
            patch.setattr(keepers, "rights", lambda: ("other",))
            assert (await outcome(jobs, ["true"])).ok
            assert keeper_of(jobs) != first
            # It ends with its last job.
            with watching(first) as keeper:
                assert not keeper.is_dead
                assert await jobs.kill(id)
                await keeper.death()


@on_a_loop
async def test_the_level_is_chosen_for_a_manager_or_a_job() -> None:
    async with JobManager() as jobs:
        for level in (None, *LEVELS):
            id = await jobs.start(["true"], containment=level)
            assert (await info_of(jobs, id)).containment == level or "group"
            assert (await jobs.run(["true"], containment=level)).ok
        with pytest.raises(ValueError, match="containment"):
            await jobs.start(["true"], containment="forest")  # type: ignore[arg-type]  # The mistake is the test.
    with pytest.raises(ValueError, match="containment"):
        JobManager(containment="forest")  # type: ignore[arg-type]  # The mistake is the test.


# What the command finds.


@on_a_loop
async def test_a_command_finds_the_same_under_a_shim() -> None:
    script = (
        "grep -E '^(Sig|Shd|Uid|Gid|Groups|Umask)' /proc/self/status | grep -v SigQ;"
        "cat /proc/self/oom_score_adj; nice; ulimit -a; pwd; "
        # The mark is each job's own; two are set by readline behind Python's back.
        "env | sort | grep -vE '^(_|COLUMNS|LINES|AMPER_JOB)=';"
        "ls -l /proc/self/fd | wc -l"
    )
    async with JobManager() as jobs:
        await jobs.run(["true"], containment="tree")
        found = [await outcome(jobs, script, containment=level) for level in LEVELS]
        assert found[0].out.splitlines() == found[1].out.splitlines()
        assert found[0].ok


@on_a_loop
async def test_supervisors_are_in_no_group_or_session_of_a_job() -> None:
    async with JobManager(containment="tree") as jobs:
        id = await jobs.start(unruly("behave"))
        (pid,) = await said(jobs, id)
        shim, keeper = await shim_of(jobs, id), keeper_of(jobs)
        assert (parent_of(pid), parent_of(shim), parent_of(keeper)) == (shim, keeper, os.getpid())
        assert os.getsid(pid) == os.getpgid(pid) == pid
        # The host's session, so that a job can be in it, and a group that nobody signals.
        assert {os.getsid(shim), os.getsid(keeper)} == {os.getsid(0)}
        assert len({os.getpgid(0), os.getpgid(shim), os.getpgid(keeper), pid}) == 4
        for supervisor in (shim, keeper):
            for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGTSTP):
                os.kill(supervisor, number)
        assert await jobs.kill(id)
        assert (await outcome(jobs, "exit 3")).code == 3


@on_a_loop
async def test_descriptors_that_are_passed_are_there_under_their_own_numbers() -> None:
    read_end, write_end = os.pipe()
    # Numbers that a shim has in use, and one that is far away.
    taken: list[int] = []
    try:
        while not taken or taken[-1] < 30:
            taken.append(os.dup(write_end))
        high = os.dup2(write_end, 500)
        taken.append(high)
        async with JobManager(containment="tree") as jobs:
            listed = await outcome(jobs, unruly("list_descriptors"), pass_fds=taken)
            assert [int(fd) for fd in listed.out.split() if int(fd) in taken] == taken
            assert len(listed.out.split()) == 4 + len(taken)
            script = "".join(f"echo {fd} >&{fd};" for fd in (3, 4, 5, 6, 7, 8, 9) if fd in taken)
            assert (await outcome(jobs, script or ":", pass_fds=taken)).err == b""
    finally:
        for fd in [read_end, write_end, *taken]:
            os.close(fd)


@on_a_loop
async def test_more_descriptors_than_the_kernel_sends_at_once_are_passed() -> None:
    taken = [os.dup(2) for _ in range(300)]
    try:
        async with JobManager(containment="tree") as jobs:
            listed = await outcome(jobs, unruly("list_descriptors"), pass_fds=taken)
            assert len(listed.out.split()) == 4 + 300
    finally:
        for fd in taken:
            os.close(fd)


@on_a_loop
async def test_what_is_large_arrives() -> None:
    words = ["x" * 100_000 for _ in range(15)]
    async with JobManager(containment="tree") as jobs:
        result = await outcome(jobs, ["printf", "%s", *words], env={"A": "y" * 100_000})
        assert result.out == "".join(words).encode()


def in_a_place_of_its_own(test: Callable[..., Any]) -> Callable[..., None]:
    def in_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.chdir(tmp_path)
        run(test(tmp_path))

    in_place.__name__ = test.__name__
    return in_place


@in_a_place_of_its_own
async def test_what_the_call_meant_is_what_is_started(tmp_path: Path) -> None:
    """The caller goes elsewhere, changes its environment and closes its files, all at once."""
    (tmp_path / "in").write_bytes(b"text\n")
    with pytest.MonkeyPatch.context() as patch:
        async with JobManager(containment="tree") as jobs:
            patch.setenv("WORD", "before")
            with opened(tmp_path / "in") as file, opened(tmp_path / "out", "wb") as out:
                id = await jobs.start("pwd; cat; echo $WORD", stdin=file, stdout=out, stderr=STDOUT)
            patch.setenv("WORD", "after")
            patch.chdir("/")
            assert (await result_of(jobs, id)).ok
        with opened(tmp_path / "out") as out:
            assert out.read() == b"%s\ntext\nbefore\n" % os.fsencode(tmp_path)


@in_a_place_of_its_own
async def test_a_directory_that_is_gone_is_still_where_commands_run(tmp_path: Path) -> None:
    os.rmdir(tmp_path)
    async with JobManager() as jobs:
        found = [
            await outcome(jobs, ["readlink", "/proc/self/cwd"], containment=level)
            for level in LEVELS
        ]
    assert found[0] == found[1]
    assert found[0].out.endswith(b"(deleted)\n")


@on_a_loop
async def test_both_outputs_in_one_pipe_keep_their_order_and_input_is_fed() -> None:
    async with JobManager(containment="tree") as jobs:
        result = await outcome(jobs, unruly("alternate", 50), stderr=STDOUT)
        assert result.out == b"".join(b"%d\n" % number for number in range(50))
        assert (await outcome(jobs, ["cat"], stdin=b"x" * 300_000)).out == b"x" * 300_000
        assert (await outcome(jobs, ["cat"], stdin=DEVNULL)).out == b""


@on_a_loop
async def test_what_was_used_is_known() -> None:
    async with JobManager(containment="tree") as jobs:
        id = await jobs.start(unruly("be_busy"))
        await result_of(jobs, id)
        info = await info_of(jobs, id)
        assert info.usage is not None
        assert info.usage.user > 0
        assert info.usage.max_rss > 1_000_000
        assert (info.output_open, info.output_late) == (False, 0)


# Managers.


def test_a_contained_job_is_taken_up_by_the_next_loop() -> None:
    jobs = JobManager(containment="tree", grace_period=0.02)
    ids = []

    async def first() -> None:
        ids.append(await jobs.start("echo ready; read x; exit 3", stdin=PIPE))
        ids.append(await jobs.start(unruly("double_fork_setsid")))
        # One of which nothing is known yet.
        ids.append(await jobs.start("exit 4"))
        await said(jobs, ids[0])

    async def second() -> None:
        assert await jobs.close_stdin(ids[0])
        assert [(await result_of(jobs, id)).code for id in ids] == [3, 0, 4]
        assert (await jobs.run("exit 5")).code == 5
        await jobs.aclose()

    run(first())
    run(second())


def test_a_manager_that_is_dropped_ends_keeper_and_jobs() -> None:
    with tree() as wild:
        pids = []

        async def leave() -> None:
            jobs = JobManager(containment="tree", grace_period=0.02)
            await run_wild(jobs, wild)
            pids.append(keeper_of(jobs))

        run(leave())
        gc.collect()
        wild.wait_until_dead()
        os.waitpid(pids[0], 0)


@on_a_loop
async def test_an_idle_manager_with_a_keeper_is_not_held_by_the_loop() -> None:
    async with JobManager(containment="tree") as jobs:
        assert (await outcome(jobs, ["true"])).ok
        poller = jobs._core.kernel.poller
        await turns_until(lambda: not poller._watchers)
        await turns_until(lambda: not poller._has_reader)


@on_all_loops
async def test_several_jobs_wait_for_a_keeper_that_takes_none_at_the_moment(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    hand, refused = keepers.Keeper.hand, list[int]()

    def full_at_first(keeper: keepers.Keeper, channel: int, grace_period: float) -> bool:
        if len(refused) < 3:
            refused.append(channel)
            return False
        return hand(keeper, channel, grace_period)

    monkeypatch.setattr(keepers.Keeper, "hand", full_at_first)
    async with JobManager(containment="tree") as jobs:
        ids = [await jobs.start(["true"]) for _ in range(3)]
        assert [(await result_of(jobs, id)).code for id in ids] == [0, 0, 0]
