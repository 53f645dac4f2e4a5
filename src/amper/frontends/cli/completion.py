"""`amper completion SHELL`: a script that teaches a shell to complete `amper`."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any, Final

from amper.frontends.cli.usage import needs_extra

if TYPE_CHECKING:
    from amper.frontends.cli.usage import Verbs

PROGRAM_AND_ARGUMENTS: Final[dict[str, Any]] = {
    "bash": "_amper_program_or_file",
    "zsh": "_normal",
    "tcsh": "c",
    "preamble": {
        "bash": """\
_amper_program_or_file() {
  case ${COMP_WORDS[COMP_CWORD-1]} in run | --) compgen -c -- "$1" ;; esac
  compgen -f -- "$1"
}
"""
    },
}
"""How each shell completes another command within ours, as shtab wants it."""

DESCRIPTION = """\
Print a completion script.

  bash: eval "$(amper completion bash)" in ~/.bashrc
  zsh:  eval "$(amper completion zsh)" in ~/.zshrc, after compinit
  tcsh: amper completion tcsh > ~/.amper.csh, and source ~/.amper.csh in ~/.tcshrc
"""


def add_to(verbs: Verbs) -> None:
    """Add the verb to the command line."""
    parser = verbs.add_parser(
        "completion",
        help="print a completion script for a shell",
        description=DESCRIPTION,
    )
    parser.add_argument("shell", choices=["bash", "zsh", "tcsh"], help="the shell to complete in")
    parser.set_defaults(act=act)


def act(options: argparse.Namespace) -> int:
    """Print the script."""
    try:
        import shtab
    except ImportError:
        raise needs_extra("shtab", "amper completion") from None
    from amper.frontends.cli.parser import make_parser

    print(shtab.complete(make_parser(), options.shell))
    return 0
