"""One command with our own input and output: nothing lies between it and the terminal or pipe."""

from __future__ import annotations

import asyncio
import sys
from typing import IO

from amper.frontends.cli.run import RunOptions
from amper.frontends.cli.signals import kill_on_signals
from amper.manager import JobManager
from amper.process.spawn import DEVNULL


def run_one(options: RunOptions) -> int:
    """Run the command to its end and return its exit code."""
    return asyncio.run(_run_one(options))


async def _run_one(options: RunOptions) -> int:
    async with JobManager(grace_period=options.grace_period) as jobs:
        jobs.set_persist_output_files(False)
        with kill_on_signals(jobs):
            result = await jobs.run(
                options.command,
                stdin=_or_nothing(sys.stdin),
                stdout=_or_nothing(sys.stdout),
                stderr=_or_nothing(sys.stderr),
                timeout=options.timeout,
            )
    if result.err:
        # It could not be started; a command that runs writes to our standard error itself.
        print(result.text_err(), end="", file=sys.stderr, flush=True)
    return result.code


def _or_nothing(file: IO[str] | None) -> IO[str] | int:
    """Python has None for a standard stream that was closed when it started."""
    return DEVNULL if file is None else file
