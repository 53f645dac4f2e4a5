"""`amper completion SHELL`: a script that teaches a shell to complete `amper`."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from amper.frontends.cli.usage import needs_extra

if TYPE_CHECKING:
    from amper.frontends.cli.usage import Verbs


def add_to(verbs: Verbs) -> None:
    """Add the verb to the command line."""
    parser = verbs.add_parser(
        "completion",
        help="print a completion script for a shell",
        description="Print a completion script. "
        'For this session: eval "$(amper completion bash)"; put that line into your ~/.bashrc to keep it.',
    )
    parser.add_argument("shell", choices=["bash", "zsh", "tcsh"], help="the shell to complete in")
    parser.set_defaults(act=act)


def act(options: argparse.Namespace) -> int:
    """Print the script."""
    try:
        import shtab
    except ImportError:
        raise needs_extra("shtab", "amper completion") from None
    from amper.frontends.cli import make_parser

    print(shtab.complete(make_parser(), options.shell))
    return 0
