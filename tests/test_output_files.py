"""What finished jobs printed, as text files for people: what is in them, whose they are, when they go."""

from __future__ import annotations

import asyncio
import os
import stat
import tempfile
import threading
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from amper import BoundedStream, ExecResult, JobId, JobManager, oneshot
from amper import output_files as module
from tests.handshakes import result_of, run_script, said, turns_until, written
from tests.support import DEADLINE, on_all_loops
from tests.unruly import unruly
from tests.work import NO_PROCESS, give, info_of, on_a_loop

pytestmark = pytest.mark.usefixtures("temporary")


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Have a temporary directory of our own."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


@pytest.fixture
def held_back(monkeypatch: pytest.MonkeyPatch) -> threading.Event:
    """Let the writer begin with its first file when the test says so."""
    go_on = threading.Event()
    describe = module._described

    def described(*arguments: object) -> bytes:
        assert go_on.wait(DEADLINE)
        return describe(*arguments)  # type: ignore[arg-type]  # What it was called with.

    monkeypatch.setattr(module, "_described", described)
    return go_on


async def text_of(jobs: JobManager, id: JobId) -> str:
    return (await written(jobs, id)).read_text()


def no_writer() -> bool:
    return not any(thread.name == "amper output files" for thread in threading.enumerate())


# What is in them.


@on_all_loops
async def test_a_file_says_what_the_job_was_how_it_ended_and_what_it_printed() -> None:
    async with JobManager() as jobs:
        id = await jobs.start("echo out; echo err >&2")
        assert await text_of(jobs, id) == (
            f"# Job {id}: echo out; echo err >&2\n"
            "# Status: Done\n\n## STDOUT\nout\n\n## STDERR\nerr\n"
        )


@on_a_loop
async def test_the_lines_of_a_command_stay_in_the_head() -> None:
    async with JobManager() as jobs:
        id = await jobs.start("echo out\n# Status: Failed")
        assert (await text_of(jobs, id)).startswith(
            f"# Job {id}: echo out\n#   # Status: Failed\n# Status: Done\n\n## STDOUT\n"
        )


@on_a_loop
async def test_it_is_written_for_every_kind_of_job_and_end() -> None:
    async with JobManager() as jobs:
        failed = await jobs.start("printf out; exit 3")
        assert (await text_of(jobs, failed)).startswith(
            f"# Job {failed}: printf out; exit 3\n# Status: Failed"
        )
        killed = await jobs.start(unruly("behave"))
        await said(jobs, killed)
        assert await jobs.kill(killed)
        assert "# Status: Killed" in await text_of(jobs, killed)
        never = await jobs.start(["no-such-program"])
        assert "## STDERR\namper: no-such-program: not found" in await text_of(jobs, never)
        spawned = jobs.spawn("work", give(ExecResult.success("by a coroutine")))
        assert "## STDOUT\nby a coroutine\n" in await text_of(jobs, spawned)
        sender, receiver = oneshot()
        elsewhere = await jobs.register("elsewhere", receiver)
        sender.send(ExecResult.failure(2, "by a channel"))
        assert "## STDERR\nby a channel\n" in await text_of(jobs, elsewhere)


@on_a_loop
async def test_output_that_nobody_can_read_is_described_by_its_size() -> None:
    async with JobManager() as jobs:
        for printed, size in ((r"\377\376\000", 3), (r"a\000b", 3), (r"\303", 1)):
            id = await jobs.start(f"printf '{printed}'; echo text >&2")
            data = (await written(jobs, id)).read_bytes()
            assert b"binary" in data
            assert b"%d bytes" % size in data
            assert b"\0" not in data
            assert b"## STDERR\ntext\n" in data
        text = await jobs.start("printf 'ä\\n'")
        assert "## STDOUT\nä\n" in await text_of(jobs, text)


@on_a_loop
async def test_what_a_bound_took_is_counted_in_the_file_too() -> None:
    async with JobManager() as jobs:
        id = await jobs.start(unruly("flood", 11_000_000))
        dropped = (await result_of(jobs, id)).out_dropped
        assert dropped > 0
        data = (await written(jobs, id)).read_bytes()
        assert b"%d bytes" % dropped in data[:200]
        assert data.endswith(b"xend\n")


