"""Start a program: vfork and exec in one call, in a session of its own or as a group in ours.

`_posixsubprocess.fork_exec` is what `subprocess.Popen` itself stands on. It is private, so it is
used on the Pythons whose signature we know; on any other, Popen does the same work, slower.
Nothing of ours runs between vfork and exec, and exec closes whatever we opened (PEP 446).
Keepers and shims use this file too, and pay in memory for all that it imports.

vfork holds its caller until the child has executed the program or given up, so that one pipe serves
all children for telling why they did: what it holds after a fork is this child's.
"""

from __future__ import annotations

import contextlib
import errno
import os
import select
import stat
import sys
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from operator import index
from typing import Any, Final, Literal

from amper.process.descriptors import NO_DESCRIPTORS, pipe
from amper.process.environment import OwnEnvironment
from amper.process.procfs import MARK

_posixsubprocess: Any
try:
    import _posixsubprocess
except ImportError:  # Another implementation of Python.
    _posixsubprocess = None

__all__ = [
    "DEVNULL",
    "PIPE",
    "STDOUT",
    "CannotStart",
    "CommandLine",
    "Program",
    "ReportPipe",
    "Session",
    "spawn",
]

PIPE: Final = -1
STDOUT: Final = -2
DEVNULL: Final = -3
"""The constants of `subprocess`, which a keeper does not import."""

KNOWN_SIGNATURES: Final = frozenset({(3, 11), (3, 12), (3, 13)})

NOT_FOUND: Final = 127
NOT_EXECUTABLE: Final = 126

LONGEST_EXIT: Final = 1.0
"""Seconds. A child that has given up has nothing left to do."""

Path = str | bytes | os.PathLike[str]
CommandLine = str | Sequence[Path]

Session = Literal["own", "ours"]
"""`own`: the program leads a session that has no terminal. `ours`: it leads a group in our session, and
has our terminal: in the background, until somebody hands it over."""


