"""What one command of a shell leaves to the next: directory, variables, functions, the last code."""

from __future__ import annotations

import contextlib
import os
import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from amper.frontends.shell.anchor import Anchor
from amper.frontends.shell.last_job import with_last_job

NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")

_USES_CODE: Final = re.compile(r"\$\{?\?")


class State:
    """The shell's own variables; none of them is our process's."""

    def __init__(
        self, environment: Mapping[str, str], positional: Sequence[str] = ("amper",)
    ) -> None:
        self.exported = dict(environment)
        self.plain: dict[str, str] = {}
        self.functions: dict[str, str] = {}
        self.positional = tuple(positional)
        """`$0`, `$1`, ..."""
        self.code = 0
        self.last_job: int | None = None
        """`$!`: the pid of the last job in the background."""
        self._to_export: set[str] = set()
        self.directory = _first_directory(self.exported.get("PWD"))
        self.exported["PWD"] = self.directory
        self._anchor = Anchor(self.directory)

    @property
    def place(self) -> str:
        """Where commands start: the directory by its name, or by our hold on it if that is gone."""
        return self._anchor.path

    def get(self, name: str) -> str | None:
        """Return a variable's value."""
        return self.plain.get(name, self.exported.get(name))

    def assign(self, name: str, value: str) -> None:
        """Set a variable, which stays as exported as it was."""
        if name in self.exported or name in self._to_export:
            self.exported[name] = value
        else:
            self.plain[name] = value

    def export(self, name: str) -> None:
        """Give a variable to commands, now or when it is set."""
        self._to_export.add(name)
        if name in self.plain:
            self.exported[name] = self.plain.pop(name)

    def unset(self, name: str) -> None:
        """Forget a variable."""
        for known in (self.plain, self.exported):
            known.pop(name, None)
        self._to_export.discard(name)

    @contextlib.contextmanager
    def overlaid(self, values: Mapping[str, str]) -> Iterator[None]:
        """Let variables have other values for a while."""
        before = {name: self.get(name) for name in values}
        for name, value in values.items():
            self.assign(name, value)
        try:
            yield
        finally:
            for name, old in before.items():
                if old is None:
                    self.unset(name)
                else:
                    self.assign(name, old)

    def move(self, directory: str, before: str | None = None) -> None:
        """Let what comes run somewhere else; `before` is where `cd -` leads then."""
        before = self.directory if before is None else before
        if before:
            self.exported["OLDPWD"] = before
        anchor = Anchor(directory)
        if anchor.holds or directory != self.directory:
            self._anchor = anchor
        self.exported["PWD"] = self.directory = directory

    def prepared(self, script: str, text: str) -> str:
        """Return a script that an sh runs as if it knew of all that was before; `text` uses it."""
        return with_last_job(self.prelude(text) + script, self.last_job)

    def prelude(self, text: str) -> str:
        """Return what makes an sh ready for `text`: it sets what is not in the environment."""
        lines = [*self.functions.values()]
        lines += [f"{name}={shlex.quote(value)}" for name, value in self.plain.items()]
        if self.code and _USES_CODE.search(text):
            # The first needs no process, and does not end an sh that ends with the first failure.
            lines.append("! :" if self.code == 1 else f"(exit {self.code})")
        return "".join(f"{line}\n" for line in lines)


def _first_directory(claimed: str | None) -> str:
    """Return where we are, by the name that our parent knows it by if that is true."""
    try:
        here = os.stat(".")
        if (
            claimed is not None
            and claimed.startswith("/")
            and os.path.samestat(os.stat(claimed), here)
        ):
            return os.path.normpath(claimed)
    except OSError:
        pass  # That name leads nowhere any more.
    try:
        return os.getcwd()
    except FileNotFoundError:
        return "/"
