"""Who is blocked until somebody types: real programs in real terminals."""

from __future__ import annotations

import contextlib
import os
import select
import shutil
import signal
import sys
from collections.abc import Iterator
from typing import Final

import pytest

from amper.process.descriptors import Reserve
from amper.process.procfs import members_of
from amper.process.spawn import Program, ReportPipe, spawn
from amper.process.terminals import input_wait
from amper.process.terminals.input_wait import waits_for_input
from amper.process.terminals.pty import Pty, open_pty
from tests.handshakes import SCRIPT_DEADLINE, run_script, state_of

PYTHON: Final = [sys.executable, "-I", "-c"]


class Job:
    """A program in a terminal of its own."""

    def __init__(self, pty: Pty, pid: int) -> None:
        self.pty = pty
        self.pid = pid
        self._seen = b""

    def until(self, text: bytes) -> None:
        while text not in self._seen:
            ready, _, _ = select.select([self.pty.master], [], [], SCRIPT_DEADLINE)
            assert ready, self._seen
            self._seen += os.read(self.pty.master, 4096)

    def type(self, keys: bytes) -> None:
        os.write(self.pty.master, keys)

    @property
    def members(self) -> list[int]:
        return list(members_of(self.pty.foreground or 0, Reserve()))

    def answer(self) -> bool | None:
        return waits_for_input(self.members, self.pty.device or 0)

    def asleep(self) -> None:
        """Wait until all of it sleeps: what it said last was not the last thing that it did."""
        while any(state_of(pid) != "S" for pid in self.members):
            pass

    def waiting(self) -> None:
        """Wait until it waits: it may sleep for a moment on its way there."""
        while self.answer() is not True:
            pass


@contextlib.contextmanager
def job(command: str | list[str], says: bytes = b"") -> Iterator[Job]:
    pty = open_pty()
    env = os.environ | {"TERM": "xterm"}
    try:
        slave = pty.slave
        pid = spawn(pty.program(Program(command, env=env)), slave, slave, slave, ReportPipe())
        try:
            started = Job(pty, pid)
            started.until(says)
            yield started
        finally:
            # All of them write to the terminal, or read from it, and lead no group of their own.
            for member in started.members:
                os.kill(member, signal.SIGKILL)
            os.waitpid(pid, 0)
    finally:
        pty.close()


ASYNCIO: Final = """
import asyncio
async def main():
    loop = asyncio.get_running_loop()
    loop.add_reader(0, lambda: None)
    loop.call_soon(print, "ready")
    {before}
    await loop.create_future()
asyncio.run(main())
"""

POLL: Final = """
import select, socket, sys
mine, other = socket.socketpair()
poll = select.{kind}()
poll.register(0, select.{event})
{more}
print("ready", flush=True)
poll.poll({timeout})
"""


def polling(
    kind: str = "poll", event: str = "POLLIN", more: str = "", timeout: str = ""
) -> list[str]:
    return [*PYTHON, POLL.format(kind=kind, event=event, more=more, timeout=timeout)]


WAITING: Final[dict[str, tuple[str | list[str], bytes]]] = {
    "cat": ("echo ready; exec cat", b"ready"),
    "a member of a pipeline": ("echo ready; cat | cat", b"ready"),
    "read in sh": ("printf name?; read -r name", b"name?"),
    "input() in Python": ([*PYTHON, "input('name?')"], b"name?"),
    "input() with readline": ([*PYTHON, "import readline; input('name?')"], b"name?"),
    "a password": ([*PYTHON, "import getpass; getpass.getpass('secret?')"], b"secret?"),
    "a password, streams elsewhere": (
        "exec <&- >&- 2>&-; printf secret? >/dev/tty; read -r secret </dev/tty",
        b"secret?",
    ),
    "readv": (
        [*PYTHON, "import os; print('ready', flush=True); os.readv(0, [bytearray(9)])"],
        b"y\r",
    ),
    "a second thread": (
        [
            *PYTHON,
            "import os, threading; t = threading.Thread(target=os.read, args=(0, 1)); t.start(); t.join()",
        ],
        b"",
    ),
    "poll": (polling(), b"ready"),
    "poll beside its own socketpair": (polling(more="poll.register(mine, 1)"), b"ready"),
    "epoll": (polling("epoll", "EPOLLIN"), b"ready"),
    "select": ([*PYTHON, "import select; print('ready'); select.select([0], [], [])"], b"ready"),
    "an event loop": ([*PYTHON, ASYNCIO.format(before="")], b"ready"),
}
BY_NAME: Final[dict[str, tuple[list[str], bytes]]] = {
    "the prompt of bash": (["bash", "--norc", "-i"], b"bash-"),
    "read in bash": (["bash", "-c", "printf name?; read -r name"], b"name?"),
    "bash with readline": (["bash", "-c", "read -r -e -p name? name"], b"name?"),
    "less": (["less", "/etc/passwd"], b"/etc/passwd"),
}
WAITING.update({name: how for name, how in BY_NAME.items() if shutil.which(how[0][0])})

