"""The living descendants of a process, as the kernel lists them (CONFIG_PROC_CHILDREN).

Best effort: a child whose parent has died belongs to init or to a subreaper by then and is not found
from above, and one that is forked during the look may be missed. But what is found is proved: each
is held by a pidfd, and was the child of one that was held and alive.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from functools import partial
from typing import Final

from amper.process.descriptors import Reserve
from amper.process.procfs import read_all, read_stat

LONGEST_LIST: Final = 1 << 25
"""Bytes: more children than there can be processes."""

Held = tuple[int, int]
"""A pid, and a pidfd that makes sure whose it is. Whoever gets one closes it."""


def hold_descendants(pid: int, is_ours: Callable[[], bool], reserve: Reserve) -> list[Held]:
    """Return the descendants of `pid`, from the top down; `is_ours` proves its identity."""
    found: list[Held] = []
    parents: list[tuple[int, Callable[[], bool]]] = [(pid, is_ours)]
    for parent, is_alive in parents:
        for child in children_of(parent):
            pidfd = hold_child(child, parent, is_alive, reserve)
            if pidfd is not None:
                found.append((child, pidfd))
                parents.append((child, partial(is_alive_at, pidfd)))
    return found


def is_alive_at(pidfd: int) -> bool:
    """Return whether the process still exists, if only as a zombie: its number is still its own."""
    try:
        signal.pidfd_send_signal(pidfd, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def hold_child(
    child: int, parent: int, is_alive: Callable[[], bool], reserve: Reserve
) -> int | None:
    """Return a pidfd of the child if it is one; None if it is gone, or cannot be held or proved."""
    try:
        pidfd = reserve.pidfd_open(child)
    except OSError:
        return None
    try:
        stat = read_stat(child, reserve)
    except OSError:
        stat = None
    if stat is None or stat.parent != parent or not is_alive():
        os.close(pidfd)
        return None
    return pidfd


def children_of(pid: int) -> list[int]:
    """Return the children of all threads of a process; none where the kernel does not tell."""
    found: list[int] = []
    try:
        # A directory's links count what is in it: most processes have one thread, named as they are.
        is_single = os.stat(f"/proc/{pid}/task").st_nlink == 3
        for thread in (pid,) if is_single else os.listdir(f"/proc/{pid}/task"):
            fd = os.open(f"/proc/{pid}/task/{thread}/children", os.O_RDONLY | os.O_CLOEXEC)
            try:
                found += map(int, read_all(fd, LONGEST_LIST).split())
            finally:
                os.close(fd)
    except OSError:
        # It is gone, or there is no descriptor left to look with.
        return found
    return found
