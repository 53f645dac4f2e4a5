"""A builtin as one types it, and what it says."""

from __future__ import annotations

from typing import NamedTuple

from amper import JobManager
from amper.builtins import BUILTINS


class Said(NamedTuple):
    code: int
    out: str = ""
    err: str = ""


async def typed(manager: JobManager, line: str) -> Said:
    """Do what a line of words says."""
    verb, *words = line.split(" ")
    result = await BUILTINS[verb](manager, words)
    return Said(result.code, result.text_out(), result.text_err())
