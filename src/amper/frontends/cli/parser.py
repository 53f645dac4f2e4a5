"""The command line as a whole: every verb adds itself."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING, Any, NoReturn

from amper.frontends.cli import completion, run, shell
from amper.frontends.cli.usage import USAGE_ERROR

if TYPE_CHECKING:
    from _typeshed import SupportsWrite

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
    """The parser of all, and of each verb: help is shown as it was written, and each has its own."""

    def __init__(self, **options: Any) -> None:
        super().__init__(
            formatter_class=argparse.RawDescriptionHelpFormatter,
            # An abbreviation that works today is ambiguous with the next option that we add.
            allow_abbrev=False,
            **options,
        )

    def print_help(self, file: SupportsWrite[str] | None = None) -> None:
        """Print it. Where that cannot be, argparse itself would say nothing."""
        print(self.format_help(), end="", file=file)

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """Parse what is for this verb; what nobody knows is this verb's mistake, and not its parent's."""
        found, unknown = super().parse_known_args(args, namespace)
        if unknown:
            self.error(f"unrecognized arguments: {' '.join(unknown)}")
        return found, unknown

    def error(self, message: str) -> NoReturn:
        """Explain a mistake, and leave."""
        self.print_usage(sys.stderr)
        self.exit(USAGE_ERROR, f"{self.prog}: {message}: try {self.prog} --help\n")


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
