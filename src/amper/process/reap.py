"""Collect a dead child: how it ended and what it used. Only ever our own child, by its pidfd."""

from __future__ import annotations

# `signal` makes an enum of each answer, at ten times the price.
import _signal  # type: ignore[import-not-found]
import array
import fcntl
import os
import re
import signal
import struct
from dataclasses import dataclass
from functools import cache
from typing import Final

from amper.values import ExitStatus, Usage

# linux/pidfd.h: _IOWR(0xFF, 11, struct pidfd_info), with 64 bytes in its first version. Linux 6.13
# answers it, and from 6.15 on it tells the exit status of a process that somebody else reaped.
_PIDFD_GET_INFO: Final = (3 << 30) | (64 << 16) | (0xFF << 8) | 11
_PIDFD_INFO_EXIT: Final = 1 << 3
_EXIT_CODE_OFFSET: Final = 60

_WAITID: Final = {"x86_64": 247, "aarch64": 95}
"""The system call's number, by machine."""

SUCCESS: Final = ExitStatus.exited(0)

_SIGCHLD: Final = int(signal.SIGCHLD)
_IGNORED: Final = int(signal.SIG_IGN)


@dataclass(slots=True)
class Exit:
    """The end of a process. `status` is None if nobody can tell any more; then it is lost."""

    status: ExitStatus | None
    usage: Usage | None


def reap(pid: int, pidfd: int) -> Exit | None:
    """Reap our child; None if it still runs. Never blocks and never touches another process.

    A host that waits for all of its children, or ignores SIGCHLD, may have been faster: then the
    number may be anybody's by now, and only the pidfd still tells how ours ended.
    """
    try:
        if os.waitid(os.P_PIDFD, pidfd, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
            return None
        _, status, used = os.wait4(pid, os.WNOHANG)
    except ChildProcessError:
        return Exit(status_of_reaped(pidfd), None)
    # ru_maxrss is in KiB on Linux.
    usage = Usage(used.ru_utime, used.ru_stime, used.ru_maxrss * 1024)
    return Exit(SUCCESS if status == 0 else decoded(status), usage)


def peek(pidfd: int) -> Exit | None:
    """Tell how our child ended and leave it a zombie, which keeps its number from being reused."""
    try:
        info = os.waitid(os.P_PIDFD, pidfd, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return Exit(status_of_reaped(pidfd), None)
    if info is None:
        return None
    usage = _usage_of_zombie(pidfd)
    if info.si_code == os.CLD_EXITED:
        return Exit(ExitStatus.exited(info.si_status), usage)
    return Exit(ExitStatus.signaled(info.si_status, info.si_code == os.CLD_DUMPED), usage)


def _usage_of_zombie(pidfd: int) -> Usage | None:
    """Ask for what a zombie used: waitid's fifth argument, which Python leaves out."""
    import ctypes

    used = (ctypes.c_long * 18)()
    options = os.WEXITED | os.WNOHANG | os.WNOWAIT
    libc = ctypes.CDLL(None)
    number = _WAITID.get(os.uname().machine)
    if number is None or libc.syscall(number, os.P_PIDFD, pidfd, None, options, used) != 0:
        return None
    user_seconds, user_micros, system_seconds, system_micros, max_rss = used[:5]
    user, system = user_seconds + user_micros / 1e6, system_seconds + system_micros / 1e6
    return Usage(user, system, max_rss * 1024)


def status_of_reaped(pidfd: int) -> ExitStatus | None:
    info = array.array("B", bytes(64))
    struct.pack_into("=Q", info, 0, _PIDFD_INFO_EXIT)
    try:
        fcntl.ioctl(pidfd, _PIDFD_GET_INFO, info, True)
    except OSError:  # An older kernel.
        return None
    (mask,) = struct.unpack_from("=Q", info, 0)
    if not mask & _PIDFD_INFO_EXIT:
        return None
    (status,) = struct.unpack_from("=i", info, _EXIT_CODE_OFFSET)
    return decoded(status)


def is_reaped_by_kernel() -> bool:
    """Return whether dead children of ours leave no zombie: SIGCHLD is ignored, here or by who started us.

    Then only a pidfd that was there before tells how one ended.
    """
    ignored: bool = _signal.getsignal(_SIGCHLD) == _IGNORED
    return ignored


@cache
def tells_exits() -> bool:
    """Return whether the kernel tells by a pidfd how a process ended that its parent has reaped."""
    info = array.array("B", bytes(64))
    struct.pack_into("=Q", info, 0, _PIDFD_INFO_EXIT)
    pidfd = os.pidfd_open(os.getpid())
    try:
        fcntl.ioctl(pidfd, _PIDFD_GET_INFO, info, True)
    except OSError:
        return False
    finally:
        os.close(pidfd)
    return tuple(map(int, re.findall(r"\d+", os.uname().release)[:2])) >= (6, 15)


def decoded(status: int) -> ExitStatus:
    """Turn a wait status into how a process ended."""
    if os.WIFSIGNALED(status):
        return ExitStatus.signaled(os.WTERMSIG(status), os.WCOREDUMP(status))
    return ExitStatus.exited(os.WEXITSTATUS(status))
