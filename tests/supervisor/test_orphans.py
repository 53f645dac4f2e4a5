"""A keeper in the place of a shim: it says that nothing is left when that is so, and not earlier."""

from __future__ import annotations

import subprocess
import sys

from tests.handshakes import SCRIPT_DEADLINE

# A subreaper's children are its own: it is a process of its own.
LEADER_DIES_AFTER_THE_LOOK = """
import os, signal, subprocess, sys
from socket import AF_UNIX, SOCK_SEQPACKET, socketpair

from amper.supervisor.orphans import Orphans
from amper.supervisor.privileges import become_subreaper
from amper.supervisor.wire import END, GONE, receive


def end(pid):
    os.kill(pid, signal.SIGKILL)
    os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)


def told():
    kinds = []
    while (record := receive(ours)) not in (None, END):
        kinds.append(record.kind)
    return kinds


become_subreaper()
script = "sleep 1000 >/dev/null & echo $!; exec sleep 1000"
leader = subprocess.Popen(
    ["sh", "-c", script], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
)
child = int(leader.stdout.readline())
ours, theirs = socketpair(AF_UNIX, SOCK_SEQPACKET)

orphans = Orphans()
assert orphans.take_over(theirs.detach(), leader.pid, 1000.0, ())
look = orphans._look


def look_and_kill():
    found = look()
    orphans._look = look
    end(leader.pid)
    return found


orphans._look = look_and_kill
orphans.collect((), print)
assert GONE not in told(), "its child lives"
assert orphans.timeout() == 0, "nobody tells when a child has become ours"
orphans.collect((), print)
assert GONE not in told(), "its child lives"
assert orphans.timeout() is None
end(child)
while orphans.are_left:
    orphans.collect((), print)
assert GONE in told()
"""


def test_what_a_child_has_left_when_it_died_just_after_a_look_is_not_forgotten() -> None:
    done = subprocess.run(
        [sys.executable, "-c", LEADER_DIES_AFTER_THE_LOOK],
        capture_output=True,
        timeout=SCRIPT_DEADLINE,
        check=False,
    )
    assert (done.returncode, done.stderr.decode()) == (0, "")
