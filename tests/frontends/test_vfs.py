"""The files of /v/jobs: what they hold, how they are named, and what cannot be done with them."""

# mypy: allow-untyped-calls
# What JobFileSystem has from fsspec has no types.

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import PurePosixPath
from typing import Any

import pytest

from amper import ExecResult, JobManager
from amper.frontends.vfs import JobFileSystem
from tests.handshakes import result_of
from tests.support import on_all_loops, run
from tests.work import endless, gate, give, info_of, on_a_loop

ARABIC_1 = "\N{ARABIC-INDIC DIGIT ONE}"
FILES = ["status", "command", "stdout", "stderr", "info.json"]


def filesystem_of(*results: object) -> JobFileSystem:
    """Return the filesystem of a manager whose coroutines gave these results, and whose loop is over."""

    async def work() -> JobFileSystem:
        async with JobManager() as jobs:
            jobs.set_persist_output_files(False)
            for result in results:
                jobs.spawn("work", give(result))
            await jobs.wait_all()
            return JobFileSystem(jobs)

    filesystem: JobFileSystem = run(work())
    return filesystem


@pytest.fixture
def printed() -> JobFileSystem:
    """One job, which printed the ten digits."""
    return filesystem_of(ExecResult.success("0123456789"))


def error_of(read: Callable[[Any], object], path: object) -> type[Exception] | None:
    try:
        read(path)
    except Exception as error:  # noqa: BLE001 - which one it is, is the question.
        return type(error)
    return None


# What the files hold.


@on_all_loops
async def test_a_command_is_a_directory_of_its_facts_and_its_output() -> None:
    async with JobManager() as jobs:
        files = JobFileSystem(jobs)
        id = await jobs.start("printf out; printf err >&2; exit 3", name="three")
        await result_of(jobs, id)
        info = await info_of(jobs, id)
        assert [entry["name"] for entry in files.ls(f"{id}")] == [f"{id}/{name}" for name in FILES]
        assert files.cat(f"{id}/status") == b"failed:3\n"
        assert files.cat(f"{id}/command") == b"printf out; printf err >&2; exit 3\n"
        assert files.cat(f"{id}/stdout") == b"out"
        assert files.cat(f"{id}/stderr") == b"err"
        # The file that keeps the output is written later, by a thread.
        told = json.loads(files.cat(f"{id}/info.json")) | {"output_file": None}
        assert told == info.to_dict() | {"output_file": None}


@on_a_loop
async def test_outputs_are_empty_where_nothing_was_attached() -> None:
    async with JobManager(max_running=1) as jobs:
        files = JobFileSystem(jobs)
        await jobs.register("elsewhere", gate())
        jobs.spawn("here", endless())
        jobs.spawn("later", endless())
        statuses = [files.cat(f"{id}/status") for id in (1, 2, 3)]
        assert statuses == [b"running\n", b"running\n", b"queued\n"]
        assert list(files.cat("*/std*").values()) == [b""] * 6
        assert files.du("*/std*") == 0


def test_a_value_that_is_no_result_leaves_the_outputs_empty() -> None:
    files = filesystem_of(42)
    assert files.cat("1/status") == b"done:0\n"
    assert files.cat("1/stdout") == files.cat("1/stderr") == b""


@pytest.mark.parametrize(
    "command, written",
    [
        ("echo ä\necho b", "echo ä\necho b\n".encode()),
        ("name \udcff of a file", b"name \xff of a file\n"),
        ("\ud800 from nowhere", b"\\ud800 from nowhere\n"),
        ("", b"\n"),
    ],
)
@on_a_loop
async def test_a_command_is_written_as_it_reached_us(command: str, written: bytes) -> None:
    async with JobManager() as jobs:
        files = JobFileSystem(jobs)
        jobs.spawn(command, give())
        assert files.cat("1/command") == written
        assert files.size("1/command") == len(written)
        assert json.loads(files.cat("1/info.json"))["command"] == command


# Directories.


def test_a_manager_without_jobs_is_an_empty_directory() -> None:
    files = filesystem_of()
    assert files.ls("") == files.find("") == files.glob("*") == []
    assert files.isdir("/v/jobs")
    assert list(files.walk("/v/jobs")) == [("", [], [])]


def test_listings_say_the_same_as_info(printed: JobFileSystem) -> None:
    assert printed.ls("") == [printed.info("1")] == [{"name": "1", "type": "directory", "size": 0}]
    assert printed.ls("1") == [printed.info(f"1/{name}") for name in FILES]
    assert printed.ls("1", detail=False) == [f"1/{name}" for name in FILES]
    assert printed.ls("1/stdout") == [printed.info("1/stdout")]
    sizes = printed.du("1", total=False)
    assert sizes == {f"1/{name}": len(printed.cat(f"1/{name}")) for name in FILES}
    assert printed.du("1") == sum(sizes.values())


