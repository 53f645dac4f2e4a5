"""/v/jobs while jobs run, end and go: from the loop's thread, from others, and without a loop."""

# mypy: allow-untyped-calls
# What JobFileSystem has from fsspec has no types.

from __future__ import annotations

import asyncio
import contextlib
import json
import signal
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from amper import PIPE, BoundedStream, ExecResult, JobId, JobManager, current_job
from amper.frontends.vfs import JobFileSystem
from tests.handshakes import result_of, said, take_notice, watching
from tests.support import DEADLINE, on_all_loops, run
from tests.unruly import unruly
from tests.work import endless, gate, give, history, info_of, on_a_loop

# Each look sees what is there by then.


@on_all_loops
async def test_each_open_of_a_running_command_sees_what_it_has_written_by_then() -> None:
    async with JobManager() as jobs:
        files = JobFileSystem(jobs)
        id = await jobs.start(unruly("echo_stdin"), stdin=PIPE)
        streams = await jobs.streams(id)
        assert streams is not None
        with files.open("1/stdout") as before:
            await jobs.write_stdin(id, b"one")
            while (await streams.stdout.changed_since(2)).total_written < 3:
                continue
            assert files.cat("1/status") == b"running\n"
            assert files.cat("1/stdout") == b"one"
            assert files.info("1/stdout")["size"] == 3
            assert before.read() == b""
        await jobs.write_stdin(id, b"two")
        await jobs.close_stdin(id)
        await result_of(jobs, id)
        assert files.cat("1/status") == b"done:0\n"
        assert files.cat("1/stdout") == b"onetwo"


@pytest.mark.parametrize("is_taken", [False, True])
@on_all_loops
async def test_a_stop_that_nobody_has_recorded_is_seen_from_any_thread(is_taken: bool) -> None:
    async with JobManager() as jobs:
        files = JobFileSystem(jobs)

        def read() -> tuple[bytes, str]:
            return files.cat("1/status"), json.loads(files.cat("1/info.json"))["status"]

        id = await jobs.start(unruly("behave"))
        (pid,) = await said(jobs, id)
        with watching(pid) as process:
            for _ in range(2):
                await process.stop()
                if is_taken:
                    take_notice(pid)
                for seen in (read(), await asyncio.to_thread(read)):
                    assert seen == (b"stopped\n", "stopped")
                process.signal(signal.SIGCONT)
                if is_taken:
                    take_notice(pid)
                for seen in (read(), await asyncio.to_thread(read)):
                    assert seen == (b"running\n", "running")
        # Reading is all that was done.
        assert "stopped" not in await history(jobs, id)


@on_all_loops
async def test_a_coroutine_that_writes_to_its_streams_is_read_live() -> None:
    wrote, go_on = asyncio.Event(), asyncio.Event()

    async def work() -> ExecResult:
        job = current_job()
        assert job is not None
        job.streams.stdout.write(b"live")
        wrote.set()
        await go_on.wait()
        return ExecResult(0, err=b"only the result has this")

    async with JobManager() as jobs:
        files = JobFileSystem(jobs)
        id = jobs.spawn("work", work())
        await wrote.wait()
        assert files.cat("1/stdout") == b"live"
        assert files.cat("1/stderr") == b""
        go_on.set()
        await result_of(jobs, id)
        assert files.cat("1/stdout") == b"live"
        assert files.cat("1/stderr") == b"only the result has this"


@on_a_loop
async def test_what_runs_elsewhere_is_read_from_its_streams_and_tells_what_a_bound_took() -> None:
    stdout, stderr, end = BoundedStream(4), BoundedStream(4), gate()
    async with JobManager() as jobs:
        files = JobFileSystem(jobs)
        id = await jobs.register_with_streams("far away", end, stdout, stderr)
        stdout.write(b"abcdef")
        assert files.cat("1/stdout") == b"cdef"
        assert files.info("1/stdout") == {
            "name": "1/stdout",
            "type": "file",
            "size": 4,
            "dropped": 2,
        }
        end.set_result(ExecResult.failure(2, "bad"))
        await result_of(jobs, id)
        assert files.cat("1/stdout") == b"cdef"
        assert files.cat("1/stderr") == b"bad"
        assert files.info("1/stdout")["dropped"] == 2


@on_a_loop
async def test_a_key_tells_contents_of_the_same_size_apart() -> None:
    stdout = BoundedStream(4)
    async with JobManager() as jobs:
        files = JobFileSystem(jobs)
        await jobs.register_with_streams("far away", gate(), stdout, BoundedStream())
        stdout.write(b"abcd")
        before = files.ukey("1/stdout"), files.checksum("1/stdout")
        assert before == (files.ukey("1/stdout"), files.checksum("1/stdout"))
        stdout.write(b"e")
        assert files.size("1/stdout") == 4
        assert files.ukey("1/stdout") != before[0]
        assert files.checksum("1/stdout") != before[1]


# Jobs end and go.


@on_a_loop
async def test_whoever_reads_a_final_status_sees_the_whole_output() -> None:
    async with JobManager() as jobs:
        files = JobFileSystem(jobs)
        id = jobs.spawn("work", give(ExecResult(0, b"whole", b"too")))
        job, reader = jobs.table.get(id), FirstReader(lambda: files.cat("1/*"))
        assert job is not None
        jobs.table.wait(job, reader)
        await result_of(jobs, id)
        assert reader.saw["1/status"] == b"done:0\n"
        assert reader.saw["1/stdout"] == b"whole"
        assert reader.saw["1/stderr"] == b"too"


