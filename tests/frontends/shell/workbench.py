"""A shell without a terminal: what it and its commands print is kept."""

from __future__ import annotations

import contextlib
import os
from collections.abc import AsyncIterator
from pathlib import Path

from amper import DEVNULL, JobId, JobManager
from amper.builtins.steering import code_of
from amper.frontends.shell.launching import Launcher, Order, Outcome
from amper.frontends.shell.session import Shell
from amper.frontends.shell.state import State
from amper.frontends.shell.verbs import Leave


class Kept:
    """Keeps what is written."""

    def __init__(self) -> None:
        self.data = b""

    async def write(self, data: bytes) -> None:
        self.data += data


class KeepingLauncher(Launcher):
    """Runs commands one after the other, and keeps what those in front print."""

    def __init__(self, jobs: JobManager, out: Kept, err: Kept) -> None:
        super().__init__(jobs)
        self.orders: list[Order] = []
        self._out = out
        self._err = err

    async def in_front(self, order: Order) -> Outcome:
        self.orders.append(order)
        options = self.options_of(order, stdin=DEVNULL)
        id = await self.jobs.start(order.command, **options)
        result = await self.jobs.wait(id)
        assert result is not None
        info = await self.jobs.get(id)
        assert info is not None
        await self.jobs.remove(id)
        self._out.data += result.out
        self._err.data += result.err
        return Outcome(result.code, signal=info.signal)

    async def in_background(self, order: Order) -> JobId:
        self.orders.append(order)
        return await self.jobs.start(order.command, **self.options_of(order))

    async def to_front(self, id: JobId) -> Outcome:
        return Outcome(await code_of(self.jobs, id))


class Bench:
    """A shell, and what it printed."""

    def __init__(self, jobs: JobManager, directory: Path, *options: str) -> None:
        self.out, self.err = Kept(), Kept()
        self.launcher = KeepingLauncher(jobs, self.out, self.err)
        environment = {name: os.environ[name] for name in ("PATH", "HOME")}
        self.state = State(environment | {"PWD": str(directory)}, ["amper", "one", "two words"])
        self.state.move(str(directory))
        self.jobs = jobs
        self.shell = Shell(self.launcher, self.state, self.out, self.err, options=options)

    async def type(self, line: str) -> tuple[str, int]:
        """Run a line; return what came to standard output, and the code."""
        before = len(self.out.data)
        try:
            await self.shell.run_line(line)
        except Leave as leaving:
            return f"{self.out.data[before:].decode()}[left]", leaving.code
        return self.out.data[before:].decode(), self.state.code

    async def says(self, line: str) -> str:
        """Run a line; return what came to standard output."""
        return (await self.type(line))[0]


@contextlib.asynccontextmanager
async def bench(directory: Path, *options: str) -> AsyncIterator[Bench]:
    async with JobManager() as jobs:
        jobs.set_persist_output_files(False)
        made = Bench(jobs, directory, *options)
        try:
            yield made
        finally:
            await made.shell.aclose()
