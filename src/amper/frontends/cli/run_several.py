"""Several commands at once: their lines as they come, a status line, and a table at the end."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections import Counter
from collections.abc import Sequence
from typing import Final

from amper.frontends.cli.json_report import JsonReport
from amper.frontends.cli.report import TextReport
from amper.frontends.cli.run import RunOptions
from amper.frontends.cli.signals import kill_on_signals
from amper.manager import JobManager
from amper.values import ExecResult, JobId, StreamName

PIPE_CLOSED: Final = 141
"""What a shell says of a program that SIGPIPE ended."""

INTERRUPTED: Final = 130

STREAMS: Final[tuple[StreamName, ...]] = ("stdout", "stderr")


def run_several(options: RunOptions) -> int:
    """Run the commands to their ends and return the first failure's code, or 0."""
    try:
        return asyncio.run(_run_several(options))
    except* BrokenPipeError:
        # Nobody reads any more. Python must not find that out once more when it flushes at its end.
        with contextlib.suppress(OSError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        code = PIPE_CLOSED
    except* (asyncio.CancelledError, KeyboardInterrupt):
        code = INTERRUPTED
    return code


async def _run_several(options: RunOptions) -> int:
    commands: list[str | list[str]] = [*options.commands]
    if options.command:
        commands.append(options.command)
    names = distinct_names(commands)
    jobs = JobManager(
        grace_period=options.grace_period, max_running=options.jobs, finished_retention=None
    )
    jobs.set_persist_output_files(False)
    report = JsonReport(jobs) if options.json else TextReport(jobs, names)
    task = asyncio.current_task()
    assert task is not None
    # Whoever reads our output may be stuck: a second signal gives up printing, too.
    with kill_on_signals(jobs, on_second=task.cancel):
        async with asyncio.TaskGroup() as printing:
            printing.create_task(report.print_events())
            async with jobs:
                ids = await _start(jobs, commands, names, options.timeout)
                for id, name in zip(ids, names, strict=True):
                    for stream in STREAMS:
                        printing.create_task(report.print_output(id, name, stream))
                code = await _first_failure(jobs, ids, fail_fast=options.fail_fast)
        await report.summarise(code)
        await report.flush()
    return code


async def _start(
    jobs: JobManager,
    commands: Sequence[str | list[str]],
    names: Sequence[str],
    timeout: float | None,
) -> list[JobId]:
    return [
        await jobs.start(command, name=name, timeout=timeout)
        for command, name in zip(commands, names, strict=True)
    ]


async def _first_failure(jobs: JobManager, ids: Sequence[JobId], *, fail_fast: bool) -> int:
    """Wait for all; return the code of the one that failed first, or 0."""
    failure: ExecResult | None = None
    async for _, result in jobs.as_completed(ids):
        if result.ok or failure is not None:
            continue
        failure = result
        if fail_fast:
            # From the youngest: none that is queued may start in the place of one that ends.
            kills = [jobs.kill(id, reason="another command failed") for id in reversed(ids)]
            await asyncio.gather(*kills)
    return 0 if failure is None else failure.code


def distinct_names(commands: Sequence[str | list[str]]) -> list[str]:
    """Return a short name for each command: its program's, numbered where there are several."""
    names = [_program(command) for command in commands]
    count, seen, distinct = Counter(names), Counter[str](), []
    for name in names:
        seen[name] += 1
        distinct.append(name if count[name] == 1 else f"{name}#{seen[name]}")
    return distinct


def _program(command: str | list[str]) -> str:
    words = command.split() if isinstance(command, str) else command
    # A shell command may begin with settings for its environment.
    program = next((word for word in words if "=" not in word), "")
    return os.path.basename(program.strip("'\"();{}")) or "sh"
