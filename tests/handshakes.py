"""What tests of commands wait for: a word that a command prints, the death of a process, a clock."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import math
import os
import resource
import select
import signal
import subprocess
import sys
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import IO, Any, Final, ParamSpec, cast

from amper import EndedBy, ExecResult, JobId, JobInfo, JobManager
from amper.values import StreamName
from tests.support import run
from tests.work import info_of

P = ParamSpec("P")

SCRIPT_DEADLINE: Final = 40.0
"""Longer than the deadline of a test that runs in there, shorter than what pytest waits for one."""


class ShiftedLoop(asyncio.SelectorEventLoop):
    """A loop whose clock goes forward when the test says so: deadlines pass, and nobody waits.

    The deadline of the test itself is on it, too, so that only some seconds are to be had.
    """

    _shift = 0.0

    def __init__(self) -> None:
        super().__init__()
        # A callback that puts the clock forward only seems to be slow.
        self.slow_callback_duration = math.inf

    def time(self) -> float:
        return super().time() + self._shift

    def put_forward(self, seconds: float) -> None:
        self._shift += seconds


def on_a_shifted_loop(test: Callable[P, Coroutine[Any, Any, None]]) -> Callable[P, None]:
    """Make an async test a plain one that can put the clock forward."""

    @functools.wraps(test)
    def on_loop(*args: P.args, **kwargs: P.kwargs) -> None:
        run(test(*args, **kwargs), ShiftedLoop)

    return on_loop


def put_forward(seconds: float) -> None:
    """Put the clock of the running `ShiftedLoop` forward."""
    loop = asyncio.get_running_loop()
    assert isinstance(loop, ShiftedLoop)
    loop.put_forward(seconds)


async def said(
    jobs: JobManager, id: JobId, word: str = "ready", *, stream: StreamName = "stdout"
) -> list[int]:
    """Wait for a line that begins with `word`; return the numbers that follow it."""
    seen = b""
    async for chunk in jobs.follow(id, stream=stream):
        seen += chunk.data
        for line in seen.split(b"\n")[:-1]:
            first, *rest = line.decode().split()
            if first == word:
                return [int(number) for number in rest]
    raise AssertionError(f"the command never said {word!r}, but {seen!r}")


async def result_of(jobs: JobManager, id: JobId) -> ExecResult:
    result = await jobs.wait(id)
    assert result is not None
    return result


async def end_of(jobs: JobManager, id: JobId) -> tuple[str | None, EndedBy | None]:
    """Wait for a job; return its status string, and who ended it."""
    result = await result_of(jobs, id)
    return await jobs.get_status_string(id), result.ended_by


async def left_by(jobs: JobManager, id: JobId) -> list[int]:
    """Wait until the leader of a job has spoken and gone, and the manager knows; return its numbers.

    To be called right after the start: nobody has collected the leader yet.
    """
    pid, _ = await jobs.get_process_info(id) or (0, 0)
    with watching(pid) as leader:
        numbers = await said(jobs, id)
        await leader.death()
        # The manager hears of it in the same turn of the loop, or in the next.
        await turns(2)
    return numbers


async def outcome(jobs: JobManager, command: Any, **options: Any) -> ExecResult:
    return await result_of(jobs, await jobs.start(command, **options))


async def info_when(jobs: JobManager, id: JobId, is_true: Callable[[JobInfo], bool]) -> JobInfo:
    """Let the loop turn until something is true that no waiter is told of."""
    while not is_true(info := await info_of(jobs, id)):  # noqa: ASYNC110 - there is no event.
        await asyncio.sleep(0)
    return info


async def written(jobs: JobManager, id: JobId) -> Path:
    """Return a job's output file when it is there."""
    info = await info_when(jobs, id, lambda info: info.output_file is not None)
    assert info.output_file is not None
    return Path(info.output_file)


async def turns(count: int) -> None:
    """Let the loop turn a few times, for what must not happen."""
    for _ in range(count):
        await asyncio.sleep(0)


async def turns_until(is_true: Callable[[], bool]) -> None:
    """Let the loop turn until something is true that no waiter is told of."""
    while not is_true():  # noqa: ASYNC110 - there is no event.
        await asyncio.sleep(0)


def opened(path: Path, mode: str = "rb") -> IO[bytes]:
    """Open a small file, for which nobody has to wait."""
    return cast(IO[bytes], open(path, mode))


