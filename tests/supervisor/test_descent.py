"""Looks at all descendants, and signals for them: nobody is passed by, and no stranger is reached."""

from __future__ import annotations

from typing import Final

import pytest

from tests import families

BEGIN: Final = """
import resource

from amper.supervisor import descent
from amper.supervisor.descent import descent_of, is_alive, signal_descent


def collect(pid):
    # Wait for somebody who is our child, or will be.
    while pid not in look():
        os.sched_yield()
    _, status = os.waitpid(pid, 0)
    return os.waitstatus_to_exitcode(status)


def open_nothing():
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (0, hard))
    return lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def opened():
    return sorted(os.listdir("/proc/self/fd"))
"""

WITHOUT_LISTS: Final = """
def refuse(path, flags, open=os.open):
    if path.endswith("/children"):
        raise FileNotFoundError
    return open(path, flags)

look.close()
os.open = refuse
look = OwnChildren()
descent._children_of = descent._children_by_parent
"""
"""A kernel without CONFIG_PROC_CHILDREN."""

KERNELS: Final = pytest.mark.parametrize("kernel", ["", WITHOUT_LISTS], ids=["lists", "without"])


def check(script: str) -> None:
    families.check(BEGIN + script)


# Our children.


@KERNELS
def test_our_children_are_all_shown_dead_ones_too_and_nobody_elses(kernel: str) -> None:
    check(
        kernel
        + """
assert look() == []
(one,), (two, below) = chain(stay), chain(os.setsid, os.setsid)
assert sorted(look()) == [one, two]
os.kill(one, signal.SIGKILL)
os.waitid(os.P_PID, one, os.WEXITED | os.WNOWAIT)
assert sorted(look()) == [one, two]
collect(one)
assert look() == [two]
os.kill(two, signal.SIGKILL)
collect(two)
assert look() == [below]
"""
    )


def test_children_that_do_not_fit_into_one_read_are_shown_all_the_same() -> None:
    check("""
children = [pid for _ in range(4) for pid in chain(stay)]
pread = os.pread
os.pread = lambda fd, size, offset: pread(fd, 3, offset)
assert sorted(look()) == sorted(children)
""")


def test_nobody_is_overlooked_for_want_of_a_descriptor() -> None:
    check("""
(child,) = chain(stay)
limit_again = open_nothing()
assert look() == [child]
limit_again()
""")


def test_a_look_that_takes_a_descriptor_fails_rather_than_show_nobody() -> None:
    check(
        WITHOUT_LISTS
        + """
chain(stay)
limit_again = open_nothing()
try:
    found = look()
except OSError:
    found = None
limit_again()
assert found is None
"""
    )


def test_what_a_look_holds_is_closed_once() -> None:
    check("""
before = opened()
children = OwnChildren()
assert opened() != before
children.close()
assert opened() == before
os.dup(0)
children.close()
assert opened() != before
""")


# All descendants.


@KERNELS
def test_all_descendants_are_reached_whatever_their_session(kernel: str) -> None:
    check(
        kernel
        + """
pids = chain(os.setsid, stay, os.setsid, os.setsid)
before = opened()
assert descent_of(look()) == set(pids)
assert signal_descent(look(), [signal.SIGURG]) == set(pids)
assert opened() == before
# Whoever is dead before its children are looked for has none any more: they are ours.
while look():
    signal_descent(look(), [signal.SIGKILL])
    assert collect(look()[0]) == -signal.SIGKILL
assert not any(os.path.exists(f"/proc/{pid}") for pid in pids)
"""
    )


def test_whoever_is_a_parent_is_killed_before_anybody_looks_for_its_children() -> None:
    """It may fork until then: what it forks later would be passed by."""
    check("""
pids = chain(os.setsid, os.setsid, os.setsid)
look_below, send = descent._children_of, descent._send
sent = []


def send_and_note(pid, pidfd, numbers):
    sent.append(pid)
    return send(pid, pidfd, numbers)


def look_at_dying(pid):
    assert pid in sent
    return look_below(pid)


descent._children_of, descent._send = look_at_dying, send_and_note
signal_descent(look(), [signal.SIGKILL])
assert pids[0] in sent
""")


