"""Looking at jobs: snapshots, lists, ids that are not there, values that are no use."""

from __future__ import annotations

import dataclasses
import inspect
import json
import os
from collections.abc import Callable, Coroutine
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from amper import CancellationToken, EndedBy, ExecResult, JobId, JobInfo, JobManager, JobStatus
from tests.handshakes import result_of
from tests.support import on_all_loops
from tests.work import NO_PROCESS, UNKNOWN, endless, fail, gate, give, info_of, on_a_loop

Call = Callable[[JobManager, Any], Coroutine[Any, Any, Any]]


async def followed(jobs: JobManager, id: Any) -> list[Any]:
    return [chunk async for chunk in jobs.follow(id)]


async def completed(jobs: JobManager, id: Any) -> list[Any]:
    return [outcome async for outcome in jobs.as_completed([id])]


# Every method that takes an id, and what it says to one that is not there.
ANSWERS: dict[str, tuple[Call, Any]] = {
    "wait": (lambda jobs, id: jobs.wait(id), None),
    "wait_all": (lambda jobs, id: jobs.wait_all([id]), []),
    "wait_any": (lambda jobs, id: jobs.wait_any([id]), None),
    "as_completed": (completed, []),
    "try_result": (lambda jobs, id: jobs.try_result(id), None),
    "exists": (lambda jobs, id: jobs.exists(id), False),
    "get": (lambda jobs, id: jobs.get(id), None),
    "get_command": (lambda jobs, id: jobs.get_command(id), None),
    "get_status_string": (lambda jobs, id: jobs.get_status_string(id), None),
    "get_process_info": (lambda jobs, id: jobs.get_process_info(id), None),
    "job_pgids": (lambda jobs, id: jobs.job_pgids(id), []),
    "streams": (lambda jobs, id: jobs.streams(id), None),
    "read_stdout": (lambda jobs, id: jobs.read_stdout(id), None),
    "read_stderr": (lambda jobs, id: jobs.read_stderr(id), None),
    "read_output": (lambda jobs, id: jobs.read_output(id), None),
    "follow": (followed, []),
    "write_stdin": (lambda jobs, id: jobs.write_stdin(id, b"x"), False),
    "close_stdin": (lambda jobs, id: jobs.close_stdin(id), False),
    "kill": (lambda jobs, id: jobs.kill(id), False),
    "cancel": (lambda jobs, id: jobs.cancel(id), False),
    "set_cancel_token": (lambda jobs, id: jobs.set_cancel_token(id, CancellationToken()), None),
    "signal": (lambda jobs, id: jobs.signal(id, 15), False),
    "finish": (lambda jobs, id: jobs.finish(id, ExecResult(0)), False),
    "remove": (lambda jobs, id: jobs.remove(id), False),
    "stop": (lambda jobs, id: jobs.stop(id), False),
    "resume": (lambda jobs, id: jobs.resume(id), False),
    "foreground": (lambda jobs, id: jobs.foreground(id), None),
    "resize": (lambda jobs, id: jobs.resize(id, 80, 24), False),
    "stop_job": (lambda jobs, id: jobs.stop_job(id, NO_PROCESS, NO_PROCESS), None),
    "resume_job": (lambda jobs, id: jobs.resume_job(id), None),
    "add_pgid": (lambda jobs, id: jobs.add_pgid(id, NO_PROCESS), None),
}


def test_every_method_that_takes_an_id_is_asked_below() -> None:
    methods = inspect.getmembers(JobManager, inspect.isfunction)
    taking = {
        name for name, it in methods if {"id", "ids"} & inspect.signature(it).parameters.keys()
    }
    assert {name for name in taking if not name.startswith("_")} == ANSWERS.keys()


@on_a_loop
async def test_an_id_that_is_not_there_is_an_answer_and_not_an_error() -> None:
    jobs = JobManager(finished_retention=0)
    bystander = jobs.spawn("work", endless())
    gone = jobs.spawn("work", give())
    await result_of(jobs, gone)
    before = await jobs.read_events()
    ids = (UNKNOWN, gone, 0, -1, 10**30, None, "1", 1.5, (1,), object())
    for method, (call, answer) in ANSWERS.items():
        assert [await call(jobs, id) for id in ids] == [answer] * len(ids), method
    assert await jobs.read_events() == before
    assert await jobs.list_ids() == [bystander]
    await jobs.aclose()
    for method, (call, answer) in ANSWERS.items():
        assert [await call(jobs, id) for id in ids] == [answer] * len(ids), method


