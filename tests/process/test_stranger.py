"""A signal to any process."""

from __future__ import annotations

import os
import signal

import pytest

from amper.process.stranger import signal_stranger
from tests.handshakes import leading, watching
from tests.work import NO_PROCESS


def test_a_process_gets_it() -> None:
    with leading(["sleep", "1000"], speaks=False) as (pid, _), watching(pid) as process:
        signal_stranger(pid, 0)
        signal_stranger(pid, signal.SIGTERM)
        process.wait()


def test_a_group_gets_it() -> None:
    with leading("sleep 1000 & echo ready $!; wait") as (pid, (child,)), watching(child) as process:
        signal_stranger(-pid, signal.SIGTERM)
        process.wait()


def test_our_own_group_can_be_asked_for() -> None:
    signal_stranger(0, 0)


@pytest.mark.parametrize("pid", [NO_PROCESS, -NO_PROCESS])
def test_where_there_is_none_the_kernel_says_so(pid: int) -> None:
    with pytest.raises(ProcessLookupError):
        signal_stranger(pid, signal.SIGTERM)


def test_all_processes_are_too_many() -> None:
    with pytest.raises(ValueError, match="every process"):
        signal_stranger(-1, 0)


def test_no_descriptor_stays_open_where_the_signal_is_refused() -> None:
    # `conftest` counts them.
    with pytest.raises(OSError, match="Invalid argument"):
        signal_stranger(os.getpid(), 4711)
