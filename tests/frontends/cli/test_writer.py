"""`Writer`: a slow reader holds up whoever writes, and nobody else."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from amper.frontends.cli.writer import MOST_PENDING, CannotWrite, Writer
from tests.work import on_a_loop, turn

MUCH = b"x" * (2 * MOST_PENDING)


@pytest.fixture
def ends() -> Iterator[tuple[int, int]]:
    """The two ends of a pipe. What a test closes it has to put something else in the place of."""
    read_end, write_end = os.pipe()
    os.set_blocking(read_end, False)
    yield read_end, write_end
    os.close(read_end)
    os.close(write_end)


def replace_with_null(fd: int) -> None:
    null = os.open(os.devnull, os.O_RDWR)
    os.dup2(null, fd)
    os.close(null)


async def read(fd: int, size: int) -> bytes:
    """Read so much, and let the loop turn in between."""
    data = b""
    while len(data) < size:
        with contextlib.suppress(BlockingIOError):
            data += os.read(fd, size - len(data))
        await turn()
    return data


@on_a_loop
async def test_what_is_written_comes_in_order_and_flush_waits_for_all_of_it(
    ends: tuple[int, int],
) -> None:
    read_end, write_end = ends
    writer = Writer(write_end, "output")
    writing = asyncio.ensure_future(writer.write(MUCH))
    await turn()
    also = asyncio.ensure_future(writer.write(b"the end"))
    flushing = asyncio.ensure_future(writer.flush())
    await turn()
    assert not writing.done()
    assert not flushing.done()
    assert await read(read_end, len(MUCH) + 7) == MUCH + b"the end"
    await asyncio.gather(writing, also, flushing)


@on_a_loop
async def test_little_is_taken_at_once_and_no_more_than_a_bound_is_held(
    ends: tuple[int, int],
) -> None:
    writer = Writer(ends[1], "output")
    pieces = [asyncio.ensure_future(writer.write(b"x" * 1000)) for _ in range(400)]
    await turn()
    taken = sum(piece.done() for piece in pieces) * 1000
    pipe = 65536
    assert MOST_PENDING <= taken <= MOST_PENDING + pipe
    assert await read(ends[0], 400_000) == b"x" * 400_000
    await asyncio.gather(*pieces)


@pytest.mark.parametrize("moment", ["before", "while it waits"])
@on_a_loop
async def test_a_reader_that_goes_away_is_told_to_every_writer(
    moment: str, ends: tuple[int, int]
) -> None:
    read_end, write_end = ends
    writer = Writer(write_end, "output")
    if moment == "before":
        replace_with_null(read_end)
    writing = [asyncio.ensure_future(writer.write(MUCH)) for _ in range(2)]
    await turn()
    replace_with_null(read_end)
    for outcome in await asyncio.gather(*writing, return_exceptions=True):
        assert isinstance(outcome, BrokenPipeError)
    with pytest.raises(BrokenPipeError):
        await writer.flush()


@on_a_loop
async def test_a_full_disk_is_named() -> None:
    fd = os.open("/dev/full", os.O_WRONLY)
    try:
        writer = Writer(fd, "standard output")
        for _ in range(2):
            with pytest.raises(CannotWrite, match="cannot write standard output: No space left"):
                await writer.write(b"x")
    finally:
        os.close(fd)


@on_a_loop
async def test_a_file_takes_everything(tmp_path: Path) -> None:
    fd = os.open(tmp_path / "file", os.O_RDWR | os.O_CREAT)
    try:
        writer = Writer(fd, "output")
        await writer.write(MUCH)
        await writer.flush()
        assert os.pread(fd, len(MUCH) + 1, 0) == MUCH
    finally:
        os.close(fd)


@on_a_loop
async def test_a_pipe_that_somebody_made_non_blocking_works_as_well(
    ends: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    read_end, write_end = ends
    os.set_blocking(write_end, False)
    writer = Writer(write_end, "output")
    monkeypatch.setattr(writer, "_poll", AlwaysReady())
    writing = asyncio.ensure_future(writer.write(MUCH))
    await turn()
    assert await read(read_end, len(MUCH)) == MUCH
    await writing


class AlwaysReady:
    """What `poll` said may be out of date: another program writes to the same pipe."""

    def poll(self, _timeout: int) -> bool:
        return True
