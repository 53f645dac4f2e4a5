"""Starting a program: what the child has, and what the host is told. Both ways of doing it."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from amper.process import spawn as module
from amper.process.spawn import DEVNULL, CannotStart, Program, ReportPipe, spawn
from tests.handshakes import run_script
from tests.places import be_unknown_python
from tests.unruly import unruly


@pytest.fixture(params=["known Python", "unknown Python"], autouse=True)
def python(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.param == "unknown Python":
        be_unknown_python(monkeypatch)


@pytest.fixture
def null() -> Iterator[int]:
    fd = os.open(os.devnull, os.O_RDWR)
    yield fd
    os.close(fd)


def output_of(command: Any, null: int, **options: Any) -> bytes:
    """Run a program to its end; return what it printed."""
    read_end, write_end = os.pipe()
    try:
        pid = spawn(Program(command, **options), null, write_end, write_end, ReportPipe())
    finally:
        os.close(write_end)
    with open(read_end, "rb") as file:
        output = file.read()
    assert os.waitpid(pid, 0) == (pid, 0)
    return output


def test_the_child_gets_its_three_streams_and_no_other_descriptor(null: int) -> None:
    # One that every program would inherit, and one above all that a shell script may count on.
    inheritable, high = os.dup(null), os.dup2(null, 300)
    os.set_inheritable(inheritable, True)
    try:
        # The listing itself has the next one open.
        assert output_of(unruly("list_descriptors"), null) == b"0 1 2 3\n"
    finally:
        os.close(inheritable)
        os.close(high)


def test_descriptors_that_are_passed_are_there_under_their_own_numbers(null: int) -> None:
    high = os.dup2(null, 300, inheritable=False)
    try:
        listed = output_of(unruly("list_descriptors"), null, pass_fds=(300, 300))
        assert listed == b"0 1 2 3 300\n"
    finally:
        os.close(high)


def test_the_child_leads_a_session_of_its_own(null: int) -> None:
    pid, session, group = output_of(unruly("tell_session"), null).split()
    assert pid == session == group


def test_a_program_of_our_session_leads_a_group_in_it(null: int) -> None:
    pid, session, group = output_of(unruly("tell_session"), null, session="ours").split()
    assert int(session) == os.getsid(0)
    assert pid == group != session


def test_the_child_has_the_default_action_for_sigpipe_whatever_python_made_of_it(
    null: int,
) -> None:
    assert signal.getsignal(signal.SIGPIPE) == signal.SIG_IGN
    # No Python, which would ignore the signal itself, and no shell, which blocks some for a while.
    told = output_of(["grep", "-E", "Sig(Ign|Blk)", "/proc/self/status"], null)
    lines = dict(line.split() for line in told.splitlines())
    for name in (b"SigIgn:", b"SigBlk:"):
        assert not int(lines[name], 16) & (1 << (signal.SIGPIPE - 1))


CROSSED = """
import os, sys
from amper.process import spawn

if {is_unknown}:
    spawn.KNOWN_SIGNATURES = frozenset()
