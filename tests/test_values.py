"""What amper tells the world: what a value means, and what it looks like as JSON."""

from __future__ import annotations

import copy
import dataclasses
import json
import pickle
import signal
from datetime import UTC, datetime, timedelta, timezone
from typing import Any, Final

import pytest

from amper import (
    Chunk,
    EndedBy,
    Event,
    EventPage,
    ExecResult,
    ExitStatus,
    JobId,
    JobInfo,
    JobStatus,
    StreamStats,
    Usage,
)
from amper.values import status_string, utc

NOON: Final = datetime(2024, 2, 29, 12, 0, tzinfo=UTC)
KILLED: Final = EndedBy("kill", "too slow", "somebody")
INFO: Final = JobInfo(id=JobId(7), command="make", status=JobStatus.RUNNING, created_at=NOON)
FULL_INFO: Final = JobInfo(
    id=JobId(7),
    command="make",
    status=JobStatus.KILLED,
    created_at=NOON,
    name="build",
    tags=("ci", "nightly"),
    cwd="/src",
    exit_code=143,
    signal=15,
    pid=4711,
    pgids=(4711, 4712),
    output_file="/tmp/output",
    output_open=True,
    output_late=3,
    containment="group",
    started_at=NOON + timedelta(seconds=1),
    finished_at=NOON + timedelta(seconds=3.5),
    elapsed=2.5,
    usage=Usage(0.25, 0.125, 1024),
    ended_by=KILLED,
)
EVENT: Final = Event(3, NOON, "ended", JobId(7), "make", JobStatus.KILLED, 143, 15, KILLED)
VALUES: Final[list[Any]] = [
    Chunk(b"data", 4),
    EVENT,
    EventPage((EVENT,), 3),
    ExecResult(1, b"out", b"err", ended_by=KILLED),
    ExitStatus.exited(3),
    FULL_INFO,
    INFO,
    KILLED,
    StreamStats(4, 100, 4, 0, closed=False),
    Usage(0.25, 0.125, 1024),
]


@pytest.mark.parametrize("value", VALUES, ids=lambda value: type(value).__name__)
def test_values_are_frozen_and_travel_whole(value: Any) -> None:
    for field in dataclasses.fields(value):
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(value, field.name, None)
    assert not hasattr(value, "__dict__")
    assert copy.deepcopy(value) == value
    assert pickle.loads(pickle.dumps(value)) == value
    assert json.loads(json.dumps(value.to_dict(), allow_nan=False)) == value.to_dict()


# Statuses.


@pytest.mark.parametrize(
    "status, code, text",
    [
        (JobStatus.QUEUED, None, "queued"),
        (JobStatus.RUNNING, None, "running"),
        (JobStatus.STOPPED, None, "stopped"),
        (JobStatus.DONE, 0, "done:0"),
        (JobStatus.FAILED, 3, "failed:3"),
        (JobStatus.KILLED, 143, "killed:143"),
        (JobStatus.LOST, None, "lost"),
    ],
)
def test_a_status_as_people_and_files_see_it(
    status: JobStatus, code: int | None, text: str
) -> None:
    assert status_string(status, code) == text
    assert dataclasses.replace(INFO, status=status, exit_code=code).status_string == text


def test_a_status_is_its_word_and_four_of_them_are_final() -> None:
    assert JobStatus("running") is JobStatus.RUNNING
    assert f"{JobStatus.STOPPED}" == "stopped"
    final = {status for status in JobStatus if status.is_final}
    assert final == {JobStatus.DONE, JobStatus.FAILED, JobStatus.KILLED, JobStatus.LOST}


def test_an_id_prints_as_the_bare_number() -> None:
    assert f"{JobId(7)} {JobId(7)!r}" == "7 7"


@pytest.mark.parametrize(
    "status, code, fields",
    [
        (ExitStatus.exited(0), 0, {"code": 0, "exit_code": 0}),
        (ExitStatus.exited(3), 3, {"code": 3, "exit_code": 3}),
        (ExitStatus.signaled(signal.SIGTERM), 143, {"code": 143, "signal": 15}),
        (
            ExitStatus.signaled(signal.SIGSEGV, core_dumped=True),
            139,
            {"code": 139, "signal": 11, "core_dumped": True},
        ),
    ],
)
def test_an_exit_status_is_a_code_or_a_signal_and_has_the_shells_number(
    status: ExitStatus, code: int, fields: dict[str, Any]
) -> None:
    assert status.code == code
    assert status.to_dict() == fields


