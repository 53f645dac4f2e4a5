"""A shell: runs texts step by step. It does not know where they come from."""

from __future__ import annotations

import os
import signal
from collections.abc import Sequence
from typing import Final, Protocol

from amper.builtins import BUILTINS
from amper.frontends.shell.asking import CannotExpand, Sh
from amper.frontends.shell.changes import Changes, called
from amper.frontends.shell.grammar import read
from amper.frontends.shell.launching import Launcher, Order, Outcome
from amper.frontends.shell.nameless import told, told_file
from amper.frontends.shell.plan import (
    Assign,
    Background,
    Linked,
    Ours,
    Outside,
    Own,
    Step,
    plan,
    plan_script,
    starts_unseen,
)
from amper.frontends.shell.programs import is_program
from amper.frontends.shell.redirecting import Redirected
from amper.frontends.shell.state import State
from amper.frontends.shell.verbs import OWN_VERBS, Leave
from amper.values import ExecResult, JobId, JobStatus

INTERRUPTED: Final = 128 + signal.SIGINT

_LASTING: Final = frozenset({"alias", "set", "trap", "ulimit", "umask", "."})
"""What changes the sh that runs it, and is typed alone for the lines that follow. There it is lost."""

UNSEEN: Final = (
    "amper: what `&` starts in there is no job here; `wait` on the same line waits for it\n"
)

_SILENT: Final = frozenset({signal.SIGINT, signal.SIGPIPE})
"""Nobody has to be told that these ended a command."""


class Interrupted(Exception):
    """Ctrl-C ended a command in front: the rest of the line is not wanted any more."""


class Output(Protocol):
    """Where a shell says something."""

    async def write(self, data: bytes) -> None:
        """Write all of it."""


