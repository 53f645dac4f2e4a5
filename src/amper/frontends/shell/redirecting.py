"""What a builtin has said, for an sh that puts it where redirections and a pipeline want it."""

from __future__ import annotations

import os
import shlex
from types import TracebackType
from typing import Final, Self

from amper.frontends.shell.nameless import nameless_file
from amper.frontends.shell.plan import Own
from amper.values import ExecResult

_WRITE: Final = """\
cat 2>/dev/fd/{why} || {{
amper_code=1
if IFS= read -r amper_why </dev/fd/{why}
then printf '%s: %s\\n' {name} "${{amper_why#*: }}" >&2
fi
}}"""
"""The message is cat's, but what failed is the builtin. Without one a reader had enough."""

_PUT: Final = """\
{{
amper_code=0
{write}
cat /dev/fd/{err} >&2 && [ $amper_code = 0 ]
}} {redirections}"""


class Redirected:
    """What a builtin has said, in files without a name that are closed with the block."""

    def __init__(self, result: ExecResult) -> None:
        self._has_said = bool(result.out)
        self.out = nameless_file(result.out)
        """What is to be the standard input of the script."""
        self._err = nameless_file(result.err)
        self._why = nameless_file()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        for fd in (self.out, self._err, self._why):
            os.close(fd)

    @property
    def pass_fds(self) -> tuple[int, ...]:
        """What the script needs besides."""
        return self._err, self._why

    def script(self, step: Own) -> str:
        """Return what puts it where the step says."""
        # Where nothing is to be written it is no failure that nothing can be.
        write = _WRITE.format(why=self._why, name=shlex.quote(step.name))
        put = _PUT.format(
            write=write if self._has_said else ":", err=self._err, redirections=step.redirections
        )
        return f"{put} | {step.pipe}" if step.pipe else put
