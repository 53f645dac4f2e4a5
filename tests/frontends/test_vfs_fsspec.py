"""/v/jobs through what fsspec offers on top of a filesystem: URLs, chains, copies, wrappers."""

# mypy: allow-untyped-calls
# What JobFileSystem has from fsspec has no types.

from __future__ import annotations

import gzip
import pickle
from pathlib import Path
from typing import Any

import fsspec
import pytest
from fsspec.core import url_to_fs

from amper import ExecResult, JobManager
from amper.frontends.vfs import JobFileSystem
from tests.handshakes import run_script
from tests.support import run
from tests.work import endless, give, on_a_loop


@pytest.fixture
def jobs() -> JobManager:
    """A manager with two jobs, which printed `one` and half of an ä."""

    async def work() -> JobManager:
        async with JobManager() as jobs:
            jobs.set_persist_output_files(False)
            jobs.spawn("first", give(ExecResult.success("one\n")))
            jobs.spawn("second", give(ExecResult.success(b"\xc3")))
            await jobs.wait_all()
            return jobs

    manager: JobManager = run(work())
    return manager


# URLs.


def test_the_protocol_is_registered_by_installing_amper(jobs: JobManager) -> None:
    assert fsspec.get_filesystem_class("jobs") is JobFileSystem
    assert fsspec.filesystem("jobs", jobs=jobs).cat("1/stdout") == b"one\n"


@pytest.mark.parametrize("is_nested", [False, True])
def test_a_url_is_opened_with_the_manager_as_an_option(jobs: JobManager, is_nested: bool) -> None:
    # fsspec's own way to give the options of a protocol, needed only where it has several.
    options: dict[str, Any] = {"jobs": {"jobs": jobs} if is_nested else jobs}
    with fsspec.open("jobs://1/stdout", **options) as file:
        assert file.readlines() == [b"one\n"]
    with fsspec.open("jobs://2/stdout", "r", errors="replace", **options) as file:
        assert file.read() == "\N{REPLACEMENT CHARACTER}"
    with fsspec.open("2/status", protocol="jobs", **options) as file:
        assert file.read() == b"done:0\n"
    with fsspec.open_files("jobs://*/stdout", **options) as files:
        assert [file.read() for file in files] == [b"one\n", b"\xc3"]
    with fsspec.open_files(["jobs://2/stdout", "jobs://1/stdout"], **options) as files:
        assert [file.read() for file in files] == [b"\xc3", b"one\n"]
    files, path = url_to_fs("jobs:///v/jobs/2/stdout", **options)
    assert files.unstrip_protocol(path) == "jobs://2/stdout"
    assert options == {"jobs": {"jobs": jobs} if is_nested else jobs}


@on_a_loop
async def test_a_url_that_is_opened_again_shows_what_has_changed() -> None:
    async with JobManager() as jobs:
        url = fsspec.open("jobs://1/status", jobs=jobs)
        with pytest.raises(FileNotFoundError), url:
            pass
        id = jobs.spawn("work", endless())
        with url as file:
            assert file.read() == b"running\n"
        await jobs.kill(id)
        with url as file:
            assert file.read() == b"killed:130\n"


def test_a_url_cannot_be_written_to(jobs: JobManager) -> None:
    for mode in ("wb", "w", "ab", "r+b"):
        with pytest.raises(PermissionError), fsspec.open("jobs://1/stdout", mode, jobs=jobs):
            pass
    with pytest.raises(KeyError):
        del JobFileSystem(jobs).get_mapper("1")["stdout"]
    with pytest.raises(PermissionError):
        JobFileSystem(jobs).get_mapper("1")["stdout"] = b"new"


@pytest.mark.parametrize("options", [{}, {"jobs": None}, {"jobs": "jobs"}, {"jobs": {}}])
def test_without_a_manager_the_error_says_how_to_give_one(options: dict[str, Any]) -> None:
    message = r"must be the JobManager .* fsspec\.open\(.*jobs=manager\)"
    with pytest.raises(TypeError, match=message):
        fsspec.open("jobs://1/stdout", **options)
    with pytest.raises(TypeError, match=message):
        JobFileSystem(**options)


def test_each_filesystem_shows_its_own_manager_and_none_is_kept(jobs: JobManager) -> None:
    other = JobManager()
    assert JobFileSystem(jobs) is not JobFileSystem(jobs)
    assert fsspec.filesystem("jobs", jobs=jobs).ls("", detail=False) == ["1", "2"]
    assert fsspec.filesystem("jobs", jobs=other).ls("", detail=False) == []
    assert JobFileSystem(jobs) != JobFileSystem(other)
    assert not JobFileSystem._cache