# A snapshot.


@on_all_loops
async def test_a_snapshot_says_all_that_is_known_of_a_job_that_runs() -> None:
    before = datetime.now(UTC)
    async with JobManager() as jobs:
        info = await info_of(jobs, jobs.spawn("work", endless(), name="n", tags=("a", "b")))
        assert before <= info.created_at <= datetime.now(UTC)
        assert info == JobInfo(
            id=JobId(1),
            command="work",
            status=JobStatus.RUNNING,
            created_at=info.created_at,
            name="n",
            tags=("a", "b"),
            started_at=info.created_at,
            elapsed=info.elapsed,
            mark="+",
        )
        assert info.elapsed >= 0
        assert info.status_string == "running"
        assert info.created_at.tzinfo is UTC
        later = await info_of(jobs, info.id)
        assert later.elapsed >= info.elapsed
        # It is a snapshot: frozen, and made anew for each who asks.
        with pytest.raises(dataclasses.FrozenInstanceError):
            info.command = "other"  # type: ignore[misc]  # The mistake is the test.


@pytest.mark.parametrize(
    "work, status, code, ended_by",
    [
        (lambda: give(5), "done", 0, None),
        (lambda: give(ExecResult(3)), "failed", 3, None),
        (lambda: fail(ValueError("boom")), "failed", 1, None),
        (endless, "killed", 130, EndedBy("cancel", "because")),
    ],
    ids=["done", "failed", "raised", "killed"],
)
@on_a_loop
async def test_a_snapshot_of_a_job_that_is_over(
    work: Callable[[], Any], status: str, code: int, ended_by: EndedBy | None
) -> None:
    async with JobManager() as jobs:
        id = jobs.spawn("work", work())
        if status == "killed":
            await jobs.cancel(id, reason="because")
        await result_of(jobs, id)
        info = await info_of(jobs, id)
        assert (info.status, info.exit_code, info.ended_by) == (JobStatus(status), code, ended_by)
        assert info.status.is_final
        assert info.status_string == f"{status}:{code}"
        assert info.started_at is not None
        assert info.finished_at is not None
        assert info.created_at <= info.started_at <= info.finished_at <= datetime.now(UTC)
        assert info.elapsed == pytest.approx(
            (info.finished_at - info.started_at).total_seconds(), abs=1e-5
        )
        # The time stands still.
        assert await info_of(jobs, id) == info


@on_a_loop
async def test_a_snapshot_is_json() -> None:
    async with JobManager() as jobs:
        id = await jobs.register_stopped("vi", NO_PROCESS, NO_PROCESS + 1, tags=("a",))
        info = json.loads(json.dumps((await info_of(jobs, id)).to_dict()))
        assert info["created_at"].endswith("Z")
        assert info["elapsed"] >= 0
        for key in ("created_at", "started_at", "elapsed"):
            del info[key]
        assert info == {
            "id": 1,
            "command": "vi",
            "tags": ["a"],
            "status": "stopped",
            "pid": NO_PROCESS,
            "pgids": [NO_PROCESS + 1],
            "mark": "+",
        }


@on_a_loop
async def test_a_command_may_be_any_text() -> None:
    async with JobManager() as jobs:
        for text in ("", " ", "ä\n\0", "x" * 100_000, "half \udc80"):
            id = jobs.spawn(text, give())
            assert await jobs.get_command(id) == text


# Lists.


