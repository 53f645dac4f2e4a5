"""kill -9 of a program with contained jobs, at any moment: nothing of them is left."""

from __future__ import annotations

import contextlib
import os
import random
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, Final

import pytest

from amper.process.descendants import children_of
from tests.survivors import Tree, tree
from tests.unruly import unruly

ROOT: Final = Path(__file__).parent.parent.parent

HOST: Final = """
import asyncio, os, sys
from amper import JobManager
from tests.handshakes import said
from tests.unruly import unruly

async def main(count, held, tag):
    def tell(what):
        print(what, flush=True)

    jobs = JobManager(containment="tree", grace_period=0.05)
    ids = []
    for _ in range(count):
        tell("to be started")
        ids.append(await jobs.start(unruly("run_wild", tag), pass_fds=[held]))
        tell("handed over")
        await jobs.get_process_info(ids[-1])
        tell("started")
    for id in ids:
        await said(jobs, id)
        tell("set up")
    killing = [asyncio.ensure_future(jobs.kill(id)) for id in ids[::2]]
    await asyncio.sleep(0)
    tell("half killed")
    FORK
    await asyncio.gather(*killing)
    tell("ready")
    await asyncio.get_running_loop().create_future()

asyncio.run(main(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]))
"""

JOBS: Final = 2
MOMENTS: Final = 4 * JOBS + 2
"""As many lines as the host prints."""


@pytest.fixture
def wild() -> Iterator[Tree]:
    with tree() as made:
        yield made


def run_host(wild: Tree, script: str = HOST) -> subprocess.Popen[bytes]:
    paths = os.pathsep.join([str(ROOT), str(ROOT / "src")])
    return subprocess.Popen(
        [sys.executable, "-c", script, str(JOBS), str(wild.write_end), wild.tag],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        pass_fds=[wild.write_end],
        env=os.environ | {"PYTHONPATH": paths},
    )


def read_lines(file: IO[bytes] | None, count: int) -> None:
    assert file is not None
    for _ in range(count):
        assert file.readline()


def let_pass(chosen: random.Random) -> None:
    """Yield the processor at random: not at all, for the time that a start takes, or in between."""
    for _ in range(int(2 ** chosen.uniform(0, 17)) - 1):
        os.sched_yield()


def amper_run(wild: Tree, words: Sequence[str] = ()) -> subprocess.Popen[bytes]:
    """Let `amper run` run a command twice."""
    command = shlex.join(words or unruly("run_wild", wild.tag))
    options = ["--json", "--grace-period", "0.05", "-c", command, "-c", command]
    return subprocess.Popen(
        [sys.executable, "-m", "amper", "run", *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        pass_fds=[wild.write_end],
        env=os.environ | {"PYTHONPATH": str(ROOT / "src")},
    )


def kill_all(victims: list[int], chosen: random.Random) -> None:
    """Kill processes in any order, and with some time between them, or none."""
    chosen.shuffle(victims)
    for pid in victims:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
        if chosen.random() < 0.5:
            let_pass(chosen)


def come_to_some_moment(run: subprocess.Popen[bytes], chosen: random.Random) -> None:
    """Let `amper run` begin, start two commands, and see them set up; then end them, or not."""
    lines = chosen.randint(0, 4)
    read_lines(run.stdout, lines)
    let_pass(chosen)
    if lines and chosen.random() < 0.3:
        run.send_signal(signal.SIGINT)
        let_pass(chosen)


@pytest.mark.parametrize("moment", [1, 2, 3, 4 * JOBS, 4 * JOBS + 1, MOMENTS])
def test_a_host_that_is_killed_takes_its_jobs_along(wild: Tree, moment: int) -> None:
    with run_host(wild, HOST.replace("FORK", "")) as host:
        read_lines(host.stdout, moment)
        host.send_signal(signal.SIGKILL)
        host.communicate()
        wild.wait_until_dead()


@pytest.mark.seeds(4)
def test_at_any_moment(wild: Tree, seed: int) -> None:
    chosen = random.Random(seed)
    with run_host(wild, HOST.replace("FORK", "")) as host:
        read_lines(host.stdout, chosen.randint(0, MOMENTS))
        let_pass(chosen)
        host.send_signal(signal.SIGKILL)
        host.communicate()
        wild.wait_until_dead()


@pytest.mark.seeds(2)
def test_amper_run_takes_its_commands_along(wild: Tree, seed: int) -> None:
    chosen = random.Random(seed)
    with amper_run(wild) as run:
        come_to_some_moment(run, chosen)
        run.send_signal(signal.SIGKILL)
        run.communicate()
        wild.wait_until_dead()


@pytest.mark.seeds(2)
def test_amper_run_and_its_keeper_take_their_commands_along(wild: Tree, seed: int) -> None:
    chosen = random.Random(seed)
    with amper_run(wild) as run:
        come_to_some_moment(run, chosen)
        # Nothing else is its child: what it runs descends from the keeper.
        kill_all([run.pid, *children_of(run.pid)], chosen)
        run.communicate()
        wild.wait_until_dead()


@pytest.mark.seeds(2)
def test_amper_run_and_its_shims_take_their_commands_along(wild: Tree, seed: int) -> None:
    chosen = random.Random(seed)
    with amper_run(wild) as run:
        come_to_some_moment(run, chosen)
        shims = [shim for keeper in children_of(run.pid) for shim in children_of(keeper)]
        kill_all([run.pid, *shims], chosen)
        run.communicate()
        wild.wait_until_dead()


@pytest.mark.parametrize("how_many", [1, 2])
def test_commands_of_amper_run_that_stop_their_supervisors_are_taken_along(
    wild: Tree, how_many: int
) -> None:
    """A stopped keeper that loses its parent is let run on by the kernel: its group is orphaned."""
    with amper_run(wild, unruly("stop_supervisors", wild.tag, how_many)) as run:
        read_lines(run.stdout, 4)
        run.send_signal(signal.SIGKILL)
        run.communicate()
        wild.wait_until_dead()


def test_a_fork_of_the_host_that_lives_on_keeps_no_job_alive(wild: Tree) -> None:
    """It holds all our sockets, so that no channel ends: what tells is the death of the process."""
    forking = "if (pid := os.fork()) == 0: os.close(held); os.closerange(0, 3); signal.pause()"
    script = HOST.replace("FORK", f"{forking}\n    tell(pid)").replace(
        "import asyncio", "import signal, asyncio"
    )
    with run_host(wild, script) as host:
        read_lines(host.stdout, 4 * JOBS + 1)
        assert host.stdout is not None
        fork = int(host.stdout.readline())
        try:
            host.send_signal(signal.SIGKILL)
            # Its command line has the tag, too: what is left is the fork alone.
            wild.wait_until_dead(but=fork)
        finally:
            os.kill(fork, signal.SIGKILL)
