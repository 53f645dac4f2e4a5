"""The number that the kernel gave last: whoever is new has changed it."""

from __future__ import annotations

import os
import subprocess
import threading
from pathlib import Path

import pytest

from amper.process import forks
from amper.process.forks import Forks


def test_a_process_and_a_thread_change_it() -> None:
    told = Forks()
    before = told.last_pid()
    if before == 0 and os.stat("/proc/loadavg").st_dev != os.stat("/proc/self").st_dev:
        pytest.skip("in this container the file is not the kernel's")
    assert before > 0
    subprocess.run(["/bin/true"], check=True)
    after_a_process = told.last_pid()
    assert after_a_process != before
    thread = threading.Thread(target=lambda: None)
    thread.start()
    thread.join()
    assert told.last_pid() != after_a_process
    told.close()


def test_where_there_is_no_such_file_nothing_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forks, "_FILE", "/proc/not/there")
    told = Forks()
    assert told.last_pid() == 0
    told.close()


def test_a_file_of_somebody_elses_tells_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a container there may be one that is brought up to date now and then."""
    file = tmp_path / "loadavg"
    file.write_text("0.00 0.01 0.05 1/59 20123\n")
    monkeypatch.setattr(forks, "_FILE", str(file))
    told, open_before = Forks(), os.listdir("/proc/self/fd")
    assert told.last_pid() == 0
    assert os.listdir("/proc/self/fd") == open_before


def test_its_file_is_open_until_it_is_closed() -> None:
    before = len(os.listdir("/proc/self/fd"))
    told = Forks()
    told.last_pid()
    told.last_pid()
    assert len(os.listdir("/proc/self/fd")) == before + 1
    told.close()
    told.close()
    assert len(os.listdir("/proc/self/fd")) == before
