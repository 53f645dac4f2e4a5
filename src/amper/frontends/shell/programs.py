"""Which commands are programs: their sh makes room for them, so that the job is the program itself.

An sh that waits for a program sees no stop of it. Where a program stops itself alone, as less and all
that uses curses do, nobody would ever hear of it; and a job's pid and signal are then the program's.
"""

from __future__ import annotations

import os
import shutil
from typing import Final

from amper.frontends.shell.state import State

OF_SH: Final = frozenset({
    ".", ":", "[", "alias", "bg", "bind", "break", "builtin", "caller", "cd", "chdir", "command",
    "compgen", "complete", "compopt", "continue", "coproc", "declare", "dirs", "disown", "echo",
    "enable", "eval", "exec", "exit", "export", "false", "fc", "fg", "function", "getopts", "hash",
    "help", "history", "jobs", "kill", "let", "local", "logout", "mapfile", "popd", "print",
    "printf", "pushd", "pwd", "read", "readarray", "readonly", "return", "select", "set", "shift",
    "shopt", "source", "suspend", "test", "time", "times", "trap", "true", "type", "typeset",
    "ulimit", "umask", "unalias", "unset", "wait", "whence",
})  # fmt: skip
"""Names that an sh may have a builtin or a keyword for, of the same meaning or another one."""


def is_program(name: str, state: State) -> bool:
    """Return whether a command of this name runs a program, which is there."""
    if name in OF_SH or name in state.functions:
        return False
    # One that is not there is left to sh, which says so.
    if "/" in name:
        file = os.path.join(state.directory, name)
        return os.access(file, os.X_OK) and os.path.isfile(file)
    return shutil.which(name, path=state.get("PATH") or "") is not None
