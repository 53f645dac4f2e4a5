"""Every test leaves the process as it found it: no descriptor, child, thread or task more."""

from __future__ import annotations

import gc
import os
import signal
import threading
from collections.abc import Iterator

import pytest
import uvloop

# libuv keeps a few descriptors for the whole process from its first loop on.
uvloop.new_event_loop().close()

# What a script starts with `&` ignores Ctrl-C, and what `nohup` starts the end of its terminal; so would
# everything that the tests start.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
for number in (signal.SIGQUIT, signal.SIGHUP):
    if signal.getsignal(number) is signal.SIG_IGN:
        signal.signal(number, signal.SIG_DFL)


def pytest_addoption(parser: pytest.Parser) -> None:
    """Let a test that draws its moments at random draw many more of them: `make campaign`."""
    text = "run each test that is marked `seeds` with so many of them"
    parser.addoption("--seeds", type=int, metavar="COUNT", help=text)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Give a test its seeds: as many as its mark says, or the command line."""
    mark = metafunc.definition.get_closest_marker("seeds")
    if mark is not None:
        (count,) = mark.args
        metafunc.parametrize("seed", range(metafunc.config.getoption("seeds") or count))


def pytest_collection_finish() -> None:
    """Let the collector pass by what was imported: it works twice for each test."""
    gc.collect()
    gc.freeze()


@pytest.hookimpl(tryfirst=True)
def pytest_sessionfinish() -> None:
    """Hypothesis looks for what refers to its own at the end, and must find it."""
    gc.unfreeze()


def _descriptors() -> dict[int, str]:
    found = {}
    for name in os.listdir("/proc/self/fd"):
        try:
            found[int(name)] = os.readlink(f"/proc/self/fd/{name}")
        except FileNotFoundError:
            continue  # The one that lists the directory.
    return found


def _children() -> list[int]:
    """Return the pids of our children, dead ones included."""
    with open(f"/proc/self/task/{threading.get_native_id()}/children") as file:
        return [int(pid) for pid in file.read().split()]


@pytest.fixture(autouse=True)
def nothing_is_left_behind() -> Iterator[None]:
    """Compare what the process holds after the test with what it held before."""
    gc.collect()
    descriptors, threads, children = _descriptors(), set(threading.enumerate()), _children()
    yield
    gc.collect()
    left = {fd: what for fd, what in _descriptors().items() if fd not in descriptors}
    assert not left, f"descriptors were left open: {left}"
    assert _children() == children, "children were left behind"
    assert set(threading.enumerate()) <= threads, "threads were left running"
