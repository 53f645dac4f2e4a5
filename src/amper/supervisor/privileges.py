"""What a supervisor is to the kernel: the parent of orphans, and ahead of its jobs.

It is the last to go when memory runs out, and may open as much as anybody.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import resource
from typing import Final

_PR_SET_CHILD_SUBREAPER: Final = 36

_prctl: Final = ctypes.CDLL(None, use_errno=True).prctl

_SCORE: Final = "/proc/self/oom_score_adj"
_LOWER_BY: Final = 500
_LOWEST: Final = -1000


def become_subreaper() -> None:
    """Let orphans come to the calling process from now on; a fork does not inherit it. Raises OSError."""
    if _prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


class Privileges:
    """What a supervisor has ahead of its jobs, which inherit what whoever started us had."""

    __slots__ = ("_descriptors", "_score")

    def __init__(self) -> None:
        """Take them."""
        self._score = _OomScore()
        self._descriptors = resource.getrlimit(resource.RLIMIT_NOFILE)
        self._open_more()

    def drop(self) -> None:
        """Give them up for a moment, in which a child is made."""
        self._score.reset()
        resource.setrlimit(resource.RLIMIT_NOFILE, self._descriptors)

    def take(self) -> None:
        """Take them again."""
        self._score.lower()
        self._open_more()

    def _open_more(self) -> None:
        _, most = self._descriptors
        with contextlib.suppress(OSError, ValueError):
            # A keeper has a descriptor for each job, and whoever started it may have got more since.
            resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


class _OomScore:
    """Ours, lowered where that is allowed (it takes CAP_SYS_RESOURCE), and as it was before."""

    __slots__ = ("_lowered", "_original")

    def __init__(self) -> None:
        self._original = self._lowered = b""
        with contextlib.suppress(OSError, ValueError):
            with open(_SCORE, "rb", buffering=0) as file:
                self._original = file.readall().strip()
            lowered = b"%d" % max(_LOWEST, int(self._original) - _LOWER_BY)
            if _write(lowered):
                self._lowered = lowered

    def reset(self) -> None:
        """Take the one that whoever started us had, for a child to inherit."""
        if self._lowered:
            _write(self._original)

    def lower(self) -> None:
        """Take the lower one again."""
        if self._lowered:
            _write(self._lowered)


def _write(score: bytes) -> bool:
    """Write the score; a supervisor without a lower one does its work all the same."""
    try:
        fd = os.open(_SCORE, os.O_WRONLY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        os.write(fd, score)
    except OSError:
        return False
    finally:
        os.close(fd)
    return True
