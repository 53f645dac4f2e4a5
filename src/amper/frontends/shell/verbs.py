"""The builtins that are about the shell itself, and not about its jobs."""

from __future__ import annotations

import errno
import os
import shlex
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from amper.builtins import BUILTINS
from amper.builtins.fg import MANUAL as FG_MANUAL
from amper.builtins.fg import chosen
from amper.builtins.listing import command_of
from amper.builtins.manual import Manual, Report, builtin, find_one
from amper.frontends.shell.state import NAME, State
from amper.manager import JobManager
from amper.values import ExecResult, JobId, JobInfo

if TYPE_CHECKING:
    from amper.frontends.shell.session import Shell

USAGE: Final = 2

HELP: Final = """\
A command goes to /bin/sh as it stands: pipelines, redirections, if, for, here-documents. It runs in
front, and Ctrl-C and Ctrl-Z are for it; with & behind it, it runs in the background, and what it
writes is kept for `output`.

  jobs                 what there is; + is the current job, - the previous one
  fg [%1]  bg [%1]     let a job go on, in front or in the background
  stop %1              hold a job where it is
  kill [-SIGNAL] %1    send a signal; --wait ends a job and all that it started, provably
  wait [-n] [%1 ...]   until jobs are over
  disown [%1]          forget a job; it still ends with the shell
  output [-f] [%1]     what a job in the background has written; -f goes on as it comes
  cd  pwd  export  unset  exit  NAME=value  help

A job is %1, %+ (current), %- (previous), %name or %?text. `jobs --help` and the like tell more.
Variables and functions last from line to line. What else changes a shell (umask, ulimit, set, trap,
alias, exec, .) lasts to the end of its line.
"""

OUTPUT_MANUAL: Final = Manual(
    "output [-f] [job]",
    """
Print what a job in the background has written so far. If none is named it is the current job, or, where
all are over, the newest one that has written something.

  -f   go on as it comes, until the job is over or Ctrl-C
""",
    {"f": "follow"},
)

NOTHING_WRITTEN: Final = (
    "no job has written anything: `jobs -a` lists those that are over, too, "
    "and `output %N` is what one of them wrote"
)


class Leave(Exception):
    """The shell is to end, with this code."""

    def __init__(self, code: int) -> None:
        super().__init__(code)
        self.code = code


async def cd(shell: Shell, arguments: Sequence[str]) -> ExecResult:
    """Go to a directory: HOME if none is named, `-` for the one before, or what CDPATH leads to."""
    words = list(arguments)
    is_physical = False
    while words and words[0] in ("-L", "-P", "--"):
        option = words.pop(0)
        if option == "--":
            break
        is_physical = option == "-P"
    if len(words) > 1:
        return ExecResult.failure(USAGE, "cd: too many arguments\n")
    place, is_told = words[0] if words else "", False
    if not words or place == "-":
        name = "OLDPWD" if words else "HOME"
        place, is_told = shell.state.get(name) or "", bool(words)
        if not place:
            return ExecResult.failure(1, f"cd: {name} is not set\n")
    elif found := _on_cdpath(shell.state, place):
        place, is_told = found
    try:
        directory = _directory(shell.state.directory, place, is_physical=is_physical)
    except OSError as error:
        return ExecResult.failure(1, f"cd: {place}: {error.strerror}\n")
    shell.state.move(directory)
    return ExecResult.success(_line(directory) if is_told else b"")


async def pwd(shell: Shell, arguments: Sequence[str]) -> ExecResult:
    """Print where we are."""
    here = shell.state.directory
    return ExecResult.success(_line(_physical(here) if "-P" in arguments else here))


async def export(shell: Shell, arguments: Sequence[str]) -> ExecResult:
    """Give variables to commands, and set them if a value is there; without any, list them."""
    words = [word for word in arguments if word != "--"]
    if words in ([], ["-p"]):
        lines = [
            f"export {name}={shlex.quote(value)}\n"
            for name, value in sorted(shell.state.exported.items())
        ]
        return ExecResult.success(os.fsencode("".join(lines)))
    complaints = []
    for word in words:
        name, equals, value = word.partition("=")
        if not NAME.fullmatch(name):
            complaints.append(f"export: {word}: this is no name of a variable\n")
            continue
        shell.state.export(name)
        if equals:
            shell.state.assign(name, value)
    return ExecResult.failure(1, "".join(complaints)) if complaints else ExecResult.success()


async def unset(shell: Shell, arguments: Sequence[str]) -> ExecResult:
    """Forget variables, and functions with `-f`."""
    is_function = "-f" in arguments
    for name in arguments:
        if name in ("-f", "-v", "--"):
            continue
        if is_function:
            shell.state.functions.pop(name, None)
        else:
            shell.state.unset(name)
    return ExecResult.success()


