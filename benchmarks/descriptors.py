"""The limit on open files, which bounds how many commands there can be at once."""

from __future__ import annotations

import contextlib
import resource
from collections.abc import Iterator
from typing import Final

EACH: Final = 3
"""A command's two pipes and its pidfd."""

OURS: Final = 100


@contextlib.contextmanager
def room_for(commands: int) -> Iterator[int]:
    """Raise the limit in a block as far as it takes, and may be; tell how many commands fit."""
    before, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = max(before, OURS + commands * EACH)
    limit = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, hard))
    try:
        yield min(commands, (limit - OURS) // EACH)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (before, hard))