class CannotStart(Exception):
    """The program could not be started: the shell's exit code for it, and why."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason


class Program:
    """What to execute, encoded once: what its caller changes later changes nothing.

    A `str` is the shell's; a sequence is executed as it is. `reason` says why it cannot be started,
    where that is known without trying.
    """

    __slots__ = (
        "arguments",
        "audited",
        "cwd",
        "environment",
        "executables",
        "inherits_environment",
        "passed_fds",
        "reason",
        "session",
    )

    def __init__(
        self,
        command: CommandLine,
        cwd: Path | None = None,
        env: Mapping[str, str] | None = None,
        pass_fds: Iterable[int] = (),
        session: Session = "own",
    ) -> None:
        """Raise TypeError for what is no command, directory, environment or descriptor.

        A negative descriptor raises ValueError: not every way to start a program would notice.
        The child gets the descriptors `pass_fds` under their own numbers, beside its three streams.
        """
        self.session = session
        self.passed_fds = tuple(sorted({index(fd) for fd in pass_fds})) if pass_fds else ()
        if self.passed_fds and self.passed_fds[0] < 0:
            raise ValueError(f"{self.passed_fds[0]} is no descriptor that could be passed on")
        words = ("/bin/sh", "-c", command) if isinstance(command, str) else command
        self.audited = (words[0], command, cwd, env)
        self.reason: str | None = None
        self.arguments: list[bytes] = []
        self.executables: tuple[bytes, ...] = ()
        self.cwd: bytes | None = None
        self.environment: list[bytes] | None = None
        self.inherits_environment = env is None
        try:
            self.arguments = [_encoded(word, "the command") for word in words]
            if cwd is not None:
                self.cwd = _encoded(cwd, "the working directory")
            if env is not None:
                self.environment = _environment(env)
            executable = self.arguments[0]
            if b"/" in executable or not executable:
                # Along PATH an empty name would be the directories themselves; as it is, there is none.
                self.executables = (executable,)
            else:
                path = (os.environ if env is None else env).get("PATH", os.defpath)
                self.executables = _on_path(executable, path)
        except ValueError as error:
            self.reason = str(error)

    @classmethod
    def of_parts(
        cls,
        arguments: list[bytes],
        executables: tuple[bytes, ...],
        cwd: bytes | None,
        environment: list[bytes] | None,
        passed_fds: tuple[int, ...],
        session: Session,
    ) -> Program:
        """Return one that was encoded, and checked, in another process."""
        program = cls.__new__(cls)
        program.arguments = arguments
        program.executables = executables
        program.cwd = cwd
        program.environment = environment
        program.passed_fds = passed_fds
        program.session = session
        program.reason = None
        program.audited = (arguments[0], arguments, cwd, None)
        return program

    def audit(self) -> None:
        """Let the host hear of the start what it would hear from Popen, if that did it."""
        sys.audit("subprocess.Popen", *self.audited)

    def pin(self) -> None:
        """Take the working directory and the environment of this moment, for a start that comes later."""
        if self.reason is None:
            # A directory that is gone cannot be named, and will not be there later either.
            with contextlib.suppress(FileNotFoundError):
                self.cwd = os.path.abspath(self.cwd or b".")
            self.pin_environment()

    def pin_environment(self) -> list[bytes]:
        """Take the environment of this moment, if it has no other; return it."""
        if self.environment is None:
            self.environment = _environment(os.environ)
        return self.environment

    def mark(self, mark: bytes, own: OwnEnvironment) -> None:
        """Let descendants be known by `mark`, in an environment that is ours: one that was given stays."""
        if not self.inherits_environment or self.reason is not None:
            return
        if self.environment is None:
            lines = own.unmarked()
        else:
            lines = [line for line in self.environment if not line.startswith(MARK)]
        # The first one counts, should there be one that we have inherited.
        self.environment = [MARK + mark, *lines]


class ReportPipe:
    """Where children tell why they could not execute their program. One thread forks with it."""

    __slots__ = ("_poll", "_read_end", "write_end")

    def __init__(self) -> None:
        self._read_end = self.write_end = -1
        # With every start the pipe is asked whether it is empty. This asks for half of an ioctl's price.
        self._poll = select.poll()

    @property
    def read_end(self) -> int:
        """The end that fork_exec closes in the child. Raises OSError without two free descriptors."""
        if self._read_end < 0:
            self._read_end, self.write_end = pipe()
            self._poll.register(self._read_end, select.POLLIN)
        return self._read_end

    def take(self) -> bytes:
        """Return what a child has told; nothing if it has executed its program."""
        return os.read(self._read_end, 4096) if self._poll.poll(0) else b""

    def close(self) -> None:
        """Close both ends."""
        if self._read_end >= 0:
            self._poll.unregister(self._read_end)
            os.close(self._read_end)
            os.close(self.write_end)
            self._read_end = self.write_end = -1

    # A manager that is dropped without being closed leaves nothing open.
    __del__ = close


def spawn(
    program: Program,
    stdin: int,
    stdout: int,
    stderr: int,
    reports: ReportPipe,
) -> int:
    """Start `program` with the three descriptors as its standard streams; return its pid.

    The child leads a process group, and a session unless the program says `ours`. It has the default
    action for SIGPIPE; what else we ignore it ignores too, and what we handle has its default action.
    Raises CannotStart, also for a working directory that is not there.
    """
    if program.reason is not None:
        raise CannotStart(NOT_EXECUTABLE, program.reason)
    if _posixsubprocess is None or sys.version_info[:2] not in KNOWN_SIGNATURES:
        return _popen(program, stdin, stdout, stderr)
    program.audit()
    try:
        error_read = reports.read_end
    except OSError as error:
        raise cannot_start(error) from error
    error_write = reports.write_end
    is_leader = program.session == "own"
    kept: tuple[int, ...] = (error_write,)
    if program.passed_fds:
        kept = tuple(sorted({error_write, *program.passed_fds}))
    try:
        pid: int = _posixsubprocess.fork_exec(
            program.arguments, program.executables, True, kept,
            program.cwd, program.environment, stdin, -1, -1, stdout, -1, stderr,
            error_read, error_write, True, is_leader, -1 if is_leader else 0, None, None, None,
            -1, None, True,
        )  # fmt: skip
    except OSError as error:
        raise CannotStart(NOT_EXECUTABLE, f"cannot fork: {error.strerror}") from error
    report = reports.take()
    if not report or _is_alive(pid):
        return pid
    raise exec_failure(report, program)


def _is_alive(pid: int) -> bool:
    """Reap a child after a report of failure; True if it lives, and the report is an earlier one's.

    That takes a kernel that refuses a vfork and then grants a fork, whose child holds nobody. Ours is
    let go a moment before it can be reaped, so it is given far longer than that.
    """
    try:
        pidfd = os.pidfd_open(pid)
    except OSError:
        # It is gone, or no descriptor is free to wait with a bound.
        is_over = True
    else:
        poll = select.poll()
        poll.register(pidfd, select.POLLIN)
        is_over = bool(poll.poll(LONGEST_EXIT * 1000))
        os.close(pidfd)
    if is_over:
        # Where SIGCHLD is ignored the kernel reaps it.
        with contextlib.suppress(ChildProcessError):
            os.waitpid(pid, 0)
    return not is_over


def cannot_start(error: BaseException) -> CannotStart:
    """Whatever the kernel, or an audit hook of the host's, objects to: the command did not start."""
    if not isinstance(error, OSError):
        return CannotStart(NOT_EXECUTABLE, f"cannot start: {type(error).__name__}: {error}")
    hint = " (raise the limit with `ulimit -n`)" if error.errno in NO_DESCRIPTORS else ""
    return CannotStart(NOT_EXECUTABLE, f"cannot start: {error.strerror}{hint}")


