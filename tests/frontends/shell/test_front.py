"""Bringing a job to the front of a prompt; what needs a terminal for it is tested end to end."""

from __future__ import annotations

import errno

import pytest

from amper import STDOUT, JobManager
from amper.frontends.shell.front import FrontLauncher
from tests.work import on_a_loop

RING = 10 * 1024 * 1024
"""Bytes that are kept of a job's output."""


class Screen:
    """Keeps what is written to it."""

    def __init__(self) -> None:
        self.shown = b""

    async def write(self, data: bytes) -> None:
        self.shown += data


@on_a_loop
async def test_it_says_how_much_of_what_the_job_wrote_is_gone() -> None:
    async with JobManager() as jobs:
        id = await jobs.start(f"head -c {RING + 3} /dev/zero; echo end", stderr=STDOUT)
        await jobs.wait(id)
        screen = Screen()
        await FrontLauncher(jobs, screen).to_front(id)
        assert screen.shown[:40].partition(b"\n")[0] == b"fg: 7 bytes before this are gone"
        assert screen.shown.endswith(b"\0end\n")


class Full(Screen):
    """Cannot be written to."""

    async def write(self, data: bytes) -> None:
        raise OSError(errno.ENOSPC, "full")


@on_a_loop
async def test_what_cannot_be_shown_is_the_error_that_it_is_anywhere() -> None:
    async with JobManager() as jobs:
        id = await jobs.start("echo text; exec sleep 100")
        with pytest.raises(OSError, match="full"):
            await FrontLauncher(jobs, Full()).to_front(id)
