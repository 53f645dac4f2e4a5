"""Our own environment, as exec takes it: encoded once, and again when somebody has changed it.

It is asked for with every command, and to look whether it is still the same costs a small part of
encoding it.
"""

from __future__ import annotations

import os

from amper.process.procfs import MARK


class OwnEnvironment:
    """The variables of this process."""

    __slots__ = ("_known", "_lines")

    def __init__(self) -> None:
        self._known: list[bytes] = []
        self._lines: list[bytes] = []

    def unmarked(self) -> list[bytes]:
        """Return a line for each variable that we have now, but none for a mark that we carry.

        Nobody may change the list: it is kept.
        """
        # What os.environ keeps it in spares ten times the price of decoding it.
        variables = getattr(os.environ, "_data", None)
        if not isinstance(variables, dict):
            variables = dict(os.environb)
        # Lists of the same objects are compared without a look into them, and dictionaries are not.
        known = [*variables, *variables.values()]
        if known != self._known:
            # A copy, in one step: another thread may change what would be iterated over.
            variables = dict(variables)
            self._known = [*variables, *variables.values()]
            lines = [name + b"=" + value for name, value in variables.items()]
            self._lines = [line for line in lines if not line.startswith(MARK)]
        return self._lines
