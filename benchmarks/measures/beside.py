"""Beside a host: it waits for its own children, stops included, while very many jobs of ours run.

What the kernel tells of a child it tells once, so whoever waits for more than its own takes a notice
from somebody. All of a manager's commands stop and run on meanwhile.
"""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
from dataclasses import replace
from typing import Final

from amper import DEVNULL, JobManager
from benchmarks.descriptors import room_for
from benchmarks.floor_programs import floor_program
from benchmarks.harness import Bench
from benchmarks.outcome import Outcome, Row, Table, at_most

CHILD: Final = ["/bin/sh", "-c", "kill -STOP $$; read line; exit 7"]

EXPECTED: Final = 3
"""A stop, a continue and an exit."""


def measure(bench: Bench) -> Outcome:
    """Count the notices of the host's children that it got, and those of ours that we missed."""
    wanted = bench.scale.beside
    bench.show(f"beside: {wanted:,} commands")
    # Without pipes a command takes one descriptor.
    with room_for(wanted // 3 + 1) as third:
        count = min(wanted, third * 3)
        missed, unseen = asyncio.run(_beside(count, bench.scale.exits))
    rows = (
        Row("notices that the host missed", missed, missed, None),
        Row("stops of ours that were not seen", unseen, unseen, None),
    )
    outcome = Outcome(
        (Table(f"Beside a host: {count:,} commands", "", rows),),
        (
            at_most(0, "", f"{count:,} commands: notices that the host missed", missed),
            at_most(0, "", f"{count:,} commands: stops of ours that were not seen", unseen),
        ),
    )
    if count == wanted:
        return outcome
    note = f"the limit on open files allows {count:,} commands instead of {wanted:,}"
    return replace(outcome, notes=(note,))


async def _beside(count: int, children: int) -> tuple[int, int]:
    async with JobManager() as jobs:
        ids = [
            await jobs.start([floor_program("pause")], stdout=DEVNULL, stderr=DEVNULL)
            for _ in range(count)
        ]
        waiting = asyncio.create_task(asyncio.to_thread(_wait_for_own, children))
        # At once: those that are stopped together share a look at all processes.
        await asyncio.gather(*map(jobs.stop, ids))
        unseen = count - len(await jobs.list(status="stopped"))
        await asyncio.gather(*map(jobs.resume, ids))
        unseen += count - await jobs.running_count()
        return await waiting, unseen


def _wait_for_own(count: int) -> int:
    """Return how many notices of so many children did not come."""
    return sum(EXPECTED - _notices_of_a_child() for _ in range(count))


def _notices_of_a_child() -> int:
    with subprocess.Popen(CHILD, stdin=subprocess.PIPE) as child:
        assert child.stdin is not None
        for number in range(EXPECTED):
            try:
                _, status = os.waitpid(child.pid, os.WUNTRACED | os.WCONTINUED)
            except ChildProcessError:
                # Somebody has collected it.
                return number
            if os.WIFSTOPPED(status):
                os.kill(child.pid, signal.SIGCONT)
            elif os.WIFCONTINUED(status):
                child.stdin.close()
            else:
                child.returncode = 0
                return number + 1
    return EXPECTED
