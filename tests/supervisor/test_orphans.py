"""A keeper in the place of shims: it says that nothing is left when that is so, and not earlier.

Each process here is told when to die, and the looks of the keeper are where the test wants them to be.
"""

from __future__ import annotations

from typing import Final

from tests import families

BEGIN: Final = """
from socket import AF_UNIX, SOCK_SEQPACKET, socketpair

from amper.supervisor.orphans import Orphans
from amper.supervisor.wire import END, GONE, INSIST, ORPHANED, REAPED, STARTED, close_all, receive, send

orphans = Orphans()
shims = set()


def setsid_deaf():
    os.setsid()
    signal.signal(signal.SIGTERM, signal.SIG_IGN)


def end(pid, number=signal.SIGKILL):
    os.kill(pid, number)
    os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)


def is_alive(pid):
    with open(f"/proc/{pid}/stat") as file:
        return file.read().rpartition(")")[2].split()[0] not in "ZX"


def after_each_look(happen):
    def look_on():
        found = look()
        happen()
        return found

    orphans._look = look_on


def look_undisturbed():
    orphans._look = look


class Job:
    def __init__(self, leader, grace_period=1000.0):
        self.channel, theirs = socketpair(AF_UNIX, SOCK_SEQPACKET)
        self.fd = theirs.detach()
        self.kinds = []
        self.leaders = []
        self.is_taken = orphans.take_over(self.fd, leader, grace_period, shims)

    def told(self):
        while (record := receive(self.channel)) not in (None, END):
            close_all(record.fds)
            self.kinds.append(record.kind)
            self.leaders += record.numbers if record.kind == STARTED else ()
        return self.kinds

    @property
    def is_gone(self):
        return GONE in self.told()


def collect():
    orphans.tick()
    orphans.collect(shims, print)


def collect_all():
    # As a keeper does, which is told when somebody dies.
    collect()
    while orphans.are_left:
        if orphans.timeout() != 0:
            os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOWAIT)
        collect()
"""


def check(script: str) -> None:
    families.check(BEGIN + script)


def test_what_a_child_has_left_when_it_died_just_after_a_look_is_not_forgotten() -> None:
    check("""
leader, child = chain(os.setsid, stay)
job = Job(leader)
after_each_look(lambda: end(leader))
collect()
assert not job.is_gone
assert orphans.timeout() == 0, "nobody tells when a child has become ours"
look_undisturbed()
collect()
assert not job.is_gone
assert orphans.timeout() is None
end(child)
collect_all()
assert job.is_gone
""")


def test_a_job_waits_for_its_own_heirs_and_for_nobody_elses() -> None:
    check("""
(leader, child), (lonely,) = chain(os.setsid, os.setsid), chain(os.setsid)
job, other = Job(leader), Job(lonely)
collect()
# From here on the child is known.
after_each_look(lambda: (end(leader), end(lonely)))
collect()
assert not job.is_gone
assert orphans.timeout() == 0
look_undisturbed()
collect()
assert other.is_gone
assert not job.is_gone
assert orphans.timeout() is None
end(child)
collect_all()
assert job.is_gone
""")


def test_a_family_that_dies_from_above_faster_than_it_is_looked_at_stays_one_jobs() -> None:
    check("""
(leader, child, grandchild), (lonely,) = chain(os.setsid, os.setsid, os.setsid), chain(os.setsid)
job, other = Job(leader), Job(lonely)
collect()
after_each_look(lambda: end(leader))
collect()
after_each_look(lambda: (end(child), end(lonely)))
collect()
look_undisturbed()
collect()
assert not orphans._strays
assert other.is_gone
assert not job.is_gone
end(grandchild)
collect_all()
assert job.is_gone
""")


def test_whoever_loses_its_parent_while_its_job_is_looked_at_from_above_is_known_from_before() -> (
    None
):
    check("""
from amper.supervisor import orphans as module

(leader, child), (lonely,) = chain(os.setsid, os.setsid), chain(os.setsid)
job, other = Job(leader), Job(lonely)
collect()
descent_of = module.descent_of


def too_late(roots):
    if leader in roots:
        end(leader)
    return descent_of(roots)


module.descent_of = too_late
collect()
module.descent_of = descent_of
end(lonely)
while collect() or orphans.timeout() == 0:
    pass
assert not orphans._strays
assert other.is_gone
assert not job.is_gone
end(child)
collect_all()
assert job.is_gone
""")


