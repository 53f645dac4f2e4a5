"""What finished jobs printed, as text files for people. It knows finished jobs and a directory.

One thread writes and deletes, in order; it starts when there is something to write. Nobody waits
for it but `drain`. A file that cannot be written is a warning, and the job is none the worse.

    TMPDIR/amper-UID/PIDNS-PID-START-N/job-ID.txt

1. Both directories are 0700 and our own, files are 0600, no symbolic link is followed.
2. What a process left is deleted by a later one when the process is gone: its pid in its namespace
   does not exist any more, or started at another time.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import itertools
import logging
import os
import queue
import shutil
import stat
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

from amper.flow.settle import settle
from amper.job.job import Facts, Job
from amper.job.outputs import output_of
from amper.values import ExecResult, JobStatus

logger: Final = logging.getLogger("amper")

MOST_WAITING: Final = 64 * 1024 * 1024
"""Bytes that may wait for a slow disk; more would be memory without a bound."""

_numbers: Final = itertools.count(1)
"""Tells the managers of this process apart."""


class OutputFiles:
    """The output files of one manager."""

    __slots__ = ("_bytes_asked", "_bytes_done", "_directory", "_steps", "_thread")

    def __init__(self) -> None:
        self._steps: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._directory: Path | None = None
        # Each is written by one thread, and read by the other.
        self._bytes_asked = 0
        self._bytes_done = 0

    def write(self, job: Job) -> None:
        """Write the file of a job that has ended, soon. None is written where there was no output."""
        result, streams = job.result, output_of(job)
        if result is None or streams is None:
            return
        out, err = streams.stdout.read() or result.out, streams.stderr.read() or result.err
        if not out and not err:
            return
        if self._bytes_asked - self._bytes_done > MOST_WAITING:
            logger.warning("the output of job %d was not written: the disk is too slow", job.id)
            return
        facts = job.own_facts()
        try:
            self._do(lambda: self._write(job, facts, result, out, err))
        except RuntimeError as error:
            # The system has no thread for us, or the interpreter is about to end.
            logger.warning("the output of job %d was not written to a file: %s", job.id, error)
        else:
            self._bytes_asked += len(out) + len(err)

    def delete(self, job: Job) -> None:
        """Delete the file of a job that leaves the table, if it has one or is about to."""
        facts = job.facts
        if facts is None:
            return
        if self._thread is None:
            _delete(facts)
        else:
            self._do(lambda: _delete(facts))

    def drain(self, loop: asyncio.AbstractEventLoop) -> asyncio.Future[None]:
        """Return a future that is done when everything is written and the thread has ended."""
        drained = loop.create_future()
        if self._thread is None:
            drained.set_result(None)
        else:
            self._do(lambda: _tell(loop, drained))
            drained.add_done_callback(lambda _: self.close())
        return drained

    def close(self) -> None:
        """Write what is still to be written, and join the thread."""
        thread, self._thread = self._thread, None
        if thread is not None:
            self._steps.put(None)
            # The garbage collector, which may have found that nobody needs us, works in any thread.
            if thread is not threading.current_thread():
                thread.join()

    def _do(self, step: Callable[[], None]) -> None:
        if self._thread is None:
            thread = threading.Thread(target=_work, args=(self._steps,), daemon=True)
            thread.name = "amper output files"
            thread.start()
            self._thread = thread
        self._steps.put(step)

    def _write(self, job: Job, facts: Facts, result: ExecResult, out: bytes, err: bytes) -> None:
        """Write a file in one go: nobody ever sees half of it under its name."""
        try:
            text = _described(job, result, out, err)
            directory = self._own_directory()
            name = f"job-{job.id}.txt"
            with _opened(directory) as parent:
                try:
                    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
                    descriptor = os.open(f"{name}.new", flags, 0o600, dir_fd=parent)
                    with open(descriptor, "wb") as file:
                        file.write(text)
                    os.rename(f"{name}.new", name, src_dir_fd=parent, dst_dir_fd=parent)
                except BaseException:
                    with contextlib.suppress(OSError):
                        os.unlink(f"{name}.new", dir_fd=parent)
                    raise
            facts.output_file = str(directory / name)
        except OSError as error:
            logger.warning("the output of job %d was not written to a file: %s", job.id, error)
        finally:
            self._bytes_done += len(out) + len(err)

    def _own_directory(self) -> Path:
        """Return this manager's directory, made on the first call; then what is stale is deleted."""
        if self._directory is None or not self._directory.is_dir():
            user = Path(_temporary_directory()) / f"amper-{os.geteuid()}"
            _make_private(user)
            _prune(user)
            own = (
                user
                / f"{_pid_namespace()}-{os.getpid()}-{_start_time(os.getpid())}-{next(_numbers)}"
            )
            _make_private(own)
            self._directory = own
        return self._directory


