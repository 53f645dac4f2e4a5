"""The `amper` command: one verb, one file. Everything heavy is imported by the verb that needs it."""

from __future__ import annotations

import signal
import sys
from collections.abc import Sequence


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line, as a process of its own, and return its exit code."""
    try:
        import amper.process  # noqa: F401 - it is for one kind of system, and says so.
    except ImportError as error:
        sys.stderr.write(f"amper: {error}\n")
        return 1
    # Until there are jobs, there is nothing to do about Ctrl-C but to die of it, without a word.
    # It comes first because it may be pressed during the imports.
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    # Where our parent ignores it the kernel reaps, and throws away what our jobs came to.
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    from amper.frontends.cli import standard_streams

    standard_streams.open_closed()
    with standard_streams.checked() as outcome:
        from amper.frontends.cli.parser import make_parser

        options = make_parser().parse_args(arguments)
        outcome.code = options.act(options)
    return outcome.code
