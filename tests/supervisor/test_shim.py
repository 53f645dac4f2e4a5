"""The shim without a keeper: what it rehearses, and what it closes."""

from __future__ import annotations

from typing import Final

import pytest

from tests.handshakes import run_script

BEGIN: Final = """
import os, resource, signal, sys
from amper.supervisor.descent import OwnChildren
from amper.supervisor.privileges import Privileges, become_subreaper
from amper.supervisor.shim import Shim, close_all_but
from amper.supervisor.wakeup import take_signals

def opened():
    return {name: os.readlink(f"/proc/self/fd/{name}") for name in os.listdir("/proc/self/fd")
            if os.path.exists(f"/proc/self/fd/{name}")}

take_signals()
become_subreaper()
os.chdir("/")
owner, privileges = os.pidfd_open(os.getpid()), Privileges()
own_children = OwnChildren()
def score_now():
    with open("/proc/self/oom_score_adj") as file:
        return file.read()

before = opened(), own_children(), score_now()
"""


def test_a_rehearsal_leaves_nothing_but_what_is_learnt() -> None:
    script = """
Shim.rehearse(owner, privileges)
assert (opened(), own_children(), score_now()) == before
assert signal.set_wakeup_fd(-1) == -1
assert os.getcwd() == "/"
print("same")
"""
    assert run_script(BEGIN + script) == "same\n"


def test_a_rehearsal_that_breaks_off_leaves_nothing_either() -> None:
    script = """
highest = max(int(name) for name in before[0])
soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
failed = 0
for free in range(1, 20):
    resource.setrlimit(resource.RLIMIT_NOFILE, (highest + free, hard))
    try:
        Shim.rehearse(owner, privileges)
    except OSError:
        failed += 1
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert (opened(), own_children(), score_now()) == before, (free, opened(), before)
    assert signal.set_wakeup_fd(-1) == -1
assert 0 < failed < 19
print("same")
"""
    assert run_script(BEGIN + script) == "same\n"


@pytest.mark.parametrize("kept", [(), (0,), (0, 1, 2), (2, 5), (1, 2, 9)])
def test_every_descriptor_is_closed_but_those_that_are_to_stay(kept: tuple[int, ...]) -> None:
    script = f"""
highest = os.dup(1)
for fd in range(3, 10):
    if fd != highest:
        os.dup2(1, fd)
said = os.dup2(1, 100)
close_all_but((*{kept}, said))
left = []
for fd in range(101):
    try:
        os.fstat(fd)
        left.append(fd)
    except OSError:
        pass
os.write(said, repr(left).encode())
os._exit(0)
"""
    assert run_script(BEGIN + script) == repr(sorted({*kept, 100}))
