"""The `amper` command: one verb, one file. Everything heavy is imported by the verb that needs it."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from amper.frontends.cli import completion, run
from amper.frontends.cli.usage import USAGE_ERROR, UsageError


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code."""
    options = make_parser().parse_args(arguments)
    try:
        code: int = options.act(options)
    except UsageError as error:
        print(f"amper: {error}", file=sys.stderr)
        return USAGE_ERROR
    return code


def make_parser() -> argparse.ArgumentParser:
    """Return the parser of the whole command line."""
    parser = argparse.ArgumentParser(
        prog="amper",
        description="Job control: run commands, watch them, and end all that they started.",
        epilog="Exit codes: 0 ok, 1 failure, 2 usage, 124 timeout, 126 cannot be started, "
        "127 not found, 128+n died of signal n.",
    )
    parser.add_argument("--version", action=_Version, nargs=0, help="print the version and exit")
    verbs = parser.add_subparsers(title="verbs", metavar="VERB", required=True)
    run.add_to(verbs)
    completion.add_to(verbs)
    return parser


class _Version(argparse.Action):
    """Look the version up when it is asked for: that costs more than all the rest of the parser."""

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        from importlib.metadata import version

        print(f"amper {version('amper')}")
        parser.exit()
