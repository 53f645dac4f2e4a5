from __future__ import annotations

import subprocess

import pytest

from amper.frontends.shell.last_job import with_last_job

EXPANDED = [
    "echo $! x",
    "echo \"a $! '$!'\"",
    'echo ${!} ${!:-} ${!-x} ${!:-$!} "${!:?}"',
    "echo $(echo $! '$!') `echo $! '$!' \"'$!'\"`",
    'echo "$(echo "$!" \'$!\') `echo $!`"',
    "echo $(($! + 1)) ${x:-$!} \"${x-'$!'}\"",
    "cat <<E\n$! '$!' \\$! $(echo $! '$!') ${!}\nE\necho $!",
    "f() { echo $1 $!; }; f $!",
    "if [ $! ]; then echo $!; fi",
    "echo a$!b$!! $#$!",
]

LEFT_ALONE = [
    "echo '$!'",
    r"echo \$! \"\$!\"",
    "cat <<'E'\n$! $(echo $!)\nE",
    "cat <<\\E\n$!\nE",
    "echo a # $!",
    "echo $ ! '`$!`' `echo '$!' \\$!`",
    "echo $$! ${!+x} ${!-} ${!?} ${!x}",
    "! :",
]


def said(shell: str, text: str) -> tuple[str, int]:
    done = subprocess.run([shell, "-c", text], capture_output=True, text=True, check=False)
    return done.stdout, done.returncode


@pytest.mark.parametrize("shell", ["/bin/sh", "bash"])
@pytest.mark.parametrize("text", EXPANDED)
def test_what_sh_would_expand_is_the_pid(text: str, shell: str) -> None:
    # An sh with a job of its own says what is expected.
    before = ": & wait; p=$!\n"
    theirs, code = said(shell, f"{before}echo $p\n{text}")
    pid, theirs = theirs.split("\n", 1)
    ours, our_code = said(shell, with_last_job(text, 4711))
    plain = theirs.replace(str(int(pid) + 1), "4712").replace(pid, "4711")
    assert (ours, our_code) == (plain, code)
    assert "4711" in ours


@pytest.mark.parametrize("shell", ["/bin/sh", "bash"])
def test_an_sh_with_a_job_of_its_own_has_its_own_value(shell: str) -> None:
    text = with_last_job(": & echo $! ${!:-no} ${!-no}; wait; echo $!", 1)
    out, _ = said(shell, text)
    assert len(set(out.split())) == 1
    assert out.split()[0] != "1"


@pytest.mark.parametrize("text", LEFT_ALONE)
def test_what_sh_would_not_expand_stays(text: str) -> None:
    assert with_last_job(text, 4711) == text


def test_a_shell_without_a_job_in_the_background_changes_nothing() -> None:
    assert with_last_job("echo $!", None) == "echo $!"


def test_what_is_not_understood_stays() -> None:
    assert with_last_job("wait $!; a=(1 $!)", 4711) == "wait ${!:-4711}; a=(1 $!)"
    assert with_last_job("$((echo '$!' $!); echo)", 1) == "$((echo '$!' ${!:-1}); echo)"
    assert with_last_job("cat <<E\n$! $(echo\nE", 4711) == "cat <<E\n${!:-4711} $(echo\nE"
