"""`amper run -- COMMAND`: as if the command stood alone."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.end_to_end.command import amper, environment, shell, started, words
from tests.handshakes import watching
from tests.unruly import unruly


def test_its_input_and_output_are_ours_to_the_byte() -> None:
    every_byte = bytes(range(256)) * 1000
    done = amper("run", "--", *unruly("echo_stdin"), input=every_byte)
    assert (done.returncode, done.stdout, done.stderr) == (0, every_byte, b"")


def test_its_two_outputs_are_our_two_in_the_order_in_which_it_writes() -> None:
    done = amper("run", "--", *unruly("alternate", 6))
    assert (done.stdout, done.stderr) == (b"0\n2\n4\n", b"1\n3\n5\n")
    done = amper("run", "--", *unruly("alternate", 6), stderr=subprocess.STDOUT)
    assert done.stdout == b"0\n1\n2\n3\n4\n5\n"


def test_what_it_writes_is_there_before_it_ends() -> None:
    with started("run", "--", *unruly("echo_stdin")) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        for line in (b"one\n", b"two\n"):
            process.stdin.write(line)
            process.stdin.flush()
            assert process.stdout.readline() == line
        process.stdin.close()
        assert process.wait() == 0


@pytest.mark.parametrize(
    "options, words",
    [
        (["--timeout", "20", "--"], ["git", "checkout", "--", "file"]),
        (["--"], ["--", "-c", "x"]),
        ([], ["-j8", "--json", "--help", "--"]),
    ],
)
def test_all_that_follows_the_program_is_its_own(options: list[str], words: list[str]) -> None:
    done = amper("run", *options, "printf", "[%s]", *words)
    assert done.stdout.decode() == "".join(f"[{word}]" for word in words)


def test_arguments_need_not_be_text() -> None:
    assert amper("run", "--", "printf", "%s", b"\xff\xfe").stdout == b"\xff\xfe"


@pytest.mark.parametrize("way, value, code", [("exit_with", 3, 3), ("die_by", 11, 139)])
def test_the_exit_code_is_the_commands(way: str, value: int, code: int) -> None:
    done = amper("run", "--", *unruly(way, value))
    assert (done.returncode, done.stdout, done.stderr) == (code, b"", b"")


def test_a_command_that_cannot_start_is_explained_in_a_line(tmp_path: Path) -> None:
    done = amper("run", "--", "no-such-program")
    assert (done.returncode, done.stdout) == (127, b"")
    assert done.stderr == b"amper: no-such-program: not found on PATH\n"
    assert shell("amper run -- no-such-program 2>/dev/full").returncode == 127
    done = amper("run", "echo a; echo b")
    assert (done.returncode, done.stdout) == (127, b"")
    assert done.stderr == (
        b"amper: echo a; echo b: not found on PATH\n"
        b"amper: for a line of shell: amper run -- sh -c 'echo a; echo b'\n"
    )
    done = amper("run", "--", str(tmp_path))
    assert (done.returncode, done.stderr.count(b"\n")) == (126, 1)
    assert done.stderr.startswith(f"amper: cannot execute {tmp_path}".encode())


def test_after_the_timeout_it_is_killed_with_all_that_it_started() -> None:
    # Our output ends only when nobody of them holds it any more.
    script = "trap '' TERM; sleep 100 & sleep 100"
    done = amper("run", "--timeout", "0.2", "--grace-period", "0.1", "--", "sh", "-c", script)
    assert (done.returncode, done.stdout, done.stderr) == (124, b"", b"")


def test_what_it_leaves_running_ends_with_the_run() -> None:
    with started(
        "run", "--grace-period", "0.1", "--", *unruly("fork_stubborn_and_leave")
    ) as process:
        (pid,) = words(process)
        with watching(pid) as left:
            assert process.wait() == 0
            assert left.is_dead


def test_a_reader_that_goes_away_ends_it_quietly() -> None:
    done = shell("amper run -- yes | head -1; echo ${PIPESTATUS[0]}")
    assert (done.stdout, done.stderr) == (b"y\n141\n", b"")


def test_it_finds_a_full_disk_as_it_would_alone() -> None:
    done = shell("amper run -- sh -c 'echo x' >/dev/full")
    assert done.returncode != 0
    assert b"amper" not in done.stderr


def test_it_finds_our_streams_as_closed_as_we_found_them() -> None:
    script = """
        amper run -- sh -c 'read x' <&- || echo input
        amper run -- sh -c 'echo x' >&- || echo output
        amper run -- sh -c 'exit 7' <&- >&- 2>&- ; echo $?
    """
    assert shell(script).stdout == b"input\noutput\n7\n"


def test_it_gets_the_descriptors_that_we_were_given() -> None:
    done = shell("amper run -- cat <(echo one) <(echo two)")
    assert (done.stdout, done.stderr) == (b"one\ntwo\n", b"")


def test_it_is_started_as_a_shell_would_start_it(tmp_path: Path) -> None:
    script = 'pwd; echo "$GREETING"; umask; echo /proc/self/fd/*; grep -E "Sig(Ign|Blk)" /proc/self/status'
    options: dict[str, Any] = {"cwd": tmp_path, "env": environment(GREETING="hello"), "umask": 0o27}
    alone = subprocess.run(
        ["sh", "-c", script],
        **options,
        stdout=subprocess.PIPE,
        stdin=subprocess.DEVNULL,
        check=True,
    )
    assert amper("run", "--", "sh", "-c", script, **options).stdout == alone.stdout


def test_it_leads_a_session_of_its_own() -> None:
    pid, session, group = amper("run", "--", *unruly("tell_session")).stdout.split()
    assert pid == session == group


def test_it_works_in_a_directory_that_was_deleted(tmp_path: Path) -> None:
    done = shell('cd "$1"; rmdir "$1"; amper run -- echo x', os.fspath(tmp_path))
    assert (done.stdout, done.stderr) == (b"x\n", b"")


def test_its_end_is_known_although_our_parent_ignores_dead_children() -> None:
    # What a job used is known only if it was we who reaped it.
    done = shell("trap '' CHLD; amper run --json -- sh -c 'exit 3'")
    assert done.returncode == 3
    assert b'"usage"' in done.stdout
