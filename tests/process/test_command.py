"""Commands with a terminal: of their own, and ours. Without one they are tested through the manager."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import Iterator
from typing import Any

import pytest

from amper import BoundedStream
from amper.process.command import Command
from amper.process.kernel import Kernel
from amper.process.reap import Exit
from amper.process.spawn import DEVNULL, PIPE, CannotStart, Program
from amper.process.terminals.pty import Pty, open_pty
from tests.handshakes import few_descriptors, turns_until
from tests.places import everywhere
from tests.support import run


class Owner:
    """Whoever runs a command, and waits for its end."""

    def __init__(self) -> None:
        self.end: asyncio.Future[Exit] = asyncio.get_running_loop().create_future()

    def leader_ended(self, exit: Exit) -> None:
        self.end.set_result(exit)

    def stdin_changed(self) -> None:
        """Nobody waits for that here."""


@contextlib.contextmanager
def kernel() -> Iterator[Kernel]:
    kernel = Kernel(asyncio.get_running_loop())
    yield kernel
    # Whatever became of the commands: their numbers may be anybody's by now.
    assert not kernel.scanner.leaders
    kernel.close()


class Shown:
    """A command in a terminal of its own, and what it shows."""

    def __init__(self, kernel: Kernel, command: Any, stdin: Any = PIPE, pty: Pty | None = None):
        self.owner = Owner()
        self.stream = BoundedStream()
        self.pty = pty or open_pty()
        self.command = Command(
            kernel,
            Program(command),
            stdin=stdin,
            stdout=self.stream,
            stderr=self.stream,
            owner=self.owner,
            pty=self.pty,
        )

    async def until(self, text: bytes) -> None:
        while text not in self.stream.read():
            await self.stream.changed_since(self.stream.total_written)

    async def code(self) -> int:
        exit = await self.owner.end
        assert self.command.finish() is None
        # Whoever holds it after this holds no pipes.
        assert self.command._pumps == ()
        self.command.close()
        assert exit.status is not None
        return exit.status.code


@everywhere
async def test_a_command_in_a_terminal_of_its_own_is_typed_to_and_read() -> None:
    with kernel() as its:
        shown = Shown(its, 'test -t 2 && read -r line && echo "got $line"; exit 7')
        assert shown.command.stdin is not None
        shown.command.stdin.write(b"hello\n")
        assert await shown.code() == 7
        assert shown.stream.read() == b"hello\r\ngot hello\r\n"


@everywhere
async def test_bytes_are_typed_and_end_and_without_any_nobody_types() -> None:
    with kernel() as its:
        shown = Shown(its, ["sort"], stdin=b"b\na")
        assert await shown.code() == 0
        assert shown.stream.read().endswith(b"a\r\nb\r\n")
        shown = Shown(its, "echo ready; exec cat", stdin=DEVNULL)
        assert shown.command.stdin is None
        await shown.until(b"ready\r\n")
        assert shown.command.group is not None
        shown.command.group.signal(signal.SIGTERM)
        assert await shown.code() == 128 + signal.SIGTERM


@everywhere
async def test_its_end_waits_for_nobody_who_holds_the_terminal() -> None:
    with kernel() as its:
        shown = Shown(its, "trap '' HUP; sleep 1000 & echo $!; exit 3")
        exit = await shown.owner.end
        assert exit.status is not None
        assert exit.status.code == 3
        assert shown.command.finish() is not None
        assert shown.command.is_output_open
        os.kill(int(shown.stream.read()), signal.SIGKILL)
        await turns_until(lambda: not shown.command.is_output_open)
        shown.command.close()


def test_one_that_cannot_start_leaves_no_terminal_behind() -> None:
    async def start(its: Kernel, command: Any, free: int) -> int:
        pty = open_pty()
        its.reserve.fill()
        with few_descriptors(free), pytest.raises(CannotStart) as raised:
            Shown(its, command, pty=pty)
        assert pty.master == pty.slave == -1
        return raised.value.code

    async def test() -> None:
        with kernel() as its:
            assert await start(its, ["no-such-program"], 9) == 127
            assert await start(its, ["/"], 9) == 126
            # One for what is typed, and two for the report of a failure.
            for free in range(3):
                assert await start(its, "exit 0", free) == 126

    run(test())