class Shell:
    """Runs texts, and keeps what one leaves to the next."""

    def __init__(
        self,
        launcher: Launcher,
        state: State,
        out: Output,
        err: Output,
        *,
        options: Sequence[str] = (),
        is_script: bool = False,
    ) -> None:
        self.launcher = launcher
        self.jobs = launcher.jobs
        self.state = state
        self.sh = Sh(state, self._asked)
        self.out = out
        self.err = err
        self.options = tuple(options)
        """What each sh is started with."""
        self.is_script = is_script
        """Whether it ends where one sh for all of the text would give up."""
        self._listed: dict[JobId, JobStatus] = {}

    async def run_line(self, text: str) -> None:
        """Run what a person has typed. Raises Leave when that is to leave the shell."""
        parsed = read(text)
        # Those of a function are in its own text.
        all_texts = (parsed, *map(read, called(text, self.state.functions)[1:]))
        steps = plan(parsed, OURS, inner_jobs=any(each.inner_jobs for each in all_texts))
        await self._run(steps)
        if self.state.code == 0:
            await self.say("".join(map(_said_of_what_is_lost, steps)))
            if starts_unseen(parsed) and not any(
                isinstance(step, Outside) and "wait" in step.text for step in steps
            ):
                await self.say(UNSEEN)

    async def run_script(self, text: str) -> None:
        """Run a text that nothing comes after. Raises Leave when it leaves the shell."""
        await self._run(plan_script(read(text), OURS))

    async def say(self, text: str) -> None:
        """Print text for the person, on standard error as shells do."""
        await self.err.write(text.encode("utf-8", "surrogateescape"))

    def take_listed(self) -> dict[JobId, JobStatus]:
        """Return the jobs that `jobs` has shown since the last call, as they were then."""
        listed, self._listed = self._listed, {}
        return listed

    async def aclose(self) -> None:
        """End what the shell has asked sh; its jobs are the manager's."""
        await self.sh.aclose()

    async def _run(self, steps: Sequence[Step]) -> None:
        for step in steps:
            try:
                match step:
                    case Background():
                        await self._start(step)
                    case Linked():
                        await self._link(step)
                    case Outside():
                        self.state.code = await self._outside(step)
            except Interrupted:
                self.state.code = INTERRUPTED
                return

    async def _link(self, step: Linked) -> None:
        is_last = False
        for connector, part in step.links:
            if connector == ("||" if self.state.code == 0 else "&&"):
                is_last = False
                continue
            self.state.code = await self._part(part)
            is_last = part is step.links[-1][1]
        if self.state.code and is_last and not part.text.startswith("!") and "-e" in self.options:
            raise Leave(self.state.code)

    async def _part(self, part: Own | Assign | Outside) -> int:
        match part:
            case Outside():
                return await self._outside(part, is_linked=True)
            case Assign():
                return await self._assign(part)
            case Own():
                code = await self._own(part)
                return int(code == 0) if part.is_negated else code

    # Commands of others.

    async def _outside(self, step: Outside, *, is_linked: bool = False) -> int:
        if step.is_last:
            return await self._in_front(self._order(step.text, step.text))
        is_fatal = "-e" in self.options and not is_linked
        program = self._program(step)
        changes = Changes.by(step.text, self.state.functions)
        if is_fatal or (program is None and (self.is_script or changes.are_possible)):
            code = await self._watched(step, changes, is_fatal=is_fatal)
        else:
            options = tuple(option for option in self.options if option != "-e")
            code = await self._in_front(
                self._order(program or step.text, step.text, options=options)
            )
        self.state.functions.update(step.functions)
        return code

    async def _watched(self, step: Outside, changes: Changes, *, is_fatal: bool) -> int:
        """Run what may change the shell: behind its end an sh tells what it has become."""
        with told_file() as file:
            order = self._order(
                step.text + changes.telling(f"/dev/fd/{file}"),
                step.text,
                pass_fds=(file,),
                options=tuple(o for o in self.options if o != "-e" or is_fatal),
            )
            outcome = await self.launcher.in_front(order)
            text = told(file)
        code = await self.said_of(outcome)
        # An sh that gives up in the middle of a line is no reason to send the person away.
        may_end = self.is_script or changes.may_leave
        ended = may_end and not (outcome.is_stopped or outcome.signal or outcome.complaint)
        if not changes.take(text, self.state) and (is_fatal or ended):
            raise Leave(code)
        return code

    async def _asked(self, question: str, title: str) -> ExecResult:
        """Run in front what an sh has to run for an answer."""
        with told_file() as file:
            script = f"{{ {question}\n}} >/dev/fd/{file}"
            order = self._order(script, title, pass_fds=(file,), options=())
            code = await self._in_front(order)
            return ExecResult(code, os.fsencode(told(file)))

    async def _in_front(self, order: Order) -> int:
        return await self.said_of(await self.launcher.in_front(order))

    async def said_of(self, outcome: Outcome) -> int:
        """Say what prevented the start or what a signal has done; raise Interrupted if it was Ctrl-C."""
        await self.err.write(outcome.complaint)
        if outcome.signal is not None and outcome.signal not in _SILENT:
            await self.say(f"{signal.strsignal(outcome.signal) or outcome.signal}\n")
        if outcome.signal == signal.SIGINT:
            raise Interrupted
        return outcome.code

    async def _start(self, step: Background) -> None:
        order = self._order(self._program(step) or step.text, step.text)
        id = await self.launcher.in_background(order)
        self.state.code = 0
        process = await self.jobs.get_process_info(id)
        if process is not None:
            self.state.last_job = process[0]
        await self.say(await self.launcher.announcement(id))

    def _program(self, step: Outside | Background) -> str | None:
        """Return a text that lets sh become the program that the step is; None if it is none."""
        only = step.only
        if only is None or not is_program(only.name, self.state):
            return None
        return f"{step.text[: only.at]}exec {step.text[only.at :]}"

    def _order(
        self,
        script: str,
        title: str,
        *,
        stdin: int | None = None,
        pass_fds: tuple[int, ...] = (),
        options: tuple[str, ...] | None = None,
    ) -> Order:
        state = self.state
        return Order(
            state.prepared(script, title),
            title,
            state.place,
            dict(state.exported),
            state.positional,
            self.options if options is None else options,
            stdin,
            pass_fds,
        )

    # What is ours.

    async def _assign(self, step: Assign) -> int:
        try:
            values, said = await self.sh.assigned(step.names, step.text)
        except CannotExpand as error:
            return await self._complain(error.result)
        await self.err.write(said.err)
        for name, value in zip(step.names, values, strict=True):
            self.state.assign(name, value)
        return said.code

    async def _complain(self, result: ExecResult) -> int:
        await self.err.write(result.err)
        return result.code

    async def _own(self, step: Own) -> int:
        try:
            values, _ = await self.sh.assigned(step.names, step.assignments)
            with self.state.overlaid(dict(zip(step.names, values, strict=True))):
                expand = self.sh.declared if step.name == "export" else self.sh.expand
                result = await self._act(step.name, await expand(step.words))
        except CannotExpand as error:
            return await self._complain(error.result)
        if step.pipe or step.redirections:
            return await self._redirect(step, result)
        await self.out.write(result.out)
        await self.err.write(result.err)
        return result.code

    async def _act(self, name: str, arguments: Sequence[str]) -> ExecResult:
        verb = OWN_VERBS.get(name)
        if verb is not None:
            return await verb(self, arguments)
        result = await BUILTINS[name](self.jobs, arguments)
        if name == "jobs" and result.data:
            self._listed |= {JobId(job["id"]): JobStatus(job["status"]) for job in result.data}
        return result

    async def _redirect(self, step: Own, result: ExecResult) -> int:
        """Let sh put what a builtin has said where it belongs."""
        with Redirected(result) as said:
            order = self._order(
                said.script(step), step.text, stdin=said.out, pass_fds=said.pass_fds
            )
            code = await self._in_front(order)
        # Of a pipeline the last command's code counts, and of a builtin its own.
        return code if step.pipe or code else result.code


def _said_of_what_is_lost(step: Step) -> str:
    """Return what to say of a command that stands alone and sets something for the next line."""
    if not isinstance(step, Outside) or step.only is None or step.only.name not in _LASTING:
        return ""
    _, *arguments = step.text[step.only.at :].split()
    if step.only.name == "set":
        # The words that it sets last.
        is_lost = arguments != [] and arguments[0] != "--" and arguments[0][0] in "-+"
    else:
        # `umask -S` and `ulimit -n` ask.
        is_lost = arguments != [] and not arguments[-1].startswith("-")
    return f"amper: `{step.only.name}` lasts to the end of its line\n" if is_lost else ""


def _is_ours(name: str) -> bool:
    return name in OWN_VERBS or name in BUILTINS


def _is_only_ours(name: str) -> bool:
    return name in BUILTINS or name in ("output", "help")


OURS: Final = Ours(_is_ours, _is_only_ours)
