from __future__ import annotations

from amper import JobManager
from amper.builtins import BUILTINS
from amper.frontends.shell.notices import Notices
from tests.support import on_all_loops


@on_all_loops
async def test_a_job_that_stops_or_ends_is_told_once() -> None:
    async with JobManager() as jobs:
        notices = Notices(jobs)
        sleeper = await jobs.start("sleep 100")
        done = await jobs.start("exit 3")
        assert await notices.take() in ("", "[2]   Done(3)                 exit 3\n")
        await jobs.wait_any([done])
        await notices.take()
        await jobs.stop(sleeper)
        assert await notices.take() == "[1]+  Stopped                 sleep 100\n"
        assert await notices.take() == ""
        await jobs.resume(sleeper)
        assert await notices.take() == ""
        await jobs.stop(sleeper)
        assert "Stopped" in await notices.take()
        await jobs.kill(sleeper)
        assert await notices.take() == "[1]   Terminated              sleep 100\n"
        assert await notices.take() == ""
        assert (await BUILTINS["jobs"](jobs, [])).out == b""


@on_all_loops
async def test_what_somebody_waited_for_needs_no_notice() -> None:
    async with JobManager() as jobs:
        notices = Notices(jobs)
        await jobs.wait(await jobs.start("exit 3"))
        assert await notices.take() == ""
