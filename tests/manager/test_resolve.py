"""`resolve`, and the marks that snapshots carry."""

from __future__ import annotations

import json

import pytest

from amper import AmbiguousJobSpec, ExecResult, InvalidJobSpec, JobId, JobManager, NoSuchJob
from tests.work import NO_PROCESS, endless, give, on_a_loop


async def marks(jobs: JobManager) -> list[str | None]:
    return [info.mark for info in await jobs.list()]


@on_a_loop
async def test_a_spec_becomes_an_id() -> None:
    async with JobManager() as jobs:
        web = jobs.spawn("python -m http.server", endless(), name="web")
        make = jobs.spawn("make", endless())
        for spec in ("%web", "%python", "%?http", "%-", "%1", "1"):
            assert await jobs.resolve(spec) == web
        for spec in ("%make", "%", "%%", "%+"):
            assert await jobs.resolve(spec) == make


@on_a_loop
async def test_what_cannot_be_resolved_raises() -> None:
    async with JobManager() as jobs:
        with pytest.raises(NoSuchJob):
            await jobs.resolve("%+")
        with pytest.raises(InvalidJobSpec):
            await jobs.resolve("make")
        jobs.spawn("make", endless())
        jobs.spawn("make", endless())
        with pytest.raises(AmbiguousJobSpec):
            await jobs.resolve("%make")
        with pytest.raises(TypeError, match="not int"):
            await jobs.resolve(3)  # type: ignore[arg-type]  # The mistake is the test.


@on_a_loop
async def test_snapshots_carry_the_marks_and_their_json_leaves_out_those_that_are_not_there() -> (
    None
):
    async with JobManager() as jobs:
        for _ in range(3):
            jobs.spawn("work", endless())
        assert await marks(jobs) == [None, "-", "+"]
        info = await jobs.get(JobId(3))
        assert info is not None
        assert info.mark == "+"
        shown = [json.loads(json.dumps(info.to_dict())) for info in await jobs.list()]
        assert [each.get("mark", "left out") for each in shown] == ["left out", "-", "+"]


@on_a_loop
async def test_an_embedders_own_stops_count() -> None:
    async with JobManager() as jobs:
        vi = await jobs.register_stopped("vi", NO_PROCESS, NO_PROCESS)
        jobs.spawn("make", endless())
        assert await marks(jobs) == ["+", "-"]
        await jobs.resume_job(vi)
        assert await jobs.resolve("%+") == vi
        await jobs.finish(vi, ExecResult(0))
        assert await marks(jobs) == [None, "+"]


@on_a_loop
async def test_what_has_ended_or_waits_for_its_turn_is_not_current() -> None:
    async with JobManager(max_running=1) as jobs:
        first = jobs.spawn("first", give())
        second = jobs.spawn("second", endless())
        assert await jobs.resolve("%+") == first
        await jobs.wait(first)
        assert await jobs.resolve("%+") == second
        assert await jobs.resolve("%first") == first


@on_a_loop
async def test_it_can_still_be_asked_when_the_manager_is_closed() -> None:
    async with JobManager() as jobs:
        id = jobs.spawn("make", give())
    assert await jobs.resolve("%make") == id
