from __future__ import annotations

import shlex
import signal
import subprocess
from pathlib import Path

import pytest

from tests.end_to_end.command import PATIENT, amper, python, started, words
from tests.handshakes import watching

LIKE_SH = [
    "echo out; echo err >&2; exit 3",
    'echo "$0" "$1" "$#"; false',
    "f() { echo $1; }; f x; cd /; f y; pwd",
    "nothing-of-this-name",
    "if",
    "kill -l 9",
    "sh -c 'exit 7' & wait; echo $?",
    "echo in the background & wait; echo after",
    "(exit 3) & wait; (exit 4); echo $?",
    "(exit 3) & wait $!; echo $?",
    "(exit 3) & p=$!; (exit 4) & wait $p; echo $?; wait $!; echo $?",
    "sleep 100 & kill $!; wait $! 2>/dev/null; echo $?",
    "exit 300",
    "cat; echo $?",
    "read line; echo got $line; cat",
    "X=$(cat); wait; echo $X",
    "export X=$(cat); wait; env | grep ^X=; : & wait; cat",
    "cd $(head -c 0; echo /); wait; pwd",
    "n=0; while read line; do n=$((n+1)); last=$line; done; wait; echo $n $last",
    "cd /; : ${X?missing}; wait; echo never",
    "wait\nif true",
    "for i in 4; do (exit $i) & done; wait $!; echo $?; wait; echo on",
    "f() { (exit $1) & }\nf 3\np=$!\nwait $p; echo $?; kill $p 2>/dev/null || echo over; wait; jobs",
    "(exit 3) & p=$!; { (exit 4) & }; wait $p; echo $?; wait $!; echo $?",
    "[ -d / ] || { echo no; exit 1; }; wait; false || { echo yes; exit 5; }; wait; echo never",
]


@pytest.mark.parametrize("text", LIKE_SH)
def test_it_does_what_sh_does(text: str) -> None:
    ours = amper("shell", "-c", text, "name", "one", input=b"line\nmore\n")
    theirs = subprocess.run(
        ["/bin/sh", "-c", text, "name", "one"],
        input=b"line\nmore\n",
        capture_output=True,
        check=False,
    )
    assert (ours.stdout, ours.stderr, ours.returncode) == (
        theirs.stdout,
        theirs.stderr,
        theirs.returncode,
    )


def test_jobs_have_numbers_that_sh_does_not_know() -> None:
    done = amper("shell", "-c", "sleep 100 & jobs | grep -c sleep; kill %1; wait %1; echo $?")
    assert (done.stdout, done.returncode) == (b"1\n143\n", 0)


def test_fg_lets_a_stopped_job_run_on_and_waits_for_it() -> None:
    stopping = "sh -c 'kill -STOP $$; echo on; exit 3'"
    done = amper("shell", "-c", f"{stopping} & wait %1; echo $?; fg; echo $?")
    assert done.stdout.decode().splitlines() == ["148", stopping, "on", "3"]


def test_a_script_has_its_name_and_arguments(tmp_path: Path) -> None:
    script = tmp_path / "script"
    script.write_text('wait\necho "$0" "$2"\ncat <<E &\nlater\nE\nwait %+\nexit 4\n')
    done = amper("shell", str(script), "one", "two words")
    assert done.stdout == f"{script} two words\nlater\n".encode()
    assert done.returncode == 4


def test_what_is_read_from_a_pipe_is_a_script() -> None:
    done = amper("shell", input=b"cd /\nwait\npwd\nexit 6\n")
    assert (done.stdout, done.returncode) == (b"/\n", 6)


def test_it_ends_with_the_first_failure_if_it_is_told_so() -> None:
    done = amper("shell", "-e", "-c", "wait; true; false; echo never")
    assert (done.stdout, done.returncode) == (b"", 1)


def test_a_script_that_is_not_there_is_told_with_the_code_of_sh(tmp_path: Path) -> None:
    done = amper("shell", str(tmp_path / "nothing"))
    assert (done.returncode, done.stderr.count(b"\n")) == (127, 1)
    done = amper("shell", str(tmp_path))
    assert (done.returncode, done.stderr.count(b"\n")) == (126, 1)
    (tmp_path / "binary").write_bytes(b"\x7fELF\0\0")
    done = amper("shell", str(tmp_path / "binary"))
    assert (done.returncode, done.stderr.count(b"\n")) == (126, 1)


