"""What every verb says when the command line asks for something that cannot be."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    Verbs = argparse._SubParsersAction[argparse.ArgumentParser]

FAILURE: Final = 1

USAGE_ERROR: Final = 2

PIPE_CLOSED: Final = 141
"""What a shell says of a program that SIGPIPE ended."""


class UsageError(Exception):
    """The message says what is wrong and what to do instead."""


def needs_extra(package: str, verb: str, *, extra: str = "cli") -> UsageError:
    """Explain that a library of an extra is missing."""
    return UsageError(
        f"{verb} needs {package}, which is not installed: pip install 'amper[{extra}]', "
        f"or '.[{extra}]' in a checkout"
    )
