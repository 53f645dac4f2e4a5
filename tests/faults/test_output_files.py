"""Output files that cannot be written: a warning, and no failure of the job."""

from __future__ import annotations

import logging
import os
import shutil
import tempfile
import threading
from pathlib import Path

import pytest

from amper import ExecResult, JobManager
from tests.handshakes import result_of, run_script, turns_until, written
from tests.support import on_all_loops
from tests.work import info_of, on_a_loop


@pytest.fixture(autouse=True)
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Have a temporary directory of our own."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


@pytest.mark.parametrize(
    "obstacle", ["missing", "a file", "a link", "open to others", "somebody else's"]
)
@on_all_loops
async def test_a_file_that_cannot_be_written_is_a_warning_and_no_failure(
    obstacle: str,
    temporary: Path,
    caplog: pytest.LogCaptureFixture,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    users = temporary / f"amper-{os.geteuid()}"
    match obstacle:
        case "missing":
            os.rmdir(temporary)
        case "a file":
            users.write_text("")
        case "a link":
            elsewhere.chmod(0o700)
            users.symlink_to(elsewhere)
        case "open to others":
            users.mkdir()
            users.chmod(0o755)
        case "somebody else's":
            if os.geteuid() != 0:
                pytest.skip("only root can give a directory away")
            users.mkdir(0o700)
            os.chown(users, 65534, 65534)
    with caplog.at_level(logging.WARNING, "amper"):
        async with JobManager() as jobs:
            id = await jobs.start("echo out; exit 3")
            assert await result_of(jobs, id) == ExecResult(3, b"out\n")
        info = await info_of(jobs, id)
    assert (info.status_string, info.output_file) == ("failed:3", None)
    (record,) = caplog.records
    assert f"job {id}" in record.getMessage()
    assert record.exc_info is None
    assert os.listdir(elsewhere) == []


@on_a_loop
async def test_the_next_file_is_written_when_what_was_in_the_way_is_gone(
    temporary: Path, caplog: pytest.LogCaptureFixture
) -> None:
    obstacle = temporary / f"amper-{os.geteuid()}"
    obstacle.write_text("")
    async with JobManager() as jobs:
        first = await jobs.start(["echo", "x"])
        await result_of(jobs, first)
        await turns_until(lambda: bool(caplog.records))
        obstacle.unlink()
        second = await jobs.start(["echo", "x"])
        path = await written(jobs, second)
        # Somebody has cleaned up: all that was there is gone, the directory too.
        shutil.rmtree(path.parent)
        third = await jobs.start(["echo", "x"])
        assert (await written(jobs, third)).exists()
        assert await jobs.remove(second)


@on_a_loop
async def test_no_link_is_followed_to_where_a_file_would_be(
    temporary: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    victim = tmp_path_factory.mktemp("elsewhere") / "victim"
    victim.write_text("precious")
    async with JobManager() as jobs:
        path = await written(jobs, await jobs.start(["echo", "x"]))
        for name in ("job-2.txt", "job-2.txt.new"):
            (path.parent / name).symlink_to(victim)
        id = await jobs.start(["echo", "x"])
        await result_of(jobs, id)
    assert victim.read_text() == "precious"


FULL = """
import asyncio, os, resource, sys, tempfile
from amper import JobManager

async def main():
    async with JobManager() as jobs:
        small = await jobs.start(["echo", "x"])
        await jobs.wait(small)
        large = await jobs.start(["head", "-c", "100000", "/dev/zero"])
        text = await jobs.start("yes | head -n 50000")
        await jobs.wait_all()
        assert len((await jobs.try_result(text)).out) == 100000
    infos = await jobs.list()
    assert [info.status_string for info in infos] == ["done:0"] * 3
    # Zeros are no text, so that little is written of them.
    assert [info.output_file is None for info in infos] == [False, False, True]
    names = [name for _, _, names in os.walk(tempfile.tempdir) for name in names]
    assert sorted(names) == ["job-1.txt", "job-2.txt"], names

tempfile.tempdir = sys.argv[1]
if sys.argv[2] == "limit":
    resource.setrlimit(resource.RLIMIT_FSIZE, (8192, 8192))
asyncio.run(main())
"""


def test_a_file_that_was_written_by_half_is_none(temporary: Path) -> None:
    """A limit on the size of files breaks off a write like a full disk does."""
    run_script(FULL, str(temporary), "limit")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount a small disk")
def test_a_disk_that_is_full_is_a_warning(temporary: Path) -> None:
    mounting = f'mount -t tmpfs -o size=32k,mode=700 none {temporary} && exec "$@"'
    run_script(
        FULL, str(temporary), "disk", through=("unshare", "--mount", "sh", "-c", mounting, "sh")
    )


@on_all_loops
async def test_where_no_thread_can_be_started_no_file_is_written_and_nothing_else_is_amiss(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with caplog.at_level(logging.WARNING, "amper"):
        async with JobManager(max_running=1) as jobs:
            with monkeypatch.context() as patch:
                patch.setattr(threading.Thread, "start", refuse)
                first = await jobs.start("echo out")
                queued = await jobs.start("echo next")
                assert [(await result_of(jobs, id)).code for id in (first, queued)] == [0, 0]
            later = await jobs.start("echo later")
            assert "later" in (await written(jobs, later)).read_text()
        assert [(await info_of(jobs, id)).output_file for id in (first, queued)] == [None, None]
    assert ["can't start new thread" in record.message for record in caplog.records] == [True, True]


@on_all_loops
async def test_a_log_handler_that_raises_ends_neither_the_writer_nor_the_manager(
    temporary: Path,
) -> None:
    class Raising(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            raise OSError("no log can be written")

    handler, logger = Raising(), logging.getLogger("amper")
    users = temporary / f"amper-{os.geteuid()}"
    users.write_text("")
    logger.addHandler(handler)
    try:
        async with JobManager() as jobs:
            await result_of(jobs, await jobs.start("echo out"))
            await turns_until(lambda: jobs._core.files._bytes_done == len(b"out\n"))
            users.unlink()
            assert "later" in (await written(jobs, await jobs.start("echo later"))).read_text()
    finally:
        logger.removeHandler(handler)
