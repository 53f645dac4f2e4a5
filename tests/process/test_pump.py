"""Pumps, on pipes whose other end is the test's."""

from __future__ import annotations

import asyncio
import errno
import fcntl
import os
from collections.abc import Iterator
from functools import partial
from types import SimpleNamespace

import pytest

from amper import BoundedStream
from amper.process import pump
from amper.process.poller import Poller
from amper.process.pump import (
    DEFAULT_PIPE_SIZE,
    LARGE_PIPE_SIZE,
    InputPump,
    LateOutput,
    OutputPump,
)
from tests.handshakes import turns, turns_until
from tests.support import on_all_loops


@pytest.fixture
def poller() -> Iterator[Poller]:
    poller = Poller()
    yield poller
    poller.close()


class Output:
    """An output pump, and the end that a command would have."""

    def __init__(self, poller: Poller, max_size: int = 1024 * 1024) -> None:
        read_end, self.write_end = os.pipe()
        self.stream = BoundedStream(max_size)
        self.pump = OutputPump(read_end, self.stream, poller)
        self.read_end = read_end

    def write(self, data: bytes) -> None:
        assert os.write(self.write_end, data) == len(data)

    def end(self) -> None:
        os.close(self.write_end)


@on_all_loops
async def test_output_is_read_as_it_comes_and_the_pipe_closed_at_its_end(poller: Poller) -> None:
    poller.attach(asyncio.get_running_loop())
    output = Output(poller)
    for text in (b"one", b"two"):
        output.write(text)
        await output.stream.changed_since(output.stream.total_written)
    assert output.stream.read() == b"onetwo"
    output.write(b"three")
    output.end()
    await turns_until(lambda: not output.pump.is_open)
    assert output.stream.read() == b"onetwothree"
    assert not output.stream.stats().closed


def finish(pump: OutputPump, late: LateOutput) -> None:
    if not pump.finish():
        pump.drain_into(late)


def test_finishing_takes_what_the_pipe_holds_and_what_comes_after_that_is_late(
    poller: Poller,
) -> None:
    """No loop runs: nothing was read before."""
    for size in (0, 1, 4095, DEFAULT_PIPE_SIZE):
        output, late = Output(poller), LateOutput()
        output.write(b"x" * size)
        finish(output.pump, late)
        assert output.stream.read() == b"x" * size
        assert (late.open_pipes, late.received, output.pump.is_open) == (1, 0, True)
        output.write(b"late")
        output.pump.ready(output.read_end, 1)
        assert (output.stream.total_written, late.received) == (size, 4)
        output.end()
        output.pump.ready(output.read_end, 1)
        assert (late.open_pipes, late.received, output.pump.is_open) == (0, 4, False)


def test_finishing_a_pipe_that_nobody_holds_closes_it_at_once(poller: Poller) -> None:
    output, late = Output(poller), LateOutput()
    output.write(b"all")
    output.end()
    finish(output.pump, late)
    assert output.stream.read() == b"all"
    assert (late.open_pipes, late.received, output.pump.is_open) == (0, 0, False)
    # Once more is nothing.
    finish(output.pump, late)
    output.pump.close()
    assert late.open_pipes == 0


def test_only_a_pipe_that_is_filled_is_enlarged(poller: Poller) -> None:
    size = 3 * DEFAULT_PIPE_SIZE
    output = Output(poller, max_size=size)
    output.write(b"x" * (DEFAULT_PIPE_SIZE - 1))
    output.pump.ready(output.read_end, 1)
    assert fcntl.fcntl(output.write_end, fcntl.F_GETPIPE_SZ) == DEFAULT_PIPE_SIZE
    output.write(b"x" * DEFAULT_PIPE_SIZE)
    output.pump.ready(output.read_end, 1)
    assert fcntl.fcntl(output.write_end, fcntl.F_GETPIPE_SZ) == LARGE_PIPE_SIZE
    # From now on the kernel writes into the ring itself, round its end too.
    written = b"x" * (2 * DEFAULT_PIPE_SIZE - 1)
    for letter in b"abcde":
        output.write(bytes([letter]) * (DEFAULT_PIPE_SIZE + 1))
        written += bytes([letter]) * (DEFAULT_PIPE_SIZE + 1)
        output.pump.ready(output.read_end, 1)
        assert output.stream.read() == written[-size:]
    # A wake-up for nothing changes nothing.
    output.pump.ready(output.read_end, 1)
    assert output.stream.read() == written[-size:]
    output.write(b"end")
    output.end()
    finish(output.pump, LateOutput())
    assert output.stream.freeze() == (written + b"end")[-size:]
    assert not output.pump.is_open


