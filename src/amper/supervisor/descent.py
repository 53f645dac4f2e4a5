"""Signals for all descendants of the calling process, which is a subreaper: whoever they are.

A child of ours that we have not collected keeps its number. Every other descendant is held by a pidfd,
and was the child of one that was held and alive. Parents come before their children: one that got
SIGKILL forks no more, so that its children are all there, or have become ours.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
from collections.abc import Callable, Collection, Iterable, Sequence
from functools import partial
from typing import Final

from amper.process.descendants import children_of, hold_child, is_alive_at
from amper.process.descriptors import Reserve
from amper.process.procfs import Stat, read_stat

_NO_RESERVE: Final = Reserve()
"""Supervisors hold few descriptors, and none back."""


class OwnChildren:
    """Our children, dead ones included, as often as it is called. A fork needs its own.

    It holds what it reads from: that there is no child must never be said for want of a descriptor.
    """

    __slots__ = ("_fd",)

    def __init__(self) -> None:
        try:
            self._fd = os.open("/proc/thread-self/children", os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            # A kernel without CONFIG_PROC_CHILDREN.
            self._fd = -1

    def __call__(self) -> list[int]:
        """Return them. Raises OSError."""
        if self._fd < 0:
            return list(filter(_is_child, _all_processes()))
        listed = b""
        while part := os.pread(self._fd, 65536, len(listed)):
            listed += part
        return [int(pid) for pid in listed.split()]

    def close(self) -> None:
        """Hold nothing any more."""
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)


def signal_descent(
    roots: Iterable[int], numbers: Sequence[int], *, but_group: int = 0, but: Collection[int] = ()
) -> set[int]:
    """Signal children of ours with all their descendants; return who was reached.

    Members of the group `but_group`, and the processes in `but`, are passed by, but not what descends
    from them.
    """
    reached: set[int] = set()

    def signal_one(pid: int, pidfd: int) -> None:
        # A look takes a descriptor, and a child of ours can be killed without one.
        if pid in but or (but_group and _group_of(pid) in (None, but_group)):
            return
        if _send(pid, pidfd, numbers):
            reached.add(pid)

    _visit(roots, signal_one)
    return reached


def descent_of(roots: Iterable[int]) -> set[int]:
    """Return the pids of children of ours with all their descendants, at this moment."""
    found: set[int] = set()
    _visit(roots, lambda pid, _: found.add(pid))
    return found


def _visit(roots: Iterable[int], see: Callable[[int, int], object]) -> None:
    """Show `see` each process, and the pidfd that holds it (-1 for a child of ours)."""
    waiting: list[tuple[int, int]] = [(pid, -1) for pid in roots]
    while waiting:
        pid, pidfd = waiting.pop()
        try:
            see(pid, pidfd)
            is_ours = _always if pidfd < 0 else partial(is_alive_at, pidfd)
            for child in _children_of(pid):
                held = hold_child(child, pid, is_ours, _NO_RESERVE)
                if held is not None:
                    waiting.append((child, held))
        finally:
            if pidfd >= 0:
                os.close(pidfd)


def is_alive(pidfd: int) -> bool:
    """Return whether a process still runs."""
    poll = select.poll()
    poll.register(pidfd, select.POLLIN)
    return not poll.poll(0)


def _always() -> bool:
    return True


def _group_of(pid: int) -> int | None:
    stat = _stat_of(pid)
    return None if stat is None else stat.group


def _send(pid: int, pidfd: int, numbers: Sequence[int]) -> bool:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        for number in numbers:
            if pidfd < 0:
                os.kill(pid, number)
            else:
                signal.pidfd_send_signal(pidfd, number)
        return True
    return False


_children_of: Callable[[int], list[int]]


def _children_by_parent(parent: int) -> list[int]:
    """Find children where the kernel lists none."""
    try:
        everybody = _all_processes()
    except OSError:
        # There is no descriptor left to look with.
        return []
    return [
        pid for pid in everybody if (stat := _stat_of(pid)) is not None and stat.parent == parent
    ]


def _all_processes() -> list[int]:
    return [int(name) for name in os.listdir("/proc") if name.isdigit()]


def _is_child(pid: int) -> bool:
    # What /proc tells of a dead process does not count, and this takes no descriptor.
    try:
        os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return False
    return True


def _stat_of(pid: int) -> Stat | None:
    try:
        return read_stat(pid, _NO_RESERVE)
    except OSError:
        return None


_children_of = children_of if os.path.exists("/proc/thread-self/children") else _children_by_parent
