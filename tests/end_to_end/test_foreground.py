"""`JobManager.foreground`, with a person at the terminal: a host of a few lines leads its session."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import pytest

from tests.end_to_end.console import CTRL_C, CTRL_D, CTRL_Z, Console, console
from tests.handshakes import watching

HOST: Final = """
import asyncio, signal, sys
from amper import JobManager

async def tell(jobs, id, result):
    print("told", await jobs.get_status_string(id), None if result is None else result.code, flush=True)

async def main():
    async with JobManager(grace_period=0.1) as jobs:
{}

for number in (signal.SIGINT, signal.SIGTSTP):
    # Ignored, they would be ignored by the jobs as well.
    signal.signal(number, lambda number, frame: print("host got", number, flush=True))
asyncio.run(main())
"""

# It is the leader whose stop is heard of: any other that reads might still take what is typed next.
RAW: Final = (
    f"exec {sys.executable} -c "
    "\"import tty; tty.setraw(0); print('raw', end='', flush=True); input()\""
)


@contextmanager
def host(*lines: str) -> Iterator[Console]:
    """Run a host whose manager does what the lines say."""
    body = "".join(f"        {line}\n" for line in lines)
    with console(sys.executable, "-c", HOST.format(body)) as person:
        yield person


def in_front(command: str) -> list[str]:
    return [
        f"id = await jobs.start({command!r}, foreground=True)",
        "await tell(jobs, id, await jobs.foreground(id))",
    ]


AGAIN: Final = "await tell(jobs, id, await jobs.foreground(id))"
MODES: Final = [
    "import termios; before = termios.tcgetattr(0)",
    "async def check(): assert termios.tcgetattr(0) == before; print('same', flush=True)",
]


def test_a_job_in_front_reads_and_writes_the_terminal() -> None:
    with host(*in_front("cat")) as person:
        person.type(b"hello\n")
        person.until(b"hello\r\nhello\r\n")
        person.type(CTRL_D)
        person.until(b"told done:0 0\r\n")
        assert (person.rest(), person.code()) == (b"", 0)


def test_it_is_in_front_from_its_first_instruction() -> None:
    script = "import os; print('front', os.tcgetpgrp(0) == os.getpgrp() == os.getpid())"
    command = f'{sys.executable} -c "{script}"'
    with host(*in_front(f"exec {command}")) as person:
        person.until(b"front True")
        person.until(b"told done:0 0")


def test_ctrl_c_reaches_the_job_in_front_and_nobody_else() -> None:
    with host("await jobs.start('sleep 1000')", *in_front("echo ready; exec sleep 1000")) as person:
        person.until(b"ready")
        person.type(CTRL_C)
        # Who pressed it is a stranger to amper.
        assert b"host got" not in person.until(b"told failed:130 130\r\n")
        assert person.code() == 0


def test_ctrl_z_stops_it_and_it_goes_on_where_it_was_with_the_modes_it_had() -> None:
    wait = "sys.stdin.readline()"
    lines = [*MODES, *in_front(RAW), "await check()", wait, AGAIN, "await check()"]
    with host(*lines) as person:
        person.until(b"raw")
        raw = person.modes
        # In raw mode the key is no signal; the program would send it to itself.
        os.killpg(person.in_front, signal.SIGTSTP)
        person.until(b"told stopped None\r\n")
        person.until(b"same")
        cooked = person.modes
        assert cooked != raw
        person.type(b"\n")
        in_front_again(person)
        assert person.modes == raw
        os.killpg(person.in_front, signal.SIGKILL)
        person.until(b"told failed:137 137\r\n")
        person.until(b"same")
        assert person.modes == cooked


def in_front_again(person: Console) -> None:
    """Wait until the host has given the terminal to its job."""
    while person.in_front == person.process.pid:
        pass


def test_a_line_that_was_typed_before_the_stop_is_there_afterwards() -> None:
    with host(*in_front("echo ready; read a; echo got $a"), AGAIN) as person:
        person.until(b"ready")
        person.type(b"half")
        person.until(b"half")
        person.type(CTRL_Z)
        person.until(b"told stopped None")
        in_front_again(person)
        person.type(b"whole\n")
        person.until(b"whole\r\n")
        person.until(b"told done:0 0")


UNTIL_IT_IS_STOPPED = """
        while open(f"/proc/{job.pid}/stat").read().rpartition(")")[2].split()[0] != "T":
            pass
"""
UNTIL_IT_IS_KNOWN = """
        while job.status != "stopped":
            await asyncio.sleep(0)
