"""Our own environment is encoded once, and is never an old one."""

from __future__ import annotations

import os
import sys
import threading

import pytest

from amper.process.environment import OwnEnvironment


def test_it_has_a_line_for_each_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AMPER_TEST", "ä=b")

    lines = OwnEnvironment().unmarked()

    assert sorted(lines) == sorted(name + b"=" + value for name, value in os.environb.items())


def test_it_is_kept_as_long_as_nothing_changes() -> None:
    own = OwnEnvironment()

    assert own.unmarked() is own.unmarked()


def test_a_variable_that_is_set_changed_or_deleted_counts_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    own = OwnEnvironment()
    own.unmarked()

    monkeypatch.setenv("AMPER_TEST", "first")
    assert b"AMPER_TEST=first" in own.unmarked()
    monkeypatch.setenv("AMPER_TEST", "second")
    assert b"AMPER_TEST=second" in own.unmarked()
    monkeypatch.delenv("AMPER_TEST")
    assert not any(line.startswith(b"AMPER_TEST=") for line in own.unmarked())


def test_a_mark_that_we_carry_is_not_handed_down(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AMPER_JOB", "ours-1")

    assert not any(line.startswith(b"AMPER_JOB=") for line in OwnEnvironment().unmarked())


def test_another_thread_may_change_it_at_any_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AMPER_TEST", "0")
    own, is_over = OwnEnvironment(), threading.Event()

    def change() -> None:
        while not is_over.is_set():
            os.environ["AMPER_TEST_OTHER"] = "x"
            del os.environ["AMPER_TEST_OTHER"]

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    thread = threading.Thread(target=change)
    thread.start()
    try:
        for number in range(3000):
            os.environ["AMPER_TEST"] = str(number)
            assert b"AMPER_TEST=%d" % number in own.unmarked()
    finally:
        sys.setswitchinterval(interval)
        is_over.set()
        thread.join()
