"""`make demo`: it goes as it tells, wherever its output goes, and leaves nothing behind."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from tests.docs.pages import ROOT
from tests.end_to_end.console import CTRL_C, console
from tests.handshakes import SCRIPT_DEADLINE

DEMO: Final = (sys.executable, str(ROOT / "demo.py"))


@pytest.fixture(autouse=True)
def mark(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Mark all that the demo starts: its environment names a directory of this test's own."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    yield str(tmp_path)
    for pid in survivors(str(tmp_path)):
        os.kill(pid, signal.SIGKILL)


def test_it_goes_as_told_and_is_plain_when_piped(mark: str) -> None:
    demo = subprocess.run(DEMO, capture_output=True, timeout=SCRIPT_DEADLINE, check=False)
    assert (demo.returncode, demo.stderr) == (0, b"")
    *_, before_table, table = demo.stdout.split(b"\n\n")
    assert b"killing the server: 10 processes\nthe server is dead: 0 processes left" in before_table
    states = [line.split()[:3] for line in table.splitlines()]
    assert [b"killed", b"server", b"137"] in states
    assert [b"failed", b"check", b"1"] in states
    assert [state for state, *_ in states].count(b"done") == 5
    assert b"\x1b" not in demo.stdout
    assert survivors(mark) == []


def test_ctrl_c_in_a_terminal_ends_all_that_it_started(mark: str) -> None:
    with console(*DEMO) as terminal:
        assert b"\x1b[" in terminal.until(b"worker")
        assert survivors(mark) != []
        terminal.type(CTRL_C)
        shown = terminal.rest()
        assert terminal.code() == 130
    assert shown.endswith(b"interrupted: all jobs were ended\r\n")
    assert b"Traceback" not in shown
    assert survivors(mark) == []


def test_it_goes_on_in_silence_when_nobody_reads(mark: str) -> None:
    read_end, write_end = os.pipe()
    os.close(read_end)
    with open(write_end, "wb") as unread:
        demo = subprocess.run(
            DEMO, stdout=unread, stderr=subprocess.PIPE, timeout=SCRIPT_DEADLINE, check=False
        )
    assert (demo.returncode, demo.stderr) == (0, b"")
    assert survivors(mark) == []


def survivors(mark: str) -> list[int]:
    """Return the pids of the processes that carry the mark."""
    found = []
    for environ in Path("/proc").glob("[0-9]*/environ"):
        with contextlib.suppress(OSError):
            if mark.encode() in environ.read_bytes():
                found.append(int(environ.parent.name))
    return found