class FirstReader:
    """A waiter of the table, which reads in the very moment when the job's status turns final."""

    def __init__(self, read: Callable[[], dict[str, bytes]]) -> None:
        self._read = read
        self.saw: dict[str, bytes] = {}

    def done(self) -> bool:
        return False

    def set_result(self, job: object) -> None:
        self.saw = self._read()


@on_a_loop
async def test_reading_does_not_count_as_taking_the_result() -> None:
    async with JobManager(finished_retention=0) as jobs:
        files = JobFileSystem(jobs)
        id = jobs.spawn("work", give(ExecResult.success("precious")))
        async for event in jobs.events():
            if event.kind == "ended":
                break
        for _ in range(2):
            assert list(files.cat("*/stdout").values()) == [b"precious"]
            assert files.cat("1/status") == b"done:0\n"
        assert (await result_of(jobs, id)).out == b"precious"
        assert not files.exists("1")


@on_a_loop
async def test_a_job_that_is_removed_after_it_was_listed_is_not_found() -> None:
    async with JobManager() as jobs:
        files = JobFileSystem(jobs)
        for text in ("first", "second"):
            jobs.spawn("work", give(ExecResult.success(text)))
        await jobs.wait_all()
        walk, (first, second) = files.walk(""), files.glob("*/stdout")
        assert next(walk) == ("", ["1", "2"], [])
        opened = files.open(first)
        assert await jobs.remove(jobs.table.ids()[0])
        for read in (files.cat, files.open, files.info, files.ls):
            with pytest.raises(FileNotFoundError):
                read(first)
        assert files.cat([first, second], on_error="omit") == {second: b"second"}
        assert list(walk) == [("2", [], ["status", "command", "stdout", "stderr", "info.json"])]
        assert opened.read() == b"first"


# Threads and loops.


@on_all_loops
async def test_any_thread_can_read_while_the_loop_stands_still() -> None:
    async with JobManager() as jobs:
        files = JobFileSystem(jobs)
        await said(jobs, await jobs.start(unruly("behave")))
        here = [files.cat("1/std*"), files.cat("1/status"), files.glob("*/*"), files.ls("")]
        with ThreadPoolExecutor(1) as threads:
            reading = threads.submit(
                lambda: [
                    files.cat("1/std*"),
                    files.cat("1/status"),
                    files.glob("*/*"),
                    files.ls(""),
                ]
            )
            # This blocks the thread of the loop.
            assert reading.result(DEADLINE) == here


@on_a_loop
async def test_a_thread_that_reads_while_jobs_come_and_go_meets_no_other_error() -> None:
    rounds, is_enough = 0, threading.Event()

    def read_on(files: JobFileSystem) -> None:
        nonlocal rounds
        while not is_enough.is_set():
            for path in files.find(""):
                with contextlib.suppress(FileNotFoundError):
                    assert files.info(path)["type"] == "file"
                    assert files.open(path).read() is not None
            rounds += 1

    async with JobManager(finished_retention=5) as jobs:
        jobs.set_persist_output_files(False)
        reading = asyncio.create_task(asyncio.to_thread(read_on, JobFileSystem(jobs)))
        try:
            while rounds < 30 and not reading.done():
                results = [ExecResult.success("x" * 1000), None, ExecResult.failure(3, "error")]
                ids = [jobs.spawn("work", give(result)) for result in results]
                await jobs.wait_all(ids)
        finally:
            is_enough.set()
        await reading


@on_all_loops
async def test_a_thread_that_reads_a_flood_sees_pieces_of_it_and_at_last_its_end() -> None:
    def read_on(files: JobFileSystem) -> bytes:
        while files.cat("1/status") == b"running\n":
            assert files.cat("1/stdout").removesuffix(b"end").strip(b"x") == b""
        output: bytes = files.cat("1/stdout")
        return output

    async with JobManager() as jobs:
        jobs.set_persist_output_files(False)
        await jobs.start(unruly("flood", 1_000_000))
        output = await asyncio.to_thread(read_on, JobFileSystem(jobs))
        assert output == b"x" * 1_000_000 + b"end"


def test_jobs_of_a_loop_that_was_just_closed_can_be_read_before_and_after_the_next_one() -> None:
    jobs = JobManager()
    files = JobFileSystem(jobs)

    async def begin() -> None:
        jobs.set_persist_output_files(False)
        streams = await jobs.streams(jobs.spawn("work", endless()))
        assert streams is not None
        streams.stdout.write(b"so far")
        await asyncio.sleep(0)

    loop = asyncio.new_event_loop()
    loop.run_until_complete(begin())
    loop.close()
    assert files.cat("1/stdout") == b"so far"
    assert files.cat("1/command") == b"work\n"

    async def look_and_close() -> None:
        await info_of(jobs, JobId(1))
        assert files.cat("1/status") == b"killed:130\n"
        await jobs.aclose()

    run(look_and_close())
    assert files.cat("1/stdout") == b"so far"