def test_nothing_to_run_is_a_mistake() -> None:
    done = amper("shell", "-c")
    assert (done.returncode, done.stderr.count(b"\n")) == (2, 1)


def test_a_job_in_the_background_ends_with_the_script() -> None:
    with started("shell", "-c", "sh -c 'echo ready $$; exec sleep 100' & read line") as process:
        [pid] = words(process)
        with watching(pid) as job:
            assert process.stdin is not None
            process.stdin.close()
            process.wait()
            assert job.is_dead


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_a_signal_ends_the_script_and_its_jobs(number: signal.Signals) -> None:
    text = "sh -c 'echo ready $$; exec sleep 100' & wait; echo never"
    with started("shell", "-c", text) as process:
        [pid] = words(process)
        with watching(pid) as job:
            process.send_signal(number)
            assert process.wait() == 128 + number
            assert job.is_dead
            assert process.stdout is not None
            assert process.stdout.read() == b""


def test_a_signal_reaches_the_command_that_is_waited_for() -> None:
    with started("shell", "-c", f"{shlex.join(PATIENT)}; wait; echo never") as process:
        words(process)
        process.send_signal(signal.SIGTERM)
        words(process, "told")
        assert process.stdin is not None
        process.stdin.write(b"go\n")
        process.stdin.flush()
        assert process.wait() == 128 + signal.SIGTERM


def test_a_script_goes_on_where_its_directory_is_gone(tmp_path: Path) -> None:
    text = "mkdir gone; cd gone; rmdir ../gone\n: &\necho one; cd /; pwd"
    done = amper("shell", "-c", text, cwd=tmp_path)
    assert (done.stdout, done.returncode) == (b"one\n/\n", 0)


def test_a_script_whose_commands_cannot_be_started_says_why(tmp_path: Path) -> None:
    leaving = "if true; then mkdir gone; cd gone; rmdir ../gone; fi"
    done = amper("shell", "-c", f"{leaving}\njobs\necho one; :", cwd=tmp_path)
    assert (done.stdout, done.returncode) == (b"", 126)
    assert done.stderr.splitlines()[-1].startswith(b"amper: cannot change to the directory")
    done = amper("shell", "-c", f"{leaving}\n: & wait $!", cwd=tmp_path)
    assert done.stderr.splitlines()[-1].startswith(b"amper: cannot change to the directory")


def test_a_reader_that_is_gone_ends_it() -> None:
    with started("shell", "-c", "read line; help") as process:
        assert process.stdout is not None
        assert process.stdin is not None
        process.stdout.close()
        process.stdin.close()
        assert process.wait() == 141


@pytest.mark.parametrize("verb", ["jobs", "help", "fg"])
def test_what_cannot_be_printed_ends_it_with_one_line(verb: str) -> None:
    with open("/dev/full", "wb") as full:
        done = amper("shell", "-c", f"sleep 100 & {verb}; echo never", stdout=full)
    told = b"amper: cannot write standard output: No space left on device\n"
    assert (done.stderr, done.returncode) == (told, 1)


def test_a_job_ends_with_what_cannot_be_printed() -> None:
    text = "sh -c 'echo ready $$ >&2; exec sleep 100' & read line; help"
    full = ["sh", "-c", 'exec "$@" >/dev/full', "sh"]
    with started("shell", "-c", text, before=full) as process:
        assert process.stderr is not None
        pid = int(process.stderr.readline().split()[1])
        with watching(pid) as job:
            assert process.stdin is not None
            process.stdin.close()
            assert process.wait() == 1
            assert job.is_dead


def test_a_script_needs_no_line_editor() -> None:
    done = python("""
import sys
sys.modules["prompt_toolkit"] = None
from amper.frontends.cli import main
sys.exit(main(["shell", "-c", "wait; exit 9"]))
""")
    assert (done.returncode, done.stderr) == (9, b"")


def test_it_explains_itself() -> None:
    done = amper("shell", "--help")
    assert done.returncode == 0
    for word in (b"output -f %1", b"AMPER_PS1", b"AMPER_HISTFILE", b"148"):
        assert word in done.stdout
