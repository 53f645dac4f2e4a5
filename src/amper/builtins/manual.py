"""What all builtins have in common: options, `--help`, errors of usage, and a report.

A builtin reports everything and raises nothing for what was typed: a target that fails is one line
in `err`, and the others have their turn.
"""

from __future__ import annotations

import functools
import getopt
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from amper.errors import AmbiguousJobSpec, InvalidJobSpec, NoSuchJob
from amper.job.jobspec import is_id
from amper.manager import JobManager
from amper.values import ExecResult, JobId, JobInfo

Builtin = Callable[[JobManager, Sequence[str]], Coroutine[Any, Any, ExecResult]]

USAGE: Final = 2

_SPECS: Final = "A job is %1, %+ (current), %- (previous), %name, or %?text."

UNRESOLVED: Final = (AmbiguousJobSpec, InvalidJobSpec, NoSuchJob)


class UsageError(Exception):
    """The arguments make no sense; the message says which one."""


class HelpAsked(Exception):
    """Somebody wants to know how it is used."""


@dataclass(frozen=True)
class Manual:
    """How a builtin is used. `flags` are its options without a value: letter or word, and meaning."""

    synopsis: str
    text: str
    flags: dict[str, str] = field(default_factory=dict)

    @property
    def verb(self) -> str:
        """What one types."""
        return self.synopsis.partition(" ")[0]

    @property
    def help(self) -> str:
        """All of it, for people."""
        return f"usage: {self.synopsis}\n\n{self.text.strip()}\n\n{_SPECS}\n"

    def read(self, arguments: Sequence[str]) -> tuple[set[str], list[str]]:
        """Return the meanings of the flags that are set, and the words behind them."""
        letters = "".join(flag for flag in self.flags if len(flag) == 1)
        words = [flag for flag in self.flags if len(flag) > 1]
        try:
            options, rest = getopt.getopt(list(arguments), letters, [*words, "help"])
        except getopt.GetoptError as error:
            raise UsageError(error.msg) from None
        found = {option.lstrip("-") for option, _ in options}
        if "help" in found:
            raise HelpAsked
        return {self.flags[option] for option in found}, rest


class Report:
    """What a builtin has to say, as it comes together."""

    def __init__(self, verb: str) -> None:
        self.code = 0
        self.data: Any = None
        self._verb = verb
        self._out: list[str] = []
        self._err: list[str] = []

    def say(self, line: str) -> None:
        """Print a line."""
        self._out.append(f"{line}\n")

    def complain(self, message: object, code: int = 1) -> None:
        """Print a message; the code is that of the last one."""
        self._err.append(f"{self._verb}: {message}\n")
        self.code = code

    def result(self) -> ExecResult:
        """Return all of it."""
        said = ExecResult.success("".join(self._out))
        complaints = ExecResult.failure(self.code, "".join(self._err))
        return ExecResult(self.code, said.out, complaints.err, self.data)


Action = Callable[[JobManager, Sequence[str], Report], Awaitable[None]]


def builtin(manual: Manual) -> Callable[[Action], Builtin]:
    """Make a builtin of what it does with its arguments."""

    def make(action: Action) -> Builtin:
        # The parameters of the action are not those of the builtin.
        @functools.wraps(action, assigned=("__doc__", "__module__", "__name__", "__qualname__"))
        async def run(manager: JobManager, arguments: Sequence[str] = ()) -> ExecResult:
            if isinstance(arguments, str):
                raise TypeError("arguments are several: give a list of str, not one str")
            report = Report(manual.verb)
            try:
                await action(manager, arguments, report)
            except HelpAsked:
                return ExecResult.success(manual.help)
            except UsageError as error:
                message = f"{manual.verb}: {error}\nusage: {manual.synopsis}\n"
                return ExecResult.failure(USAGE, message)
            return report.result()

        del run.__wrapped__
        return run

    return make


async def find(manager: JobManager, spec: str, report: Report, *, code: int = 1) -> JobInfo | None:
    """Return the job that is meant; None where there is none, which is in the report then."""
    try:
        id = await manager.resolve(spec)
    except UNRESOLVED as error:
        report.complain(error, code)
        return None
    return await manager.get(id)


async def find_by_pid(manager: JobManager, text: str) -> JobInfo | None:
    """Return the job whose leader has, or had, that pid; None if there is none, or it is no pid."""
    if not is_id(text):
        return None
    with_pid = [info for info in await manager.list() if str(info.pid) == text.lstrip("0")]
    # A number that was used again belongs to the younger one.
    return with_pid[-1] if with_pid else None


async def find_one(manager: JobManager, specs: Sequence[str], report: Report) -> JobInfo | None:
    """Do as `find` does for the one job that is named, and for the current one if none is."""
    if len(specs) > 1:
        raise UsageError("one job at a time")
    return await find(manager, specs[0] if specs else "%+", report)


async def found(manager: JobManager, specs: Sequence[str], report: Report) -> list[JobInfo]:
    """Return the jobs that are meant, each once; those that are not there are in the report."""
    infos: dict[JobId, JobInfo] = {}
    for spec in specs:
        info = await find(manager, spec, report)
        if info is not None:
            infos.setdefault(info.id, info)
    return list(infos.values())
