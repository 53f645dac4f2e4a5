"""Pipes that stay clear of the standard streams, and the reserve for the moment without descriptors."""

from __future__ import annotations

import errno
import os

import pytest

from amper.process.descriptors import KEPT_FOR_LOOKING, RESERVE_SIZE, Reserve, pipe
from tests.handshakes import few_descriptors, run_script
from tests.work import NO_PROCESS


def test_a_pipe_is_close_on_exec_and_above_the_standard_streams() -> None:
    for fd in pipe():
        assert fd > 2
        assert not os.get_inheritable(fd)
        os.close(fd)


CLOSED = """
import os
from amper.process.descriptors import Reserve, pipe

def open_fds():
    # One of them was that of the listing itself.
    names = os.listdir("/proc/self/fd")
    return sorted(int(name) for name in names if os.path.exists(f"/proc/self/fd/{name}"))

before = open_fds()
pipes = [pipe() for _ in range(3)]
reserve = Reserve()
reserve.fill()
taken = set(open_fds()) - set(before)
assert min(taken) > 2, taken
for both in pipes:
    for fd in both:
        assert not os.get_inheritable(fd)
        os.close(fd)
reserve.close()
assert open_fds() == before
"""


@pytest.mark.parametrize("closed", [(0,), (1,), (2,), (0, 2), (0, 1, 2)])
def test_what_we_open_is_above_the_standard_streams_where_they_are_closed(
    closed: tuple[int, ...],
) -> None:
    run_script(CLOSED, closed=closed)


def test_a_reserve_gives_way_when_nothing_else_is_left() -> None:
    reserve = Reserve()
    reserve.fill()
    reserve.fill()
    with few_descriptors(0):
        with pytest.raises(OSError, match=os.strerror(errno.EMFILE)):
            os.pidfd_open(os.getpid())
        held = [reserve.pidfd_open(os.getpid()) for _ in range(RESERVE_SIZE - KEPT_FOR_LOOKING)]
        with pytest.raises(OSError, match=os.strerror(errno.EMFILE)):
            reserve.pidfd_open(os.getpid())
        with pytest.raises(OSError, match=os.strerror(errno.EMFILE)):
            reserve.fill()
        for fd in held:
            os.close(fd)
        reserve.fill()
        with reserve.opened():
            os.close(os.open(os.devnull, os.O_RDONLY))
        with pytest.raises(OSError, match=os.strerror(errno.EMFILE)):
            os.open(os.devnull, os.O_RDONLY)
        assert os.read(reserve.null, 1) == b""
    reserve.close()


def test_somebody_who_is_gone_is_no_reason_to_give_a_placeholder_up() -> None:
    reserve = Reserve()
    reserve.fill()
    with pytest.raises(ProcessLookupError):
        reserve.pidfd_open(NO_PROCESS)
    assert os.read(reserve.null, 1) == b""
    reserve.close()


def test_a_reserve_that_is_dropped_leaves_nothing_open() -> None:
    """The check at the end of every test sees it."""
    Reserve().fill()
