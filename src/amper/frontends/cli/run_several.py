"""Several commands at once: what is told about them, and what comes of them all."""

from __future__ import annotations

import asyncio
import shlex

from amper.frontends.cli import terminal
from amper.frontends.cli.names import Command, distinct_names
from amper.frontends.cli.report import Report
from amper.frontends.cli.run import RunOptions
from amper.frontends.cli.signals import SignalRelay
from amper.frontends.cli.standard_streams import complain, inherited
from amper.frontends.cli.usage import FAILURE, PIPE_CLOSED, needs_extra
from amper.frontends.cli.writer import CannotWrite
from amper.manager import JobManager
from amper.process.spawn import DEVNULL


def run_several(options: RunOptions) -> int:
    """Run the commands to their ends and return the first failure's code, or 0."""
    run = _Run(options)
    try:
        return run.relay.run(run.work)
    except BrokenPipeError:
        return PIPE_CLOSED
    except CannotWrite as error:
        complain(str(error))
        # A terminal that goes away tells us so, too, while the jobs are ended.
        return run.relay.code if run.relay.is_told else FAILURE


class _Run:
    """Commands that run side by side.

    How many of them run at once is decided here and not by the manager's `max_running`, which
    starts the next one before anybody could see that the last one failed.
    """

    def __init__(self, options: RunOptions) -> None:
        self._options = options
        self._commands: list[Command] = [*options.commands]
        if options.command:
            self._commands.append(options.command)
        self._names = distinct_names(self._commands)
        self._places = asyncio.Semaphore(options.jobs or len(self._commands))
        self._next_turn = asyncio.Lock()
        self._inherited = inherited()
        self._not_run: dict[str, str] = {}
        """The commands of those that never began, by name."""
        self._failure = 0
        self._jobs = JobManager(
            grace_period=options.grace_period, finished_retention=None, containment="tree"
        )
        self._jobs.set_persist_output_files(False)
        self.relay = SignalRelay(self._jobs, options.grace_period)
        self._report = self._make_report()

    async def work(self) -> int:
        """Run all, tell everything, and return the exit code: the first failure's, or 0."""
        # One command has our input, however it is told; several would fight for it.
        stdin = DEVNULL if self._options.commands else terminal.stdin_for_a_job()
        async with asyncio.TaskGroup() as telling:
            telling.create_task(self._report.tell())
            async with self._jobs, asyncio.TaskGroup() as running:
                for command, name in zip(self._commands, self._names, strict=True):
                    running.create_task(self._run(command, name, stdin))
        code = self._failure or (self.relay.code if self._not_run else 0)
        await self._report.summarise(code, self._not_run)
        return code

    async def _run(self, command: Command, name: str, stdin: int) -> None:
        async with self._places:
            # One start in each turn of the loop: then `run` starts at once, and nothing that ends
            # all comes between the look and the start.
            async with self._next_turn:
                await asyncio.sleep(0)
            if self.relay.is_told or (self._failure and self._options.fail_fast):
                self._not_run[name] = command if isinstance(command, str) else shlex.join(command)
                return
            result = await self._jobs.run(
                command,
                name=name,
                stdin=stdin,
                pass_fds=self._inherited,
                timeout=self._options.timeout,
            )
            if result.ok or self._failure:
                return
            self._failure = result.code
            if self._options.fail_fast:
                ids = await self._jobs.list_ids()
                kills = [self._jobs.kill(id, reason=f"{name} failed") for id in ids]
                await asyncio.gather(*kills)

    def _make_report(self) -> Report:
        if self._options.json:
            from amper.frontends.cli.json_report import JsonReport

            return JsonReport(self._jobs, self._is_ending)
        # Before anything runs: without it there would be no table at the end.
        try:
            from amper.frontends.cli.text_report import TextReport
        except ImportError:
            raise needs_extra("rich", "amper run -c") from None
        return TextReport(self._jobs, self._is_ending, self._names)

    def _is_ending(self) -> bool:
        return self.relay.is_told
