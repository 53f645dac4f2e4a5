"""One event loop after another uses a manager."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any

import pytest

from amper import (
    EndedBy,
    ExecResult,
    JobId,
    JobManager,
    Sender,
    oneshot,
)
from tests.handshakes import result_of
from tests.support import LOOPS, run
from tests.work import (
    NO_PROCESS,
    endless,
    gate,
    give,
    history,
    info_of,
    no_complaints,
    turn,
)

LOOP_CLOSED = EndedBy("loop_closed")

every_loop = pytest.mark.parametrize("loop_name", list(LOOPS))


def run_and_leave(loop_name: str, coroutine: Coroutine[Any, Any, Any]) -> Any:
    """Run a coroutine on a loop that is closed afterwards as it is: no task hears of it."""
    loop = LOOPS[loop_name]()
    try:
        return loop.run_until_complete(coroutine)
    finally:
        loop.close()


async def collect(iterator: AsyncIterator[Any]) -> list[Any]:
    return [item async for item in iterator]


@every_loop
def test_what_is_over_stays_and_what_ran_is_over_with_its_loop(loop_name: str) -> None:
    jobs = JobManager()

    async def first() -> None:
        await result_of(jobs, jobs.spawn("over", give(5)))
        jobs.spawn("begun", endless())
        await turn()
        jobs.spawn("not begun", endless())

    async def second() -> None:
        over, begun, not_begun = await jobs.list()
        assert over.status_string == "done:0"
        for info in (begun, not_begun):
            assert (info.status_string, info.ended_by) == ("killed:130", LOOP_CLOSED)
            assert (await result_of(jobs, info.id)).ended_by == LOOP_CLOSED
            assert await history(jobs, info.id) == ["started", "ended"]
        assert await jobs.running_count() == 0
        assert (await result_of(jobs, jobs.spawn("new", give("new")))).data == "new"
        assert await jobs.list_ids() == [1, 2, 3, 4]
        await jobs.aclose()

    run(first(), LOOPS[loop_name])
    run(second(), LOOPS[loop_name])


LOOKS: dict[str, Callable[[JobManager, JobId], Coroutine[Any, Any, Any]]] = {
    "wait": lambda jobs, id: jobs.wait(id),
    "wait_all": lambda jobs, id: jobs.wait_all(),
    "wait_any": lambda jobs, id: jobs.wait_any([id]),
    "as_completed": lambda jobs, id: collect(jobs.as_completed()),
    "try_result": lambda jobs, id: jobs.try_result(id),
    "get": lambda jobs, id: jobs.get(id),
    "list": lambda jobs, id: jobs.list(status="killed"),
    "get_status_string": lambda jobs, id: jobs.get_status_string(id),
    "follow": lambda jobs, id: collect(jobs.follow(id)),
    "reap_finished": lambda jobs, id: jobs.reap_finished(),
    "read_events": lambda jobs, id: jobs.read_events(since=1),
}


@pytest.mark.parametrize("look", list(LOOKS))
def test_a_loop_that_was_closed_under_its_tasks_is_noticed_at_the_first(
    look: str, caplog: pytest.LogCaptureFixture
) -> None:
    jobs = JobManager()

    async def first() -> JobId:
        id = jobs.spawn("work", endless())
        await turn()
        return id

    async def second(id: JobId) -> None:
        seen = await LOOKS[look](jobs, id)
        assert "130" in repr(seen) or "closed=True" in repr(seen), seen
        await jobs.aclose()

    id = run_and_leave("asyncio", first())
    with no_complaints(caplog):
        run(second(id))
        gc.collect()


@every_loop
def test_nothing_of_the_loop_that_was_left_is_called_again(loop_name: str) -> None:
    jobs = JobManager()
    left: list[Any] = []

    async def first() -> None:
        registered = await jobs.register("elsewhere", oneshot_of(left))
        waits: list[Coroutine[Any, Any, Any]] = [
            jobs.wait(registered),
            jobs.wait_all(),
            jobs.wait_any(),
            collect(jobs.as_completed()),
            collect(jobs.events()),
            collect(jobs.follow(registered)),
            jobs.kill(jobs.spawn("work", endless())),
        ]
        left.extend(asyncio.ensure_future(wait) for wait in waits)
        await turn()

    run_and_leave(loop_name, first())
    # Each of them would wake somebody.
    steps: list[Callable[[], Coroutine[Any, Any, Any]]] = [
        lambda: jobs.stop_job(JobId(1), NO_PROCESS, NO_PROCESS),
        lambda: jobs.finish(JobId(1), ExecResult(3)),
        lambda: jobs.remove(JobId(1)),
        jobs.reap_finished,
        jobs.aclose,
    ]
    for step in steps:
        run(step(), LOOPS[loop_name])
    for task in left[1:]:
        # It is the test that left them; nobody else is to blame that they never end.
        task._log_destroy_pending = False


def oneshot_of(kept: list[Any]) -> Any:
    tx, rx = oneshot()
    kept.append(tx)
    return rx


@every_loop
def test_what_runs_elsewhere_is_taken_up_by_the_next_loop(loop_name: str) -> None:
    jobs = JobManager()
    senders: list[Sender[Any]] = []

    async def first() -> None:
        for _ in range(3):
            await jobs.register("elsewhere", oneshot_of(senders))

    async def second() -> None:
        assert await jobs.running_count() >= 1
        senders[1].send("by the second loop")
        senders[2].close()
        results = [await result_of(jobs, JobId(number)) for number in (1, 2, 3)]
        assert [result.code for result in results] == [0, 0, 1]
        assert [result.data for result in results] == ["between", "by the second loop", None]
        await jobs.aclose()

    run(first(), LOOPS[loop_name])
    senders[0].send("between")
    run(second(), LOOPS[loop_name])


@every_loop
def test_a_future_of_the_loop_that_is_over_is_over_too(loop_name: str) -> None:
    jobs = JobManager()

    async def first() -> None:
        await jobs.register("elsewhere", gate())

    async def second() -> None:
        assert (await result_of(jobs, JobId(1))).code == 130
        assert (await info_of(jobs, JobId(1))).ended_by == LOOP_CLOSED
        await jobs.aclose()

    run(first(), LOOPS[loop_name])
    run(second(), LOOPS[loop_name])


@pytest.mark.parametrize("is_left", [False, True])
@every_loop
def test_queued_coroutines_are_over_with_their_loop_and_never_start(
    loop_name: str, is_left: bool
) -> None:
    jobs = JobManager(max_running=1)
    begun: list[int] = []

    async def work(number: int) -> None:
        begun.append(number)
        await endless()

    async def first() -> None:
        for number in range(3):
            jobs.spawn("work", work(number))
        await turn()

    async def second() -> None:
        infos = await jobs.list()
        assert [info.status_string for info in infos] == ["killed:130"] * 3
        assert [info.ended_by for info in infos] == [LOOP_CLOSED] * 3
        assert (await result_of(jobs, jobs.spawn("new", give("new")))).data == "new"
        await jobs.aclose()

    if is_left:
        run_and_leave(loop_name, first())
    else:
        run(first(), LOOPS[loop_name])
    run(second(), LOOPS[loop_name])
    gc.collect()
    assert begun == [0]


@every_loop
def test_a_coroutine_that_never_began_does_not_complain_of_its_neglect(loop_name: str) -> None:
    async def first() -> JobManager:
        jobs = JobManager()
        jobs.spawn("work", endless())
        return jobs

    run(run_and_leave(loop_name, first()).aclose(), LOOPS[loop_name])
    gc.collect()


@every_loop
def test_a_manager_can_be_closed_on_another_loop_than_it_worked_on(loop_name: str) -> None:
    jobs = JobManager()

    async def first() -> JobId:
        return jobs.spawn("work", endless())

    id = run(first(), LOOPS[loop_name])
    run(jobs.aclose(reason="good night"), LOOPS[loop_name])
    info = run(info_of(jobs, id), LOOPS[loop_name])
    assert info.ended_by == LOOP_CLOSED
    # And once more, on a third one.
    run(jobs.aclose(), LOOPS[loop_name])


@every_loop
def test_an_end_that_was_left_half_done_is_taken_up_on_the_next_loop(loop_name: str) -> None:
    jobs = JobManager()

    async def stubborn() -> None:
        try:
            await endless()
        except asyncio.CancelledError:
            await endless()

    async def first() -> None:
        jobs.spawn("work", stubborn())
        await turn()
        closing = asyncio.ensure_future(jobs.aclose(grace_period=60))
        await turn()
        await turn()
        assert not closing.done()
        closing._log_destroy_pending = False  # type: ignore[attr-defined]  # It is left on purpose.

    async def second() -> None:
        await jobs.aclose()
        assert [info.status_string for info in await jobs.list()] == ["killed:130"]

    run_and_leave(loop_name, first())
    run(second(), LOOPS[loop_name])
    gc.collect()


@every_loop
def test_a_loop_that_only_pauses_keeps_its_jobs(loop_name: str) -> None:
    loop = LOOPS[loop_name]()
    jobs = JobManager()
    go_on = loop.create_future()

    async def first() -> JobId:
        return jobs.spawn("work", asyncio.wait_for(go_on, 60))

    id = loop.run_until_complete(first())
    # Another one runs meanwhile, and sees that the job is still there.
    assert run(jobs.get_status_string(id), LOOPS[loop_name]) == "running"
    go_on.set_result("done")
    result = loop.run_until_complete(jobs.wait(id))
    assert result is not None
    assert result.data == "done"
    loop.run_until_complete(jobs.aclose())
    loop.close()