@on_a_loop
async def test_a_list_is_by_id_and_matches_all_that_is_asked_for() -> None:
    async with JobManager(max_running=3) as jobs:
        done = jobs.spawn("work", give(), name="x", tags=("a", "b"))
        await result_of(jobs, done)
        running = jobs.spawn("work", endless(), name="x", tags=("a",))
        stopped = jobs.spawn("work", endless(), name="y", tags=("b",))
        registered = await jobs.register("elsewhere", gate(), name="x")
        jobs.spawn("work", endless())
        queued = jobs.spawn("work", endless(), tags=("b",))
        await jobs.stop_job(stopped, NO_PROCESS, NO_PROCESS)

        async def ids(**asked: Any) -> list[JobId]:
            return [info.id for info in await jobs.list(**asked)]

        assert await ids() == await jobs.list_ids() == [1, 2, 3, 4, 5, 6]
        assert await ids(status="done") == await ids(status=JobStatus.DONE) == [done]
        assert await ids(status="stopped") == [stopped]
        assert await ids(status="queued") == [queued]
        assert await ids(status="lost") == []
        assert await ids(name="x") == [done, running, registered]
        assert await ids(tag="b") == [done, stopped, queued]
        assert await ids(name="x", tag="a", status="running") == [running]
        assert await ids(name="nobody") == await ids(tag="nothing") == []
        assert await ids(name="") == []
        # Only commands have a directory.
        assert await ids(cwd=os.getcwd()) == await ids(cwd=Path("/")) == []


@pytest.mark.parametrize("status", ["", "finished", "RUNNING", "done:0", 5])
@on_a_loop
async def test_a_status_that_does_not_exist_is_refused(status: Any) -> None:
    async with JobManager() as jobs:
        with pytest.raises(
            ValueError, match=r"no status of a job: it is queued, .*, killed or lost"
        ):
            await jobs.list(status=status)


@on_a_loop
async def test_an_empty_manager_has_nothing() -> None:
    async with JobManager() as jobs:
        assert await jobs.list() == []
        assert await jobs.list_ids() == []
        assert await jobs.running_count() == 0
        assert await jobs.last_stopped() is None
        assert await jobs.reap_finished() == []


@on_all_loops
async def test_running_is_neither_stopped_nor_queued_nor_over() -> None:
    async with JobManager(max_running=2) as jobs:
        ids = [jobs.spawn("work", endless()) for _ in range(3)]
        registered = await jobs.register("elsewhere", gate())
        assert await jobs.running_count() == 3
        await jobs.stop_job(ids[0], NO_PROCESS, NO_PROCESS)
        assert await jobs.running_count() == 2
        await jobs.resume_job(ids[0])
        await jobs.remove(registered)
        assert await jobs.running_count() == 2
        await jobs.kill(ids[0])
        # The one that was queued runs now.
        assert await jobs.running_count() == 2
        await jobs.aclose()
        assert await jobs.running_count() == 0


# What leaves the table.


@on_all_loops
async def test_a_removed_job_is_unknown_from_then_on() -> None:
    async with JobManager() as jobs:
        running, over = jobs.spawn("work", endless()), jobs.spawn("work", give())
        await result_of(jobs, over)
        for id in (running, over):
            assert await jobs.remove(id)
            assert not await jobs.remove(id)
            assert not await jobs.exists(id)
            assert await jobs.get(id) is None
        assert await jobs.list() == []


@on_all_loops
async def test_reaping_gives_what_was_over_by_id_and_leaves_the_rest() -> None:
    async with JobManager() as jobs:
        a, b, c, d = [await jobs.register("elsewhere", gate()) for _ in range(4)]
        await jobs.stop_job(d, NO_PROCESS, NO_PROCESS)
        await jobs.finish(c, ExecResult(3))
        await jobs.finish(a, ExecResult(0))
        infos = await jobs.reap_finished()
        assert [(info.id, info.status_string) for info in infos] == [(a, "done:0"), (c, "failed:3")]
        assert await jobs.list_ids() == [b, d]
        assert await jobs.reap_finished() == []


@pytest.mark.parametrize("bad", ["forest", "none", None, 5])
def test_a_containment_that_is_not_there_is_refused(bad: Any) -> None:
    with pytest.raises(ValueError, match="containment"):
        JobManager(containment=bad)


@on_a_loop
async def test_persisting_output_is_on_until_it_is_switched_off() -> None:
    async with JobManager() as jobs:
        assert jobs.persist_output_files() is True
        jobs.set_persist_output_files(False)
        assert jobs.persist_output_files() is False