@on_a_loop
async def test_a_bound_that_cuts_a_character_in_two_leaves_a_text() -> None:
    async with JobManager() as jobs:
        for printed, dropped in (("äää\n", 2), ("a€€\n", 4), ("😀😀\n", 4)):
            sender, receiver = oneshot()
            stdout = BoundedStream(max_size=6)
            id = await jobs.register_with_streams("work", receiver, stdout, BoundedStream())
            stdout.write(printed.encode())
            sender.send(None)
            assert (await result_of(jobs, id)).out_dropped < dropped + 1
            kept = printed.encode()[dropped:].decode()
            said = f"[the first {dropped} bytes were dropped]\n{kept}"
            assert (await text_of(jobs, id)).endswith(f"## STDOUT\n{said}")
        sender, receiver = oneshot()
        stdout = BoundedStream(max_size=6)
        id = await jobs.register_with_streams("work", receiver, stdout, BoundedStream())
        stdout.write(b"\x80" * 8)
        sender.send(None)
        assert "[the first 2 bytes were dropped]\n[binary output, 6 bytes]" in await text_of(
            jobs, id
        )


@on_a_loop
async def test_a_job_without_output_has_no_file() -> None:
    async with JobManager() as jobs:
        ids = [await jobs.start(["true"]), await jobs.start("exit 3"), jobs.spawn("", give(5))]
        await jobs.wait_all()
    for id in ids:
        assert (await info_of(jobs, id)).output_file is None
    assert os.listdir(tempfile.gettempdir()) == []


@on_a_loop
async def test_a_command_of_many_lines_and_odd_characters_can_be_written_down() -> None:
    async with JobManager() as jobs:
        id = await jobs.start("echo 'ä\udcff'\necho two")
        data = (await written(jobs, id)).read_bytes()
        assert data.startswith(b"# Job %d: echo" % id)
        assert b"# Status: Done\n" in data


# Whose they are, and where.


