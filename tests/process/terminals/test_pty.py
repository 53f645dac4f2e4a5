"""Programs with a terminal of their own, and the pumps of its master."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import Iterator

import pytest

from amper import BoundedStream
from amper.process.poller import Poller
from amper.process.pump import LateOutput
from amper.process.spawn import CannotStart, Program, ReportPipe, spawn
from amper.process.terminals.pty import IN_CONTROL, Pty, open_pty
from amper.process.terminals.pty_pump import HOLDS, MasterInput, MasterPump
from amper.process.terminals.terminal import Size
from tests.end_to_end.console import CTRL_C
from tests.handshakes import few_descriptors, run_script, turns_until, watching
from tests.support import on_all_loops
from tests.work import on_a_loop


@pytest.fixture
def poller() -> Iterator[Poller]:
    poller = Poller()
    yield poller
    poller.close()


@contextlib.contextmanager
def started(command: str | list[str]) -> Iterator[tuple[Pty, int]]:
    """Run a command in a terminal of its own until the end of the block."""
    pty = open_pty()
    try:
        program = Program(command)
        pid = spawn(pty.program(program), pty.slave, pty.slave, pty.slave, ReportPipe())
        try:
            yield pty, pid
        finally:
            # Our child: the number is its own until it is collected.
            with contextlib.suppress(ProcessLookupError):
                os.killpg(pid, signal.SIGKILL)
            with contextlib.suppress(ChildProcessError):
                os.waitpid(pid, 0)
    finally:
        pty.close()


def code_of(pid: int) -> int:
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def until_ready(pty: Pty) -> None:
    """Wait until it shows `ready`, behind what it shows first; it may come in two pieces."""
    shown = b""
    while shown != IN_CONTROL + b"ready\r\n":
        shown += os.read(pty.master, 100)


class Typist:
    """Whoever waits until what was typed was taken."""

    def __init__(self) -> None:
        self.changes = 0

    def stdin_changed(self) -> None:
        self.changes += 1


class Job:
    """A command in a terminal of its own, as a manager would run it."""

    def __init__(self, poller: Poller, command: str | list[str], typed: bytes = b"") -> None:
        """Start it; `typed` is handed over before it is there."""
        self.pty = open_pty()
        self.device = self.pty.device
        slave = self.pty.slave
        self.stream = BoundedStream(16 * 1024 * 1024)
        self.typist = Typist()
        self.stdin = MasterInput(self.pty, poller, self.typist)
        self.pump = MasterPump(self.pty, self.stream, poller)
        self.pump.typing = self.stdin
        if typed:
            self.stdin.write(typed)
        self.pid = spawn(self.pty.program(Program(command)), slave, slave, slave, ReportPipe())

    async def until(self, text: bytes) -> None:
        while text not in self.stream.read():
            await self.stream.changed_since(self.stream.total_written)

    async def end(self) -> int:
        """Wait for the leader's death, and take what it has written."""
        pidfd = os.pidfd_open(self.pid)
        loop = asyncio.get_running_loop()
        dead = loop.create_future()
        loop.add_reader(pidfd, lambda: None if dead.done() else dead.set_result(None))
        await dead
        loop.remove_reader(pidfd)
        os.close(pidfd)
        code = code_of(self.pid)
        self.stdin.close()
        self.is_closed = self.pump.finish()
        return code


@on_all_loops
async def test_a_program_is_controlled_by_its_terminal_in_a_session_of_its_own(
    poller: Poller,
) -> None:
    poller.attach(asyncio.get_running_loop())
    for command in ("tty; ps -o pid=,pgid=,sid=,tpgid=,tty= -p $$", ["tty"]):
        job = Job(poller, command)
        name = job.pty.name
        assert await job.end() == 0
        first, *rest = job.stream.read().decode().splitlines()
        assert first == name
        for line in rest:
            assert line.split() == [str(job.pid)] * 4 + [name.removeprefix("/dev/")]
        assert job.is_closed
        assert not job.pump.is_open


@on_all_loops
async def test_what_is_typed_is_echoed_and_read(poller: Poller) -> None:
    poller.attach(asyncio.get_running_loop())
    job = Job(poller, "echo ready; read -r line; echo got $line")
    await job.until(b"ready\r\n")
    job.stdin.write(b"hel")
    job.stdin.write(b"lo\n")
    assert await job.end() == 0
    assert job.stream.read() == b"ready\r\nhello\r\ngot hello\r\n"


