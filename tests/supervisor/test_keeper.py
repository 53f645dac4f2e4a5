"""The keeper by itself: whatever is sent to it, it goes on, and keeps nothing."""

from __future__ import annotations

import os
import random
import select
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import amper
from amper.process.spawn import Program, ReportPipe, spawn
from amper.supervisor.keepers import _CODE
from amper.supervisor.wire import (
    END,
    EXITED,
    FAILED,
    GONE,
    JOB,
    REAPED,
    STARTED,
    STARTING,
    Record,
    Spec,
    close_all,
    numbered,
    receive,
    send,
    send_load,
)
from tests.handshakes import SCRIPT_DEADLINE, Process

Socket = socket.socket


class Rig:
    """A keeper, and the end of its socket that a manager would hold."""

    def __init__(self) -> None:
        self.orders, theirs = pair()
        owner = os.pidfd_open(os.getpid())
        self.null = os.open(os.devnull, os.O_RDWR)
        self.reports = ReportPipe()
        library = str(Path(amper.__file__).parent.parent)
        fds = (theirs.fileno(), owner)
        words = [sys.executable, "-I", "-S", "-c", _CODE, library, *map(str, fds)]
        program = Program(words, pass_fds=fds, session="ours")
        pid = spawn(program, self.null, self.null, self.null, self.reports)
        self.process = Process(pid)
        theirs.close()
        os.close(owner)

    def start(self, command: list[bytes], *, load: bool = True) -> Socket:
        """Hand a job over; return its channel."""
        ours, theirs = pair()
        spec = Spec(command, (command[0],), None, [], (), "own")
        fds = [spec.to_file(), os.open("/", os.O_PATH)]
        if load:
            send_load(ours, [*fds, self.null, self.null, self.null])
        close_all(fds)
        send(self.orders, numbered(JOB, 100), [theirs.fileno()])
        theirs.close()
        return ours

    def descriptors(self) -> int:
        return len(os.listdir(f"/proc/{self.process.pid}/fd"))

    def close(self) -> None:
        self.orders.close()
        self.process.wait()
        os.waitpid(self.process.pid, 0)
        os.close(self.process.pidfd)
        os.close(self.null)
        self.reports.close()


def pair() -> tuple[Socket, Socket]:
    return socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)


def records(channel: Socket) -> list[Record]:
    """Return all that comes over a channel until its end."""
    channel.settimeout(None)
    found: list[Record] = []
    with channel:
        while True:
            channel.recv(1, socket.MSG_PEEK)
            record = receive(channel)
            if record is END or record is None:
                return found
            close_all(record.fds)
            found.append(record)


@pytest.fixture
def rig() -> Iterator[Rig]:
    made = Rig()
    yield made
    made.close()


def test_a_job_is_told_from_its_start_to_its_end(rig: Rig) -> None:
    told = records(rig.start([b"/bin/sh", b"-c", b"exit 3"]))
    assert [record.kind for record in told] == [STARTING, STARTED, EXITED, REAPED, GONE]
    assert told[2].numbers == [3 << 8]


def test_a_job_that_cannot_be_started_is_told_with_the_reason(rig: Rig) -> None:
    told = records(rig.start([b"/no/such/program"]))
    assert [record.kind for record in told] == [STARTING, FAILED, GONE]
    assert told[1].rest == b"127 /no/such/program: not found"


def test_a_shim_that_finds_no_job_starts_nothing_and_ends_its_channel(rig: Rig) -> None:
    assert records(rig.start([b"/bin/true"], load=False)) == []
    assert records(rig.start([b"/bin/true"]))[-1].kind == GONE


@pytest.mark.seeds(3)
def test_garbage_is_dropped_and_its_descriptors_are_closed(rig: Rig, seed: int) -> None:
    chosen = random.Random(seed)
    assert records(rig.start([b"/bin/true"]))[-1].kind == GONE
    before = rig.descriptors()
    for _ in range(300):
        record = chosen.choice([b"J", b"J1", b"Jx", b"L5", b"\0", chosen.randbytes(20)])
        fds = [0] * chosen.choice([2, 3, 20]) if chosen.random() < 0.5 else []
        while not send(rig.orders, record, fds):
            os.sched_yield()
    # What answers has read all that came before.
    assert records(rig.start([b"/bin/true"]))[-1].kind == GONE
    while rig.descriptors() > before:
        os.sched_yield()
    assert not rig.process.is_dead


def test_a_keeper_that_takes_no_more_jobs_lets_nobody_believe_it(rig: Rig) -> None:
    channel = rig.start([b"/bin/sleep", b"1000"])
    channel.recv(1, socket.MSG_PEEK)
    rig.orders.send(b"")
    poll = select.poll()
    poll.register(rig.orders, 0)
    assert poll.poll(SCRIPT_DEADLINE * 1000)
    with pytest.raises(BrokenPipeError):
        send(rig.orders, numbered(JOB, 100))
    channel.close()


def test_channels_that_are_gone_before_their_job_begins_leave_nothing(rig: Rig) -> None:
    for _ in range(30):
        rig.start([b"/bin/sleep", b"1000"]).close()
    assert records(rig.start([b"/bin/true"]))[-1].kind == GONE
    # It ends when all of them have: at the end of the test.


def test_orders_that_are_gone_leave_running_jobs_to_their_channels(rig: Rig) -> None:
    channel = rig.start([b"/bin/sh", b"-c", b"exec sleep 1000"])
    channel.recv(1, socket.MSG_PEEK)
    rig.orders.close()
    assert not rig.process.is_dead
    channel.close()
    rig.process.wait()