def test_nobody_is_reached_who_is_not_a_child_of_who_is_held() -> None:
    """A number that has been recycled since it was read is somebody else's."""
    check("""
(one,), (stranger, below) = chain(stay), chain(stay, stay)
look_below = descent._children_of
descent._children_of = lambda pid: [stranger, below, *look_below(pid)]
assert signal_descent([one], [signal.SIGKILL]) == {one}
assert descent_of([one]) == {one}
collect(one)
assert is_alive(os.pidfd_open(stranger))
assert is_alive(os.pidfd_open(below))
""")


def test_a_group_is_passed_by_but_not_what_has_left_it_further_down() -> None:
    check("""
leader, member, other, below = chain(os.setsid, stay, os.setpgrp, stay)
assert signal_descent(look(), [signal.SIGURG], but_group=leader) == {other, below}
assert signal_descent(look(), [signal.SIGKILL], but_group=leader, but={other}) == {below}
assert all(is_alive(os.pidfd_open(pid)) for pid in (leader, member, other))
""")


def test_whoever_is_passed_by_has_descendants_that_are_not() -> None:
    check("""
one, two, three = chain(stay, stay, stay)
assert signal_descent(look(), [signal.SIGKILL], but={one, two}) == {three}
assert is_alive(os.pidfd_open(one))
assert is_alive(os.pidfd_open(two))
""")


def test_a_stopped_process_gets_what_it_was_sent_when_it_is_let_run_on() -> None:
    check("""
one, below = chain(stay, os.setsid)
signal_descent(look(), [signal.SIGSTOP], but={one})
assert signal_descent(look(), [signal.SIGTERM, signal.SIGCONT], but={one}) == {below}
pidfd = os.pidfd_open(below)
while is_alive(pidfd):
    os.sched_yield()
""")


@KERNELS
def test_our_own_children_are_killed_without_a_descriptor(kernel: str) -> None:
    check(
        kernel
        + """
(one, below), (two,) = chain(stay, stay), chain(os.setsid)
limit_again = open_nothing()
assert signal_descent([one, two], [signal.SIGKILL]) == {one, two}
# That one is a child of ours, too, as soon as its parent is dead.
os.waitid(os.P_PID, one, os.WEXITED | os.WNOWAIT)
assert signal_descent([below], [signal.SIGKILL]) == {below}
limit_again()
assert [collect(pid) for pid in (one, below, two)] == [-signal.SIGKILL] * 3
"""
    )


def test_without_a_descriptor_nobody_is_taken_for_one_who_has_left_a_group() -> None:
    check("""
(leader,) = chain(os.setsid)
limit_again = open_nothing()
assert signal_descent(look(), [signal.SIGKILL], but_group=leader) == set()
limit_again()
assert is_alive(os.pidfd_open(leader))
""")


def test_who_may_not_be_signalled_keeps_nobody_else_from_it() -> None:
    check("""
(one, below), (two,) = chain(stay, stay), chain(stay)
kill = os.kill


def refuse(pid, number):
    if pid == one:
        raise PermissionError
    kill(pid, number)


os.kill = refuse
assert signal_descent([one, two], [signal.SIGKILL]) == {below, two}
os.kill = kill
assert collect(two) == -signal.SIGKILL
assert is_alive(os.pidfd_open(one))
""")


def test_a_dead_process_is_not_alive_though_nobody_has_collected_it() -> None:
    check("""
(one,) = chain(stay)
pidfd = os.pidfd_open(one)
assert is_alive(pidfd)
os.kill(one, signal.SIGKILL)
os.waitid(os.P_PID, one, os.WEXITED | os.WNOWAIT)
assert not is_alive(pidfd)
""")
