"""Commands on a bare event loop: what Python and the kernel take where nobody keeps a record.

No job, no kept output, no kill, no bound, no error that anybody could understand: it shows how much
of a manager's time is the manager's, and which ratio to others no manager can reach.
"""

from __future__ import annotations

import asyncio
import os
import select
import sys
from collections.abc import Sequence
from typing import Any, Final, Self

from amper.process.spawn import KNOWN_SIGNATURES

_posixsubprocess: Any
try:
    import _posixsubprocess
except ImportError:
    _posixsubprocess = None

CAN_RUN: Final = _posixsubprocess is not None and sys.version_info[:2] in KNOWN_SIGNATURES


class BareLoop:
    """Starts commands, reads both outputs, reaps. One private epoll, as a manager has."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._epoll = select.epoll()
        self._null = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
        self._report_read, self._report_write = os.pipe2(os.O_CLOEXEC)
        self._is_told = select.poll()
        self._is_told.register(self._report_read, select.POLLIN)
        self._pipes: dict[int, set[int]] = {}
        """The outputs of the same command that are still open, by each of them."""
        self._processes: dict[int, tuple[int, set[int], asyncio.Future[int]]] = {}
        self._loop.add_reader(self._epoll.fileno(), self._ready)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.remove_reader(self._epoll.fileno())
        self._epoll.close()
        for fd in (self._null, self._report_read, self._report_write):
            os.close(fd)

    def start(self, command: Sequence[str]) -> asyncio.Future[int]:
        """Start a command; return a future of its code."""
        arguments = [os.fsencode(word) for word in command]
        out, child_out = os.pipe2(os.O_CLOEXEC)
        err, child_err = os.pipe2(os.O_CLOEXEC)
        pid: int = _posixsubprocess.fork_exec(
            arguments, (arguments[0],), True, (self._report_write,), None, None,
            self._null, -1, -1, child_out, -1, child_err, self._report_read, self._report_write,
            True, True, -1, None, None, None, -1, None, True,
        )  # fmt: skip
        if self._is_told.poll(0):
            raise OSError(f"{command[0]} cannot be executed")
        pidfd = os.pidfd_open(pid)
        os.close(child_out)
        os.close(child_err)
        pipes = {out, err}
        for fd in (pidfd, *pipes):
            self._epoll.register(fd, select.EPOLLIN)
        self._pipes[out] = self._pipes[err] = pipes
        done: asyncio.Future[int] = self._loop.create_future()
        self._processes[pidfd] = (pid, pipes, done)
        return done

    def _ready(self) -> None:
        for fd, events in self._epoll.poll(0, 32):
            if fd in self._pipes:
                self._read(fd, is_over=not events & select.EPOLLIN)
            elif fd in self._processes:
                pid, pipes, done = self._processes.pop(fd)
                self._epoll.unregister(fd)
                _, status, _ = os.wait4(pid, 0)
                os.close(fd)
                for pipe in list(pipes):
                    self._read(pipe, is_over=True)
                done.set_result(os.waitstatus_to_exitcode(status))

    def _read(self, fd: int, *, is_over: bool) -> None:
        if is_over or not os.read(fd, 65536):
            self._pipes.pop(fd).discard(fd)
            self._epoll.unregister(fd)
            os.close(fd)
