"""A person at a prompt: reading, running, telling what became of jobs, and leaving.

1. Ctrl-C and Ctrl-Z go to the job in front, whose terminal it is. We hear of Ctrl-C only while a
   builtin runs, which it cancels; while a line is edited it is a key.
2. SIGTERM and SIGHUP end us, and all jobs with us. Whatever ends us, the terminal is set back.
3. While the jobs are ended, a second of these signals (SIGINT, SIGQUIT, SIGTERM, SIGHUP) kills them at once.
"""

from __future__ import annotations

import asyncio
import errno
import os
import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Final

from amper.builtins.listing import command_of
from amper.frontends.shell.asking import ends_too_early
from amper.frontends.shell.editor import CtrlC, CtrlD, Editor
from amper.frontends.shell.front import FrontLauncher
from amper.frontends.shell.history import history_of
from amper.frontends.shell.notices import Notices
from amper.frontends.shell.plain_editor import PlainEditor, has_screen
from amper.frontends.shell.plan import NOTHING
from amper.frontends.shell.session import INTERRUPTED, Output, Shell
from amper.frontends.shell.state import State
from amper.frontends.shell.verbs import Leave
from amper.manager import JobManager
from amper.process.terminals.terminal import Terminal

SYNTAX_ERROR: Final = 2

GONE: Final = 128 + signal.SIGHUP
"""What a shell ends with whose terminal is gone, whether or not it got the signal first."""

_ENDING: Final = (signal.SIGTERM, signal.SIGHUP)

_NOT_FOR_US: Final = (signal.SIGQUIT, signal.SIGTSTP)
"""Keys that mean the job in front; they reach us where none is. They are handled and not ignored,
since a command would inherit that."""


def prompt(
    state: State,
    out: Output,
    err: Output,
    options: Sequence[str] = (),
    pass_fds: Sequence[int] = (),
) -> int:
    """Be a shell until the person leaves; return the exit code. Commands get `pass_fds`, too."""
    terminal = Terminal.open()
    modes = None
    try:
        if terminal is not None:
            _wait_for_our_turn(terminal)
            modes = terminal.modes()
        with asyncio.Runner() as runner:
            return runner.run(_be_prompt(state, out, err, options, pass_fds))
    finally:
        if terminal is not None:
            if terminal.take_back() and modes is not None:
                terminal.set_modes(modes)
            terminal.close()


async def _be_prompt(
    state: State, out: Output, err: Output, options: Sequence[str], pass_fds: Sequence[int]
) -> int:
    with _deaf_at_the_end():
        return await _talk(state, out, err, options, pass_fds)


async def _talk(
    state: State, out: Output, err: Output, options: Sequence[str], pass_fds: Sequence[int]
) -> int:
    async with JobManager() as jobs:
        jobs.set_persist_output_files(False)
        launcher = FrontLauncher(jobs, out, pass_fds)
        shell = Shell(launcher, state, out, err, options=options)
        editor: Editor | PlainEditor
        if has_screen(os.environ):
            history, complaint = history_of(state.exported)
            await shell.say(complaint)
            editor = Editor(state, jobs.table, history)
        else:
            editor = PlainEditor(state)
        try:
            return await Prompt(shell, editor, launcher).run()
        finally:
            editor.close()
            await shell.aclose()


