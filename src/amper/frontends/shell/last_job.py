"""`$!`: the pid of the last job in the background, which no sh knows that did not start it."""

from __future__ import annotations

from amper.frontends.shell.grammar import read
from amper.frontends.shell.quoting import LAST_JOB_BEGINS


def with_last_job(text: str, pid: int | None) -> str:
    """Return the text with a value for each `$!` in it that sh would expand.

    An sh that starts a job in the background itself has a value of its own, which goes first.
    """
    if pid is None or not LAST_JOB_BEGINS.search(text):
        return text
    pieces = []
    at = 0
    for start, end in sorted(set(read(text).last_jobs)):
        pieces += [text[at:start], f"${{!:-{pid}}}"]
        at = end
    return "".join([*pieces, text[at:]])
