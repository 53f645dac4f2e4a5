"""Whether a process is stopped, read from the kernel when somebody asks. Nothing is taken from anybody.

1. A parent may look at a stop notice and leave it where it is; it goes away with the opposite
   change, or when somebody consumes it. So a notice is the truth, and none proves nothing: then
   /proc tells, for twenty times the price.
2. A process that sits in vfork (state D) stops only when its child has executed a program. While that
   child is stopped neither can do anything, and both count as stopped.
"""

from __future__ import annotations

import os
import signal
from typing import Final

from amper.process.descendants import children_of, is_alive_at
from amper.process.procfs import Stat, read_stat
from amper.process.scan import Look

_PIDFD: Final = os.P_PIDFD
_LOOK: Final = os.WSTOPPED | os.WCONTINUED | os.WNOHANG | os.WNOWAIT
_STOPPED: Final = os.CLD_STOPPED
_IN_VFORK: Final = b"D"
_DIES_OF_A_SIGNAL: Final = 0x400
_KILLED: Final = 1 << (signal.SIGKILL - 1)


def stop_notice(pidfd: int) -> bool | None:
    """Return whether our child has told last that it stopped, or (False) that it was continued.

    None if there is no notice. It costs less than a microsecond.
    """
    try:
        notice = os.waitid(_PIDFD, pidfd, _LOOK)
    except OSError:
        # It is over, or not our child.
        return None
    return None if notice is None else notice.si_code == _STOPPED


def is_any_notice() -> bool:
    """Return whether any child of this process has left a notice: one look for all of them."""
    try:
        return os.waitid(os.P_ALL, 0, _LOOK) is not None
    except ChildProcessError:
        return False


def is_stopped(pid: int, pidfd: int) -> bool | None:
    """Return whether a process is stopped; None if it is gone, or no descriptor is free to look with.

    Any thread may ask, and so the reserve is left alone.
    """
    stopped = stop_notice(pidfd)
    if stopped is not None:
        return stopped
    try:
        stat = read_stat(pid, None)
        stopped = None if stat is None else _is_stopped(pid, stat)
        # Held by the pidfd, and still there: the number was its own all the time.
        return stopped if is_alive_at(pidfd) else None
    except OSError:
        return None


def is_dying(pid: int) -> bool:
    """Return whether a process that runs does so only to die of a signal. Any thread may ask.

    SIGKILL wakes what is stopped, which then looks as if it had been continued.
    """
    # Twice, because it may take up the signal between our looks at its flags and at what waits for it.
    return _is_dying(pid) or _is_dying(pid)


def _is_dying(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat", "rb", buffering=0) as file:
            text = file.read()
    except OSError:
        # It is gone, or nobody can tell: then it is none that was continued.
        return True
    fields = text[text.rindex(b")") + 2 :].split()
    # The flags of its first thread, and the signals that wait for it alone.
    return bool(int(fields[6]) & _DIES_OF_A_SIGNAL or int(fields[28]) & _KILLED)


def are_stopped(look: Look, pgid: int) -> bool:
    """Return whether a group has members, and all of them are stopped, as far as they can be."""
    stats = look.stats
    members = look.groups.get(pgid, ())
    stopped = {pid for pid in members if stats[pid].is_stopped}
    in_vfork = {pid for pid in members if stats[pid].state == _IN_VFORK}
    while held := in_vfork & {stats[pid].parent for pid in stopped}:
        stopped |= held
        in_vfork -= held
    return bool(stopped) and len(stopped) == len(members)


def _is_stopped(pid: int, stat: Stat) -> bool:
    if stat.state != _IN_VFORK:
        return stat.is_stopped
    for child in children_of(pid):
        childs = read_stat(child, None)
        if childs is None or (childs.parent, childs.group) != (pid, stat.group):
            continue
        if _is_stopped(child, childs):
            return True
    return False