look = (
    "import os, sys; open(sys.argv[1], 'w')"
    ".write(repr([os.readlink(f'/proc/self/fd/{{n}}') for n in range(3)]))"
)
expected = [os.readlink(f"/proc/self/fd/{{fd}}") for fd in {order}]
program = spawn.Program([sys.executable, "-I", "-S", "-c", look, sys.argv[1]])
os.waitpid(spawn.spawn(program, *{order}, spawn.ReportPipe()), 0)
assert open(sys.argv[1]).read() == repr(expected)
"""


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (1, 2, 0), (1, 0, 0), (2, 2, 2)])
def test_the_childs_streams_may_be_our_own_in_any_order(
    order: tuple[int, int, int], tmp_path: Path
) -> None:
    is_unknown = frozenset() == module.KNOWN_SIGNATURES
    run_script(CROSSED.format(is_unknown=is_unknown, order=order), str(tmp_path / "seen"))


def test_a_program_that_cannot_be_executed_leaves_no_child(null: int) -> None:
    for command, options, code in (
        (["no-such-program"], {}, 127),
        (["/no/such/program"], {}, 127),
        (["/etc/passwd"], {}, 126),
        (["/"], {}, 126),
        (["true"], {"cwd": "/no/such/directory"}, 126),
        (["true"], {"cwd": b"/etc/passwd"}, 126),
        (["true"], {"pass_fds": (987,)}, 126),
        (["true", "a\0b"], {}, 126),
    ):
        with pytest.raises(CannotStart) as raised:
            spawn(Program(command, **options), null, null, null, ReportPipe())
        assert raised.value.code == code, raised.value.reason
        assert raised.value.reason


def test_a_report_is_of_the_child_that_gave_up_and_of_no_later_one(
    null: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Were it forked without vfork, a child could give up after its parent had looked."""
    monkeypatch.setattr(module, "LONGEST_EXIT", 0.01)
    reports = ReportPipe()
    for _ in range(2):
        with pytest.raises(CannotStart):
            spawn(Program(["no-such-program"]), null, null, null, reports)
        pid = spawn(Program(["sleep", "1000"]), null, null, null, reports)
        assert reports.read_end > 2
        os.write(reports.write_end, b"OSError:2:")
        late = spawn(Program(["sleep", "1000"]), null, null, null, reports)
        for child in (pid, late):
            os.kill(child, signal.SIGKILL)
            assert os.waitpid(child, 0) == (child, signal.SIGKILL)


def test_a_reason_says_what_was_wrong(null: int) -> None:
    for command, cwd, words in (
        (["true"], "/no/such/directory", ["/no/such/directory", "No such file"]),
        (["/etc/passwd"], None, ["/etc/passwd", "Permission denied"]),
        (["no-such-program"], None, ["no-such-program", "not found on PATH"]),
        (["no-such-program"], "/tmp", ["no-such-program", "not found on PATH"]),
    ):
        with pytest.raises(CannotStart) as raised:
            spawn(Program(command, cwd), null, null, null, ReportPipe())
        for word in words:
            assert word in raised.value.reason


AUDITED = """
import os, sys
from amper.process import spawn
if {is_unknown}:
    spawn.KNOWN_SIGNATURES = frozenset()
seen = []
sys.addaudithook(lambda event, arguments: seen.append(arguments) if event == "subprocess.Popen" else None)
null = os.open(os.devnull, os.O_RDWR)
options = dict(cwd="/", env={{"A": "b", "PATH": os.defpath}})
for command, options in ((["true", "a"], options), ("exit 0", {{}})):
    os.waitpid(spawn.spawn(spawn.Program(command, **options), null, null, null, spawn.ReportPipe()), 0)
assert len(seen) == 2, seen
(executable, arguments, cwd, env), shell = seen
assert os.fsdecode(executable) == "true"
assert [os.fsdecode(word) for word in arguments] == ["true", "a"]
assert os.fsdecode(cwd) == "/"
decoded = {{os.fsdecode(name): os.fsdecode(value) for name, value in env.items()}}
assert decoded == {{"A": "b", "PATH": os.defpath}}
assert os.fsdecode(shell[0]) == "/bin/sh"
assert shell[2:] == (None, None)
"""


def test_the_host_hears_of_each_program_once_as_from_subprocess() -> None:
    run_script(AUDITED.format(is_unknown=frozenset() == module.KNOWN_SIGNATURES))


def test_popen_neither_warns_of_the_child_nor_collects_it(null: int) -> None:
    """Warnings are errors here; a Popen that is forgotten would collect the child later."""
    pid = spawn(Program(["sleep", "1000"]), null, null, null, ReportPipe())
    subprocess.run(["true"], check=True)
    os.kill(pid, signal.SIGKILL)
    os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
    subprocess.run(["true"], check=True)
    assert os.waitpid(pid, 0) == (pid, signal.SIGKILL)
    assert DEVNULL == subprocess.DEVNULL
