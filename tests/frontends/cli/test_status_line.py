"""The status line: what it says, how wide it is, and when it is drawn."""

from __future__ import annotations

import asyncio

import pytest

from amper import Event, JobId, JobStatus
from amper.frontends.cli import terminal
from amper.frontends.cli.status_line import CLEAR_LINE, StatusLine, fitted
from amper.frontends.cli.writer import Writer
from amper.values import EventKind, utc
from tests.virtual_clock import run_virtually


def event(kind: EventKind, id: int, status: JobStatus) -> Event:
    return Event(1, utc(0), kind, JobId(id), "command", status)


def test_it_counts_what_waits_what_is_over_and_names_what_runs() -> None:
    line = StatusLine(4)
    assert line.text(0) == "[0 s] 4 waiting"
    line.take(event("started", 1, JobStatus.RUNNING), "make")
    line.take(event("started", 2, JobStatus.RUNNING), "npm")
    assert line.text(9.6) == "[10 s] 2 waiting, 2 running: make, npm"
    line.take(event("ended", 1, JobStatus.FAILED), "make")
    line.take(event("started", 3, JobStatus.RUNNING), "ls")
    line.take(event("ended", 3, JobStatus.DONE), "ls")
    assert line.text(3600) == "[3600 s] 1 done, 1 failed, 1 waiting, 1 running: npm"
    line.take(Event(7, utc(0), "missed", count=3), "")
    line.take(event("ended", 2, JobStatus.KILLED), "npm")
    line.take(event("started", 4, JobStatus.RUNNING), "\u4e2d")
    line.take(event("ended", 4, JobStatus.DONE), "\u4e2d")
    assert line.text(1) == "[1 s] 2 done, 1 failed, 1 killed"


def test_it_fits_into_the_columns_however_wide_its_characters_are() -> None:
    assert fitted("[1 s] running", 5) == "[1 s]"
    assert fitted("\u4e2d\u6587", 3) == "\u4e2d"
    assert fitted("short", 80) == "short"
    assert fitted("anything", 0) == ""
    assert fitted("anything", -1) == ""


class Screen(Writer):
    """Keeps what is written, with the time."""

    def __init__(self) -> None:
        self.written: list[tuple[float, bytes]] = []

    async def write(self, data: bytes) -> None:
        self.written.append((asyncio.get_running_loop().time(), data))


def test_it_is_drawn_at_each_second_and_soon_after_each_event_but_not_for_each_of_many(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    screen, line = Screen(), StatusLine(1000)

    async def live() -> None:
        drawing = asyncio.ensure_future(line.keep_drawn(screen))
        await asyncio.sleep(2.5)
        for number in range(500):
            line.take(event("started", number, JobStatus.RUNNING), "make")
        await asyncio.sleep(0.05)
        monkeypatch.setattr(terminal, "width", lambda fd: 11)
        for number in range(500, 1000):
            line.take(event("started", number, JobStatus.RUNNING), "make")
        await asyncio.sleep(0.5)
        drawing.cancel()

    run_virtually(live())
    assert [round(time, 1) for time, _ in screen.written] == [0.0, 1.0, 2.0, 2.6]
    first, second, *_, last = [text for _, text in screen.written]
    assert first == CLEAR_LINE + b"[0 s] 1000 waiting"
    assert second == CLEAR_LINE + b"[1 s] 1000 waiting"
    # The window has become narrow meanwhile, and its last column stays free.
    assert last == CLEAR_LINE + b"[3 s] 1000" == CLEAR_LINE + line.drawn
