"""The line editor: prompt_toolkit, set up as a shell needs it."""

from __future__ import annotations

import contextlib
import io
import sys
from collections.abc import Coroutine
from typing import Any

from prompt_toolkit import PromptSession
from prompt_toolkit.enums import DEFAULT_BUFFER
from prompt_toolkit.filters import has_focus
from prompt_toolkit.formatted_text import StyleAndTextTuples
from prompt_toolkit.history import History
from prompt_toolkit.key_binding import KeyBindings, KeyPressEvent
from prompt_toolkit.output import ColorDepth
from prompt_toolkit.output.vt100 import Vt100_Output
from prompt_toolkit.shortcuts import CompleteStyle

from amper.frontends.shell.completing import ShellCompleter
from amper.frontends.shell.grammar import is_complete
from amper.frontends.shell.keyboard import Keyboard
from amper.frontends.shell.state import State
from amper.frontends.shell.tab import complete
from amper.job.table import JobTable

CONTINUATION = "> "


class CtrlD(Exception):
    """The person has pressed Ctrl-D on an empty line."""


class CtrlC(Exception):
    """The person does not want the line any more."""


class Editor:
    """Reads commands from the terminal, each as many lines as it takes."""

    def __init__(self, state: State, table: JobTable, history: History) -> None:
        self._state = state
        # A file of its own: what it cannot write any more, once the terminal is gone, is nobody's.
        self._screen = io.TextIOWrapper(
            io.FileIO(1, "w", closefd=False), encoding="utf-8", errors="replace"
        )
        output = Vt100_Output.from_pty(self._screen)
        # The terminal's answer, where it is slow, would be typed into the command that runs by then.
        output.enable_cpr = False
        keyboard = Keyboard(sys.stdin)
        self._session: PromptSession[str] = PromptSession(
            history=history,
            completer=ShellCompleter(state, table),
            complete_while_typing=False,
            complete_style=CompleteStyle.READLINE_LIKE,
            reserve_space_for_menu=0,
            multiline=True,
            prompt_continuation=CONTINUATION,
            key_bindings=_bindings(),
            eof_exception=CtrlD,
            interrupt_exception=CtrlC,
            input=keyboard,
            output=output,
            # Where it is not told, a line editor that is given its screen does not look at NO_COLOR.
            color_depth=ColorDepth.from_env(),
        )
        keyboard.is_line_over = lambda: self._session.app.is_done

    async def read(self) -> str:
        """Return the next command. Raises CtrlC, CtrlD, and EOFError if the terminal is gone.

        If this is cancelled the terminal is as it was before.
        """
        return await self._session.prompt_async(
            prompt_text(self._state), handle_sigint=False, set_exception_handler=False
        )

    def close(self) -> None:
        """Let go of the terminal."""
        with contextlib.suppress(OSError):
            self._screen.close()

    async def read_more(self) -> str:
        """Return another line of a command that was not complete after all."""
        return await self._session.prompt_async(
            CONTINUATION, handle_sigint=False, set_exception_handler=False
        )


def prompt_text(state: State) -> StyleAndTextTuples:
    """Return the prompt: `AMPER_PS1`, or the directory, and the last code if it is not 0."""
    directory = _short(state.directory, state.get("HOME"))
    own = state.get("AMPER_PS1")
    if own is not None:
        return [("", own.replace("{directory}", directory).replace("{code}", str(state.code)))]
    code: StyleAndTextTuples = [("ansired", f"[{state.code}] ")] if state.code else []
    return [("ansiblue", f"{directory} "), *code, ("", "$ ")]


def _short(directory: str, home: str | None) -> str:
    if home and home != "/" and (directory == home or directory.startswith(f"{home}/")):
        directory = f"~{directory[len(home) :]}"
    # A directory may be called anything; what is no text must not reach the terminal.
    return "".join(c if c.isprintable() else "?" for c in directory)


def _bindings() -> KeyBindings:
    bindings = KeyBindings()

    @bindings.add("enter", filter=has_focus(DEFAULT_BUFFER))
    def _(event: KeyPressEvent) -> None:
        # The keys that follow may be there already, so that nobody can be asked.
        buffer = event.current_buffer
        if is_complete(buffer.text):
            buffer.validate_and_handle()
        else:
            buffer.newline(copy_margin=False)

    @bindings.add("tab", filter=has_focus(DEFAULT_BUFFER))
    def _(event: KeyPressEvent) -> Coroutine[Any, Any, None] | None:
        return complete(event)

    @bindings.add("c-z")
    def _(event: KeyPressEvent) -> None:
        # It was meant for a job in front that is over, or has stopped, by now.
        pass

    return bindings
