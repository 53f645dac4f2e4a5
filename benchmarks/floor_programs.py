"""The C programs of `floor/`: built with the system's compiler when they are needed, and kept."""

from __future__ import annotations

import functools
import os
import shlex
import shutil
import subprocess
from pathlib import Path
from typing import Final

SOURCES: Final = Path(__file__).parent / "floor"
BUILD: Final = Path(__file__).parent.parent / "build" / "benchmarks"

WITHOUT_LIBC: Final = frozenset({"exit0", "pause"})
BARE_FLAGS: Final = ("-nostdlib", "-static", "-ffreestanding", "-fno-stack-protector")


class CannotBuild(Exception):
    """There is no floor to compare with."""


def compiler() -> list[str]:
    """Return the command of the system's C compiler. Raises CannotBuild if there is none."""
    command = shlex.split(os.environ.get("CC", "cc"))
    if not command or shutil.which(command[0]) is None:
        raise CannotBuild("no C compiler was found: install one (cc), or name it in $CC")
    return command


@functools.cache
def floor_program(name: str) -> str:
    """Return the path of a program of `floor/`, built anew if a source is newer than it.

    Raises CannotBuild.
    """
    program = BUILD / name
    newest = max(source.stat().st_mtime for source in SOURCES.iterdir())
    if not program.exists() or program.stat().st_mtime < newest:
        _build(name, program)
    return str(program)


def _build(name: str, program: Path) -> None:
    flags = BARE_FLAGS if name in WITHOUT_LIBC else ()
    BUILD.mkdir(parents=True, exist_ok=True)
    # Whoever runs the old one meanwhile goes on with it.
    fresh = program.with_suffix(f".{os.getpid()}")
    command = [*compiler(), "-O2", "-Wall", *flags, "-o", str(fresh), str(SOURCES / f"{name}.c")]
    if subprocess.run(command, check=False).returncode != 0:
        raise CannotBuild(f"{name}.c could not be built with: {shlex.join(command)}")
    fresh.replace(program)
