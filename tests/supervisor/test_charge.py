"""A job as its supervisor sees it: what it reports and when, what it obeys, and how it brings an end."""

from __future__ import annotations

import contextlib
import errno
import os
import socket
from collections.abc import Iterator, Sequence
from typing import Any, Final, cast

import pytest

from amper.process.gate import Gate
from amper.supervisor.charge import Charge
from amper.supervisor.wire import (
    ASK,
    CONTINUED,
    EXITED,
    INSIST,
    LET_RUN,
    REAPED,
    STARTED,
    STOPPED,
    close_all,
    numbered,
    receive,
    send,
)
from tests import families


class NoMoreDescriptors:
    """A channel of a user that has too many descriptors under way already."""

    def __init__(self) -> None:
        self.sent: list[bytes] = []

    def sendmsg(self, parts: Sequence[bytes], rights: Sequence[object], flags: int) -> None:
        if rights:
            raise OSError(errno.ETOOMANYREFS, os.strerror(errno.ETOOMANYREFS))
        self.sent += parts


class Rig:
    """A charge without processes, and the owner's end of its channel."""

    def __init__(self, grace_period: float = 1000.0) -> None:
        self.owner, self.channel = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.charge = Charge(self.channel, 0, grace_period)

    def fill(self) -> None:
        """Leave no room for a report."""
        with contextlib.suppress(BlockingIOError):
            while True:
                self.channel.send(b"x", socket.MSG_DONTWAIT)

    def told(self) -> list[bytes]:
        """Take all that has come, but for what filled the channel."""
        found = []
        while (record := receive(self.owner)) is not None:
            close_all(record.fds)
            found.append(record.kind + record.rest)
        return [record for record in found if record != b"x"]

    def hold_back(self) -> int:
        """Let a gate hold the command back; return what tells whether it runs."""
        read_end, write_end = os.pipe()
        self.charge.gate = Gate(write_end)
        return read_end

    def obey(self, *orders: bytes) -> None:
        for order in orders:
            assert send(self.owner, order)
        self.charge.obey(list)

    def close(self) -> None:
        self.owner.close()
        self.channel.close()


@pytest.fixture
def rig(monkeypatch: pytest.MonkeyPatch) -> Iterator[Rig]:
    def refuse(group: int, number: int) -> None:
        # Without a leader it would be our own.
        raise AssertionError(group)

    monkeypatch.setattr(os, "killpg", refuse)
    made = Rig()
    yield made
    made.close()


# Reports.


def test_a_leader_is_told_of_with_its_pidfd(rig: Rig) -> None:
    rig.charge.leader = os.getpid()
    rig.charge.tell_started()
    record = receive(rig.owner)
    assert record is not None
    assert (record.kind, record.numbers, len(record.fds)) == (STARTED, [os.getpid()], 1)
    close_all(record.fds)


def test_a_leader_is_told_of_without_its_pidfd_where_that_cannot_be_sent() -> None:
    channel = NoMoreDescriptors()
    Charge(cast(Any, channel), os.getpid(), 0.1).tell_started()
    assert channel.sent == [numbered(STARTED, os.getpid())]


def test_reports_wait_for_room_in_their_order_and_stops_are_summed_up_in_the_last(rig: Rig) -> None:
    rig.fill()
    stopped, exited = numbered(STOPPED, 20), numbered(EXITED, 0)
    for record in (STARTED, numbered(STOPPED, 19), CONTINUED, stopped, exited, REAPED):
        rig.charge.report(record)
    assert rig.charge.has_unsent
    assert rig.told() == []
    rig.charge.send_unsent()
    assert not rig.charge.has_unsent
    assert rig.told() == [STARTED, stopped, exited, REAPED]


def test_what_nobody_will_read_any_more_does_not_wait(rig: Rig) -> None:
    rig.fill()
    rig.charge.report(STARTED)
    rig.owner.close()
    rig.charge.send_unsent()
    assert not rig.charge.has_unsent
    rig.charge.report(REAPED)
    assert not rig.charge.has_unsent


# Orders.


def test_orders_are_obeyed_as_they_come_and_what_comes_along_is_closed(rig: Rig) -> None:
    """That nothing stays open is seen at the end of every test."""
    assert send(rig.owner, b"?", [0, 1])
    rig.obey(ASK)
    assert not rig.charge.is_killing
    rig.obey(b"?", INSIST, b"?")
    assert rig.charge.is_killing
    assert rig.charge.has_owner


def test_nobody_is_asked_before_there_is_an_order_to_ask(rig: Rig) -> None:
    looks: list[int] = []

    def roots() -> list[int]:
        looks.append(len(looks))
        return []

    for order, is_asked in ((INSIST, False), (ASK, True)):
        assert send(rig.owner, order)
        rig.charge.obey(roots)
        assert bool(looks) == is_asked


def test_a_command_that_is_held_back_runs_when_it_may(rig: Rig) -> None:
    read_end = rig.hold_back()
    rig.obey(LET_RUN)
    assert os.read(read_end, 10) == b"\n"
    os.close(read_end)