NOT_WAITING: Final[dict[str, tuple[str | list[str], bytes]]] = {
    "sleep": ("echo ready; exec sleep 1000", b"ready"),
    "a shell that waits for it": ("echo ready; sleep 1000; :", b"ready"),
    "a pipe": ("echo ready; sleep 1000 | cat", b"ready"),
    "another terminal": (
        [*PYTHON, "import os; m, s = os.openpty(); print('ready', flush=True); os.read(s, 1)"],
        b"ready",
    ),
    "a deadline": (polling(timeout="1000000"), b"ready"),
    "a deadline of epoll": (polling("epoll", "EPOLLIN", timeout="1000"), b"ready"),
    "a deadline of select": (
        [*PYTHON, "import select; print('ready', flush=True); select.select([0], [], [], 1000)"],
        b"ready",
    ),
    "the network too": (
        polling(more="net = socket.create_server(('127.0.0.1', 0)); poll.register(net, 1)"),
        b"ready",
    ),
    "a pipe of somebody else's too": (
        f"sleep 1000 | {{ exec 3<&0 </dev/tty; exec {sys.executable} -I -c '"
        + POLL.format(kind="poll", event="POLLIN", more="poll.register(3, 1)", timeout="")
        + "'; }",
        b"ready",
    ),
    "an event loop with a timer": (
        [*PYTHON, ASYNCIO.format(before="loop.call_later(1000, print)")], b"ready"
    ),
    "nothing but its socketpair": (
        polling(more="poll.unregister(0); poll.register(mine, 1)"), b"ready"
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", WAITING)
def test_it_waits_for_input(name: str) -> None:
    with job(*WAITING[name]) as started:
        started.waiting()


@pytest.mark.parametrize("name", NOT_WAITING)
def test_it_does_not_wait_for_input(name: str) -> None:
    with job(*NOT_WAITING[name]) as started:
        started.asleep()
        assert started.answer() is False, name


def test_the_answer_is_that_of_the_moment() -> None:
    with job("printf 'name?'; read -r x; echo thanks; exec sleep 1000", b"name?") as started:
        started.waiting()
        # Half a line is not what it waits for.
        started.type(b"half")
        started.until(b"half")
        assert started.answer() is True
        started.type(b" a line\n")
        started.until(b"thanks")
        started.asleep()
        assert started.answer() is False


@pytest.mark.parametrize("command", ["echo ready; exec cat", polling()], ids=["read", "poll"])
def test_what_is_stopped_does_not_wait_and_what_goes_on_waits_again(
    command: str | list[str],
) -> None:
    with job(command, b"ready") as started:
        started.waiting()
        os.kill(started.pid, signal.SIGSTOP)
        os.waitid(os.P_PID, started.pid, os.WSTOPPED)
        assert started.answer() is False
        os.kill(started.pid, signal.SIGCONT)
        os.waitid(os.P_PID, started.pid, os.WCONTINUED)
        started.waiting()


def test_a_program_that_runs_does_not_wait() -> None:
    with job("echo ready; while :; do :; done", b"ready") as started:
        assert started.answer() is False


def test_who_is_gone_does_not_wait() -> None:
    with job("echo ready; exec cat", b"ready") as started:
        started.asleep()
        os.kill(started.pid, signal.SIGKILL)
        os.waitid(os.P_PID, started.pid, os.WEXITED | os.WNOWAIT)
        assert waits_for_input([started.pid, 2**22], started.pty.device or 0) is False


def test_nobody_knows_on_a_machine_whose_calls_we_do_not_know(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with job("echo ready; exec cat", b"ready") as started:
        started.asleep()
        monkeypatch.setattr(input_wait, "_CALLS", {})
        assert started.answer() is None


UNPRIVILEGED = """
import os, select, sys
from amper.process.terminals import input_wait
from amper.process.terminals.pty import open_pty
from amper.process.spawn import Program, ReportPipe, spawn

if os.geteuid() == 0:
    os.setgroups([])
    os.setgid(65534)
    os.setuid(65534)
pty = open_pty()
command = "echo ready; exec cat"
pid = spawn(pty.program(Program(command)), pty.slave, pty.slave, pty.slave, ReportPipe())
shown = b""
while b"ready" not in shown:
    shown += os.read(pty.master, 100)
while open(f"/proc/{pid}/comm").read() != "cat\\n" or "S (sl" not in open(f"/proc/{pid}/status").read():
    pass
assert input_wait.waits_for_input([pid], pty.device) is True
# What is another's cannot be seen, and then nobody knows.
if os.stat("/proc/1").st_uid != os.geteuid():
    assert input_wait.waits_for_input([1], pty.device) is None
place = open(f"/proc/{pid}/wchan").read()

def refused(pid, id):
    raise PermissionError

input_wait._read_thread = refused
assert input_wait.waits_for_input([pid], pty.device) is (True if place == "n_tty_read" else None)
input_wait._IN_A_READ = place.encode()
assert input_wait.waits_for_input([pid], pty.device) is True
assert input_wait.waits_for_input([pid], pty.device + 1) is None
pty.close()
assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) in (0, -1)
"""


def test_it_takes_no_privileges_and_without_the_right_to_look_nobody_knows() -> None:
    run_script(UNPRIVILEGED)