def test_heirs_of_one_job_do_not_keep_another_from_its_end() -> None:
    check("""
(leader, child), (lonely,) = chain(os.setsid, os.setsid), chain(os.setsid)
job, other = Job(leader), Job(lonely)
end(lonely)
collect()
assert orphans.timeout() == 0
after_each_look(lambda: end(leader))
collect()
assert other.is_gone
assert not job.is_gone
""")


def test_somebody_who_cannot_be_told_apart_is_the_last_jobs_though_all_leaders_died_at_once() -> (
    None
):
    check("""
(one, stray), (two,) = chain(os.setsid, os.setsid), chain(os.setsid)
jobs = Job(one), Job(two)
after_each_look(lambda: (end(one), end(two)))
collect()
assert not any(job.is_gone for job in jobs), "whatever they have left was not seen"
look_undisturbed()
while orphans.timeout() == 0:
    collect()
assert sorted(job.is_gone for job in jobs) == [False, True], "the stray is somebody's"
assert is_alive(stray)
last = next(job for job in jobs if not job.is_gone)
send(last.channel, INSIST)
collect_all()
assert last.is_gone
assert not look()
""")


def test_those_who_come_and_die_without_end_delay_no_job_but_the_last() -> None:
    """A keeper waited for jobs that waited for strays that nobody killed while there were jobs."""
    check("""
(one,), (two,) = chain(os.setsid), chain(os.setsid)
jobs = Job(one), Job(two)
end(one)
end(two)


def come_and_die():
    if (pid := os.fork()) == 0:
        os._exit(0)
    os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)


(shim,) = chain(stay)
shims.add(shim)
after_each_look(come_and_die)
for _ in range(3):
    collect()
    assert orphans.are_left
    assert orphans.timeout() == 0
assert sorted(job.is_gone for job in jobs) == [False, True]
look_undisturbed()
collect_all()
assert all(job.is_gone for job in jobs)
""")


def test_strays_are_the_last_jobs_though_another_has_not_heard_yet_that_it_is_over() -> None:
    check("""
(one, stray), (two,) = chain(os.setsid, os.setsid), chain(os.setsid)
end(one)
deaf, last = Job(one), Job(two)
sender = orphans._jobs[0].charge.channel
with contextlib.suppress(BlockingIOError):
    while True:
        sender.send(b"x", 0x40)
collect()
while orphans.timeout() == 0:
    collect()
end(two)
collect()
while orphans.timeout() == 0:
    collect()
assert not last.is_gone
end(stray)
collect()
while orphans.timeout() == 0:
    collect()
assert last.is_gone
assert orphans.are_left, "one has not heard it"
assert not deaf.is_gone
collect()
assert deaf.told().count(GONE) == 1
assert not orphans.are_left
""")


def test_when_the_owner_is_gone_strays_die_with_jobs_that_do_not_end_by_themselves() -> None:
    check("""
(one, stray), (two,) = chain(os.setsid, setsid_deaf), chain(setsid_deaf)
end(one)
jobs = Job(one, 0.0), Job(two, 0.0)
for _ in range(2):
    collect()
assert stray in orphans._strays
orphans.lose_owner()
collect_all()
assert not look()
""")


def test_strays_die_with_the_owner_though_every_job_has_somebody_who_cannot_be_killed() -> None:
    check("""
(one,), (two,) = chain(setsid_deaf), chain(setsid_deaf)
three, stray = chain(os.setsid, setsid_deaf)
end(three)
jobs = Job(one, 0.0), Job(two, 0.0), Job(three, 0.0)
for _ in range(2):
    collect()
assert stray in orphans._strays
kill = os.kill


def refuse(pid, number):
    if pid in (one, two):
        raise PermissionError
    kill(pid, number)


os.kill = refuse
orphans.lose_owner()
while stray in look():
    collect()
os.kill = kill
assert is_alive(one)
assert is_alive(two)
""")


