"""The real `amper` command, as other programs use it: with pipes for its input and output."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from typing import Any, Final

AMPER: Final = (sys.executable, "-m", "amper")

DEADLINE: Final = 30.0

PATIENT: Final = [
    sys.executable, "-I", "-S", "-c", """
import os, signal
ending = {signal.SIGINT, signal.SIGTERM}
signal.pthread_sigmask(signal.SIG_BLOCK, ending)
os.write(1, b"ready\\n")
signal.sigwait(ending)
os.write(1, b"told\\n")
os.write(1, os.read(0, 100))
os._exit(5)
""",
]  # fmt: skip
"""It has something to do when it is told to end, and ends when it was given a line."""


def environment(**changes: str) -> dict[str, str]:
    """Return ours, without what a developer may have set that changes how output looks."""
    plain = os.environ.keys() - {"NO_COLOR", "PYTHONUNBUFFERED", "COLUMNS", "LINES"}
    return {name: os.environ[name] for name in plain} | {"TERM": "xterm"} | changes


def amper(*arguments: str | bytes, **options: Any) -> subprocess.CompletedProcess[bytes]:
    """Run `amper` to its end; the options are those of `subprocess.run`."""
    return _run([*AMPER, *arguments], options)


def shell(script: str, *arguments: str) -> subprocess.CompletedProcess[bytes]:
    """Run a script of bash in which `amper` is the command."""
    function = 'amper() { "$PYTHON" -m amper "$@"; }\n'
    command = ["bash", "--norc", "-c", function + script, "bash", *arguments]
    return _run(command, {"env": environment(PYTHON=sys.executable)})


def python(script: str, *arguments: str) -> subprocess.CompletedProcess[bytes]:
    """Run a script in an interpreter of its own."""
    return _run([sys.executable, "-c", script, *arguments], {})


def _run(
    command: Sequence[str | bytes], options: dict[str, Any]
) -> subprocess.CompletedProcess[bytes]:
    plain: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    if "input" not in options:
        plain["stdin"] = subprocess.DEVNULL
    plain["env"] = environment()
    done: Any = subprocess.run(command, **(plain | options), timeout=DEADLINE, check=False)
    assert isinstance(done, subprocess.CompletedProcess)
    return done


@contextlib.contextmanager
def started(*arguments: str, before: Sequence[str] = ()) -> Iterator[subprocess.Popen[bytes]]:
    """Start `amper`, by the program `before` if there is one; end it if the test did not."""
    with subprocess.Popen(
        [*before, *AMPER, *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment(),
    ) as process:
        try:
            yield process
        finally:
            end(process)


def end(process: subprocess.Popen[bytes]) -> None:
    """End what a test has left running, with its jobs if that can be."""
    if process.poll() is not None:
        return
    process.send_signal(signal.SIGTERM)
    process.send_signal(signal.SIGHUP)
    process.send_signal(signal.SIGCONT)  # One that is stopped could do nothing of that.
    try:
        process.wait(DEADLINE)
    except subprocess.TimeoutExpired:
        process.kill()


def words(process: subprocess.Popen[bytes], word: str = "ready") -> list[int]:
    """Wait for a line of output with `word`; return the numbers that follow it."""
    assert process.stdout is not None
    for line in process.stdout:
        _, found, rest = line.decode().partition(word)
        if found:
            return [int(number) for number in rest.split()]
    assert process.stderr is not None
    raise AssertionError(f"{word!r} was never said, but {process.stderr.read()!r}")