"""


@pytest.mark.parametrize(
    "until", [UNTIL_IT_IS_STOPPED, UNTIL_IT_IS_KNOWN], ids=["stopped", "known"]
)
def test_whoever_is_late_to_wait_does_not_take_back_a_stop(until: str) -> None:
    late = f"""
    import amper.manager.foreground as foreground
    confirmed = foreground.confirmed

    async def late(job):
        await confirmed(job)
        {until.strip()}

    foreground.confirmed = late
    """
    lines = [line.removeprefix("    ") for line in late.splitlines()]
    with host(*lines, *in_front("kill -TSTP $$; echo went on"), AGAIN) as person:
        assert b"went on" not in person.until(b"told stopped None")
        person.until(b"went on")
        person.until(b"told done:0 0")


def test_a_job_of_the_background_stops_when_it_reads_and_goes_on_in_front() -> None:
    lines = [
        "id = await jobs.start('read a; echo got $a', foreground=False)",
        "await tell(jobs, id, await jobs.wait(id))",
        AGAIN,
        "print((await jobs.read_stdout(id)).decode(), flush=True)",
    ]
    with host(*lines) as person:
        person.until(b"told stopped None")
        person.type(b"hello\n")
        person.until(b"told done:0 0")
        person.until(b"got hello")


@pytest.mark.parametrize("is_begun", [True, False])
def test_whoever_is_cancelled_takes_the_terminal_back_and_leaves_the_job(*, is_begun: bool) -> None:
    begun = "await jobs.get_process_info(id)"
    lines = [
        "id = await jobs.start('echo ready; exec cat', foreground=True)",
        "waiting = asyncio.ensure_future(jobs.foreground(id))",
        "await asyncio.sleep(0)",
        begun if is_begun else "",
        "waiting.cancel()",
        "await asyncio.wait([waiting])",
        begun,
        "import os; print('ours', os.tcgetpgrp(0) == os.getpgrp(), waiting.cancelled(), flush=True)",
        "print('alive', await jobs.get_status_string(id) in ('running', 'stopped'), flush=True)",
        "print('killed', await jobs.kill(id), flush=True)",
    ]
    with host(*lines) as person:
        person.until(b"ours True True")
        person.until(b"alive True")
        person.until(b"killed True")


@pytest.mark.parametrize(
    "number, told", [("SIGKILL", b"told failed:137 137"), ("SIGSTOP", b"told stopped None")]
)
@pytest.mark.parametrize("has_reserve", [True, False])
def test_the_end_and_the_stop_of_a_shell_in_front_are_told_while_no_descriptor_is_free(
    number: str, told: bytes, *, has_reserve: bool
) -> None:
    """What it runs has the terminal, and is to be looked for."""
    lines = [
        "import os; from tests.handshakes import few_descriptors",
        "id = await jobs.start('set -m; sleep 1000; :', foreground=True)",
        "pid, _ = await jobs.get_process_info(id)",
        "waiting = asyncio.ensure_future(jobs.foreground(id))",
        "while os.tcgetpgrp(0) in (pid, os.getpgrp()): await asyncio.sleep(0)",
        "" if has_reserve else "jobs._core.kernel.reserve.close()",
        "with few_descriptors(0):",
        f"    os.kill(pid, signal.{number})",
        "    result = await waiting",
        "    await tell(jobs, id, result)",
        "    print('ours', os.tcgetpgrp(0) == os.getpgrp(), flush=True)",
        "print('killed', await jobs.kill(id), flush=True)",
    ]
    with host(*lines) as person:
        person.until(told)
        person.until(b"ours %s" % str(has_reserve).encode())
        person.until(b"killed True")


def test_the_host_that_is_killed_takes_the_job_with_it() -> None:
    with (
        host(*in_front("echo leader $$; exec sleep 1000")) as person,
        watching(person.number_after(b"leader")) as job,
    ):
        person.process.kill()
        job.wait()


@pytest.mark.parametrize("way", ["True", "False"])
def test_without_a_terminal_it_is_a_job_that_failed(way: str) -> None:
    lines = [
        f"id = await jobs.start('echo x', foreground={way})",
        AGAIN,
        "print((await jobs.read_stderr(id)).decode(), flush=True)",
    ]
    body = "".join(f"        {line}\n" for line in lines)
    # The leader of a new session has none.
    with console("setsid", "-w", sys.executable, "-c", HOST.format(body)) as person:
        person.until(b"told failed:126 126")
        person.until(b"this process has no terminal")
