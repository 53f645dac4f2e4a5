"""The wrong loop is told so, and no loop and other threads may do what needs none."""

from __future__ import annotations

import asyncio
import signal
import threading
from collections.abc import AsyncIterator, Callable, Coroutine
from functools import partial
from typing import Any

import pytest

from amper import (
    CancellationToken,
    ExecResult,
    JobId,
    JobInfo,
    JobManager,
    WrongLoop,
    oneshot,
)
from amper.manager.contained import ContainedRunner
from tests.handshakes import result_of, said, state_of, turns, turns_until, watching
from tests.support import on_all_loops, run
from tests.unruly import unruly
from tests.work import (
    NO_PROCESS,
    endless,
    give,
    history,
)


async def collect(iterator: AsyncIterator[Any]) -> list[Any]:
    return [item async for item in iterator]


WRONG: dict[str, Callable[[JobManager, JobId], Coroutine[Any, Any, Any]]] = {
    "wait": lambda jobs, id: jobs.wait(id),
    "wait_all": lambda jobs, id: jobs.wait_all(),
    "wait_any": lambda jobs, id: jobs.wait_any(),
    "as_completed": lambda jobs, id: collect(jobs.as_completed()),
    "events": lambda jobs, id: collect(jobs.events()),
    "kill": lambda jobs, id: jobs.kill(id),
    "cancel": lambda jobs, id: jobs.cancel(id),
    "register": lambda jobs, id: jobs.register("elsewhere", oneshot()[1]),
    "start": lambda jobs, id: jobs.start(["true"]),
    "aclose": lambda jobs, id: jobs.aclose(),
    "signal": lambda jobs, id: jobs.signal(id, 0),
    "stop": lambda jobs, id: jobs.stop(id),
    "resume": lambda jobs, id: jobs.resume(id),
    "foreground": lambda jobs, id: jobs.foreground(id),
    "finish": lambda jobs, id: jobs.finish(id, ExecResult(0)),
    "remove": lambda jobs, id: jobs.remove(id),
    "reap_finished": lambda jobs, id: jobs.reap_finished(),
    "try_result": lambda jobs, id: jobs.try_result(id),
    "write_stdin": lambda jobs, id: jobs.write_stdin(id, b""),
    "close_stdin": lambda jobs, id: jobs.close_stdin(id),
    "stop_job": lambda jobs, id: jobs.stop_job(id, NO_PROCESS, NO_PROCESS),
    "resume_job": lambda jobs, id: jobs.resume_job(id),
    "add_pgid": lambda jobs, id: jobs.add_pgid(id, NO_PROCESS),
    "set_cancel_token": lambda jobs, id: jobs.set_cancel_token(id, CancellationToken()),
}


@pytest.mark.parametrize("method", list(WRONG))
def test_another_loop_is_refused_while_the_managers_own_runs(method: str) -> None:
    async def here() -> None:
        async with JobManager() as jobs:
            id = jobs.spawn("work", endless())
            refused: list[bool] = []

            async def ask() -> None:
                # One that waits in vain is a failure, and not a thread that stays.
                async with asyncio.timeout(1):
                    await WRONG[method](jobs, id)

            def elsewhere() -> None:
                try:
                    asyncio.run(ask())
                except WrongLoop:
                    refused.append(True)
                except TimeoutError:
                    refused.append(False)

            thread = threading.Thread(target=elsewhere)
            thread.start()
            await asyncio.to_thread(thread.join)
            assert refused == [True]
            assert await jobs.list_ids() == [id]
            assert await jobs.get_status_string(id) == "running"

    run(here())


def test_a_manager_can_be_made_where_no_loop_runs_and_used_by_a_thread() -> None:
    jobs = JobManager()
    seen: list[Any] = []

    async def use() -> None:
        async with jobs:
            seen.append((await result_of(jobs, jobs.spawn("work", give(5)))).data)

    thread = threading.Thread(target=lambda: asyncio.run(use()))
    thread.start()
    thread.join()
    assert seen == [5]
    assert [job.command for job in jobs.table.jobs()] == ["work"]


@on_all_loops
async def test_what_a_look_of_another_thread_finds_is_for_our_loop_to_record() -> None:
    """Whoever waits here could not be told by it: from another thread no future may be settled."""
    async with JobManager() as jobs:
        id = await jobs.start(unruly("behave"))
        with watching(*await said(jobs, id)) as process:
            waiting = asyncio.ensure_future(jobs.wait(id))
            await turns(2)
            # Our loop looks once, a little after the wait has begun.
            await turns_until(lambda: jobs._core.states._timer is None)
            process.signal(signal.SIGSTOP)
            await turns_until(lambda: state_of(process.pid) == "T")

            async def look() -> JobInfo | None:
                await jobs.list()
                await jobs.running_count()
                await jobs.last_stopped()
                assert await jobs.get_status_string(id) == "stopped"
                return await jobs.get(id)

            seen = await asyncio.to_thread(asyncio.run, look())
            assert seen is not None
            assert seen.status == "stopped"
            assert await history(jobs, id) == ["started"]
            assert await jobs.last_stopped() == id
            assert await waiting is None


@on_all_loops
async def test_another_thread_may_ask_for_the_process_of_a_contained_job() -> None:
    """Which is not known yet, and is told across the threads."""
    async with JobManager(containment="tree") as jobs:
        id = await jobs.start(unruly("behave"))
        job = jobs.table.get(id)
        assert job is not None
        assert isinstance(job.runner, ContainedRunner)
        asked = threading.Event()

        async def ask() -> tuple[int, int] | None:
            asking = asyncio.ensure_future(jobs.get_process_info(id))
            await turns(1)
            asked.set()
            async with asyncio.timeout(5):
                return await asking

        loop = asyncio.get_running_loop()
        elsewhere = loop.run_in_executor(None, partial(asyncio.run, ask(), debug=True))
        # Our loop, which would hear of it, stands still meanwhile.
        assert asked.wait(5)
        assert not job.runner.is_confirmed
        assert await elsewhere == await jobs.get_process_info(id) is not None


def test_any_thread_may_look_into_the_table() -> None:
    async def here() -> None:
        async with JobManager() as jobs:
            id = jobs.spawn("work", endless())

            def look() -> list[Any]:
                table = jobs.table
                job = table.get(id)
                assert job is not None
                return [table.ids(), table.info(job).status_string, job.command]

            assert await asyncio.to_thread(look) == [[id], "running", "work"]

    run(here())
