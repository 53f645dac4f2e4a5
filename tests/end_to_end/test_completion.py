"""`amper completion SHELL`: what the shells make of the scripts."""

from __future__ import annotations

import shutil
import subprocess
from typing import Final

import pytest

from tests.end_to_end.command import amper, environment, shell

COMPLETED: Final = {
    "amper ": {"run", "shell", "completion"},
    "amper co": {"completion"},
    "amper sh": {"shell"},
    "amper shell -": {"-c", "-e", "--help"},
    "amper shell /etc/passw": {"/etc/passwd"},
    "amper run --t": {"--timeout"},
    "amper run --fail-fast -": {"-c", "-j", "--json", "--fail-fast"},
    "amper completion ": {"bash", "zsh", "tcsh"},
    "amper run -- printe": {"printenv"},
    "amper run printe": {"printenv"},
    "amper run -- cat /etc/passw": {"/etc/passwd"},
}


def test_bash_completes_verbs_options_programs_and_files() -> None:
    script = r"""
        eval "$(amper completion bash)"
        [[ $(complete -p amper) =~ -F\ ([a-z_]+) ]] && complete_line=${BASH_REMATCH[1]}
        for line; do
            COMP_WORDS=($line); [[ $line == *' ' ]] && COMP_WORDS+=('')
            COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
            $complete_line
            echo "${COMPREPLY[@]}"
        done
    """
    done = shell(script, *COMPLETED)
    assert done.stderr == b""
    replies = [set(line.split()) for line in done.stdout.decode().splitlines()]
    for (line, expected), reply in zip(COMPLETED.items(), replies, strict=True):
        assert expected <= reply, line


@pytest.mark.parametrize("name", ["zsh", "tcsh"])
def test_other_shells_get_a_script_too(name: str) -> None:
    done = amper("completion", name)
    assert (done.returncode, done.stderr) == (0, b"")
    assert b"fail-fast" in done.stdout
    if shutil.which(name):
        subprocess.run([name, "-n"], input=done.stdout, env=environment(), check=True)