class Prompt:
    """The conversation with the person."""

    def __init__(self, shell: Shell, editor: Editor | PlainEditor, launcher: FrontLauncher) -> None:
        self._shell = shell
        self._state = shell.state
        self._editor = editor
        self._launcher = launcher
        self._notices = Notices(shell.jobs)
        self._told: signal.Signals | None = None
        self._was_warned = False
        self._has_run = False
        self._hurrying: asyncio.Task[None] | None = None

    async def run(self) -> int:
        """Talk until one side has enough; return the exit code."""
        task = asyncio.current_task()
        assert task is not None
        with self._handlers(task.cancel):
            while True:
                try:
                    if (code := await self._turn()) is not None:
                        return code
                except asyncio.CancelledError:
                    if self._told is not None:
                        return 128 + self._told
                    # It was Ctrl-C.
                    task.uncancel()
                    self._state.code = INTERRUPTED
                except OSError as error:
                    if error.errno != errno.EIO:
                        raise
                    return GONE
                except EOFError:
                    return GONE

    async def _turn(self) -> int | None:
        """Read and run one command; return the exit code if it is the last one."""
        await self._begin_line()
        await self._shell.say(await self._notices.take(self._shell.take_listed()))
        try:
            text = await self._read()
        except CtrlC:
            self._state.code = INTERRUPTED
            return None
        except CtrlD:
            return await self._leave(self._state.code)
        if not text.strip(NOTHING):
            return None
        self._has_run = True
        try:
            await self._shell.run_line(text)
        except Leave as leaving:
            return await self._leave(leaving.code)
        self._was_warned = False
        return None

    async def _read(self) -> str:
        """Return a command that sh understands, or "" after saying why it does not."""
        # No argument of a command can hold a NUL.
        text = (await self._editor.read()).replace("\0", "")
        while text.strip(NOTHING):
            complaint = await self._shell.sh.complaint(text)
            if complaint is None:
                return text
            if not ends_too_early(complaint):
                await self._shell.err.write(complaint.err)
                self._state.code = SYNTAX_ERROR
                return ""
            text = f"{text}\n{await self._editor.read_more()}"
        return ""

    async def _leave(self, code: int) -> int | None:
        """Return the code to leave with; None if the person should think again."""
        if self._was_warned:
            return code
        left = [info for info in await self._shell.jobs.list() if not info.status.is_final]
        behind = await self._launcher.left_behind()
        if not (left or behind):
            return code
        self._was_warned = True
        if left:
            kind = "stopped" if any(info.status == "stopped" for info in left) else "running"
            await self._shell.say(f"amper: there are {kind} jobs; leaving once more ends them\n")
        for info in behind:
            command = command_of(info)
            await self._shell.say(
                f"amper: something of `{command}` still runs; leaving once more ends it\n"
            )
        return None

    async def _begin_line(self) -> None:
        """Let the prompt begin a line, whatever was printed before it."""
        if not self._has_run or not has_screen(os.environ):
            return
        self._has_run = False
        try:
            # One that does not know it says 0; the line editor takes it for the same then.
            columns = os.get_terminal_size(1).columns or 80
        except OSError:
            return
        # Where the line has begun already this fills it and comes back; else it goes on to the next.
        mark = f"\x1b[7m%\x1b[0m{' ' * (columns - 1)}\r\x1b[K"
        await self._shell.out.write(mark.encode())

    @contextmanager
    def _handlers(self, cancel: Callable[[], object]) -> Iterator[None]:
        loop = asyncio.get_running_loop()
        # A handler that is taken away is called all the same if its signal was there already.
        is_over = False

        def end(number: signal.Signals) -> None:
            if not is_over:
                self._told = number
                cancel()

        def interrupt() -> None:
            # With a job in front this comes from elsewhere, and is no reason to leave it alone.
            if not (is_over or self._launcher.is_in_front):
                cancel()

        handled = []
        for number in _ENDING:
            # What whoever started us ignores, as nohup does with SIGHUP, stays ignored.
            if signal.getsignal(number) is not signal.SIG_IGN:
                loop.add_signal_handler(number, end, number)
                handled.append(number)
        loop.add_signal_handler(signal.SIGINT, interrupt)
        for number in _NOT_FOR_US:
            loop.add_signal_handler(number, lambda: None)
        try:
            yield
        finally:
            is_over = True
            for number in (*handled, signal.SIGINT, signal.SIGQUIT):
                loop.add_signal_handler(number, self._hurry)

    def _hurry(self) -> None:
        """Kill all jobs at once. It is the second time that somebody wants us to end."""
        if self._hurrying is None:
            killing = _kill_all(self._shell.jobs)
            self._hurrying = asyncio.create_task(killing)  # noqa: TID251 - it outlives our method.


async def _kill_all(jobs: JobManager) -> None:
    ids = await jobs.list_ids()
    await asyncio.gather(*(jobs.kill(id, grace_period=0, reason="leaving") for id in ids))


@contextmanager
def _deaf_at_the_end() -> Iterator[None]:
    """Let no signal hit us once there is nothing more to do than to set the terminal back."""
    try:
        yield
    finally:
        loop = asyncio.get_running_loop()
        for number in (*_ENDING, signal.SIGINT, *_NOT_FOR_US):
            # asyncio would bring back what raises KeyboardInterrupt.
            loop.remove_signal_handler(number)
            signal.signal(number, signal.SIG_IGN)


def _wait_for_our_turn(terminal: Terminal) -> None:
    """Stop until the shell that started us puts us in front."""
    while terminal.foreground is not None and not terminal.is_ours:
        signal.raise_signal(signal.SIGTTIN)
