"""`amper shell`: a prompt with job control, and scripts that use it."""

from __future__ import annotations

import argparse
import os
from typing import TYPE_CHECKING, Final

from amper.frontends.cli.usage import FAILURE, UsageError, needs_extra

if TYPE_CHECKING:
    from amper.frontends.cli.usage import Verbs
    from amper.frontends.shell.state import State

USAGE: Final = """\
amper shell [-e]
       amper shell [-e] SCRIPT [ARGUMENT ...]
       amper shell [-e] -c CMD [NAME [ARGUMENT ...]]"""

DESCRIPTION: Final = """\
Type commands, and steer what runs: a prompt with job control.

  make -j8                in front: Ctrl-C and Ctrl-Z are for it
  make -j8 &              in the background; what it writes is kept
  jobs                    what there is, e.g. [1]+  Running   make -j8 &
  output -f %1            what the job has written, and goes on to write
  fg %1, bg %1, stop %1   in front of us, in the background, held where it is
  kill --wait %make       ended, with all that it started, provably
  help                    the rest
"""

EPILOG: Final = """\
/bin/sh runs what you type, as it stands; amper does what is about jobs: jobs, fg, bg, wait, kill,
stop, disown and output, with job specs (%1, %+, %-, %name, %?text), and cd, pwd, export, unset,
exit and NAME=value, so that they last. Within `if`, `for`, `( )` and pipelines all builtins are sh's.

The prompt needs the extra `shell` (pip install 'amper[shell]', or '.[shell]' in a checkout). It shows
the directory and, in brackets, the last code if that is not 0; AMPER_PS1 is another prompt, in which
{directory} and {code} are filled in. Lines are kept in $XDG_STATE_HOME/amper/history, which
AMPER_HISTFILE renames (an empty one keeps none); a line that begins with a blank is not kept. Where
TERM=dumb it is plain, without history. Leaving it with jobs asks once more.

A script, -c, or standard input that is no terminal is read to its end and then run, as sh would:
jobs in the background write where the script does. But nothing outlives amper: when the script is
over, those that still run are ended, disowned ones too. `wait` is what keeps them.

The exit code is that of the last command: 2 for what cannot be understood, 126 and 127 for what cannot
be started, 128+n for what died of signal n, 130 after Ctrl-C, 148 for what is stopped.
"""

NO_CONTROL: Final = (
    "this terminal does not control our session, so that no command could be put in front of it "
    "(setsid -c amper shell)"
)

SCRIPT: Final[dict[str, str]] = {"bash": "_shtab_compgen_files", "zsh": "_files", "tcsh": "f"}


def add_to(verbs: Verbs) -> None:
    """Add the verb to the command line."""
    parser = verbs.add_parser(
        "shell",
        help="type commands, and steer the jobs that they are",
        usage=USAGE,
        description=DESCRIPTION,
        epilog=EPILOG,
    )
    parser.add_argument(
        "-c",
        "--command",
        action="store_true",
        dest="is_command",
        help="run the text that follows; NAME is its $0, and what follows its $1, $2, ...",
    )
    parser.add_argument(
        "-e", action="store_true", dest="exits_early", help="end with the first command that fails"
    )
    words = parser.add_argument(
        "words", nargs=argparse.REMAINDER, metavar="SCRIPT", help="a script and its arguments"
    )
    words.complete = SCRIPT  # type: ignore[attr-defined]  # shtab looks for it.
    parser.set_defaults(act=act)


def act(options: argparse.Namespace) -> int:
    """Run a script, or be a prompt."""
    words: list[str] = options.words
    if words and words[0] == "--":
        words = words[1:]
    flags = ["-e"] if options.exits_early else []
    if options.is_command:
        if not words:
            raise UsageError("-c needs a command: amper shell -c 'CMD'")
        return _run(words[0], words[1:] or ["amper"], flags)
    if words:
        return _run_file(words, flags)
    if os.isatty(0) and os.isatty(1):
        return _prompt(flags)
    return _run(_read(0), ["amper"], flags)


def _run_file(words: list[str], flags: list[str]) -> int:
    try:
        fd = os.open(words[0], os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError as error:
        return _cannot_run(words[0], error, 127)
    except OSError as error:
        return _cannot_run(words[0], error, 126)
    try:
        text = _read(fd)
    except OSError as error:
        return _cannot_run(words[0], error, 126)
    finally:
        os.close(fd)
    if "\0" in text:
        return _cannot_run(words[0], OSError(0, "this is no text"), 126)
    return _run(text, words, flags)


def _cannot_run(name: str, error: OSError, code: int) -> int:
    from amper.frontends.cli.standard_streams import complain

    complain(f"{name}: {error.strerror}")
    return code


def _read(fd: int) -> str:
    with open(fd, "rb", closefd=False) as file:
        return os.fsdecode(file.read())


def _run(text: str, positional: list[str], flags: list[str]) -> int:
    from amper.frontends.cli.signals import SignalRelay
    from amper.frontends.cli.standard_streams import inherited
    from amper.frontends.cli.terminal import Modes, stdin_for_a_job
    from amper.frontends.cli.writer import CannotWrite, Writer
    from amper.frontends.shell.script import ScriptLauncher, run_script
    from amper.manager import JobManager
    from amper.manager.manager import GRACE_PERIOD

    # Nothing of the script outlives us, also where somebody ends us with SIGKILL.
    jobs = JobManager(containment="tree")
    jobs.set_persist_output_files(False)
    relay = SignalRelay(jobs, GRACE_PERIOD)
    modes = Modes()

    async def work() -> int:
        out, err = Writer(1, "standard output"), Writer(2, "standard error")
        async with jobs:
            launcher = ScriptLauncher(
                jobs, lambda: relay.is_told, stdin=stdin_for_a_job(), pass_fds=inherited()
            )
            code = await run_script(text, launcher, _state(positional), out, err, options=flags)
            await out.flush()
            await err.flush()
        if relay.is_told:
            modes.restore()
            return relay.code
        return code

    try:
        return relay.run(work)
    except CannotWrite as error:
        return _cannot_write(error)


def _prompt(flags: list[str]) -> int:
    try:
        import prompt_toolkit  # noqa: F401 - the prompt imports it as well, where nobody would catch it.
    except ImportError:
        raise needs_extra("prompt_toolkit", "amper shell", extra="shell") from None
    from amper.frontends.cli.standard_streams import inherited
    from amper.frontends.cli.writer import CannotWrite, TerminalWriter
    from amper.frontends.shell.interactive import prompt
    from amper.process.terminals.terminal import Terminal

    ours = Terminal.open()
    if ours is None:
        from amper.frontends.cli.standard_streams import complain

        complain(NO_CONTROL)
        return FAILURE
    ours.close()
    out, err = TerminalWriter(1, "standard output"), TerminalWriter(2, "standard error")
    try:
        return prompt(_state(["amper"]), out, err, flags, inherited())
    except CannotWrite as error:
        return _cannot_write(error)


def _cannot_write(error: Exception) -> int:
    from amper.frontends.cli.standard_streams import complain

    complain(str(error))
    return FAILURE


def _state(positional: list[str]) -> State:
    from amper.frontends.shell.state import State

    return State(os.environ, positional)