def test_a_job_whose_shim_dies_after_the_owner_is_ended_as_well() -> None:
    check("""
orphans.lose_owner()
leader, child = chain(os.setsid, setsid_deaf)
job = Job(leader, 0.0)
collect_all()
assert not look()
""")


def test_what_is_left_when_there_is_no_job_ends_with_the_owner() -> None:
    check("""
parent, child = chain(os.setsid, setsid_deaf)
after_each_look(lambda: end(parent))
collect()
assert orphans.are_left
assert orphans.timeout() == 0, "nobody tells when a child has become ours"
look_undisturbed()
collect()
assert orphans.timeout() is None
assert is_alive(child)
orphans.lose_owner()
collect_all()
assert not look()
""")


def test_strays_are_spared_as_long_as_a_job_may_still_end_by_itself() -> None:
    check("""
(one, stray), (two,), (three,) = chain(os.setsid, os.setsid), chain(setsid_deaf), chain(setsid_deaf)
end(one)
jobs = Job(one, 0.0), Job(two, 0.0), Job(three, 1000.0)
for _ in range(2):
    collect()
orphans.lose_owner()
while two in look():
    collect()
assert is_alive(three)
assert is_alive(stray)
""")


def test_when_all_are_killed_shims_are_spared_and_who_cannot_be_killed_protects_nobody() -> None:
    check("""
(safe, below), (stray,), (shim,) = chain(stay, os.setsid), chain(os.setsid), chain(stay)
shims.add(shim)
kill = os.kill


def refuse(pid, number):
    if pid == safe:
        raise PermissionError
    kill(pid, number)


os.kill = refuse
assert orphans._kill_all(shims)
assert not orphans._kill_all(shims), "the second time nobody is new"
os.kill = kill
os.waitid(os.P_PID, stray, os.WEXITED)
while is_alive(below):
    os.sched_yield()
assert is_alive(safe)
assert is_alive(shim)
""")


def test_who_is_left_of_a_leader_that_its_shim_has_collected_is_told_by_the_session() -> None:
    check("""
(one, left), (two, other) = chain(os.setsid, stay), chain(os.setsid, stay)
for pid in (one, two):
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
jobs = Job(one), Job(two)
collect()
assert [job.told() for job in jobs] == [[ORPHANED, REAPED]] * 2
end(other)
while collect() or orphans.timeout() == 0:
    pass
assert [job.is_gone for job in jobs] == [False, True]
""")


def test_whose_child_it_was_tells_more_than_a_session_whose_number_has_come_again() -> None:
    check("""
from amper.supervisor import orphans as module

(one, left), (two, child) = chain(os.setsid, stay), chain(os.setsid, os.setsid)
jobs = Job(one), Job(two)
collect()
session_of = module._session_of
module._session_of = lambda pid: one if pid == child else session_of(pid)
end(one)
end(two)
while collect() or orphans.timeout() == 0:
    pass
end(left)
while collect() or orphans.timeout() == 0:
    pass
assert [job.is_gone for job in jobs] == [True, False]
""")


def test_a_leader_of_whom_the_shim_could_not_tell_is_the_one_who_leads_a_session() -> None:
    check("""
(shim,), (early,), (leader,), (late,) = chain(os.setsid), chain(stay), chain(os.setsid), chain(stay)
shims.add(shim)
job = Job(0)
job.told()
assert job.leaders == [leader]
assert is_alive(shim)
send(job.channel, INSIST)
while orphans.are_left:
    collect()
assert job.is_gone
assert look() == [shim]
""")


def test_nobody_who_was_there_before_is_taken_for_a_leader() -> None:
    check("""
(shim,), (one, stray), (two,) = chain(os.setsid), chain(os.setsid, os.setsid), chain(os.setsid)
shims.add(shim)
end(one)
jobs = Job(one), Job(two)
(three,) = chain(setsid_deaf)
third = Job(three)
collect()
collect()
assert stray in orphans._strays
job = Job(0)
assert not job.is_taken
os.close(job.fd)
assert job.told() == []
""")
