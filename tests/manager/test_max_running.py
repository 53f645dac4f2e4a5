"""`max_running`: over the limit a job is queued, exists, and starts in its turn."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
from typing import Any

import pytest

from amper import EndedBy, ExecResult, JobId, JobManager, JobStatus, current_job
from tests.handshakes import result_of
from tests.support import on_all_loops
from tests.work import (
    NO_PROCESS,
    endless,
    fail,
    gate,
    give,
    history,
    info_of,
    on_a_loop,
    turn,
)


class Work:
    """Coroutines that write down that they began, and end when they are told to."""

    def __init__(self) -> None:
        self.begun: list[JobId] = []
        self.gates: dict[JobId, asyncio.Future[Any]] = {}

    async def __call__(self) -> Any:
        job = current_job()
        assert job is not None
        self.begun.append(job.id)
        self.gates[job.id] = gate()
        return await self.gates[job.id]

    async def end(self, id: JobId, value: Any = None) -> None:
        self.gates[id].set_result(value)
        for _ in range(3):
            await turn()


@on_all_loops
async def test_jobs_over_the_limit_are_queued_and_start_in_order() -> None:
    async with JobManager(max_running=2) as jobs:
        work = Work()
        a, b, c, d = (jobs.spawn("work", work()) for _ in range(4))
        await turn()
        assert work.begun == [a, b]
        assert [info.status_string for info in await jobs.list()] == [
            "running",
            "running",
            "queued",
            "queued",
        ]
        assert await jobs.running_count() == 2
        assert await jobs.exists(c)
        await work.end(b)
        assert work.begun == [a, b, c]
        await work.end(a)
        assert work.begun == [a, b, c, d]
        assert await history(jobs, d) == ["queued", "started"]
        work.gates[c].set_result("c")
        work.gates[d].set_result("d")
        assert [(id, result.data) for id, result in await jobs.wait_all([c, d])] == [
            (c, "c"),
            (d, "d"),
        ]


@pytest.mark.parametrize("ending", ["fails", "is killed", "is cancelled", "is removed and ends"])
@on_all_loops
async def test_the_place_of_a_job_is_free_when_it(ending: str) -> None:
    async with JobManager(max_running=1) as jobs:
        go_on = gate()

        async def first() -> None:
            await go_on
            await fail(ValueError("boom"))

        id, queued = jobs.spawn("first", first()), jobs.spawn("second", give("ran"))
        await turn()
        if ending == "is killed":
            assert await jobs.kill(id)
        elif ending == "is cancelled":
            assert await jobs.cancel(id)
        else:
            if ending == "is removed and ends":
                await jobs.remove(id)
                # It still runs, so that its place is taken.
                assert await jobs.get_status_string(queued) == "queued"
            go_on.set_result(None)
        assert (await result_of(jobs, queued)).data == "ran"


@on_all_loops
async def test_a_place_is_given_once_for_each_end() -> None:
    async with JobManager(max_running=1) as jobs:
        ids = [jobs.spawn("work", give(number)) for number in range(20)]
        results = await jobs.wait_all()
        assert [(id, result.data) for id, result in results] == list(
            zip(ids, range(20), strict=True)
        )
        page = await jobs.read_events()
        running = 0
        for event in page.events:
            running += {"started": 1, "ended": -1}.get(event.kind, 0)
            assert running in (0, 1)


@on_all_loops
async def test_what_runs_elsewhere_or_already_takes_no_place() -> None:
    async with JobManager(max_running=1) as jobs:
        first = jobs.spawn("first", endless())
        await jobs.register("elsewhere", gate())
        await jobs.register_stopped("vi", NO_PROCESS, NO_PROCESS)
        go_on = gate()
        id = jobs.spawn("task", asyncio.ensure_future(asyncio.wait_for(go_on, 60)))
        assert await jobs.get_status_string(id) == "running"
        go_on.set_result("task")
        assert (await result_of(jobs, id)).data == "task"
        queued = jobs.spawn("second", give())
        assert await jobs.get_status_string(queued) == "queued"
        assert await jobs.kill(first)
        await result_of(jobs, queued)


# Queued jobs.


@on_all_loops
async def test_a_queued_job_that_is_cancelled_or_killed_never_starts() -> None:
    async with JobManager(max_running=1) as jobs:
        work = Work()
        first, cancelled, killed, last = (jobs.spawn("work", work()) for _ in range(4))
        assert await jobs.cancel(cancelled, reason="because")
        assert await jobs.kill(killed, by="me")
        for id, ended_by in (
            (cancelled, EndedBy("cancel", "because")),
            (killed, EndedBy("kill", by="me")),
        ):
            result = await result_of(jobs, id)
            assert (result.code, result.ended_by) == (130, ended_by)
            assert await jobs.get_status_string(id) == "killed:130"
            assert await history(jobs, id) == ["queued", "ended"]
            assert not await jobs.kill(id)
            assert not await jobs.cancel(id)
        await turn()
        await work.end(first)
        assert work.begun == [first, last]
        await work.end(last)


@on_a_loop
async def test_a_job_that_never_started_has_no_start_and_took_no_time() -> None:
    async with JobManager(max_running=1) as jobs:
        jobs.spawn("first", endless())
        id = jobs.spawn("second", endless())
        info = await info_of(jobs, id)
        assert (info.status, info.started_at, info.finished_at) == (JobStatus.QUEUED, None, None)
        assert (info.elapsed, info.exit_code, info.ended_by) == (0.0, None, None)
        await jobs.kill(id)
        info = await info_of(jobs, id)
        assert (info.status, info.started_at, info.elapsed) == (JobStatus.KILLED, None, 0.0)
        assert info.finished_at is not None
        assert info.finished_at >= info.created_at


@on_all_loops
async def test_a_started_job_counts_its_time_from_its_start() -> None:
    async with JobManager(max_running=1) as jobs:
        first, second = jobs.spawn("first", endless()), jobs.spawn("second", endless())
        await jobs.kill(first)
        await turn()
        info = await info_of(jobs, second)
        assert info.started_at is not None
        assert info.created_at < info.started_at
        assert info.elapsed >= 0
        # By one clock: whoever sets the other one may do so between two jobs.
        ended, queued = jobs.table.get(first), jobs.table.get(second)
        assert ended is not None
        assert queued is not None
        assert queued.created + queued.known.queued_for >= ended.finished


@on_all_loops
async def test_a_queued_job_that_is_removed_never_starts_and_its_followers_end() -> None:
    async with JobManager(max_running=1) as jobs:
        work = Work()
        first, second = jobs.spawn("first", work()), jobs.spawn("second", work())

        async def follow() -> list[bytes]:
            return [chunk.data async for chunk in jobs.follow(second)]

        following, waiting = (
            asyncio.ensure_future(follow()),
            asyncio.ensure_future(jobs.wait(second)),
        )
        await turn()
        assert await jobs.remove(second)
        assert await following == [b""]
        assert await waiting is None
        await work.end(first)
        assert work.begun == [first]
        assert await history(jobs, second) == ["queued", "removed"]


@on_a_loop
async def test_a_queued_job_can_be_waited_for_until_a_deadline() -> None:
    async with JobManager(max_running=1) as jobs:
        jobs.spawn("first", endless())
        id = jobs.spawn("second", endless())
        assert await jobs.wait(id, timeout=0) is None
        assert await jobs.try_result(id) is None
        assert await jobs.get_status_string(id) == "queued"


@on_all_loops
async def test_a_queued_job_starts_in_the_context_of_its_call() -> None:
    variable = contextvars.ContextVar("variable", default="unset")

    async def work() -> str:
        return variable.get()

    async with JobManager(max_running=1) as jobs:
        first = jobs.spawn("first", endless())
        variable.set("at the call")
        id = jobs.spawn("second", work())
        variable.set("later")
        await jobs.kill(first)
        assert (await result_of(jobs, id)).data == "at the call"


@on_all_loops
async def test_the_end_of_the_manager_starts_no_queued_job() -> None:
    work = Work()
    async with JobManager(max_running=1) as jobs:
        first, second, third = (jobs.spawn("work", work()) for _ in range(3))
        await turn()
        await jobs.aclose(reason="good night")
        assert work.begun == [first]
        for id in (second, third):
            result = await result_of(jobs, id)
            assert (result.code, result.ended_by) == (130, EndedBy("close", "good night"))


@on_all_loops
async def test_the_queue_goes_on_where_a_loop_only_looks_like_ending() -> None:
    async def cancel_itself() -> None:
        task = asyncio.current_task()
        assert task is not None
        task.cancel()
        await turn()

    main = asyncio.current_task()
    assert main is not None
    main.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await turn()
    # It goes on, and counts as cancelled for good: no other task is left that does not.
    assert main.cancelling()
    async with JobManager(max_running=1) as jobs:
        ids = [jobs.spawn("ends", cancel_itself()), jobs.spawn("waits", give(5))]
        assert (await result_of(jobs, ids[1])).data == 5
    main.uncancel()


@on_all_loops
async def test_a_job_may_queue_others_and_a_full_house_lets_every_one_end() -> None:
    async with JobManager(max_running=1) as jobs:

        async def parent() -> JobId:
            return jobs.spawn("child", give(ExecResult(3)))

        id = jobs.spawn("parent", parent())
        child = (await result_of(jobs, id)).data
        assert (await result_of(jobs, child)).code == 3


@pytest.mark.parametrize(
    "limit, error", [(0, ValueError), (-1, ValueError), ("2", TypeError), ([], TypeError)]
)
def test_a_bad_limit_is_refused(limit: Any, error: type[Exception]) -> None:
    with pytest.raises(error):
        JobManager(max_running=limit)