def _popen(program: Program, stdin: int, stdout: int, stderr: int) -> int:
    # A keeper imports it at its start, since its files may be gone later.
    import subprocess

    if not program.arguments[0]:
        # Along PATH, Popen would try the directories themselves.
        raise exec_failure(b"OSError:%x:" % errno.ENOENT, program)
    environment = program.environment
    try:
        child = subprocess.Popen(
            program.arguments,
            # A name without a directory is looked for by Popen; a shell may be called by another's.
            executable=program.executables[0] if b"/" in program.arguments[0] else None,
            cwd=program.cwd,
            env=None if environment is None else dict(line.split(b"=", 1) for line in environment),
            stdin=stdin,
            stdout=stdout,
            stderr=stderr,
            pass_fds=program.passed_fds,
            start_new_session=program.session == "own",
            process_group=None if program.session == "own" else 0,
        )
    except OSError as error:
        stage = b"noexec" if program.cwd is not None and error.filename == program.cwd else b""
        report = b"OSError:%x:%s" % (error.errno or 0, stage)
        raise exec_failure(report, program) from error
    # Popen must neither warn that the child still runs nor reap it behind our back.
    child.returncode = 0
    return child.pid


def _encoded(text: Path, what: str) -> bytes:
    """Raise ValueError or TypeError, with a reason for people, for what the kernel cannot be given."""
    try:
        encoded = os.fsencode(text)
    except TypeError as error:
        raise TypeError(f"{what} is text, bytes or a path, not {type(text).__name__}") from error
    except UnicodeEncodeError as error:
        raise ValueError(f"{what} cannot be encoded: {error.reason}") from error
    # As a number: a search for bytes first fails to take them for one, at ten times the price.
    if 0 in encoded:
        raise ValueError(f"{what} contains a NUL byte, which no program can be given")
    return encoded


def _environment(env: Mapping[str, str]) -> list[bytes]:
    if not isinstance(env, Mapping):
        raise TypeError(f"env is a mapping of str to str, not {type(env).__name__}")
    lines = []
    for name, value in env.items():
        encoded = _encoded(name, "the name of an environment variable")
        if not encoded or b"=" in encoded:
            raise ValueError(f"{name!r} cannot name an environment variable")
        lines.append(encoded + b"=" + _encoded(value, f"the environment variable {name}"))
    return lines


@lru_cache(maxsize=64)
def _on_path(executable: bytes, path: str) -> tuple[bytes, ...]:
    """Return the files that exec tries, in order: the directories of the child's own PATH."""
    return tuple(
        # An empty entry means the working directory.
        (directory + b"/" if directory else b"./") + executable
        for directory in os.fsencode(path).split(b":")
    )


def no_descriptor(program: Program, why: str) -> CannotStart:
    """What the program was to be given is not open."""
    name = os.fsdecode(program.arguments[0])
    return CannotStart(NOT_EXECUTABLE, f"cannot give {name} its descriptors: {why}")


def exec_failure(report: bytes, program: Program) -> CannotStart:
    """Turn what the child wrote before it gave up (`OSError:ERRNO:STAGE`) into a reason."""
    kind, _, rest = report.partition(b":")
    number, _, stage = rest.partition(b":")
    if kind != b"OSError":
        return CannotStart(NOT_EXECUTABLE, f"cannot start: {report.decode('utf-8', 'replace')}")
    code = int(number, 16)
    why = os.strerror(code)
    name = os.fsdecode(program.arguments[0])
    # Before Python 3.13 the child does not tell what of its preparations failed.
    is_chdir = program.cwd is not None and code != errno.EBADF
    if stage == b"noexec" and not is_chdir:
        return no_descriptor(program, why)
    if stage in (b"noexec", b"noexec:chdir"):
        directory = os.fsdecode(program.cwd or b"")
        return CannotStart(NOT_EXECUTABLE, f"cannot change to the directory {directory}: {why}")
    if code not in (errno.ENOENT, errno.ENOTDIR):
        return CannotStart(NOT_EXECUTABLE, f"cannot execute {name}: {why}")
    if any(_is_file(os.path.join(program.cwd or b"", file)) for file in program.executables):
        # The kernel says ENOENT for the script when the program on its first line is missing.
        return CannotStart(NOT_EXECUTABLE, f"cannot execute {name}: its interpreter was not found")
    where = "" if b"/" in program.arguments[0] else " on PATH"
    return CannotStart(NOT_FOUND, f"{name}: not found{where}")


def _is_file(path: bytes) -> bool:
    try:
        return stat.S_ISREG(os.stat(path).st_mode)
    except OSError:
        return False
