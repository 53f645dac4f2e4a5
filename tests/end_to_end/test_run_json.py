"""`amper run --json`: what a program is told."""

from __future__ import annotations

import base64
import json
import shlex
import signal
from typing import Any

from tests.end_to_end.command import amper, started
from tests.unruly import unruly


def told(output: bytes) -> list[dict[str, Any]]:
    return [json.loads(line) for line in output.decode("utf-8").splitlines()]


def content(events: list[dict[str, Any]], stream: str) -> bytes:
    """Put together what a job wrote."""
    return b"".join(
        event["text"].encode() if "text" in event else base64.b64decode(event["text_base64"])
        for event in events
        if event["kind"] == "output" and event["stream"] == stream
    )


def test_a_run_is_told_as_events_then_output_then_a_summary() -> None:
    done = amper("run", "--json", "-c", "echo one; echo two >&2; printf three; exit 3")
    assert (done.returncode, done.stderr) == (3, b"")
    first, *output, last, summary = told(done.stdout)
    about = {"job_id": 1, "name": "echo", "command": "echo one; echo two >&2; printf three; exit 3"}
    assert (
        first == {"kind": "started", "seq": 1, "time": first["time"], "status": "running"} | about
    )
    assert last == {
        "kind": "ended", "seq": 2, "time": last["time"], "status": "failed", "exit_code": 3,
    } | about  # fmt: skip
    about.pop("command")
    assert [event for event in output if event["stream"] == "stdout"] == [
        {"kind": "output", "stream": "stdout", "text": "one\n"} | about,
        {"kind": "output", "stream": "stdout", "text": "three"} | about,
    ]
    assert content(output, "stderr") == b"two\n"
    (job,) = summary.pop("jobs")
    assert summary == {"kind": "summary", "exit_code": 3, "not_run": []}
    assert (job["status"], job["exit_code"], job["name"]) == ("failed", 3, "echo")
    assert {"user", "system", "max_rss"} == job["usage"].keys()


def test_no_more_than_asked_for_run_at_once_and_none_after_a_failure() -> None:
    lines = ["true", "true", "exit 3", "true"]
    done = amper("run", "--json", "-j1", "--fail-fast", *[f"-c{line}" for line in lines])
    events = told(done.stdout)
    assert [event["kind"] for event in events] == ["started", "ended"] * 3 + ["summary"]
    assert events[-1]["not_run"] == ["true#3"]


def test_one_command_has_our_input_and_its_output_can_be_had_to_the_byte() -> None:
    every_byte = bytes(range(256)) * 3
    done = amper("run", "--json", "--", *unruly("echo_stdin"), input=every_byte)
    assert done.returncode == 0
    assert content(told(done.stdout), "stdout") == every_byte


def test_a_line_without_end_comes_in_pieces_and_what_is_lost_is_counted() -> None:
    size = 30_000_000
    flood = shlex.join(unruly("flood", size))
    with started("run", "--json", "-c", f"{flood}; exit 5") as process:
        out, _ = process.communicate()
    events = told(out)
    lost = sum(event["bytes"] for event in events if event["kind"] == "dropped")
    assert len(content(events, "stdout")) + lost == size + len("end")
    assert max(map(len, out.splitlines())) < 1_000_000
    assert [event["kind"] for event in events][-2:] == ["ended", "summary"]


def test_it_is_told_who_ended_a_job() -> None:
    with started("run", "--json", "-c", "echo ready; exec sleep 100") as process:
        assert process.stdout is not None
        while b"ready\\n" not in process.stdout.readline():
            pass
        process.send_signal(signal.SIGINT)
        ended, summary = told(process.stdout.read())
        assert process.wait() == 130
    assert (ended["status"], ended["exit_code"], ended["signal"]) == ("killed", 130, 2)
    assert ended["ended_by"] == {"cause": "signal", "reason": "SIGINT"}
    assert summary["exit_code"] == 130


def test_a_command_that_cannot_start_is_told_like_any_other() -> None:
    done = amper("run", "--json", "--", "no-such-program", b"\xff")
    *_, ended, _ = told(done.stdout)
    assert (done.returncode, ended["exit_code"], ended["status"]) == (127, 127, "failed")
    assert content(told(done.stdout), "stderr").startswith(b"amper: no-such-program: not found")
