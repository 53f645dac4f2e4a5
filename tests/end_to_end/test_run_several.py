"""`amper run -c CMD -c CMD ...`, printed for people but not on a terminal."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest

from tests.end_to_end.command import amper, shell, started, words
from tests.unruly import unruly


def commands(*lines: str) -> list[str]:
    return [word for line in lines for word in ("-c", line)]


def states(table: bytes) -> list[tuple[str, str, str]]:
    """Return state, name and code of each row of the table at the end of `table`."""
    lines = table.decode().splitlines()
    (title,) = [number for number, line in enumerate(lines) if line.split()[:2] == ["job", "code"]]
    rows = [line.split() for line in lines[title + 1 :] if not line.startswith("not run")]
    return [(row[0], row[1], row[2]) for row in rows]


def test_each_line_is_marked_with_its_job_and_a_table_tells_what_became_of_all() -> None:
    done = amper("run", *commands("printf 'one\\n\\ntwo'", "echo no >&2; exit 3", "kill -9 $$"))
    assert done.stdout == b"printf | one\nprintf | \nprintf | two\n"
    assert done.stderr.startswith(b"echo   | no\n")
    assert states(done.stderr) == [
        ("done", "printf", "0"),
        ("failed", "echo", "3"),
        ("failed", "kill", "137"),
    ]
    row = done.stderr.decode().splitlines()[-2]
    time, seconds, *memory = row.split()[3:8]
    assert (float(time) >= 0, seconds, "MiB" in memory) == (True, "s", True)
    assert row.endswith("echo no >&2; exit 3")
    assert b"\x1b" not in done.stdout + done.stderr


@pytest.mark.parametrize(
    "lines, code",
    [(["true", "exit 4", "exit 3"], 4), (["true", "true"], 0), (["no-such-program"], 127)],
)
def test_the_exit_code_is_that_of_the_first_that_failed(lines: list[str], code: int) -> None:
    assert amper("run", "-j1", *commands(*lines)).returncode == code


def test_one_that_fails_ends_all_and_starts_no_more_if_that_is_asked_for() -> None:
    lines = ["sleep 100", "exit 3", "echo never"]
    done = amper("run", "-j2", "--fail-fast", *commands(*lines))
    assert (done.returncode, done.stdout) == (3, b"")
    assert states(done.stderr) == [("killed", "sleep", "143"), ("failed", "exit", "3")]
    *_, last = done.stderr.decode().splitlines()
    assert last.split(maxsplit=6) == ["not", "run", "echo", "-", "-", "-", "echo never"]


def test_the_timeout_is_for_each_of_them() -> None:
    done = amper("run", "--timeout", "0.1", *commands("sleep 100", "trap 'exit 0' TERM; sleep 100"))
    assert done.returncode == 124
    assert [row[2] for row in states(done.stderr)] == ["124", "124"]


def test_they_have_no_input() -> None:
    with started("run", *commands("cat")) as process:
        # Ours is open all the while.
        assert process.wait() == 0


def test_they_get_the_descriptors_that_we_were_given() -> None:
    done = shell("exec 7>&1; amper run -c 'echo a >&7' -c 'echo b >&7'")
    assert sorted(done.stdout.split()) == [b"a", b"b"]


def test_names_are_short_and_distinct_and_hold_nothing_that_a_terminal_obeys() -> None:
    odd = "\x1b[31mprogram-of-a-long-name; true"
    done = amper("run", *commands("echo a", "echo b", f"{odd}\necho c"))
    assert sorted(done.stdout.splitlines()) == [
        "[31mprogram-of-a-lo… | c".encode(),
        b"echo#1               | a",
        b"echo#2               | b",
    ]
    *_, title, _, _, row = done.stderr.splitlines()
    assert title.split()[0] == b"job"
    assert b"\x1b" not in row


def test_bytes_that_are_no_text_are_printed_as_they_are(tmp_path: Path) -> None:
    every_byte = bytes(range(256))
    (tmp_path / "bytes").write_bytes(every_byte)
    done = amper("run", *commands(f"cat {tmp_path}/bytes"))
    first, second = every_byte.split(b"\n")
    assert done.stdout == b"cat | " + first + b"\ncat | " + second + b"\n"


def test_a_reader_that_goes_away_ends_them_quietly() -> None:
    script = "amper run -c yes -c 'trap \"\" PIPE; yes' --grace-period 0 | head -1; echo ${PIPESTATUS[0]}"
    done = shell(script)
    assert done.stdout.splitlines()[-1] == b"141"
    assert done.stderr == b""


def test_a_full_disk_ends_them_with_an_explanation() -> None:
    done = shell("amper run -c 'echo x' -c 'sleep 100' >/dev/full")
    assert done.returncode == 1
    assert done.stderr == b"amper: cannot write standard output: No space left on device\n"


def test_output_that_was_closed_from_the_start_is_an_error_and_closed_errors_are_none() -> None:
    done = shell("amper run -c 'echo x' >&-")
    assert (done.returncode, done.stderr) == (
        1, b"amper: cannot write standard output: Bad file descriptor\n",
    )  # fmt: skip
    done = shell("amper run -c 'echo x; echo y >&2; exit 3' 2>&-")
    assert (done.returncode, done.stdout) == (3, b"echo | x\n")


def test_ctrl_c_ends_ten_of_them_some_of_which_are_stubborn() -> None:
    stubborn = shlex.join(unruly("ignore_term"))
    lines = [*[f"echo ready; exec {stubborn}"] * 3, *["echo ready; exec sleep 100"] * 7]
    with started("run", "--grace-period", "0.1", *commands(*lines)) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        for _ in range(3 + 7 + 3):  # The stubborn ones say it twice, and are stubborn then.
            assert b"ready" in process.stdout.readline()
        process.terminate()
        assert process.stdout.read() == b""
        rows = states(process.stderr.read())
        assert [(state, code) for state, _, code in rows] == [
            *[("killed", "137")] * 3,
            *[("killed", "143")] * 7,
        ]
        assert process.wait() in (137, 143)


def test_what_was_not_run_because_we_were_told_to_end_is_no_success() -> None:
    polite = shlex.join(unruly("handle_term_and_exit_0"))
    with started("run", "-j1", *commands(polite, "true")) as process:
        words(process)
        process.terminate()
        assert process.wait() == 143


def test_a_flood_that_nobody_reads_is_bounded_and_what_is_lost_is_counted() -> None:
    flood, size = shlex.join(unruly("flood", 100_000_000)), 100_000_000 + len("end")
    with started("run", *commands(f"{flood}; echo over >&2")) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stderr.readline().endswith(b"over\n")
        with open(f"/proc/{process.pid}/status") as file:
            peak = next(int(line.split()[1]) for line in file if line.startswith("VmHWM"))
        assert peak * 1024 < 100_000_000
        out = process.stdout.read()
        dropped, *_ = process.stderr.readline().split()[1:2]
        kept = out.replace(b"python | ", b"").replace(b"\n", b"")
        assert len(kept) + int(dropped) == size
        assert out.endswith(b"end\n")
        assert process.wait() == 0


def test_many_jobs_take_their_turns() -> None:
    done = amper("run", "-j3", *commands(*[f"echo {number}" for number in range(100)]))
    assert {int(line.split()[-1]) for line in done.stdout.splitlines()} == set(range(100))