def test_the_kinds_of_nodes_can_be_asked_for(printed: JobFileSystem) -> None:
    for directory in ("", "1"):
        assert printed.exists(directory)
        assert printed.isdir(directory)
        assert not printed.isfile(directory)
    for name in FILES:
        assert printed.exists(f"1/{name}")
        assert printed.isfile(f"1/{name}")
        assert not printed.isdir(f"1/{name}")


def test_ids_are_in_numerical_order_wherever_they_are_listed() -> None:
    files = filesystem_of(*[ExecResult.success(str(number)) for number in range(1, 13)])
    ids = [str(id) for id in range(1, 13)]
    outputs = [f"{id}/stdout" for id in ids]
    assert files.ls("", detail=False) == ids
    assert [entry["name"] for entry in files.ls("")] == ids
    assert [path for path, _, _ in files.walk("")] == ["", *ids]
    assert files.glob("*") == ids
    assert files.glob("*/stdout") == list(files.glob("*/stdout", detail=True)) == outputs
    assert [path for path in files.find("") if path.endswith("stdout")] == outputs
    assert files.find("", maxdepth=1, withdirs=True) == ids
    assert files.expand_path("*/stdout") == outputs
    assert files.cat("jobs://*/stdout") == {f"{id}/stdout": id.encode() for id in ids}


def test_patterns_match_within_jobs_and_across_them(printed: JobFileSystem) -> None:
    assert printed.glob("/v/jobs/[1-9]/std???") == ["1/stderr", "1/stdout"]
    assert printed.glob("jobs://**/info.json") == ["1/info.json"]
    assert printed.glob("1/stdout") == ["1/stdout"]
    assert printed.glob("2/*") == printed.glob("1/*/*") == []


# Paths.


def test_a_file_may_be_written_in_several_ways(printed: JobFileSystem) -> None:
    ways: list[Any] = [
        *("1/stdout", "/1/stdout", "//1/stdout", "1/stdout//"),
        *("/v/jobs/1/stdout", "/v/jobs//1/stdout/", PurePosixPath("/v/jobs/1/stdout")),
        *("jobs://1/stdout", "jobs:///1/stdout"),
        *("jobs:///v/jobs/1/stdout", "jobs://v/jobs/1/stdout"),
    ]
    for path in ways:
        assert printed.cat_file(path) == b"0123456789"
        assert printed.info(path)["name"] == "1/stdout"
        assert printed.open(path).size == 10


def test_the_root_may_be_written_in_several_ways(printed: JobFileSystem) -> None:
    for path in ("", "/", "//", "jobs://", "jobs:///", "/v/jobs", "/v/jobs/", "jobs://v/jobs"):
        assert printed.ls(path, detail=False) == ["1"]
        assert printed.info(path)["name"] == ""


@pytest.mark.parametrize(
    "paths",
    [
        pytest.param(
            ["0", "01", "+1", "-1", "1.0", "1e0", "0x1", ARABIC_1, "¹", " 1", "1 ", "1_0", "%1"],
            id="numbers written otherwise",
        ),
        pytest.param(["2", "2/stdout", "9" * 19, "9" * 5000], id="numbers of no job"),
        pytest.param(
            ["1/Stdout", "1/stdin", "1/ctl", "1/\0", "1/stdout\n", "1/stdout/more", "1//stdout"],
            id="names of no file",
        ),
        pytest.param(
            [".", "..", "./1", "../1", "1/.", "1/..", "1/../1", "1/stdout/../stderr"], id="dots"
        ),
        pytest.param(
            [
                "v/jobs/1",
                "/v",
                "/v/1",
                "/v/jobs1/stdout",
                "/v/jobs/v/jobs/1",
                "/dev/jobs/1",
                "file:///1",
            ],
            id="other places",
        ),
    ],
)
def test_a_path_that_leads_nowhere_is_not_found(printed: JobFileSystem, paths: list[str]) -> None:
    for path in paths:
        for read in (printed.info, printed.ls, printed.cat, printed.open, printed.ukey):
            assert error_of(read, path) is FileNotFoundError
        assert not printed.exists(path)
        assert not printed.isdir(path)
        assert not printed.isfile(path)
        assert printed.find(path) == list(printed.walk(path)) == []


def test_an_error_names_the_path_and_what_is_missing(printed: JobFileSystem) -> None:
    with pytest.raises(FileNotFoundError, match=r"no such job: '7/stdout'"):
        printed.open("jobs://7/stdout")
    with pytest.raises(FileNotFoundError, match=r"no such file: '1/stdwhat'"):
        printed.cat("/v/jobs/1/stdwhat")


