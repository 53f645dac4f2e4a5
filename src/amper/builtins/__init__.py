"""What a shell's prompt does to jobs, as functions: for an embedder's own shell.

    result = await builtins.kill(manager, ["-INT", "%1"])

Each takes a `JobManager` and the words behind its name. It acts on the manager, and returns what it
has to say: `out` for standard output, `err` for the messages, and the code that the shell's `$?`
gets. None of them raises for what was typed; `--help` explains each.
"""

from collections.abc import Mapping
from typing import Final

from amper.builtins.bg import bg
from amper.builtins.disown import disown
from amper.builtins.fg import fg
from amper.builtins.jobs import jobs
from amper.builtins.kill import kill
from amper.builtins.manual import Builtin
from amper.builtins.stop import stop
from amper.builtins.wait import wait

BUILTINS: Final[Mapping[str, Builtin]] = {
    "bg": bg,
    "disown": disown,
    "fg": fg,
    "jobs": jobs,
    "kill": kill,
    "stop": stop,
    "wait": wait,
}
"""All of them by the name that one types."""

__all__ = ["BUILTINS", "Builtin", "bg", "disown", "fg", "jobs", "kill", "stop", "wait"]
