"""Coroutines as jobs."""

from __future__ import annotations

from amper import JobManager
from tests.support import on_all_loops


@on_all_loops
async def test_a_job_is_in_the_table_when_spawn_returns() -> None:
    async def work() -> int:
        return 5

    async with JobManager() as jobs:
        id = jobs.spawn("work", work())
        assert await jobs.exists(id)
        result = await jobs.wait(id)
        assert result is not None
        assert result.data == 5
