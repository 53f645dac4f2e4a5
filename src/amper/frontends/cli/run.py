"""`amper run`: one command as if it stood alone, or several at once under one roof."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from typing import TYPE_CHECKING

from amper.frontends.cli.usage import UsageError

if TYPE_CHECKING:
    from amper.frontends.cli.usage import Verbs

DESCRIPTION = """\
Run a command as a job: Ctrl-C, SIGTERM and SIGHUP end it with all that it has started.

  amper run -- make -j8 test            one command, with our input and output
  amper run -c 'make' -c 'npm test'     several at once, each line marked with its job
"""

EPILOG = """\
One command: the exit code is the command's. Several: that of the first one that failed, or 0.
A second Ctrl-C does not wait for the grace period.
"""


@dataclass(frozen=True, slots=True)
class RunOptions:
    """What was asked for, checked."""

    command: list[str]
    commands: list[str]
    jobs: int | None
    fail_fast: bool
    timeout: float | None
    grace_period: float
    json: bool


def add_to(verbs: Verbs) -> None:
    """Add the verb to the command line."""
    parser = verbs.add_parser(
        "run",
        help="run one command, or several at once",
        description=DESCRIPTION,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "-c",
        "--command",
        action="append",
        default=[],
        dest="commands",
        metavar="CMD",
        help="a shell command to run beside the others; may be given many times",
    )
    parser.add_argument(
        "-j", "--jobs", type=_count, metavar="N", help="run at most N of the commands at once"
    )
    parser.add_argument(
        "--fail-fast", action="store_true", help="end all commands when the first one fails"
    )
    parser.add_argument(
        "--timeout",
        type=_seconds,
        metavar="SECONDS",
        help="end each command after this time, with code 124",
    )
    parser.add_argument(
        "--grace-period",
        type=_seconds,
        default=2.0,
        metavar="SECONDS",
        help="the time between SIGTERM and SIGKILL (default: 2)",
    )
    parser.add_argument(
        "--json", action="store_true", help="print events and output as a JSON object per line"
    )
    parser.add_argument(
        "command", nargs=argparse.REMAINDER, metavar="COMMAND", help="the command and its arguments"
    )
    parser.set_defaults(act=act)


def act(options: argparse.Namespace) -> int:
    """Run what was asked for and return the exit code."""
    asked = _checked(options)
    if asked.json or asked.commands:
        from amper.frontends.cli.run_several import run_several

        return run_several(asked)
    from amper.frontends.cli.run_one import run_one

    return run_one(asked)


def _checked(options: argparse.Namespace) -> RunOptions:
    command: list[str] = options.command
    if command and command[0] == "--":
        command = command[1:]
    commands: list[str] = options.commands
    if command and commands:
        raise UsageError("give either one command after --, or commands with -c, not both")
    if not command and not commands:
        raise UsageError("there is nothing to run: amper run -- COMMAND, or amper run -c 'COMMAND'")
    if command and not options.json and (options.jobs is not None or options.fail_fast):
        raise UsageError("--jobs and --fail-fast are for several commands: give each with -c")
    return RunOptions(
        command,
        commands,
        options.jobs,
        options.fail_fast,
        options.timeout,
        options.grace_period,
        options.json,
    )


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 1 up")
    return int(text)


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of seconds")
    return seconds
