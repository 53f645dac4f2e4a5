"""`signal`, and whose end is whose: killed through amper, or failed by a stranger."""

from __future__ import annotations

import os
import signal

import pytest

from amper import PIPE, EndedBy, JobId, JobManager
from tests.handshakes import result_of, said, watching
from tests.places import everywhere
from tests.support import on_all_loops
from tests.unruly import unruly
from tests.work import info_of, on_a_loop


@on_all_loops
async def test_a_deadly_signal_through_amper_ends_a_job_as_killed() -> None:
    async with JobManager() as jobs:
        for number in (signal.SIGTERM, signal.SIGKILL, signal.SIGUSR1, signal.SIGINT):
            await check_killed_by(jobs, number)


async def check_killed_by(jobs: JobManager, number: signal.Signals) -> None:
    # The shell has the default action for every signal, also SIGINT.
    id = await jobs.start("echo ready; kill -STOP $$")
    await said(jobs, id)
    assert await jobs.signal(id, number)
    assert await jobs.signal(id, signal.SIGCONT)
    result = await result_of(jobs, id)
    assert result.code == 128 + number
    assert result.ended_by == EndedBy("signal", number.name)
    assert await jobs.get_status_string(id) == f"killed:{128 + number}"
    info = await info_of(jobs, id)
    assert (info.signal, info.exit_code) == (number, 128 + number)


@everywhere
async def test_a_strangers_signal_is_a_failure_with_the_signal_in_its_info() -> None:
    async with JobManager() as jobs:
        for number in (signal.SIGTERM, signal.SIGKILL, signal.SIGSEGV):
            id = await jobs.start(unruly("behave"))
            with watching(*await said(jobs, id)) as process:
                process.signal(number)
                result = await result_of(jobs, id)
            assert (result.code, result.ended_by) == (128 + number, None)
            assert await jobs.get_status_string(id) == f"failed:{128 + number}"
            assert (await info_of(jobs, id)).signal == number


@on_all_loops
async def test_a_command_that_kills_itself_has_failed() -> None:
    async with JobManager() as jobs:
        id = await jobs.start(unruly("die_by", int(signal.SIGABRT)))
        assert (await result_of(jobs, id)).code == 134
        assert await jobs.get_status_string(id) == "failed:134"


@on_all_loops
async def test_a_shell_whose_child_died_of_a_signal_has_an_exit_code_and_no_signal() -> None:
    async with JobManager() as jobs:
        id = await jobs.start("sh -c 'kill -KILL $$'; exit $?")
        assert (await result_of(jobs, id)).code == 137
        info = await info_of(jobs, id)
        assert (info.exit_code, info.signal) == (137, None)
        assert info.status_string == "failed:137"


@on_all_loops
async def test_one_that_handles_term_and_exits_0_is_done() -> None:
    async with JobManager() as jobs:
        id = await jobs.start(unruly("handle_term_and_exit_0"))
        await said(jobs, id)
        assert await jobs.signal(id, signal.SIGTERM)
        assert (await result_of(jobs, id)).code == 0
        assert await jobs.get_status_string(id) == "done:0"


@on_all_loops
async def test_one_that_handles_term_and_fails_was_ended_through_amper() -> None:
    async with JobManager() as jobs:
        id = await jobs.start(unruly("handle_term_and_exit", 3))
        await said(jobs, id)
        assert await jobs.signal(id, signal.SIGTERM)
        assert (await result_of(jobs, id)).code == 3
        assert await jobs.get_status_string(id) == "killed:3"
        info = await info_of(jobs, id)
        assert info.signal is None


@on_all_loops
async def test_a_signal_that_only_wakes_a_command_leaves_its_failure_its_own() -> None:
    async with JobManager() as jobs:
        id = await jobs.start("trap 'exit 5' WINCH; echo ready; kill -STOP $$; while :; do :; done")
        await said(jobs, id)
        assert await jobs.signal(id, signal.SIGWINCH)
        assert await jobs.signal(id, signal.SIGCONT)
        assert (await result_of(jobs, id)).code == 5
        assert await jobs.get_status_string(id) == "failed:5"


@everywhere
async def test_a_signal_reaches_the_whole_group() -> None:
    async with JobManager() as jobs:
        id = await jobs.start(unruly("crowd", 2))
        one, two = await said(jobs, id)
        with watching(one) as first, watching(two) as second:
            assert await jobs.signal(id, signal.SIGKILL)
            await first.death()
            await second.death()
        assert (await result_of(jobs, id)).code == 137


@on_all_loops
async def test_signal_0_asks_and_changes_nothing() -> None:
    async with JobManager() as jobs:
        id = await jobs.start("echo ready; read x; exit 4", stdin=PIPE)
        await said(jobs, id)
        assert await jobs.signal(id, 0)
        assert await jobs.close_stdin(id)
        assert (await result_of(jobs, id)).code == 4
        assert await jobs.get_status_string(id) == "failed:4"
        assert not await jobs.signal(id, 0)


@everywhere
async def test_what_a_finished_job_left_behind_can_be_signalled() -> None:
    async with JobManager() as jobs:
        id = await jobs.start(unruly("fork_and_leave"))
        await result_of(jobs, id)
        (pid,) = await said(jobs, id)
        with watching(pid) as left:
            assert await jobs.signal(id, signal.SIGTERM)
            await left.death()
        assert await jobs.get_status_string(id) == "done:0"


@everywhere
async def test_where_there_is_nobody_to_signal_the_answer_is_false() -> None:
    async with JobManager(max_running=1) as jobs:
        over = await jobs.start(["true"])
        await result_of(jobs, over)
        failed = await jobs.start(["no-such-program"])
        running = await jobs.start(unruly("behave"))
        queued = await jobs.start(["true"])
        for id in (over, failed, queued, JobId(99)):
            assert not await jobs.signal(id, signal.SIGTERM)
        assert await jobs.get_status_string(queued) == "queued"
        assert await jobs.signal(running, signal.SIGTERM)
        assert (await result_of(jobs, queued)).code == 0


@on_a_loop
async def test_a_number_that_is_no_signal_raises() -> None:
    async with JobManager() as jobs:
        id = await jobs.start(unruly("behave"))
        for number in (-1, 65, 1000):
            with pytest.raises(ValueError, match=str(number)):
                await jobs.signal(id, number)
        assert await jobs.kill(id)


@on_all_loops
async def test_a_real_time_signal_can_be_sent() -> None:
    async with JobManager() as jobs:
        id = await jobs.start(unruly("behave"))
        await said(jobs, id)
        assert await jobs.signal(id, signal.SIGRTMIN + 1)
        assert (await result_of(jobs, id)).code == 128 + signal.SIGRTMIN + 1
        assert await jobs.get_status_string(id) == f"killed:{128 + signal.SIGRTMIN + 1}"


@on_all_loops
async def test_the_group_of_a_job_is_never_our_own() -> None:
    async with JobManager() as jobs:
        id = await jobs.start(unruly("behave"))
        assert os.getpgrp() not in await jobs.job_pgids(id)
        await jobs.kill(id)