@on_all_loops
async def test_ctrl_c_reaches_the_group_in_front(poller: Poller) -> None:
    poller.attach(asyncio.get_running_loop())
    job = Job(poller, ["/bin/sh", "-c", "echo ready; exec sleep 1000"])
    await job.until(b"ready\r\n")
    assert job.pty.foreground == job.pid
    job.stdin.write(CTRL_C)
    assert await job.end() == -signal.SIGINT


@on_all_loops
async def test_ctrl_c_that_is_typed_too_early_waits_for_a_group_in_front(poller: Poller) -> None:
    poller.attach(asyncio.get_running_loop())
    for typed, signal_number in ((CTRL_C, signal.SIGINT), (b"x\n\x1c", signal.SIGQUIT)):
        job = Job(poller, ["sleep", "1000"], typed)
        assert job.stdin.taken == 0
        assert await job.end() == -signal_number
        assert job.stdin.taken == len(typed)
        assert b"\0" not in job.stream.read()


@on_a_loop
async def test_what_a_shell_complains_of_before_is_shown_and_later_zeros_are_too(
    poller: Poller,
) -> None:
    poller.attach(asyncio.get_running_loop())
    pty, stream = open_pty(), BoundedStream()
    pump = MasterPump(pty, stream, poller)
    os.write(pty.slave, b"sh: complaint")
    await turns_until(lambda: stream.read() == b"sh: complaint")
    os.write(pty.slave, b"!\0one\0")
    await turns_until(lambda: stream.read() == b"sh: complaint!one\0")
    os.write(pty.slave, b"\0two")
    await turns_until(lambda: stream.read() == b"sh: complaint!one\0\0two")
    pump.close()


@on_all_loops
async def test_bytes_that_are_fed_end_with_the_end_of_the_file(poller: Poller) -> None:
    poller.attach(asyncio.get_running_loop())
    for data in (b"", b"a line\n", b"half a li", b"one\ntwo"):
        job = Job(poller, "stty -echo; echo ready; cat; echo end")
        await job.until(b"ready\r\n")
        job.stdin.write(data) if data else None
        job.stdin.close_when_written()
        assert not job.stdin.is_open
        assert await job.end() == 0
        shown = data.replace(b"\n", b"\r\n")
        assert job.stream.read() == b"ready\r\n" + shown + b"end\r\n"


@on_all_loops
async def test_a_program_that_does_not_read_takes_no_more_than_its_terminal_holds(
    poller: Poller,
) -> None:
    poller.attach(asyncio.get_running_loop())
    job = Job(poller, "stty raw -echo; echo ready; read -r line; exec cat >/dev/null")
    await job.until(b"ready")
    handed = job.stdin.write(b"x" * 100_000 + b"\n")
    assert job.stdin.taken < handed
    await turns_until(lambda: job.stdin.taken == handed)
    assert job.typist.changes
    os.kill(job.pid, signal.SIGKILL)
    await job.end()


@on_all_loops
async def test_all_that_a_leader_wrote_is_there_when_it_is_dead(poller: Poller) -> None:
    """It may still be on its way to the master then: nobody has read it before."""
    poller.attach(asyncio.get_running_loop())
    # From 8 KiB on it may have to wait until somebody reads.
    for size in (0, 1, 4095, 4096, 4097, 7_000):
        pty = open_pty()
        slave = pty.slave
        script = f"import os; os.write(1, b'x' * {size})"
        program = Program([sys.executable, "-I", "-S", "-c", script])
        pid = spawn(pty.program(program), slave, slave, slave, ReportPipe())
        stream = BoundedStream(1024 * 1024)
        # Without a turn of the loop nothing is read until its end.
        pump = MasterPump(pty, stream, poller)
        assert code_of(pid) == 0
        assert pump.finish()
        assert stream.read() == b"x" * size


@on_all_loops
async def test_a_flood_is_read_completely_and_in_order(poller: Poller) -> None:
    poller.attach(asyncio.get_running_loop())
    job = Job(poller, "stty -opost; seq 1 100000")
    assert await job.end() == 0
    assert job.stream.read() == b"".join(b"%d\n" % number for number in range(1, 100_001))
    assert job.is_closed


