"""`amper run`: one command as if it stood alone, or several at once under one roof."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from typing import TYPE_CHECKING

from amper.frontends.cli.completion import PROGRAM_AND_ARGUMENTS
from amper.frontends.cli.usage import UsageError

if TYPE_CHECKING:
    from amper.frontends.cli.usage import Verbs

USAGE = """\
amper run [options] [--] COMMAND [ARGUMENT ...]
       amper run [options] -c CMD [-c CMD ...]"""

DESCRIPTION = """\
Run a command as a job, or several at once: what they start ends with them.

  amper run -- make -j8 test              one command, with our input and output
  amper run -c 'make' -c 'npm test'       several, each line marked with its job
  amper run -j4 --fail-fast -c ... -c ... at most four at once, all ended when one fails
  amper run --json -c ... -c ...          told to a program
"""

EPILOG = """\
One command has our standard input, output and error for its own, and the exit code is the
command's. It runs in a session of its own: it can read and write our terminal but does not own
it, so that a program that insists on /dev/tty (a password prompt, an editor) does not work yet.
Started in the background of a shell, it has no input.

Several commands have no input. Their lines come as they are written; on a terminal a status line
shows what runs. A table at the end, on standard error, tells state, code, time and most memory
of each (as `< 24 MiB` where it was less than our own). The exit code is that of the first one
that failed, or 0. Output that comes faster than it is read is dropped beyond 10 MiB, and counted.

Ctrl-C, SIGTERM, SIGHUP and Ctrl-\\ end every command: the signal is passed on, and what is left
after the grace period gets SIGTERM, and after another one SIGKILL. A second one kills at once.
Ctrl-Z stops every command until `fg` or `bg`.

Whatever a command leaves running is ended at the end of the run, and within the grace period
where amper itself is ended with SIGKILL: also a daemon that has left the session (setsid).

--json prints an object per line. Its `kind` is `started` or `ended` (with `job_id`, `name`,
`command`, `status`, `time` and, where they apply, `exit_code`, `signal`, `ended_by`), `output`
(`job_id`, `name`, `stream`, and `text` or, where it is not UTF-8, `text_base64`: a line with its
newline), `dropped` (`bytes` of a stream) or, at the end, `summary` (`exit_code`, `jobs`, `not_run`).
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
        usage=USAGE,
        description=DESCRIPTION,
        epilog=EPILOG,
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
    command = parser.add_argument(
        "command", nargs=argparse.REMAINDER, metavar="COMMAND", help="the command and its arguments"
    )
    command.complete = PROGRAM_AND_ARGUMENTS  # type: ignore[attr-defined]  # shtab looks for it.
    parser.set_defaults(act=act)


def act(options: argparse.Namespace) -> int:
    """Run what was asked for and return the exit code."""
    asked = checked(options)
    if asked.json or asked.commands:
        from amper.frontends.cli.run_several import run_several

        return run_several(asked)
    from amper.frontends.cli.run_one import run_one

    return run_one(asked)


def checked(options: argparse.Namespace) -> RunOptions:
    """Return what was asked for. Raises UsageError for what makes no sense together."""
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
