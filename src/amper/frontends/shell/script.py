"""Texts that nobody types: scripts, `-c`, and standard input that is no terminal.

Commands have our own three streams, as with sh, and those in the background no input. When the
script is over, the manager's block ends those that still run.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

from amper.builtins.steering import code_after
from amper.frontends.shell.launching import Launcher, Order, Outcome
from amper.frontends.shell.session import Interrupted, Output, Shell
from amper.frontends.shell.state import State
from amper.frontends.shell.verbs import Leave
from amper.manager import JobManager
from amper.process.spawn import DEVNULL
from amper.values import JobId

FRONT: Final = "front"
"""The tag of commands that the script waits for; they are no jobs for the person."""


class ScriptLauncher(Launcher):
    """Starts the commands of a script. `is_told` says whether somebody has told us to end."""

    def __init__(
        self,
        jobs: JobManager,
        is_told: Callable[[], bool],
        *,
        stdin: int = 0,
        pass_fds: Sequence[int] = (),
    ) -> None:
        super().__init__(jobs)
        self._is_told = is_told
        self._stdin = stdin
        self._shared: dict[str, Any] = {"stdout": 1, "stderr": 2, "pass_fds": tuple(pass_fds)}

    async def in_front(self, order: Order) -> Outcome:
        self._check()
        options = self.options_of(order, stdin=self._stdin, tags=[FRONT], **self._shared)
        # One that a stranger stops is waited for until it goes on, as in every script.
        result = await self.jobs.run(order.command, **options)
        for info in await self.jobs.list(tag=FRONT):
            await self.jobs.remove(info.id)
        self._check()
        # What it wrote itself is not here.
        return Outcome(result.code, complaint=result.err)

    async def in_background(self, order: Order) -> JobId:
        self._check()
        options = self.options_of(order, stdin=DEVNULL, **self._shared)
        return await self.jobs.start(order.command, **options)

    async def to_front(self, id: JobId) -> Outcome:
        code = await code_after(self.jobs, id, await self.jobs.foreground(id))
        self._check()
        return Outcome(code)

    def _check(self) -> None:
        if self._is_told():
            raise Interrupted


async def run_script(
    text: str,
    launcher: Launcher,
    state: State,
    out: Output,
    err: Output,
    *,
    options: Sequence[str] = (),
) -> int:
    """Run a text to its end and return its exit code."""
    shell = Shell(launcher, state, out, err, options=options, is_script=True)
    try:
        await shell.run_script(text)
    except Leave as leaving:
        return leaving.code
    finally:
        await shell.aclose()
    return state.code
