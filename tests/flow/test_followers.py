"""Who waits for a stream's next bytes, in pieces or in lines."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import aclosing
from typing import Any

import pytest

from amper import BoundedStream, StreamStats
from amper.flow.stream import CHUNK_SIZE
from tests.interleaving import at_every_step
from tests.support import on_all_loops, run
from tests.virtual_clock import run_virtually


def stream_of(*writes: bytes, max_size: int = 100) -> BoundedStream:
    stream = BoundedStream(max_size)
    for data in writes:
        stream.write(data)
    return stream


async def lines_of(*writes: bytes, max_size: int = 100) -> list[str]:
    """Return the lines that a follower sees who reads after each write."""
    stream = BoundedStream(max_size)
    async with asyncio.TaskGroup() as group:
        lines = group.create_task(_all(stream.lines()))
        for data in writes:
            stream.write(data)
            await _until_everybody_waits()
        stream.close()
    return lines.result()


async def _all(lines: AsyncIterator[str]) -> list[str]:
    return [line async for line in lines]


async def _until_everybody_waits() -> None:
    """Let the others run until only a timer could go on: on a virtual clock that is no time."""
    await asyncio.sleep(1)


def test_more_than_was_seen_is_an_answer_at_once() -> None:
    async def ask() -> None:
        stream = stream_of(b"abc")
        assert await stream.changed_since(2) == StreamStats(3, 100, 3, 0, closed=False)
        stream.close()
        assert await stream.changed_since(3) == StreamStats(3, 100, 3, 0, closed=True)
        assert await stream.changed_since(1000) == StreamStats(3, 100, 3, 0, closed=True)

    run_virtually(ask())


def use_room(stream: BoundedStream) -> None:
    stream.room(1)[0][:] = b"d"
    stream.commit(1)


@pytest.mark.parametrize(
    "change",
    [
        lambda stream: stream.write(b"d"),
        use_room,
        lambda stream: stream.close(),
        lambda stream: stream.freeze(),
    ],
)
def test_everybody_who_waits_goes_on_at_any_change(change: Callable[[BoundedStream], Any]) -> None:
    async def wait() -> None:
        stream = stream_of(b"abc")
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(stream.changed_since(3)) for _ in range(3)]
            await _until_everybody_waits()
            change(stream)
        assert [task.result() for task in tasks] == [stream.stats()] * 3
        assert not stream._waiters

    run_virtually(wait())


def test_who_has_seen_more_than_there_is_waits_for_more_than_that() -> None:
    async def wait() -> None:
        stream = BoundedStream()
        async with asyncio.TaskGroup() as group:
            task = group.create_task(stream.changed_since(5))
            for byte in b"abcde":
                stream.write(bytes([byte]))
                await _until_everybody_waits()
                assert not task.done()
            stream.write(b"f")
        assert task.result().total_written == 6

    run_virtually(wait())


def test_a_follower_that_is_cancelled_leaves_nothing_behind() -> None:
    async def give_up() -> None:
        stream = stream_of(b"abc")
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(stream.changed_since(3), timeout=60)
        assert not stream._waiters

    run_virtually(give_up())


@on_all_loops
async def test_a_write_from_another_thread_wakes_a_follower() -> None:
    stream = BoundedStream()
    is_ready = threading.Semaphore(0)

    def write() -> None:
        for byte in b"live":
            is_ready.acquire()
            stream.write(bytes([byte]))
        stream.close()

    thread = threading.Thread(target=write)
    thread.start()
    seen = b""
    is_ready.release()
    async for data in stream:
        seen += data
        is_ready.release()
    thread.join()
    assert seen == b"live"


def test_followers_on_two_loops_are_each_woken_on_their_own() -> None:
    stream = BoundedStream()
    waiting = threading.Barrier(3)
    seen: list[bytes] = []

    async def follow() -> None:
        changed = asyncio.ensure_future(stream.changed_since(0))
        await asyncio.sleep(0)
        waiting.wait()
        await changed
        seen.append(stream.read())

    threads = [threading.Thread(target=run, args=(follow(),)) for _ in range(2)]
    for thread in threads:
        thread.start()
    waiting.wait()
    stream.write(b"news")
    for thread in threads:
        thread.join()
    assert seen == [b"news", b"news"]


def write_often(stream: BoundedStream) -> None:
    for _ in range(1000):
        stream.write(b"x")


def test_a_flood_from_another_thread_wakes_a_loop_once_and_not_for_every_write() -> None:
    async def follow() -> None:
        loop = asyncio.get_running_loop()
        stream = BoundedStream()
        changed = asyncio.ensure_future(stream.changed_since(0))
        await asyncio.sleep(0)
        calls: list[object] = []
        call_soon = loop.call_soon_threadsafe

        def counting(*args: Any, **options: Any) -> asyncio.Handle:
            calls.append(args)
            return call_soon(*args, **options)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(loop, "call_soon_threadsafe", counting)
            flood = threading.Thread(target=write_often, args=(stream,))
            flood.start()
            # The loop stands still until all is written.
            flood.join()
        assert len(calls) == 1
        assert (await changed).total_written == 1000

    run(follow())


def test_a_follower_whose_loop_is_closed_is_passed_over() -> None:
    stream = BoundedStream()
    begun: list[Coroutine[Any, Any, StreamStats]] = []

    async def begin() -> None:
        begun.append(stream.changed_since(0))
        begun[0].send(None)

    run(begin())
    stream.write(b"nobody is there")
    begun[0].close()
    assert stream.read() == b"nobody is there"


def test_a_write_that_comes_while_a_follower_begins_to_wait_is_not_missed() -> None:
    waiting: list[Coroutine[Any, Any, StreamStats]] = []
    outcomes: list[asyncio.Future[None] | StreamStats] = []

    def begin(stream: BoundedStream) -> None:
        waiting.append(stream.changed_since(0))
        try:
            outcomes.append(waiting[-1].send(None))
        except StopIteration as stop:
            outcomes.append(stop.value)

    async def begin_at_every_step() -> None:
        for stream in at_every_step(BoundedStream, begin, lambda stream: stream.write(b"x")):
            outcome = outcomes[-1]
            assert outcome.done() if isinstance(outcome, asyncio.Future) else outcome.total_written
            assert stream.total_written == 1
        for coroutine in waiting:
            coroutine.close()

    run_virtually(begin_at_every_step())


def test_pieces_begin_with_what_is_kept_and_end_with_the_stream() -> None:
    async def follow() -> list[bytes]:
        stream = stream_of(b"0123456789", max_size=4)
        pieces: list[bytes] = []
        async with asyncio.TaskGroup() as group:
            group.create_task(_collect(stream, pieces))
            await _until_everybody_waits()
            stream.write(b"ab")
            stream.write(b"cd")
            await _until_everybody_waits()
            stream.write(b"e")
            stream.close()
        return pieces

    assert run_virtually(follow()) == [b"6789", b"abcd", b"e"]


async def _collect(stream: BoundedStream, pieces: list[bytes]) -> None:
    async for data in stream:
        pieces.append(data)  # noqa: PERF401 - somebody looks at them meanwhile.


def test_a_follower_that_is_overtaken_goes_on_with_the_oldest_byte_that_is_kept() -> None:
    async def follow() -> list[bytes]:
        stream = stream_of(b"ab", max_size=4)
        pieces: list[bytes] = []
        async with aclosing(stream.__aiter__()) as follower:
            pieces.append(await anext(follower))
            stream.write(b"cdefghij")
            pieces.append(await anext(follower))
        return pieces

    assert run_virtually(follow()) == [b"ab", b"ghij"]


def test_a_follower_that_is_far_behind_catches_up_in_pieces() -> None:
    async def follow() -> list[bytes]:
        stream = stream_of(bytes(CHUNK_SIZE) + b"rest", max_size=2 * CHUNK_SIZE)
        stream.close()
        return [data async for data in stream]

    assert run_virtually(follow()) == [bytes(CHUNK_SIZE), b"rest"]


def test_an_empty_stream_that_is_closed_gives_nothing() -> None:
    async def follow() -> None:
        stream = BoundedStream()
        stream.close()
        assert [data async for data in stream] == []
        assert await _all(stream.lines()) == []

    run_virtually(follow())


@pytest.mark.parametrize(
    "writes, lines",
    [
        ([b"one\ntwo\n"], ["one", "two"]),
        ([b"one\ntwo"], ["one", "two"]),
        ([b"o", b"ne\nt", b"wo", b"\n"], ["one", "two"]),
        ([b"\n\nthree\n\n"], ["", "", "three", ""]),
        ([b"one\n", b"", b"\n"], ["one", ""]),
        # Only a newline ends a line: a progress bar is one line, and a form feed belongs to its text.
        ([b" 50%\r100%\r\nnext\x0b\x0c\x1c\xc2\x85\n"], [" 50%\r100%\r", "next\x0b\x0c\x1c\x85"]),
    ],
)
def test_lines_are_split_at_newlines_wherever_the_writes_were(
    writes: list[bytes], lines: list[str]
) -> None:
    assert run_virtually(lines_of(*writes)) == lines


@pytest.mark.parametrize("split", range(1, 10))
def test_a_character_may_be_split_anywhere(split: int) -> None:
    text = "ä€😀\n".encode()
    assert len(text) == 10
    assert run_virtually(lines_of(text[:split], text[split:])) == ["ä€😀"]


@pytest.mark.parametrize(
    "writes, lines",
    [
        ([b"a\xffb\n"], ["a\ufffdb"]),
        ([b"half of \xe2\x82\nnext\n"], ["half of \ufffd", "next"]),
        ([b"at the end \xe2\x82"], ["at the end \ufffd"]),
        ([b"\xf0\x9f", b"\x98"], ["\ufffd"]),
    ],
)
def test_bytes_that_are_no_text_are_replaced(writes: list[bytes], lines: list[str]) -> None:
    assert run_virtually(lines_of(*writes)) == lines


def test_a_line_is_whole_if_the_stream_could_keep_it_and_else_comes_in_pieces() -> None:
    whole = run_virtually(lines_of(*[b"x" * 8] * 12, b"yyyy", b"\n", max_size=100))
    assert whole == ["x" * 96 + "yyyy"]
    pieces = run_virtually(lines_of(*[b"x" * 8] * 100, b"\nnext\n", max_size=100))
    assert "".join(pieces) == "x" * 800 + "next"
    assert pieces[-1] == "next"
    assert max(map(len, pieces)) <= 200


def test_lines_can_be_followed_live() -> None:
    async def follow() -> None:
        stream = BoundedStream()
        async with aclosing(stream.lines()) as lines:
            stream.write(b"first\nsec")
            assert await anext(lines) == "first"
            second = asyncio.ensure_future(anext(lines))
            await _until_everybody_waits()
            assert not second.done()
            stream.write(b"ond\n")
            assert await second == "second"

    run_virtually(follow())