@on_all_loops
async def test_a_program_may_close_its_terminal_and_open_it_again(poller: Poller) -> None:
    """Nobody has it open then but we: it must neither end nor hang up."""
    poller.attach(asyncio.get_running_loop())
    job = Job(
        poller,
        "exec <&- >&- 2>&-; read -r line </dev/tty; exec >/dev/tty; echo back; read -r line </dev/tty",
    )
    job.stdin.write(b"x\n")
    await job.until(b"back\r\n")
    job.stdin.write(b"x\n")
    assert await job.end() == 0


@on_all_loops
async def test_what_others_write_after_the_leaders_end_is_late(poller: Poller) -> None:
    poller.attach(asyncio.get_running_loop())
    script = "trap '' HUP; exec 3<&0; (read -r line <&3; echo late) & echo child $!; wait"
    job = Job(poller, ["/bin/sh", "-c", script])
    await job.until(b"\r\n")
    child = int(job.stream.read().split()[1])
    late = LateOutput()
    typing = MasterInput(job.pty, poller, job.typist)
    typing.begin()
    with watching(child) as holder:
        os.kill(job.pid, signal.SIGKILL)
        assert await job.end() == -signal.SIGKILL
        assert not job.is_closed
        job.pump.drain_into(late)
        assert late.open_pipes == 1
        typing.write(b"x\n")
        await holder.death()
        await turns_until(lambda: not job.pump.is_open)
    assert late.open_pipes == 0
    # The echo of what was typed is there as well.
    assert late.received == len(b"x\r\nlate\r\n")
    typing.close()


@on_all_loops
async def test_a_resize_is_heard_of(poller: Poller) -> None:
    poller.attach(asyncio.get_running_loop())
    job = Job(poller, "trap 'stty size; exit 0' WINCH; stty size; while :; do read -r line; done")
    await job.until(b"24 80\r\n")
    assert job.pty.size() == Size(80, 24)
    assert job.pty.set_size(Size(133, 50))
    # Some shells act on a signal only when their builtin is over. The echo comes before or after.
    job.stdin.write(b"\n")
    assert await job.end() == 0
    assert b"50 133\r\n" in job.stream.read()


def test_closing_the_master_hangs_up() -> None:
    with started("echo ready; exec sleep 1000") as (pty, pid):
        until_ready(pty)
        pty.close()
        pty.close()
        assert code_of(pid) == -signal.SIGHUP


def test_what_cannot_be_executed_is_told(poller: Poller) -> None:
    for command, code in ((["no-such-program"], 127), (["/etc/passwd"], 126), (["a\0b"], 126)):
        with pytest.raises(CannotStart) as raised, started(command):
            pass
        assert raised.value.code == code


def test_without_descriptors_there_is_no_pty(poller: Poller) -> None:
    for free in (0, 1):
        with few_descriptors(free), pytest.raises(OSError, match="Too many"):
            open_pty()
    pty = open_pty()
    with few_descriptors(0), pytest.raises(OSError, match="Too many"):
        MasterInput(pty, poller, Typist())
    pty.close()


LOW = """
import os
from amper.process.terminals.pty import open_pty
pty = open_pty()
assert min(pty.master, pty.slave) > 2
assert not os.get_inheritable(pty.master) and not os.get_inheritable(pty.slave)
pty.close()
assert os.open(os.devnull, os.O_RDONLY) == 0
"""


def test_a_pty_stays_clear_of_the_standard_streams() -> None:
    run_script(f"import os; os.closerange(0, 2)\n{LOW}\nos.open(os.devnull, os.O_WRONLY)")


def test_more_is_read_at_the_end_than_a_pty_can_hold() -> None:
    """Fill one that nobody reads."""
    pty = open_pty()
    os.set_blocking(pty.slave, False)
    written = 0
    with contextlib.suppress(BlockingIOError):
        while True:
            written += os.write(pty.slave, b"x" * 100)
    assert 4096 <= written < HOLDS
    pty.close()


def test_a_pump_that_cannot_be_watched_leaves_nothing_open(poller: Poller) -> None:
    pty = open_pty()
    poller.close()
    with pytest.raises(ValueError, match="closed epoll"):
        MasterPump(pty, BoundedStream(1), poller)
    pty.close()