# Chains and wrappers.


@pytest.mark.parametrize("cache", ["simplecache", "filecache"])
def test_a_file_can_be_read_through_a_cache_of_files(
    jobs: JobManager, cache: str, tmp_path: Path
) -> None:
    # fsspec would keep the cache, and with it the manager.
    options = {"cache_storage": str(tmp_path), "skip_instance_cache": True}
    for _ in range(2):
        with fsspec.open(f"{cache}::jobs://1/stdout", jobs=jobs, **{cache: options}) as file:
            assert file.read() == b"one\n"


@on_a_loop
async def test_a_cache_that_checks_its_files_reads_changed_ones_again(tmp_path: Path) -> None:
    async with JobManager() as jobs:
        streams = await jobs.streams(jobs.spawn("work", endless()))
        assert streams is not None
        for written in (b"one", b"two"):
            streams.stdout.write(written)
            options = {"cache_storage": str(tmp_path / "files"), "check_files": True}
            options["skip_instance_cache"] = True
            with fsspec.open("filecache::jobs://1/stdout", jobs=jobs, filecache=options) as file:
                assert file.read() == streams.stdout.read()


def test_a_job_can_be_read_as_a_mapping(jobs: JobManager) -> None:
    job = JobFileSystem(jobs).get_mapper("1")
    assert sorted(job) == ["command", "info.json", "status", "stderr", "stdout"]
    assert job["stdout"] == b"one\n"
    assert "stdin" not in job


@on_a_loop
async def test_compressed_output_is_unpacked() -> None:
    async with JobManager() as jobs:
        await jobs.wait(jobs.spawn("work", give(ExecResult.success(gzip.compress(b"packed")))))
        with fsspec.open("jobs://1/stdout", jobs=jobs, compression="gzip") as file:
            assert file.read() == b"packed"


# Copies.


def test_files_and_whole_jobs_can_be_copied_to_the_disk(jobs: JobManager, tmp_path: Path) -> None:
    files = JobFileSystem(jobs)
    files.get("1/stdout", str(tmp_path / "out"))
    assert (tmp_path / "out").read_bytes() == b"one\n"
    files.get_file("jobs://2/stdout", str(tmp_path / "half"))
    assert (tmp_path / "half").read_bytes() == b"\xc3"
    files.download("/v/jobs", str(tmp_path / "all"), recursive=True)
    copied = {str(path.relative_to(tmp_path / "all")) for path in tmp_path.glob("all/*/*")}
    assert copied == set(files.find(""))
    assert (tmp_path / "all" / "2" / "status").read_bytes() == b"done:0\n"
    with pytest.raises(FileNotFoundError):
        files.get("3/stdout", str(tmp_path / "none"))
    assert not (tmp_path / "none").exists()


def test_a_job_can_be_copied_and_read_by_filesystems_that_wrap_others() -> None:
    # fsspec starts a thread for them, which stays.
    script = """if True:
        import asyncio, fsspec
        from amper import ExecResult, JobManager
        from fsspec.generic import rsync, set_generic_fs

        async def give():
            return ExecResult.success("one")

        async def main():
            async with JobManager() as jobs:
                await jobs.wait(jobs.spawn("work", give()))
                set_generic_fs("jobs", jobs=jobs)
                set_generic_fs("memory")
                rsync("jobs://1", "memory://copy", inst_kwargs={"default_method": "generic"})
                print(fsspec.filesystem("memory").cat("/copy/stdout"))
                job = fsspec.filesystem("dir", path="1", fs=fsspec.filesystem("jobs", jobs=jobs))
                print(job.cat("stdout"), len(job.find("")))

        asyncio.run(main())
    """
    assert run_script(script) == "b'one'\nb'one' 5\n"


def test_what_would_leave_the_process_is_refused(jobs: JobManager) -> None:
    files = JobFileSystem(jobs)
    for leave in (pickle.dumps, JobFileSystem.to_json, JobFileSystem.to_dict):
        with pytest.raises(TypeError, match="cannot be pickled or written as JSON"):
            leave(files)
    with pytest.raises(TypeError, match="cannot be pickled"):
        pickle.dumps(fsspec.open("jobs://1/stdout", jobs=jobs))
