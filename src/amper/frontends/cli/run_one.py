"""One command with our own input and output: nothing lies between it and the terminal or pipe."""

from __future__ import annotations

import os
import shlex

from amper.frontends.cli import terminal
from amper.frontends.cli.run import RunOptions
from amper.frontends.cli.signals import SIGNALED, SignalRelay
from amper.frontends.cli.standard_streams import inherited, print_error
from amper.manager import JobManager
from amper.values import ExecResult


def run_one(options: RunOptions) -> int:
    """Run the command to its end and return its exit code."""
    # Nothing of the command outlives us, also where somebody ends us with SIGKILL.
    jobs = JobManager(grace_period=options.grace_period, containment="tree")
    jobs.set_persist_output_files(False)
    return SignalRelay(jobs, options.grace_period).run(lambda: _run(options, jobs))


async def _run(options: RunOptions, jobs: JobManager) -> int:
    modes = terminal.Modes()
    result: ExecResult | None = None
    try:
        async with jobs:
            result = await jobs.run(
                options.command,
                stdin=terminal.stdin_for_a_job(),
                stdout=1,
                stderr=2,
                pass_fds=inherited(),
                timeout=options.timeout,
            )
    finally:
        # One that ends by itself may want the modes that it leaves, as stty does.
        if result is None or result.ended_by is not None or result.code > SIGNALED:
            modes.restore()
    # It could not be started; a command that runs writes to our standard error itself.
    if result.err:
        print_error(result.err + _hint(options.command))
    return result.code


def _hint(command: list[str]) -> bytes:
    """Say what whoever took the program's name for a line of shell may have wanted."""
    line = command[0]
    if len(command) > 1 or not any(letter.isspace() for letter in line):
        return b""
    return os.fsencode(f"amper: for a line of shell: amper run -- sh -c {shlex.quote(line)}\n")
