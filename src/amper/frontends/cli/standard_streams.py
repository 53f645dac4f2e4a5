"""Our three standard streams, and what else we were given, in whatever state we got them."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from typing import Final

from amper.frontends.cli.usage import FAILURE, PIPE_CLOSED, USAGE_ERROR, UsageError

# A command must find its input and output as closed as we found ours, and so they are opened for
# the wrong direction. What we have to say ourselves may as well go nowhere.
_STAND_INS: Final = (os.O_WRONLY, os.O_RDONLY, os.O_WRONLY)


class Outcome:
    """The exit code, once it is known."""

    code: int = FAILURE


def open_closed() -> None:
    """Let no other file get the number of a standard stream that was closed."""
    for fd, flags in enumerate(_STAND_INS):
        try:
            os.fstat(fd)
        except OSError:
            # The lowest free number is this one.
            os.open(os.devnull, flags)


def inherited() -> list[int]:
    """Return the descriptors beside the three that whoever started us meant for a command.

    A shell's `<(...)`, make's jobserver. Nothing that Python opens can be inherited.
    """
    found = []
    for fd in map(int, os.listdir("/proc/self/fd")):
        # The listing's own is closed by now.
        with contextlib.suppress(OSError):
            if fd > 2 and os.get_inheritable(fd):
                found.append(fd)
    return found


def complain(message: str) -> None:
    """Say what is wrong on standard error."""
    print_error(f"amper: {message}\n".encode("utf-8", "surrogateescape"))


def print_error(text: bytes) -> None:
    """Write to standard error; if that cannot be, there is nobody to tell."""
    with contextlib.suppress(OSError):
        os.write(2, text)


@contextlib.contextmanager
def checked() -> Iterator[Outcome]:
    """Turn what can go wrong with a verb, and with its printing, into a message and an exit code."""
    outcome = Outcome()
    try:
        try:
            yield outcome
        except SystemExit as error:  # argparse has said all there is to say.
            outcome.code = error.code if isinstance(error.code, int) else FAILURE
        if sys.stdout is not None:
            sys.stdout.flush()
    except UsageError as error:
        complain(str(error))
        outcome.code = USAGE_ERROR
    except BrokenPipeError:
        _discard_output()
        outcome.code = PIPE_CLOSED
    except OSError as error:
        _discard_output()
        complain(error.strerror or str(error))
        outcome.code = FAILURE


def _discard_output() -> None:
    """Let Python not find out once more, at its end, that its buffer cannot be written."""
    with contextlib.suppress(OSError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
