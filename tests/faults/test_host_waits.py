"""A host that waits for its own children, stops included, beside very many jobs of ours."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
from typing import Final

from amper import DEVNULL, JobManager
from amper.values import JobStatus
from tests.handshakes import in_a_process_of_its_own, result_of
from tests.work import endless

CHILDREN: Final = 10
COMMANDS: Final = 200
COROUTINES: Final = 1_000

CHILD: Final = ["/bin/sh", "-c", "kill -STOP $$; read line; kill -STOP $$; read line; exit 7"]

NOTICES: Final = ["stopped", "continued", "stopped", "continued", "exited 7"]


def wait_for_own_children() -> list[list[str]]:
    """Start children that stop, go on and end, and return what was told of each."""
    return [notices_of_a_child() for _ in range(CHILDREN)]


def notices_of_a_child() -> list[str]:
    with subprocess.Popen(CHILD, stdin=subprocess.PIPE) as child:
        told: list[str] = []
        while told[-1:] != ["exited 7"]:
            _, status = os.waitpid(child.pid, os.WUNTRACED | os.WCONTINUED)
            if os.WIFSTOPPED(status):
                told.append("stopped")
                os.kill(child.pid, signal.SIGCONT)
            elif os.WIFCONTINUED(status):
                told.append("continued")
                if child.stdin is not None:
                    # What came earlier would take the place of this notice.
                    child.stdin.write(b"\n")
                    child.stdin.flush()
            else:
                told.append(f"exited {os.waitstatus_to_exitcode(status)}")
        child.returncode = 7
    return told


@in_a_process_of_its_own
async def test_it_misses_nothing_of_them_and_takes_nothing_of_ours() -> None:
    async with JobManager(grace_period=0.02) as jobs:
        for _ in range(COROUTINES):
            jobs.spawn("endless", endless())
        ids = [
            await jobs.start(["sleep", "1000"], stdout=DEVNULL, stderr=DEVNULL)
            for _ in range(COMMANDS)
        ]
        waiting = asyncio.create_task(asyncio.to_thread(wait_for_own_children))
        while not waiting.done():
            # At once: those that are stopped together share a look at all processes.
            assert all(await asyncio.gather(*map(jobs.stop, ids)))
            assert len(await jobs.list(status=JobStatus.STOPPED)) == COMMANDS
            assert all(await asyncio.gather(*map(jobs.resume, ids)))
            assert await jobs.running_count() == COROUTINES + COMMANDS
        assert await waiting == [NOTICES] * CHILDREN
        # And whoever of ours is stopped, killed or ends is seen as it is.
        assert await jobs.stop(ids[0])
        assert await jobs.signal(ids[1], signal.SIGKILL)
        assert await jobs.kill(ids[0])
        assert [(await result_of(jobs, id)).code for id in ids[:2]] == [143, 137]
        assert await jobs.running_count() == COROUTINES + COMMANDS - 2