def test_a_command_that_is_held_back_never_runs_when_its_owner_is_gone(rig: Rig) -> None:
    read_end = rig.hold_back()
    rig.owner.close()
    rig.charge.obey(list)
    assert os.read(read_end, 10) == b""
    os.close(read_end)


def test_an_order_to_let_run_what_nothing_holds_back_is_none(rig: Rig) -> None:
    rig.obey(LET_RUN, INSIST)
    assert rig.charge.is_killing


@pytest.mark.parametrize("is_unread", [False, True])
def test_an_owner_that_hangs_up_is_gone_also_with_reports_unread(rig: Rig, is_unread: bool) -> None:
    if is_unread:
        rig.fill()
        rig.charge.report(STARTED)
    rig.owner.close()
    rig.charge.obey(list)
    assert not rig.charge.has_owner
    assert not rig.charge.has_unsent


def test_an_owner_that_cannot_be_heard_is_gone(rig: Rig) -> None:
    rig.channel.close()
    rig.charge.obey(list)
    assert not rig.charge.has_owner


def test_a_job_without_an_owner_is_asked_once_and_killed_after_the_grace_period(rig: Rig) -> None:
    charge, asked = rig.charge, []
    assert charge.timeout() is None

    def roots() -> list[int]:
        asked.append(charge.has_owner)
        return []

    charge.lose_owner(roots)
    assert asked
    assert not any(asked)
    due = charge.deadline
    charge.tick()
    assert not charge.is_killing
    assert 0 < (charge.timeout() or 0) <= 1_000_000
    del asked[:]
    charge.lose_owner(roots)
    assert not asked
    assert charge.deadline == due
    # As if it were later.
    charge.deadline = 0.0
    assert charge.timeout() == 0
    charge.tick()
    assert charge.is_killing
    assert charge.timeout() is None


# Processes: a program of its own is their parent.

BEGIN: Final = """
from socket import AF_UNIX, SOCK_SEQPACKET, socketpair

from amper.supervisor import charge as module, descent
from amper.supervisor.charge import MOST_LOOKS, Charge
from amper.supervisor.wire import (
    CONTINUED, END, EXITED, REAPED, STOPPED, close_all, numbered, receive
)

owner, channel = socketpair(AF_UNIX, SOCK_SEQPACKET)
SHOWN = os.WEXITED | os.WSTOPPED | os.WCONTINUED | os.WNOWAIT


def told():
    found = []
    while (record := receive(owner)) not in (None, END):
        found.append((record.kind, *record.numbers))
    return found


def is_ours(pid):
    return pid in look()


def shown(pid, number):
    # What became of it after a signal.
    os.kill(pid, number)
    return os.waitid(os.P_PID, pid, SHOWN)


def note_signals():
    # From here on nobody gets a signal, and who would get one is noted.
    noted = []
    os.killpg = lambda group, number: noted.append((-group, number))

    def send(pid, pidfd, numbers):
        noted.extend((pid, number) for number in numbers)
        return True

    descent._send = send
    return noted
"""


def check(script: str) -> None:
    families.check(BEGIN + script)


def test_everybody_is_asked_once_and_first_who_has_left_the_group() -> None:
    check("""
leader, member, away, below = chain(os.setsid, stay, os.setpgrp, os.setsid)
noted = note_signals()
Charge(channel, leader, 1.0).ask(look)
both = (signal.SIGTERM, signal.SIGCONT)
assert noted == [(pid, number) for pid in (away, below, -leader) for number in both]
""")


def test_no_group_is_asked_when_the_leader_is_collected() -> None:
    check("""
(left,) = chain(stay)
noted = note_signals()
Charge(channel, 0, 1.0).ask(look)
assert noted == [(left, signal.SIGTERM), (left, signal.SIGCONT)]
""")


def test_a_stopped_job_ends_when_it_is_asked() -> None:
    check("""
leader, member = chain(os.setsid, stay)
shown(leader, signal.SIGSTOP)
os.kill(member, signal.SIGSTOP)
Charge(channel, leader, 1.0).ask(look)
for pid in (leader, member):
    while not is_ours(pid):
        os.sched_yield()
    assert os.waitpid(pid, 0)[1] == signal.SIGTERM
""")


def test_who_has_become_a_child_of_ours_meanwhile_is_asked_as_well() -> None:
    check("""
(leader,), (late,) = chain(os.setsid), chain(os.setsid)
looks = iter([[leader], [leader], [leader, late], [leader, late]])
noted = note_signals()
Charge(channel, leader, 1.0).ask(lambda: next(looks))
assert noted == [(-leader, signal.SIGTERM), (-leader, signal.SIGCONT)]
noted.clear()
looks = iter([[leader], [leader, late], [leader, late]])
Charge(channel, leader, 1.0).ask(lambda: next(looks))
assert noted[2:] == [(late, signal.SIGTERM), (late, signal.SIGCONT)]
assert next(looks, None) is None
""")


def test_whoever_is_new_at_each_look_keeps_nobody_for_ever() -> None:
    check("""
children = []


def roots():
    children.extend(chain(stay))
    return children


noted = note_signals()
Charge(channel, 0, 1.0).ask(roots)
assert len(children) == 1 + MOST_LOOKS
assert len(noted) == 2 * len(children), "each is asked once"
""")