@on_a_loop
async def test_a_current_directory_that_was_deleted_is_no_reason_to_write_none(
    temporary: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (temporary / "gone").mkdir()
    monkeypatch.chdir(temporary / "gone")
    (temporary / "gone").rmdir()
    async with JobManager() as jobs:
        assert (await written(jobs, await jobs.start(["echo", "x"], cwd="/"))).is_file()


@pytest.mark.parametrize("is_named", [False, True])
@on_a_loop
async def test_the_current_directory_is_temporary_only_for_who_says_so(
    temporary: Path, monkeypatch: pytest.MonkeyPatch, *, is_named: bool
) -> None:
    """Python falls back to it where /tmp is full, or no descriptor was free to try it."""
    monkeypatch.chdir(temporary)
    monkeypatch.setenv("TMPDIR", str(temporary) if is_named else "/nowhere")
    async with JobManager() as jobs:
        id = await jobs.start(["echo", "x"])
        assert (await result_of(jobs, id)).out == b"x\n"
        await jobs._core.files.drain(asyncio.get_running_loop())
        assert ((await info_of(jobs, id)).output_file is not None) is is_named
        assert bool(os.listdir(temporary)) is is_named


@on_a_loop
async def test_files_and_directories_are_the_users_alone(
    temporary: Path, umask_of_nobody: None
) -> None:
    async with JobManager() as jobs:
        path = await written(jobs, await jobs.start(["echo", "x"]))
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert path.stat().st_uid == os.geteuid()
        directory = path.parent
        while directory != temporary:
            assert stat.S_IMODE(directory.stat().st_mode) == 0o700
            directory = directory.parent
        assert path.parent != temporary


@pytest.fixture
def umask_of_nobody() -> Iterator[None]:
    """Take no right away from anybody."""
    before = os.umask(0)
    yield
    os.umask(before)


@on_a_loop
async def test_managers_do_not_write_over_each_others_files() -> None:
    async with JobManager() as mine, JobManager() as yours:
        paths = [await written(jobs, await jobs.start(["echo", "x"])) for jobs in (mine, yours)]
        assert paths[0] != paths[1]


# When they are written.


@on_all_loops
async def test_nobody_waits_for_a_file_and_none_is_told_of_before_it_is_there(
    held_back: threading.Event,
) -> None:
    async with JobManager() as jobs:
        assert no_writer()
        ids = [await jobs.start(["echo", str(number)]) for number in range(3)]
        assert len(await jobs.wait_all()) == 3
        assert not no_writer()
        assert [(await info_of(jobs, id)).output_file for id in ids] == [None] * 3
        held_back.set()
        for number, id in enumerate(ids):
            assert f"## STDOUT\n{number}\n" in await text_of(jobs, id)
    assert no_writer()


@on_all_loops
async def test_the_end_of_the_block_waits_for_all_files(held_back: threading.Event) -> None:
    jobs = JobManager()
    ids = [await jobs.start(["echo", "x"]) for _ in range(20)]
    await jobs.wait_all()
    running = await jobs.start(unruly("behave"))
    await said(jobs, running)
    asyncio.get_running_loop().call_soon(held_back.set)
    await jobs.aclose()
    assert no_writer()
    for id in (*ids, running):
        assert (await text_of(jobs, id)).startswith(f"# Job {id}:")


@on_a_loop
async def test_whether_there_is_a_file_is_decided_when_a_job_is_registered() -> None:
    async with JobManager(max_running=1) as jobs:
        assert jobs.persist_output_files()
        with_file = await jobs.start(unruly("print_then_flood_late", 0))
        await said(jobs, with_file)
        jobs.set_persist_output_files(False)
        assert not jobs.persist_output_files()
        without = await jobs.start(["echo", "x"])
        jobs.set_persist_output_files(True)
        assert await jobs.kill(with_file)
        await jobs.wait_all()
    assert (await info_of(jobs, with_file)).output_file is not None
    assert (await info_of(jobs, without)).output_file is None


# When they go.


async def echoes(jobs: JobManager, count: int) -> AsyncIterator[JobId]:
    for _ in range(count):
        yield await jobs.start(["echo", "x"])


@on_a_loop
async def test_a_file_goes_with_its_job() -> None:
    async with JobManager(finished_retention=1) as jobs:
        # One after another: the order of their ends decides who goes first.
        paths = {id: await written(jobs, id) async for id in echoes(jobs, 4)}
        removed, reaped, retired, kept = paths
        assert await jobs.remove(removed)
        await result_of(jobs, retired)
        await result_of(jobs, kept)
        await turns_until(lambda: not paths[removed].exists() and not paths[retired].exists())
        assert paths[reaped].exists()
        assert paths[kept].exists()
        await jobs.reap_finished()
    assert not any(path.exists() for path in paths.values())


@on_a_loop
async def test_a_job_that_is_removed_before_its_file_is_written_leaves_none(
    held_back: threading.Event, temporary: Path
) -> None:
    async with JobManager() as jobs:
        id = await jobs.start(["echo", "x"])
        await result_of(jobs, id)
        assert await jobs.remove(id)
        held_back.set()
    assert files_below(temporary) == []


@on_a_loop
async def test_files_go_with_their_jobs_after_the_end_of_the_manager_too() -> None:
    async with JobManager() as jobs:
        id = await jobs.start(["echo", "x"])
        await result_of(jobs, id)
    path = await written(jobs, id)
    assert path.exists()
    assert await jobs.remove(id)
    assert not path.exists()


LEFT = """
import asyncio, os, sys, tempfile
from amper import JobManager

async def main():
    jobs = JobManager()
    id = await jobs.start(["echo", "x"])
    while (await jobs.get(id)).output_file is None:
        await asyncio.sleep(0)
    print((await jobs.get(id)).output_file, flush=True)
    os._exit(0)

tempfile.tempdir = sys.argv[1]
asyncio.run(main())
"""


@on_a_loop
async def test_what_a_dead_process_left_is_deleted_and_what_a_living_one_has_is_not(
    temporary: Path,
) -> None:
    async with JobManager() as mine:
        living = await written(mine, await mine.start(["echo", "x"]))
        dead = temporary / run_script(LEFT, str(temporary)).strip()
        assert dead.exists()
        # One whose number is somebody else's by now: it began at another time.
        namespace, _, start, _ = living.parent.name.split("-")
        recycled = living.parent.parent / f"{namespace}-{os.getpid()}-{int(start) + 1}-1"
        elsewhere = living.parent.parent / f"1-{NO_PROCESS}-5-1"
        for directory in (recycled, elsewhere):
            directory.mkdir(0o700)
            (directory / "job-1.txt.new").write_text("half of it")
        (living.parent.parent / "somebody-else-s-note").write_text("not ours")
        (living.parent.parent / f"{namespace}-what-is-this").mkdir()
        async with JobManager() as jobs:
            await written(jobs, await jobs.start(["echo", "x"]))
            assert not dead.parent.exists()
            assert not recycled.exists()
            assert living.exists()
            assert elsewhere.exists(), "another namespace's numbers say nothing to us"


def files_below(directory: Path) -> list[str]:
    return [name for _, _, names in os.walk(directory) for name in names]
