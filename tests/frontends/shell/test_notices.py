from __future__ import annotations

from amper import JobManager
from amper.builtins import BUILTINS
from amper.frontends.shell.notices import Notices
from amper.values import JobStatus
from tests.handshakes import info_when
from tests.support import on_all_loops


@on_all_loops
async def test_a_job_that_stops_or_ends_is_told_once() -> None:
    async with JobManager() as jobs:
        notices = Notices(jobs)
        sleeper = await jobs.start("sleep 100")
        done = await jobs.start("exit 3")
        assert await notices.take({}) in ("", "[2]   Done(3)                 exit 3\n")
        await jobs.wait_any([done])
        await notices.take({})
        await jobs.stop(sleeper)
        assert await notices.take({}) == "[1]+  Stopped                 sleep 100\n"
        assert await notices.take({}) == ""
        await jobs.resume(sleeper)
        assert await notices.take({}) == ""
        await jobs.stop(sleeper)
        assert "Stopped" in await notices.take({})
        await jobs.kill(sleeper)
        assert await notices.take({}) == "[1]   Terminated              sleep 100\n"
        assert await notices.take({}) == ""
        assert (await BUILTINS["jobs"](jobs, [])).out == b""


@on_all_loops
async def test_how_a_job_ended_is_told_also_to_who_waited_for_it() -> None:
    async with JobManager() as jobs:
        notices = Notices(jobs)
        await jobs.wait(await jobs.start("exit 3"))
        assert await notices.take({}) == "[1]   Done(3)                 exit 3\n"
        assert await notices.take({}) == ""


@on_all_loops
async def test_what_somebody_saw_in_a_list_needs_no_notice_unless_it_has_changed_since() -> None:
    async with JobManager() as jobs:
        notices = Notices(jobs)
        id = await jobs.start("sleep 100")
        await jobs.stop(id)
        assert await notices.take({id: JobStatus.STOPPED}) == ""
        await jobs.kill(id)
        assert "Terminated" in await notices.take({id: JobStatus.RUNNING})


@on_all_loops
async def test_an_end_is_told_also_when_its_event_is_gone() -> None:
    async with JobManager() as jobs:
        notices = Notices(jobs)
        id = await jobs.start("exit 3")
        await info_when(jobs, id, lambda info: info.status.is_final)
        notices._seen = (await jobs.read_events()).next
        assert "Done(3)" in await notices.take({})