def test_a_path_that_is_no_text_is_a_mistake(printed: JobFileSystem) -> None:
    for path in (1, b"1/stdout", None):
        assert error_of(printed.info, path) is TypeError


def test_a_directory_cannot_be_read_as_a_file(printed: JobFileSystem) -> None:
    for path in ("", "/v/jobs", "1", "jobs://1/"):
        for read in (printed.cat, printed.open, printed.read_text, printed.ukey, printed.head):
            assert error_of(read, path) is IsADirectoryError


# Bytes and text.


def test_ranges_are_those_of_a_slice(printed: JobFileSystem) -> None:
    bounds = [None, -11, -10, -3, 0, 3, 9, 10, 11]
    for start in bounds:
        for end in bounds:
            assert printed.cat_file("1/stdout", start, end) == b"0123456789"[start:end]
    ranges = printed.cat_ranges(["1/stdout", "1/status", "2/stdout"], [2, -3, 0], [4, None, 9])
    assert ranges[:2] == [b"23", b":0\n"]
    assert isinstance(ranges[2], FileNotFoundError)


def test_a_file_can_be_read_in_pieces_from_anywhere(printed: JobFileSystem) -> None:
    assert printed.head("1/stdout", 3) == b"012"
    assert printed.tail("1/stdout", 3) == b"789"
    assert printed.read_block("1/stdout", 2, 3) == b"234"
    assert printed.read_block("1/stdout", 2, 20) == b"23456789"
    assert printed.read_block("1/stdout", 1, 3, delimiter=b"5") == b""
    assert printed.read_block("1/stdout", 0, 3, delimiter=b"5") == b"012345"
    with printed.open("1/stdout") as file:
        assert file.seek(-4, io.SEEK_END) == 6
        assert (file.read(2), file.tell(), file.read(), file.read()) == (b"67", 8, b"89", b"")
        with pytest.raises(io.UnsupportedOperation):
            file.write(b"x")


def test_text_is_utf8_and_half_a_character_at_its_end_is_no_error() -> None:
    files = filesystem_of(ExecResult.success("ä\nö".encode()[:-1]))
    with files.open("1/stdout", "r") as file:
        assert file.encoding == "utf-8"
        assert list(file) == ["ä\n", "\N{REPLACEMENT CHARACTER}"]
    assert files.read_text("1/stdout") == "ä\n\N{REPLACEMENT CHARACTER}"
    assert files.read_text("1/stdout", encoding="latin-1") == "Ã¤\nÃ"
    with pytest.raises(UnicodeDecodeError):
        files.read_text("1/stdout", errors="strict")


# What it leaves alone.


@pytest.mark.parametrize(
    "method, arguments",
    [
        *[("open", ["1/stdout", mode]) for mode in ("wb", "ab", "xb", "r+b", "w", "a", "x", "r+")],
        ("open", ["2/new", "wb"]),
        ("write_text", ["1/stdout", "text"]),
        ("write_bytes", ["1/stdout", b"bytes"]),
        ("pipe", ["1/stdout", b"bytes"]),
        ("pipe", [{"1/stdout": b"bytes"}]),
        ("pipe_file", ["1/stdout", b"bytes", "create"]),
        ("touch", ["1/stdout"]),
        ("touch", ["1/stdout", False]),
        ("put", [__file__, "1/stdout"]),
        ("put", ["/no/such/*", "1/stdout"]),
        ("put_file", ["/no/such/file", "1/stdout"]),
        ("upload", [__file__, "1/"]),
        ("mkdir", ["2"]),
        ("makedir", ["2"]),
        ("makedirs", ["2/deep"]),
        ("mkdirs", ["1", True]),
        ("rmdir", ["1"]),
        ("rm", ["1", True]),
        ("rm", ["7*"]),
        ("rm_file", ["1/stdout"]),
        ("delete", ["1/stdout"]),
        ("copy", ["1", "2", True]),
        ("copy", ["7*", "2"]),
        ("cp", ["1/stdout", "1/stderr"]),
        ("cp_file", ["1/stdout", "1/stderr"]),
        ("mv", ["1/stdout", "1/stdout"]),
        ("move", ["1/stdout", "2"]),
        ("rename", ["1/stdout", "2"]),
    ],
)
def test_nothing_can_be_changed(
    printed: JobFileSystem, method: str, arguments: list[object]
) -> None:
    before = printed.cat("1", recursive=True, on_error="omit")
    with pytest.raises(PermissionError, match="read-only"):
        getattr(printed, method)(*arguments)
    assert printed.cat("1", recursive=True, on_error="omit") == before
