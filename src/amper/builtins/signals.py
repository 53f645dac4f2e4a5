"""Signals by their names: as people type them, and as shells list them."""

from __future__ import annotations

import re
import signal

SIGNALED = 128
"""A shell adds to this the number of the signal that ended a program."""


def signal_number(name: str) -> int | None:
    """Return the signal that is called `TERM`, `SIGTERM`, `term`, `15` or `RTMIN+1`; None if none is."""
    if name.isascii() and name.isdigit():
        return _checked(int(name)) if len(name) <= 3 else None
    plain = name.upper().removeprefix("SIG")
    if plain == "EXIT":
        return 0
    if plain and (known := signal.Signals.__members__.get(f"SIG{plain}")) is not None:
        return known.value
    match = re.fullmatch(r"RTMIN\+(\d{1,2})|RTMAX-(\d{1,2})", plain)
    if match is None:
        return None
    number = signal.SIGRTMIN + int(match[1]) if match[1] else signal.SIGRTMAX - int(match[2])
    return number if signal.SIGRTMIN <= number <= signal.SIGRTMAX else None


def signal_name(number: int) -> str:
    """Return the name of a signal as shells print it: without `SIG`."""
    first, last = signal.SIGRTMIN, signal.SIGRTMAX
    if not first <= number <= last:
        return signal.Signals(number).name.removeprefix("SIG")
    from_first, from_last = number - first, last - number
    if from_first <= from_last:
        return f"RTMIN+{from_first}" if from_first else "RTMIN"
    return f"RTMAX-{from_last}" if from_last else "RTMAX"


def signal_names() -> list[str]:
    """Return the names of all signals, by number."""
    return [signal_name(number) for number in sorted(signal.valid_signals())]


def signal_of_code(text: str) -> int | None:
    """Return the signal that a number means: its own, or 128 + it, as in an exit code."""
    if not (text.isascii() and text.isdigit()) or len(text) > 3:
        return None
    number = int(text)
    return _checked(number - SIGNALED if number > SIGNALED else number)


def _checked(number: int) -> int | None:
    return number if number == 0 or number in signal.valid_signals() else None