def test_a_pipe_that_may_not_be_enlarged_is_read_all_the_same(
    poller: Poller, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An unprivileged user has only so much memory for pipes."""

    def refuse(fd: int, command: int, argument: int = 0) -> int:
        raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))

    monkeypatch.setattr(
        pump,
        "fcntl",
        SimpleNamespace(fcntl=refuse, ioctl=fcntl.ioctl, F_SETPIPE_SZ=fcntl.F_SETPIPE_SZ),
    )
    output = Output(poller)
    for count in (1, 2, 3):
        output.write(b"x" * DEFAULT_PIPE_SIZE)
        output.pump.ready(output.read_end, 1)
        assert output.stream.read() == b"x" * DEFAULT_PIPE_SIZE * count
    output.end()
    finish(output.pump, LateOutput())
    assert not output.pump.is_open


# Input.


class Feeder:
    """An input pump, the end that a command would have, and what its owner was told."""

    def __init__(self, poller: Poller) -> None:
        self.read_end, write_end = os.pipe()
        self.told = 0
        self.write_end = write_end
        self.pump = InputPump(write_end, poller, self)

    def has_taken_more_than(self, size: int, end: int) -> bool:
        return self.pump.taken > size or self.pump.taken == end

    def stdin_changed(self) -> None:
        self.told += 1

    def read(self, size: int) -> bytes:
        return os.read(self.read_end, size)


def test_what_the_pipe_has_room_for_is_taken_at_once(poller: Poller) -> None:
    feeder = Feeder(poller)
    for data in (b"one", b"", b"two"):
        end = feeder.pump.write(data)
        assert feeder.pump.taken == end
    assert feeder.read(100) == b"onetwo"
    feeder.pump.close_when_written()
    assert feeder.read(100) == b""
    assert not feeder.pump.is_open
    assert not feeder.pump.is_feeding
    os.close(feeder.read_end)


@on_all_loops
async def test_the_rest_is_written_in_order_as_it_is_read_and_then_the_end(poller: Poller) -> None:
    poller.attach(asyncio.get_running_loop())
    feeder = Feeder(poller)
    pieces = [bytes([letter]) * 100_000 for letter in b"abc"]
    ends = [feeder.pump.write(piece) for piece in pieces]
    assert ends == [100_000, 200_000, 300_000]
    feeder.pump.close_when_written()
    assert not feeder.pump.is_open
    assert feeder.pump.is_feeding
    seen = b""
    while data := feeder.read(65536):
        seen += data
        await turns_until(partial(feeder.has_taken_more_than, len(seen), ends[-1]))
        await turns(2)
    assert seen == b"".join(pieces)
    assert not feeder.pump.is_feeding
    assert feeder.told > 1
    os.close(feeder.read_end)


@on_all_loops
async def test_a_reader_that_goes_away_is_the_end_and_its_owner_hears_of_it(
    poller: Poller,
) -> None:
    poller.attach(asyncio.get_running_loop())
    busy, idle = Feeder(poller), Feeder(poller)
    end = busy.pump.write(b"x" * 100_000)
    for feeder in (busy, idle):
        os.close(feeder.read_end)
    await turns_until(lambda: not busy.pump.is_feeding)
    assert busy.told == 1
    assert busy.pump.taken < end
    # Whoever has nothing to write learns of it with the next write.
    assert idle.pump.is_open
    end = idle.pump.write(b"x")
    assert idle.pump.taken < end
    assert not idle.pump.is_feeding