# Results.


def test_a_success_has_code_0_and_a_failure_its_own() -> None:
    assert ExecResult.success("out") == ExecResult(0, out=b"out")
    assert ExecResult.failure(3, "err") == ExecResult(3, err=b"err")
    assert ExecResult.success() == ExecResult(0)
    assert ExecResult.failure(3) == ExecResult(3)
    assert ExecResult.success().ok
    assert not ExecResult.failure(3).ok
    assert ExecResult.success("o").has_output
    assert ExecResult.failure(1, "e").has_output
    assert not ExecResult.success().has_output


def test_output_is_text_or_bytes() -> None:
    data = b"\xff\x00"
    assert ExecResult.success(data).out is data
    assert ExecResult.failure(1, data).err is data
    assert ExecResult.success("ä€😀").out == "ä€😀".encode()


@pytest.mark.parametrize("nonsense", [5, None, [1, 2]])
def test_output_that_is_neither_is_refused(nonsense: Any) -> None:
    with pytest.raises(TypeError):
        ExecResult.success(nonsense)


def test_text_that_stands_for_bytes_becomes_those_bytes_again() -> None:
    name = b"caf\xe9".decode("utf-8", "surrogateescape")
    assert ExecResult.success(name).out == b"caf\xe9"


def test_text_with_half_of_a_pair_is_still_output() -> None:
    result = ExecResult.failure(1, "half: \ud83d")
    assert result.err == b"half: \\ud83d"


def test_output_is_read_as_text_whatever_it_is() -> None:
    result = ExecResult(1, "ok €".encode(), b"half of \xe2\x82")
    assert result.text_out() == "ok €"
    assert result.text_err() == "half of \ufffd"


@pytest.mark.parametrize(
    "result, fields",
    [
        (ExecResult(0), {"code": 0, "out": "", "err": ""}),
        (ExecResult(3, b"o", "€".encode()), {"code": 3, "out": "o", "err": "€"}),
        (ExecResult(0, b"\xff"), {"code": 0, "out_base64": "/w==", "err": ""}),
        (ExecResult(0, err=b"\xe2\x82"), {"code": 0, "out": "", "err_base64": "4oI="}),
        (ExecResult(0, b"a\0b"), {"code": 0, "out": "a\0b", "err": ""}),
        (
            ExecResult(143, data=[1], out_dropped=5, err_dropped=6, ended_by=EndedBy("timeout")),
            {
                "code": 143,
                "out": "",
                "err": "",
                "data": [1],
                "out_dropped": 5,
                "err_dropped": 6,
                "ended_by": {"cause": "timeout"},
            },
        ),
    ],
)
def test_a_result_as_json(result: ExecResult, fields: dict[str, Any]) -> None:
    assert result.to_dict() == fields


class Unprintable:
    def __repr__(self) -> str:
        raise RuntimeError("no words")


class Describing:
    def __init__(self, fields: object) -> None:
        self.fields = fields

    def to_dict(self) -> object:
        return self.fields


def holding_itself() -> list[object]:
    cycle: list[object] = []
    cycle.append(cycle)
    return cycle


@pytest.mark.parametrize(
    "data, described",
    [
        (0, 0),
        ("", ""),
        (False, False),
        (1.5, 1.5),
        ({"a": [1, None, (2, "b")]}, {"a": [1, None, [2, "b"]]}),
        ({1: "number", None: "nothing"}, {"1": "number", "None": "nothing"}),
        (JobStatus.DONE, "done"),
        (float("nan"), "nan"),
        ([float("-inf")], ["-inf"]),
        (1 + 2j, "(1+2j)"),
        (b"\xff", "b'\\xff'"),
        ([{1}], ["{1}"]),
        (Usage, "<class 'amper.values.Usage'>"),
        (KILLED, KILLED.to_dict()),
        ([Describing({"when": {1}})], [{"when": "{1}"}]),
        (holding_itself(), "[[...]]"),
        (Unprintable(), "<Unprintable>"),
        ([1, Unprintable()], "<list>"),
        ([-(10**600)], [-(10**600)]),
        ([10**5000], ["<int of 16610 bits>"]),
    ],
    ids=lambda value: type(value).__name__,
)
def test_data_is_json_or_described(data: object, described: object) -> None:
    fields = ExecResult(0, data=data).to_dict()
    assert fields["data"] == described
    assert json.loads(json.dumps(fields, allow_nan=False)) == fields