class Process:
    """Somebody else's process, held by its pidfd."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.pidfd = os.pidfd_open(pid)

    @property
    def is_dead(self) -> bool:
        return bool(select.select([self.pidfd], [], [], 0)[0])

    def signal(self, number: int) -> None:
        signal.pidfd_send_signal(self.pidfd, number)

    async def stop(self) -> None:
        """Stop it, and return when it is."""
        self.signal(signal.SIGSTOP)
        while state_of(self.pid) != "T":  # noqa: ASYNC110 - only its parent hears of it.
            await asyncio.sleep(0)

    def wait(self) -> None:
        """Hold up everything until it is dead."""
        select.select([self.pidfd], [], [], SCRIPT_DEADLINE)
        assert self.is_dead

    def reap(self) -> None:
        """Collect a child of ours that is dead."""
        os.waitid(os.P_PIDFD, self.pidfd, os.WEXITED)

    async def death(self) -> None:
        loop = asyncio.get_running_loop()
        dead = loop.create_future()
        loop.add_reader(self.pidfd, lambda: None if dead.done() else dead.set_result(None))
        try:
            await dead
        finally:
            loop.remove_reader(self.pidfd)


@contextlib.contextmanager
def watching(pid: int) -> Iterator[Process]:
    """Hold a process, so that its death can be seen, and end it if the test did not."""
    process = Process(pid)
    try:
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.signal(signal.SIGKILL)
        os.close(process.pidfd)


@contextlib.contextmanager
def leading(command: str | list[str], *, speaks: bool = True) -> Iterator[tuple[int, list[int]]]:
    """Run a command as the leader of a session, until the end of the block.

    Give its pid, and the numbers that follow on its first line, if it speaks.
    """
    leader = subprocess.Popen(
        ["/bin/sh", "-c", command] if isinstance(command, str) else command,
        stdout=subprocess.PIPE,
        start_new_session=True,
    )
    assert leader.stdout is not None
    with leader:
        try:
            words = leader.stdout.readline().split() if speaks else []
            yield leader.pid, [int(word) for word in words[1:]]
        finally:
            # Of a leader that is dead its zombie holds the number still: Popen has not collected it.
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(leader.pid, signal.SIGKILL)


@contextlib.contextmanager
def few_descriptors(free: int) -> Iterator[None]:
    """Leave this process so many descriptors to open, and no more."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    held: list[int] = []
    highest = max(int(name) for name in os.listdir("/proc/self/fd"))
    resource.setrlimit(resource.RLIMIT_NOFILE, (highest + free + 1, hard))
    try:
        with contextlib.suppress(OSError):
            while True:
                held.append(os.open(os.devnull, os.O_RDONLY))
        for _ in range(free):
            os.close(held.pop())
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        for fd in held:
            os.close(fd)


def state_of(pid: int) -> str:
    """Return the kernel's letter for what a process does; X if there is none."""
    try:
        return _stat_of(pid)[0]
    except (FileNotFoundError, ProcessLookupError):
        return "X"


def parent_of(pid: int) -> int:
    return int(_stat_of(pid)[1])


def _stat_of(pid: int) -> list[str]:
    with open(f"/proc/{pid}/stat") as file:
        return file.read().rpartition(")")[2].split()


def take_notice(pid: int) -> None:
    """Wait as a host does for a child that has stopped, or was continued."""
    assert os.waitpid(pid, os.WUNTRACED | os.WCONTINUED)[0] == pid


def is_zombie_or_gone(pid: int) -> bool:
    return state_of(pid) in "ZX"


def run_script(
    script: str,
    *arguments: str,
    closed: tuple[int, ...] = (),
    through: tuple[str, ...] = (),
    flags: tuple[str, ...] = ("-X", "dev", "-W", "error"),
) -> str:
    """Run a Python program that changes its whole process; return what it printed.

    It must exit with 0. `closed` are those of its standard streams that it begins without; `through`
    is a command that executes it.
    """
    command = [*through, sys.executable, *flags, "-c", script, *arguments]
    if closed:
        closing = " ".join(f"{fd}>&-" for fd in closed)
        command = ["/bin/sh", "-c", f'exec "$@" {closing}', "sh", *command]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    done = subprocess.run(
        command, env=environment, capture_output=True, timeout=SCRIPT_DEADLINE, check=False
    )
    assert done.returncode == 0, done.stderr.decode() + done.stdout.decode()
    return done.stdout.decode()


ALONE: Final = """
import importlib, os, sys
from tests.support import run

def fail(exception):
    # What nobody can catch is a failure, as it is in the process of the tests.
    sys.__unraisablehook__(exception)
    os._exit(1)

sys.unraisablehook = fail
module, name = sys.argv[1:]
run(getattr(importlib.import_module(module), name).__wrapped__())
"""


def in_a_process_of_its_own(test: Callable[[], Coroutine[Any, Any, None]]) -> Callable[[], None]:
    """Make an async test a plain one that may do to its process whatever it likes."""

    @functools.wraps(test)
    def elsewhere() -> None:
        run_script(ALONE, test.__module__, test.__name__)

    return elsewhere
