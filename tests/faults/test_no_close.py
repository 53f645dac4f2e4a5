"""A program that ends without closing its manager: quietly, and its commands run on."""

from __future__ import annotations

import pytest

from tests.handshakes import run_script, watching

LEAVES = """
import asyncio, sys
from amper import JobManager
from tests.handshakes import said
from tests.unruly import unruly

async def main():
    jobs = JobManager()
    done = await jobs.start("echo out; exit 3")
    await jobs.wait(done)
    left = await jobs.start(unruly("behave"))
    (pid,) = await said(jobs, left)
    print(pid)
    if sys.argv[1] == "kept":
        global keeper
        keeper = jobs

asyncio.run(main())
"""


@pytest.mark.parametrize("manager", ["kept", "dropped"])
def test_a_program_may_end_without_closing_its_manager(manager: str) -> None:
    """Warnings are errors there, and nothing hangs or complains."""
    pid = int(run_script(LEAVES, manager))
    with watching(pid) as process:
        assert not process.is_dead