def test_everybody_is_killed_and_whether_that_was_news_is_told() -> None:
    check("""
(leader, below), (other,) = chain(os.setsid, os.setsid), chain(stay)
charge = Charge(channel, leader, 1.0)
assert charge.kill([leader])
os.waitid(os.P_PID, leader, SHOWN)
assert not charge.kill([leader]), "it is dead"
assert charge.kill([leader, other])
assert os.waitpid(other, 0)[1] == signal.SIGKILL
""")


def test_a_number_that_was_collected_is_somebody_new_when_it_comes_again() -> None:
    check("""
(leader,) = chain(os.setsid)
charge = Charge(channel, leader, 1.0)
module.signal_descent = lambda roots, numbers: {leader}
assert charge.kill([leader])
assert not charge.kill([leader])
charge.child_changed(shown(leader, signal.SIGKILL))
assert charge.kill([leader])
""")


def test_an_exit_is_reported_before_it_is_collected_and_then_what_it_used() -> None:
    check("""
(leader,) = chain(lambda: (os.setsid(), signal.signal(signal.SIGUSR1, lambda *_: os._exit(3))))
sent = []


class Channel:
    def sendmsg(self, parts, rights, flags):
        sent.append((parts[0], is_ours(leader)))


charge = Charge(Channel(), leader, 1.0)
charge.child_changed(shown(leader, signal.SIGUSR1))
assert charge.leader == 0
(exited, was_ours), (reaped, is_still_ours) = sent
assert (exited, was_ours, is_still_ours) == (numbered(EXITED, 3 << 8), True, False)
assert reaped[:1] == REAPED
user, system, memory = map(int, reaped[1:].split())
assert user + system > 0
assert memory > 1000
""")


def test_a_death_of_a_signal_is_told_with_the_signal_and_the_core() -> None:
    check("""
(one,), (two,) = chain(os.setsid), chain(os.setsid)
Charge(channel, one, 1.0).child_changed(shown(one, signal.SIGTERM))
assert told()[0] == (EXITED, signal.SIGTERM)
change = shown(two, signal.SIGKILL)
# Whether it leaves a core is the system's to say.
dumped = os.waitid_result((two, 0, signal.SIGCHLD, signal.SIGSEGV, os.CLD_DUMPED))
Charge(channel, two, 1.0).child_changed(dumped)
((kind, status), _) = told()
assert kind == EXITED
assert os.WCOREDUMP(status)
assert os.WTERMSIG(status) == signal.SIGSEGV
""")


def test_stops_and_continuations_of_the_leader_are_told_each_once() -> None:
    check("""
(leader,) = chain(os.setsid)
charge = Charge(channel, leader, 1.0)
stop = shown(leader, signal.SIGSTOP)
charge.child_changed(stop)
assert told() == [(STOPPED, signal.SIGSTOP)]
charge.child_changed(stop)
assert told() == []
charge.child_changed(shown(leader, signal.SIGCONT))
assert told() == [(CONTINUED,)]
charge.child_changed(shown(leader, signal.SIGSTOP))
assert told() == [(STOPPED, signal.SIGSTOP)]
""")


def test_between_two_stops_it_was_continued_though_the_kernel_shows_the_second_alone() -> None:
    check("""
(leader,) = chain(os.setsid)
charge = Charge(channel, leader, 1.0)
charge.child_changed(shown(leader, signal.SIGSTOP))
shown(leader, signal.SIGCONT)
os.kill(leader, signal.SIGSTOP)
charge.child_changed(os.waitid(os.P_PID, leader, os.WSTOPPED | os.WNOWAIT))
assert told() == [(STOPPED, signal.SIGSTOP), (CONTINUED,), (STOPPED, signal.SIGSTOP)]
""")


def test_a_stop_that_is_over_when_it_is_taken_is_not_told() -> None:
    check("""
(leader,) = chain(os.setsid)
charge = Charge(channel, leader, 1.0)
stop = shown(leader, signal.SIGSTOP)
shown(leader, signal.SIGCONT)
charge.child_changed(stop)
assert told() == [(CONTINUED,)]
""")


def test_a_death_is_not_taken_for_the_stop_that_was_shown_before() -> None:
    check("""
(leader,) = chain(os.setsid)
charge = Charge(channel, leader, 1.0)
stop = shown(leader, signal.SIGSTOP)
death = shown(leader, signal.SIGKILL)
while death.si_code == os.CLD_STOPPED:
    death = os.waitid(os.P_PID, leader, SHOWN)
charge.child_changed(stop)
assert told() == []
assert is_ours(leader)
charge.child_changed(death)
assert [kind for kind, *_ in told()] == [EXITED, REAPED]
""")


def test_others_than_the_leader_are_collected_and_nobody_is_told() -> None:
    check("""
(leader,), (other,) = chain(os.setsid), chain(stay)
charge = Charge(channel, leader, 1.0)
charge.child_changed(shown(other, signal.SIGSTOP))
assert is_ours(other)
charge.child_changed(shown(other, signal.SIGKILL))
assert look() == [leader]
assert told() == []
""")
