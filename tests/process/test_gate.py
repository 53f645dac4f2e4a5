"""Programs that are held back: when they run, what they have then, and what is told if they cannot."""

from __future__ import annotations

import os
import shutil
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from amper.process import gate, trampoline
from amper.process.gate import spawn_held
from amper.process.spawn import CannotStart, Program, ReportPipe, spawn
from tests.handshakes import few_descriptors, run_script, state_of, watching
from tests.places import be_unknown_python

SHELLS = {
    name: path for name in ("sh", "dash", "bash", "mksh", "zsh") if (path := shutil.which(name))
}


def patch_shell(patch: pytest.MonkeyPatch, path: bytes) -> None:
    def through(*arguments: Any, shells: tuple[bytes, ...] = (path,), **options: Any) -> Program:
        return trampoline.through_shell(*arguments, shells=shells, **options)

    patch.setattr(gate, "through_shell", through)


@pytest.fixture(params=SHELLS)
def shell(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Let another shell be what /bin/sh is on other systems."""
    name = str(request.param)
    patch_shell(monkeypatch, os.fsencode(SHELLS[name]))
    return name


@pytest.fixture
def null() -> Iterator[int]:
    fd = os.open(os.devnull, os.O_RDWR)
    yield fd
    os.close(fd)


def code_of(pid: int) -> int:
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def held(command: Any, *streams: int, **options: Any) -> int:
    """Start a program, open its gate, return its pid."""
    program = Program(command, session="ours", **options)
    stdin, stdout, stderr = streams
    pid, its_gate = spawn_held(program, stdin, stdout, stderr, ReportPipe())
    its_gate.open()
    return pid


def test_a_program_does_not_run_before_its_gate_is_opened(
    shell: str, null: int, tmp_path: Path
) -> None:
    program = Program(["touch", str(tmp_path / "a")], session="ours")
    pid, its_gate = spawn_held(program, null, null, null, ReportPipe())
    assert os.getpgid(pid) == pid
    assert os.getsid(pid) == os.getsid(0)
    # It sleeps at the gate, or it was not held and is over.
    while state_of(pid) not in "SZ":
        pass
    assert not (tmp_path / "a").exists()
    its_gate.open()
    its_gate.close()
    assert code_of(pid) == 0
    assert (tmp_path / "a").exists()


def test_a_gate_that_is_closed_unopened_ends_the_program_before_it_runs(
    shell: str, null: int, tmp_path: Path
) -> None:
    program = Program(["touch", str(tmp_path / "a")], session="ours")
    pid, its_gate = spawn_held(program, null, null, null, ReportPipe())
    its_gate.close()
    assert code_of(pid) == 126
    assert not (tmp_path / "a").exists()


DYING = """
import os, signal, sys
from amper.process.gate import spawn_held
from amper.process.spawn import Program, ReportPipe

null = os.open(os.devnull, os.O_RDWR)
worker = os.fork()
if worker == 0:
    pid, gate = spawn_held(Program(["touch", sys.argv[1]], session="ours"), null, null, null, ReportPipe())
    print(pid, flush=True)
    os.kill(os.getpid(), signal.SIGKILL)
os.waitpid(worker, 0)
"""


def test_a_program_whose_host_dies_before_never_runs(tmp_path: Path) -> None:
    pid = int(run_script(DYING, str(tmp_path / "a")))
    try:
        with watching(pid) as orphan:
            orphan.wait()
    except ProcessLookupError:
        pass  # It is over already.
    assert not (tmp_path / "a").exists()


def test_opening_the_gate_of_a_program_that_was_killed_is_nothing(null: int) -> None:
    pid, its_gate = spawn_held(Program("exit 0", session="ours"), null, null, null, ReportPipe())
    os.kill(pid, signal.SIGKILL)
    assert code_of(pid) == -signal.SIGKILL
    its_gate.open()


LOOK = """
import os, sys
found = []
for fd in sorted(os.listdir("/proc/self/fd")):
    try:
        found.append(f"{fd} {os.readlink('/proc/self/fd/' + fd)}")
    except FileNotFoundError:
        pass  # The one of the listing itself.
with open(sys.argv[1], "w") as file:
    file.write("\\n".join(found))
"""


HELD = """
import sys, os
from amper.process import spawn
from amper.process.gate import spawn_held
if {is_unknown}:
    spawn.KNOWN_SIGNATURES = frozenset()
from amper.process.spawn import Program, ReportPipe

*command, a, b, c = sys.argv[1:]
streams = [os.open(path, os.O_RDWR | os.O_CREAT) for path in (a, b, c)]
# No number below 10 is left, or one is.
taken = [os.open(os.devnull, os.O_RDONLY) for _ in range({taken})]
program = Program(command, session="ours", pass_fds=streams[:1])
pid, gate = spawn_held(program, *streams, ReportPipe())
gate.open()
assert os.waitpid(pid, 0) == (pid, 0)
"""


@pytest.mark.parametrize("place", ["known Python", "unknown Python"])
@pytest.mark.parametrize("taken", [0, 20])
def test_three_streams_that_differ_leave_room_for_the_gate(
    taken: int, place: str, tmp_path: Path
) -> None:
    files = [str(tmp_path / place) for place in "abc"]
    command = [sys.executable, "-I", "-S", "-c", LOOK, str(tmp_path / "seen")]
    run_script(HELD.format(taken=taken, is_unknown=place == "unknown Python"), *command, *files)
    seen = dict(line.split() for line in (tmp_path / "seen").read_text().splitlines())
    assert [seen.pop(str(fd)) for fd in range(3)] == files
    assert list(seen.values()) == files[:1]


def test_without_a_low_number_and_without_a_shell_that_knows_others_it_is_refused(
    null: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gate, "HIGHEST", 2)
    monkeypatch.setattr(gate, "KNOWING_SHELLS", (b"/no/such/shell",))
    second, third = os.dup(null), os.dup(null)
    with pytest.raises(CannotStart) as raised:
        held("exit 0", null, second, third)
    assert raised.value.code == 126
    assert "there is no bash" in raised.value.reason
    assert code_of(held("exit 7", null, second, second)) == 7
    os.close(second)
    os.close(third)


@pytest.mark.parametrize("places", ["aaa", "aab", "baa", "aba"])
def test_it_has_the_same_descriptors_as_if_it_had_not_been_held(
    shell: str, places: str, tmp_path: Path
) -> None:
    files = {place: os.open(tmp_path / place, os.O_RDWR | os.O_CREAT) for place in "abc"}
    passed = os.dup2(files["a"], 300)
    try:
        streams = [files[place] for place in places]
        command = [sys.executable, "-I", "-S", "-c", LOOK, str(tmp_path / "seen")]
        assert code_of(held(command, *streams, pass_fds=(passed,))) == 0
        expected = [f"{fd} {tmp_path / place}" for fd, place in [*enumerate(places), (300, "a")]]
        assert (tmp_path / "seen").read_text().splitlines() == expected
    finally:
        for fd in (*files.values(), passed):
            os.close(fd)


def test_without_descriptors_it_cannot_start(null: int) -> None:
    for free in (0, 1, 2):
        with few_descriptors(free), pytest.raises(CannotStart) as raised:
            held("exit 0", null, null, null)
        assert raised.value.code == 126
        assert "ulimit" in raised.value.reason


@pytest.mark.parametrize("place", ["known Python", "unknown Python"])
def test_what_cannot_be_executed_is_told_as_it_is_without_a_gate(
    place: str, null: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if place == "unknown Python":
        be_unknown_python(monkeypatch)
    lonely, plain = tmp_path / "lonely", tmp_path / "plain"
    lonely.write_text("#!/no/such/interpreter -x\n")
    lonely.chmod(0o700)
    plain.write_text("true\n")
    for command, options in (
        (["no-such-program"], {}),
        (["no-such-program"], {"cwd": "/tmp"}),
        (["no-such-program"], {"env": {}}),
        (["/no/such/program"], {}),
        (["./no-such-program"], {"cwd": "/tmp"}),
        (["/etc/passwd/program"], {}),
        (["/etc/passwd"], {}),
        (["/"], {}),
        ([str(lonely)], {}),
        (["plain"], {"env": {"PATH": f"/nowhere:{tmp_path}:/usr"}}),
        (["true"], {"cwd": "/no/such/directory"}),
        (["true"], {"cwd": b"/etc/passwd"}),
        (["no-such-program"], {"cwd": "/no/such/directory"}),
        (["true"], {"pass_fds": (987,)}),
        (["true", "a\0b"], {}),
    ):
        with pytest.raises(CannotStart) as plain_start:
            spawn(Program(command, **options), null, null, null, ReportPipe())
        with pytest.raises(CannotStart) as held_start:
            held(command, null, null, null, **options)
        assert held_start.value.code == plain_start.value.code
        if "pass_fds" not in options:
            assert held_start.value.reason == plain_start.value.reason


def output_of(pid: int, read_end: int, write_end: int) -> bytes:
    os.close(write_end)
    with open(read_end, "rb") as file:
        output = file.read()
    assert code_of(pid) == 0
    return output


def test_the_environment_and_the_directory_are_those_it_was_given(
    shell: str, null: int, tmp_path: Path
) -> None:
    env = {"PATH": os.defpath, "A": "b c\n'\"$x", "amper": "x"}
    for variables in (env, env | {"PWD": str(tmp_path), "SHLVL": "3"}):
        read_end, write_end = os.pipe()
        command = ["/usr/bin/env", "-0"]
        pid = held(command, null, write_end, write_end, env=variables, cwd=tmp_path)
        lines = output_of(pid, read_end, write_end).split(b"\0")[:-1]
        seen = dict(line.decode().split("=", 1) for line in lines)
        if shell == "bash" and "SHLVL" not in variables:
            assert seen.pop("SHLVL") == "0"
        assert seen == variables


def test_arguments_reach_it_as_they_are_and_its_name_too(shell: str, null: int) -> None:
    words = ["", "a b", "$HOME", "`x`", "-n", "--", "\n", "ü", "*"]
    read_end, write_end = os.pipe()
    command = ["printf", "<%s>", *words]
    pid = held(command, null, write_end, write_end)
    assert output_of(pid, read_end, write_end).decode() == "".join(f"<{word}>" for word in words)
    read_end, write_end = os.pipe()
    pid = held(["cat", "/proc/self/cmdline"], null, write_end, write_end)
    assert output_of(pid, read_end, write_end) == b"cat\0/proc/self/cmdline\0"


def test_a_program_whose_name_looks_like_an_option_is_executed(
    shell: str, null: int, tmp_path: Path
) -> None:
    program = tmp_path / "-c"
    program.write_text("#!/bin/sh\nexit 7\n")
    program.chmod(0o700)
    path = f"{tmp_path}:{os.defpath}"
    assert code_of(held(["-c"], null, null, null, env={"PATH": path})) == 7
    # An empty entry of PATH is the working directory.
    assert code_of(held(["-c"], null, null, null, env={"PATH": ""}, cwd=tmp_path)) == 7


def test_signals_are_at_their_default_unless_we_ignore_them(shell: str, null: int) -> None:
    command = ["grep", "-E", "Sig(Ign|Blk)", "/proc/self/status"]
    read_end, write_end = os.pipe()
    pid = spawn(Program(command), null, write_end, write_end, ReportPipe())
    without = output_of(pid, read_end, write_end)
    read_end, write_end = os.pipe()
    pid = held(command, null, write_end, write_end)
    assert output_of(pid, read_end, write_end) == without
