"""The kinds of runner, each behind the same few verbs. A further one is one more class in `KINDS`.

The work of every kind says `ready` on its standard output when it is set up. From then on it ends as
the test tells it to, or reacts to being asked to end in the way that it was made with.
"""

from __future__ import annotations

import asyncio
import shlex
from abc import ABC, abstractmethod
from enum import StrEnum
from typing import Any, Final

from amper import (
    PIPE,
    BoundedStream,
    CancellationToken,
    CurrentJob,
    ExecResult,
    JobId,
    JobManager,
    Sender,
    current_job,
    oneshot,
)
from amper.values import Containment
from tests.handshakes import is_zombie_or_gone, said

READY: Final = b"ready\n"


class Asked(StrEnum):
    """What work makes of being asked to end."""

    ENDS = "ends as its kind does"
    SUCCEEDS = "succeeds all the same"
    FAILS = "fails with 3"


class Work(ABC):
    """One job of a kind, that runs until it is told or asked to end."""

    code_when_asked: int
    """The code of work that has nothing to say about being asked."""

    takes_place = True
    """Whether it counts among those of which `max_running` may run."""

    can_be_stopped = True
    """Whether there is anything that `stop` could reach."""

    is_ours = True
    """Whether the manager's end waits for what the work makes of being asked."""

    id: JobId

    async def begin(self, jobs: JobManager, asked: Asked = Asked.ENDS, **options: Any) -> None:
        """Make the job, and return when the work is set up."""
        self.id = await self.make(jobs, asked, **options)
        await said(jobs, self.id)

    @abstractmethod
    async def make(self, jobs: JobManager, asked: Asked = Asked.ENDS, **options: Any) -> JobId:
        """Make the job, whether it may run already or not."""

    @abstractmethod
    async def end(self, code: int = 0, out: str = "", err: str = "") -> None:
        """Let the work print this and end with this code, by itself."""

    def come_by(self) -> None:
        """Let the work come to a place where it can be stopped, if it needs one."""

    @abstractmethod
    def is_gone(self) -> bool:
        """Return whether nothing of the work is left."""


class CoroutineWork(Work):
    code_when_asked = 130

    async def make(self, jobs: JobManager, asked: Asked = Asked.ENDS, **options: Any) -> JobId:
        self.told: asyncio.Future[ExecResult] = asyncio.get_running_loop().create_future()
        self.is_over = False
        self.prodded = asyncio.Event()
        return jobs.spawn("work", self.run(asked), **options)

    async def run(self, asked: Asked) -> ExecResult:
        job = current_job()
        assert job is not None
        stdout, stderr = job.streams
        stdout.write(READY)
        try:
            result = await self.wait_until_told(job)
        except asyncio.CancelledError:
            if asked is Asked.ENDS:
                raise
            result = ExecResult(0 if asked is Asked.SUCCEEDS else 3)
        finally:
            self.is_over = True
        stdout.write(result.out)
        stderr.write(result.err)
        return ExecResult(result.code, stdout.read(), stderr.read())

    async def wait_until_told(self, job: CurrentJob) -> ExecResult:
        while not self.told.done():
            await self.prodded.wait()
            self.prodded.clear()
            await job.checkpoint()
        return self.told.result()

    def come_by(self) -> None:
        self.prodded.set()

    async def end(self, code: int = 0, out: str = "", err: str = "") -> None:
        self.told.set_result(ExecResult(code, out.encode(), err.encode()))
        self.prodded.set()

    def is_gone(self) -> bool:
        return self.is_over


class CommandWork(Work):
    """A shell that does what it reads."""

    code_when_asked = 143
    containment: Containment = "group"

    async def make(self, jobs: JobManager, asked: Asked = Asked.ENDS, **options: Any) -> JobId:
        trap = {
            Asked.ENDS: "trap - TERM",
            Asked.SUCCEEDS: "trap 'exit 0' TERM",
            Asked.FAILS: "trap 'exit 3' TERM",
        }
        self.jobs = jobs
        script = f'{trap[asked]}; echo ready; read -r line; eval "$line"'
        id = await jobs.start(script, stdin=PIPE, containment=self.containment, **options)
        process = await jobs.get_process_info(id)
        self.pid = None if process is None else process[0]
        return id

    async def end(self, code: int = 0, out: str = "", err: str = "") -> None:
        steps = f"printf %s {shlex.quote(out)}; printf %s {shlex.quote(err)} >&2; exit {code}\n"
        assert await self.jobs.write_stdin(self.id, steps.encode())

    def is_gone(self) -> bool:
        return self.pid is not None and is_zombie_or_gone(self.pid)


class ContainedWork(CommandWork):
    """The same under a shim."""

    containment = "tree"


class ElsewhereWork(Work):
    """What an embedder runs itself and registers: with streams, a token and a channel."""

    code_when_asked = 143
    takes_place = False
    can_be_stopped = False
    is_ours = False

    async def make(self, jobs: JobManager, asked: Asked = Asked.ENDS, **options: Any) -> JobId:
        self.tx: Sender[ExecResult]
        self.tx, rx = oneshot()
        self.stdout, self.stderr = BoundedStream(), BoundedStream()
        id = await jobs.register_with_streams("work", rx, self.stdout, self.stderr, **options)
        token = CancellationToken()
        codes = {Asked.ENDS: self.code_when_asked, Asked.SUCCEEDS: 0, Asked.FAILS: 3}
        token.on_cancel(lambda: self.send(codes[asked]))
        await jobs.set_cancel_token(id, token)
        self.is_over = False
        self.stdout.write(READY)
        return id

    def send(self, code: int) -> None:
        self.is_over = True
        self.tx.send(ExecResult(code, self.stdout.read(), self.stderr.read()))

    async def end(self, code: int = 0, out: str = "", err: str = "") -> None:
        self.stdout.write(out.encode())
        self.stderr.write(err.encode())
        self.send(code)

    def is_gone(self) -> bool:
        return self.is_over


KINDS: Final[dict[str, type[Work]]] = {
    "coroutine": CoroutineWork,
    "command": CommandWork,
    "contained": ContainedWork,
    "elsewhere": ElsewhereWork,
}
