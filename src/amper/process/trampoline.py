"""A step between fork and exec: `/bin/sh` takes it, and then becomes the program.

It costs a second exec, so it is there only when asked for. What the shell does not hand on: variables
whose names are no shell's (dash drops them), and `IFS`. Signals are as without it, since a shell that
is not interactive leaves them alone.
"""

from __future__ import annotations

import copy
import errno
import os
import stat
from typing import Final

from amper.process.spawn import Program, exec_failure

SHELL: Final = b"/bin/sh"

_OWN_VARIABLES: Final = (b"PWD", b"OLDPWD")
"""What shells add to the environment by themselves, beside bash's `SHLVL`, which it cannot leave."""


def through_shell(
    program: Program,
    step: str,
    *,
    shells: tuple[bytes, ...] = (SHELL,),
    pass_fds: tuple[int, ...] = (),
) -> Program:
    """Return what executes `program` after `step`: a script that ends in `exec "$@"`.

    The first of `shells` that is there runs it, and acts as `sh` whatever it is.
    Raises CannotStart where it is known by now that the program cannot be executed: with the reason
    that a start without a trampoline would give.
    """
    file = find_executable(program)
    environment = os.environb if program.environment is None else None
    names = environment or {line.partition(b"=")[0] for line in program.environment or ()}
    added = b" ".join(name for name in _OWN_VARIABLES if name not in names)
    script = (b"unset " + added + b"; " if added else b"") + step.encode()
    words = list(program.arguments)
    if words[0].startswith(b"-"):
        # `exec` would take it for an option, and not every shell knows `exec --`.
        words[0] = os.path.join(program.cwd or b"", file)
    trampoline = copy.copy(program)
    trampoline.arguments = [b"/bin/sh", b"-c", script, b"sh", *words]
    trampoline.executables = shells
    trampoline.passed_fds = tuple(sorted({*program.passed_fds, *pass_fds}))
    return trampoline


def find_executable(program: Program) -> bytes:
    """Return which of its files exec takes. Raises CannotStart if it takes none.

    A working directory that is not there is left to the child to tell.
    """
    if program.cwd is not None and not os.access(program.cwd + b"/.", os.X_OK, effective_ids=True):
        return program.executables[0]
    failure = 0
    for file in program.executables:
        code = _why_not(os.path.join(program.cwd or b"", file), program.cwd)
        if code == 0:
            return file
        # As exec does along PATH: what is not there counts only if nothing else went wrong.
        if not failure or failure in (errno.ENOENT, errno.ENOTDIR):
            failure = code
    raise exec_failure(b"OSError:%x:" % failure, program)


def _why_not(path: bytes, cwd: bytes | None) -> int:
    """Return the number of the error that exec would give for a file; 0 if there is none to be seen."""
    try:
        mode = os.stat(path).st_mode
    except OSError as error:
        return error.errno or errno.ENOENT
    if not stat.S_ISREG(mode) or not os.access(path, os.X_OK, effective_ids=True):
        return errno.EACCES
    try:
        with open(path, "rb", buffering=0) as file:
            first = file.read(256)
    except OSError:
        return 0  # It may be executed and not read.
    words = first[2:].split(b"\n", 1)[0].split() if first.startswith(b"#!") else []
    if words and not os.path.exists(os.path.join(cwd or b"", words[0])):
        return errno.ENOENT
    return 0