def _temporary_directory() -> str:
    """Return what Python takes for temporary files. Raises OSError.

    Where nothing else can be written to, that is the current directory: nobody looks for files of ours
    there, and nobody wants them there.
    """
    directory = tempfile.gettempdir()
    try:
        is_fallback = directory == os.getcwd() and directory not in _meant_to_be_temporary()
    except FileNotFoundError:
        # Ours was deleted, and is none that anything could be written to.
        is_fallback = False
    if is_fallback:
        raise FileNotFoundError(errno.ENOENT, "no temporary directory can be written to")
    return directory


def _meant_to_be_temporary() -> set[str]:
    named = (os.environ.get(name) for name in ("TMPDIR", "TEMP", "TMP"))
    return {"/tmp", "/var/tmp", "/usr/tmp"}.union(os.path.abspath(name) for name in named if name)


def _work(steps: queue.SimpleQueue[Callable[[], None] | None]) -> None:
    """Run steps until a None comes. It holds no manager, so that one can be garbage-collected."""
    while (step := steps.get()) is not None:
        try:
            step()
        except Exception:
            # A handler of the host's may be what has failed, and that must not end the thread.
            with contextlib.suppress(Exception):
                logger.warning("an output file was not written", exc_info=True)
        del step


def _delete(facts: Facts) -> None:
    path, facts.output_file = facts.output_file, None
    if path is not None:
        # Somebody may have cleaned up the temporary directory before us.
        with contextlib.suppress(OSError):
            os.unlink(path)


def _tell(loop: asyncio.AbstractEventLoop, drained: asyncio.Future[None]) -> None:
    # Whoever waited may be gone with the loop.
    with contextlib.suppress(RuntimeError):
        loop.call_soon_threadsafe(settle, drained, None)


def _described(job: Job, result: ExecResult, out: bytes, err: bytes) -> bytes:
    """Return the text of a file."""
    status = job.status.value.capitalize()
    if job.status is not JobStatus.DONE:
        status += f" ({job.status_string})"
    # Whatever lines a command has, those of the head are ours.
    command = job.command.replace("\n", "\n#   ")
    parts = [f"# Job {job.id}: {command}\n# Status: {status}\n".encode("utf-8", "replace")]
    for title, data, dropped in (
        (b"STDOUT", out, result.out_dropped),
        (b"STDERR", err, result.err_dropped),
    ):
        if data:
            parts.append(b"\n## %s\n" % title)
            if dropped:
                data, dropped = _at_a_character(data, dropped)
                parts.append(b"[the first %d bytes were dropped]\n" % dropped)
            parts.append(_as_text(data))
    return b"".join(parts)


def _at_a_character(data: bytes, dropped: int) -> tuple[bytes, int]:
    """Drop what a bound has left of a character that it cut in two: it makes no text unreadable."""
    head = data[:3]
    half = len(head) - len(head.lstrip(bytes(range(0x80, 0xC0))))
    if half and len(data) > half and _is_text(rest := data[half:]):
        return rest, dropped + half
    return data, dropped


def _as_text(data: bytes) -> bytes:
    """Return output as it is if people can read it, and else how much there is of it."""
    if not _is_text(data):
        return b"[binary output, %d bytes]\n" % len(data)
    return data if data.endswith(b"\n") else data + b"\n"


def _is_text(data: bytes) -> bool:
    try:
        data.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return b"\0" not in data


def _make_private(directory: Path) -> None:
    """Make a directory that is ours alone. Raises OSError if there is one that is not."""
    with contextlib.suppress(FileExistsError):
        os.mkdir(directory, 0o700)
    with _opened(directory):
        """It is ours; `_opened` has checked."""


@contextlib.contextmanager
def _opened(directory: Path) -> Iterator[int]:
    """Open a directory after a look at whose it is: in /tmp anybody may have put it there."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        found = os.fstat(descriptor)
        if found.st_uid != os.geteuid() or stat.S_IMODE(found.st_mode) & 0o077:
            raise PermissionError(f"{directory} is not a private directory of this user")
        yield descriptor
    finally:
        os.close(descriptor)


def _prune(user: Path) -> None:
    """Delete what processes of this namespace have left that are no more."""
    for entry in os.listdir(user):
        match entry.split("-"):
            case [namespace, pid, start, _] if namespace == str(_pid_namespace()):
                # Somebody may have put something else there, which is not ours to delete.
                is_ours = pid.isdecimal() and start.isdecimal()
                if is_ours and _start_time(int(pid)) != int(start):
                    shutil.rmtree(user / entry, ignore_errors=True)


def _pid_namespace() -> int:
    return os.stat("/proc/self/ns/pid").st_ino


def _start_time(pid: int) -> int | None:
    """Return when a process started, in the kernel's ticks since boot; None if there is none."""
    try:
        stat_line = Path(f"/proc/{pid}/stat").read_bytes()
    except OSError:
        return None
    return int(stat_line.rpartition(b")")[2].split()[19])
