"""The command line as a whole: every verb adds itself."""

from __future__ import annotations

import argparse
from typing import Any

from amper.frontends.cli import completion, run, shell

EPILOG = """\
exit codes:
  0 ok, 1 failure, 2 usage, 124 timeout, 126 cannot be started, 127 not found,
  128+n died of signal n (130 Ctrl-C, 141 nobody reads our output)

`amper VERB --help` tells more.
"""


def make_parser() -> argparse.ArgumentParser:
    """Return the parser of the whole command line."""
    parser: argparse.ArgumentParser = _Parser(
        prog="amper",
        description="Job control: run commands, watch them, and end all that they started.",
        epilog=EPILOG,
    )
    parser.add_argument("--version", action=_Version, nargs=0, help="print the version and exit")
    verbs = parser.add_subparsers(title="verbs", metavar="VERB", required=True)
    run.add_to(verbs)
    shell.add_to(verbs)
    completion.add_to(verbs)
    return parser


class _Parser(argparse.ArgumentParser):
    """The parser of all, and of each verb: help is shown as it was written."""

    def __init__(self, **options: Any) -> None:
        super().__init__(
            formatter_class=argparse.RawDescriptionHelpFormatter,
            # An abbreviation that works today is ambiguous with the next option that we add.
            allow_abbrev=False,
            **options,
        )


class _Version(argparse.Action):
    """Look the version up when it is asked for: that costs more than all the rest of the parser."""

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        from importlib.metadata import PackageNotFoundError, version

        try:
            number = version("amper")
        except PackageNotFoundError:  # It runs from a folder of sources.
            number = "(not installed)"
        print(f"amper {number}")
        parser.exit()
