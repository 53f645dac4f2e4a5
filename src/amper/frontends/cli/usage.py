"""What every verb says when the command line asks for something that cannot be."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    Verbs = argparse._SubParsersAction[argparse.ArgumentParser]

USAGE_ERROR: Final = 2


class UsageError(Exception):
    """The message says what is wrong and what to do instead."""


def needs_extra(package: str, verb: str) -> UsageError:
    """Explain that a library of the `cli` extra is missing."""
    return UsageError(f"{verb} needs {package}, which is not installed: pip install 'amper[cli]'")