async def leave(shell: Shell, arguments: Sequence[str]) -> ExecResult:
    """Leave the shell, with the code of the last command if none is given."""
    if not arguments:
        raise Leave(shell.state.code)
    if len(arguments) > 1 or not (arguments[0].isascii() and arguments[0].isdigit()):
        return ExecResult.failure(USAGE, f"exit: {' '.join(arguments)}: give one number\n")
    raise Leave(int(arguments[0]) & 0xFF)


async def show_help(shell: Shell, arguments: Sequence[str]) -> ExecResult:
    """Explain the shell."""
    return ExecResult.success(HELP)


async def fg(shell: Shell, arguments: Sequence[str]) -> ExecResult:
    """Let a job go on in front."""

    @builtin(FG_MANUAL)
    async def bring(manager: JobManager, arguments: Sequence[str], report: Report) -> None:
        info = await chosen(manager, arguments, report)
        if info is None:
            return
        # Before what the job has to say.
        await shell.out.write(f"{command_of(info)}\n".encode("utf-8", "surrogateescape"))
        outcome = await shell.launcher.to_front(info.id)
        report.code = await shell.said_of(outcome)

    return await bring(shell.jobs, arguments)


async def disown(shell: Shell, arguments: Sequence[str]) -> ExecResult:
    """Forget jobs, and say what people may not expect of that."""
    before = [info for info in await shell.jobs.list() if not info.status.is_final]
    result = await BUILTINS["disown"](shell.jobs, arguments)
    warnings = [
        f"disown: {command_of(info)}: it still ends with this shell\n"
        for info in before
        if not await shell.jobs.exists(info.id)
    ]
    return replace(result, err=result.err + "".join(warnings).encode())


async def output(shell: Shell, arguments: Sequence[str]) -> ExecResult:
    """Print what a job has written."""

    @builtin(OUTPUT_MANUAL)
    async def show(manager: JobManager, arguments: Sequence[str], report: Report) -> None:
        flags, specs = OUTPUT_MANUAL.read(arguments)
        infos = await manager.list()
        if specs or not all(info.status.is_final for info in infos):
            info = await find_one(manager, specs, report)
        else:
            info = await _newest_that_wrote(manager, infos)
            if info is None:
                report.complain(NOTHING_WRITTEN)
        if info is not None:
            report.data = (info.id, "follow" in flags)

    found = await show(shell.jobs, arguments)
    if found.data is None:
        return found
    id, follows = found.data
    return await (_follow if follows else _read)(shell, id)


async def _newest_that_wrote(manager: JobManager, infos: Sequence[JobInfo]) -> JobInfo | None:
    for info in reversed(infos):
        chunk = await manager.read_output(info.id)
        if chunk is not None and (chunk.data or chunk.dropped):
            return info
    return None


async def _read(shell: Shell, id: JobId) -> ExecResult:
    chunk = await shell.jobs.read_output(id)
    if chunk is None:
        return ExecResult.failure(1, "output: the job is gone\n")
    dropped = f"output: {chunk.dropped} bytes before this are gone\n" if chunk.dropped else ""
    return ExecResult(0, chunk.data, dropped.encode())


async def _follow(shell: Shell, id: JobId) -> ExecResult:
    async for chunk in shell.jobs.follow(id):
        if chunk.dropped:
            await shell.say(f"output: {chunk.dropped} bytes are gone\n")
        await shell.out.write(chunk.data)
    return ExecResult.success()


def _on_cdpath(state: State, place: str) -> tuple[str, bool] | None:
    """Return what a place means with the first folder of CDPATH that has it, and whether to tell so."""
    if place.partition("/")[0] in ("", ".", ".."):
        return None
    for folder in (state.get("CDPATH") or "").split(":"):
        found = os.path.join(folder, place)
        if os.path.isdir(os.path.join(state.directory, found)):
            return found, bool(folder)
    return None


def _directory(here: str, place: str, *, is_physical: bool) -> str:
    """Return where going to a place leads. Raises the error that going there would bring."""
    directory = os.path.normpath(os.path.join(here, place))
    if is_physical:
        directory = _physical(directory)
    # Only a directory has something called `.` in it.
    os.stat(os.path.join(directory, "."))
    if not os.access(directory, os.X_OK):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
    return directory


def _physical(directory: str) -> str:
    return os.path.realpath(directory)


def _line(directory: str) -> bytes:
    return os.fsencode(directory) + b"\n"


Verb = Callable[["Shell", Sequence[str]], Awaitable[ExecResult]]

OWN_VERBS: Final[Mapping[str, Verb]] = {
    "cd": cd,
    "disown": disown,
    "exit": leave,
    "export": export,
    "fg": fg,
    "help": show_help,
    "output": output,
    "pwd": pwd,
    "unset": unset,
}
"""By the name that one types."""
