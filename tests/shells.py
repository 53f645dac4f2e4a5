"""What bash and dash do, in front of a terminal, so that ours can be held against it."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from tests.end_to_end.console import console

SHELLS: Final = ("bash", "dash")

PRELUDE: Final = """
# Wait until the kernel shows a process in some state: T stopped, Z dead.
until_state() { while read -r _ _ state _ <"/proc/$1/stat" && [ "$state" != "$2" ]; do :; done; }
"""


def shell_says(shell: str, script: str, directory: Path) -> str:
    """Run a script with job control in a terminal of its own; return all that is printed."""
    file = directory / f"{shell}.sh"
    file.write_text(PRELUDE + script)
    with console(shell, "-m", str(file)) as person:
        said = person.rest().decode().replace("\r\n", "\n")
        person.code()
    return said
