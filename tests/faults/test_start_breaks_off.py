"""Whatever fails on the way to a start: the job has failed, and neither descriptor nor child is left.

Each step of the way is made to fail in its turn; what is left is seen at the end of every test.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from typing import Any

import pytest

from amper import PIPE, JobManager
from amper.process import command, spawn
from amper.process.descriptors import Reserve
from amper.process.poller import Poller
from tests.handshakes import result_of
from tests.support import on_all_loops
from tests.unruly import unruly


def failing(at: int, real: Callable[..., Any]) -> Callable[..., Any]:
    """Return a function that fails when it is called for the time `at`, and works otherwise."""
    calls = 0

    def call(*arguments: Any, **options: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == at:
            raise OSError(errno.ENOMEM, os.strerror(errno.ENOMEM))
        return real(*arguments, **options)

    return call


@pytest.mark.parametrize(
    "where, name, at",
    [
        *[(command, "pipe", at) for at in (1, 2, 3)],
        (spawn, "pipe", 1),
        *[(Poller, "add", at) for at in (1, 2, 3, 4)],
        (Reserve, "pidfd_open", 1),
        (Reserve, "fill", 1),
    ],
)
@on_all_loops
async def test_a_start_that_breaks_off_leaves_nothing(
    where: Any, name: str, at: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with JobManager() as jobs:
        running = await jobs.start(["cat"], stdin=PIPE)
        # As before the first command: what all of them share has to be opened, too.
        jobs._core.kernel.reports.close()
        with monkeypatch.context() as patch:
            patch.setattr(where, name, failing(at, getattr(where, name)))
            # More than the pipe takes at once, so that the rest has to be watched.
            id = await jobs.start(unruly("behave"), stdin=b"x" * 100_000)
            assert await jobs.get_status_string(id) == "failed:126"
            assert os.strerror(errno.ENOMEM) in (await result_of(jobs, id)).text_err()
            assert not await jobs.kill(id)
        assert await jobs.write_stdin(running, b"still there")
        assert await jobs.close_stdin(running)
        assert (await result_of(jobs, running)).out == b"still there"