def test_no_data_is_left_out() -> None:
    assert "data" not in ExecResult(0, data=None).to_dict()


# Snapshots, events, chunks.


def test_a_snapshot_as_json_leaves_out_what_is_not_set() -> None:
    assert INFO.to_dict() == {
        "id": 7,
        "command": "make",
        "status": "running",
        "created_at": "2024-02-29T12:00:00Z",
        "elapsed": 0.0,
    }
    assert FULL_INFO.to_dict() == {
        "id": 7,
        "command": "make",
        "name": "build",
        "tags": ["ci", "nightly"],
        "cwd": "/src",
        "status": "killed",
        "exit_code": 143,
        "signal": 15,
        "pid": 4711,
        "pgids": [4711, 4712],
        "output_file": "/tmp/output",
        "output_open": True,
        "output_late": 3,
        "containment": "group",
        "created_at": "2024-02-29T12:00:00Z",
        "started_at": "2024-02-29T12:00:01Z",
        "finished_at": "2024-02-29T12:00:03.500000Z",
        "elapsed": 2.5,
        "usage": {"user": 0.25, "system": 0.125, "max_rss": 1024},
        "ended_by": {"cause": "kill", "reason": "too slow", "by": "somebody"},
    }


def test_a_code_of_0_is_set() -> None:
    done = dataclasses.replace(INFO, status=JobStatus.DONE, exit_code=0)
    assert done.to_dict()["exit_code"] == 0


def test_a_command_with_bytes_that_are_no_text_can_be_told() -> None:
    command = b"cat caf\xe9".decode("utf-8", "surrogateescape")
    info = dataclasses.replace(INFO, command=command)
    told = json.dumps(info.to_dict()).encode("ascii")
    assert json.loads(told)["command"] == command


def test_times_are_rfc_3339_in_utc() -> None:
    assert utc(0) == datetime(1970, 1, 1, tzinfo=UTC)
    assert utc(1.25).tzinfo is UTC
    elsewhere = NOON.astimezone(timezone(timedelta(hours=5, minutes=30)))
    assert Event(1, elsewhere, "started").to_dict()["time"] == "2024-02-29T12:00:00Z"
    assert Event(1, utc(1.25), "started").to_dict()["time"] == "1970-01-01T00:00:01.250000Z"


def test_an_event_as_json_leaves_out_what_is_not_set() -> None:
    assert EVENT.to_dict() == {
        "seq": 3,
        "time": "2024-02-29T12:00:00Z",
        "kind": "ended",
        "job_id": 7,
        "command": "make",
        "status": "killed",
        "exit_code": 143,
        "signal": 15,
        "ended_by": {"cause": "kill", "reason": "too slow", "by": "somebody"},
    }
    assert Event(3, NOON, "missed", count=2).to_dict() == {
        "seq": 3,
        "time": "2024-02-29T12:00:00Z",
        "kind": "missed",
        "count": 2,
    }
    page = EventPage((EVENT,), 3, 2)
    assert page.to_dict() == {"events": [EVENT.to_dict()], "next": 3, "missed": 2}


def test_a_chunk_as_json_is_text_unless_it_ends_in_half_a_character() -> None:
    text = "€".encode()
    assert Chunk(text, 3, closed=True).to_dict() == {
        "data": "€",
        "next": 3,
        "dropped": 0,
        "closed": True,
    }
    assert Chunk(text[:2], 2, dropped=4).to_dict() == {
        "data_base64": "4oI=",
        "next": 2,
        "dropped": 4,
        "closed": False,
    }


def test_stats_and_usage_as_json() -> None:
    assert StreamStats(4, 100, 14, 10, closed=True).to_dict() == {
        "current_size": 4,
        "max_size": 100,
        "total_written": 14,
        "bytes_evicted": 10,
        "closed": True,
    }
    assert Usage(1 / 3, 0.0, 1024).to_dict() == {"user": 0.333333, "system": 0.0, "max_rss": 1024}
