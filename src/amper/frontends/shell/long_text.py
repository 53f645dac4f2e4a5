"""The arguments of an sh that runs a text, however long that is."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Final

SH: Final = "/bin/sh"

LONGEST: Final = 32 * 4096 - 1
"""The bytes of one argument (Linux's MAX_ARG_STRLEN, without the NUL)."""

_PIECE: Final = LONGEST // 4
"""Characters, each of which has at most four bytes."""


def sh_command(options: Sequence[str], text: str, positional: Sequence[str]) -> list[str]:
    """Return what is executed: one argument has the text, or several and one that puts it together."""
    if fits(text):
        return [SH, *options, "-c", text, *positional]
    name, *arguments = positional
    pieces = [text[start : start + _PIECE] for start in range(0, len(text), _PIECE)]
    together = "".join(f"${{{number}}}" for number, _ in enumerate(pieces, 1))
    joining = f'amper_text="{together}"; shift {len(pieces)}; eval "$amper_text"'
    return [SH, *options, "-c", joining, name, *pieces, *arguments]


def fits(text: str) -> bool:
    """Return whether one argument can hold a text."""
    return len(text) <= _PIECE or len(os.fsencode(text)) <= LONGEST
