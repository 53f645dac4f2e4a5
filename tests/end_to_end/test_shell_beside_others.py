"""What a person sees of jobs at our prompt, beside what bash and dash show to the same keys."""

from __future__ import annotations

import os
import re
import signal
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Final

import pytest

from amper.builtins.steering import STOPPED_CODE
from tests.end_to_end.prompts import Prompt, prompt_of
from tests.shells import SHELLS

PIPELINE: Final = "sh -c 'echo rea''dy; exec sleep 100' | cat"

Step = tuple[list[str], list[int]]
"""The states of jobs that were told, and the codes that were printed."""

STOPS: Final = {128 + n: STOPPED_CODE for n in (signal.SIGSTOP, signal.SIGTTIN, signal.SIGTTOU)}
"""To us a stop is a stop. The others tell that of Ctrl-Z by its code from those of other signals."""


def seen(said: str) -> Step:
    """Find what a shell told: states in essence, and one that is told again at once only once."""
    states: list[str] = []
    codes: list[int] = []
    for line in said.splitlines():
        if found := re.fullmatch(r"code (\d+)", line):
            codes.append(STOPS.get(int(found[1]), int(found[1])))
        # Dash adds what a stop came from, and bash has a word of its own for a failure.
        elif found := re.search(r"\[\d+\] ?[-+ ] +(Exit \d+|[A-Z]\S*)(  | \()", line):
            state = re.sub(r"Exit (\d+)", r"Done(\1)", found[1])
            if states[-1:] != [state]:
                states.append(state)
    return states, codes


Story = Callable[[Prompt], list[Step]]


def ctrl_z_bg_kill_wait(shell: Prompt) -> list[Step]:
    shell.begin(PIPELINE)
    shell.person.until(b"ready")
    said = [shell.stop()]
    said += [shell.says(line) for line in ("echo code $?", "jobs", "wait %1; echo code $?")]
    said += [shell.says(line) for line in ("bg", "echo code $?", "jobs")]
    said += [shell.says("kill %1; echo code $?; wait %1; echo code $?")]
    said += [shell.says("jobs; echo code $?")]
    return [seen(text) for text in said]


def fg_and_again_ctrl_z(shell: Prompt) -> list[Step]:
    shell.begin(PIPELINE)
    shell.person.until(b"ready")
    said = [shell.stop()]
    for _ in range(3):
        shell.begin("fg")
        said += [shell.stop(), shell.says("echo code $?"), shell.says("jobs")]
    said += [shell.says("bg; kill -9 %1; wait %1; echo code $?"), shell.says("jobs")]
    return [seen(text) for text in said]


def stopped_from_elsewhere(shell: Prompt) -> list[Step]:
    # A shell's child ignores some signals before it executes its command, and all of them must be there.
    with tempfile.TemporaryDirectory() as place:
        up = Path(place) / "up"
        last = f"sh -c 'read line; : >{up}; exec cat'"
        said = [shell.says(f"sh -c 'echo; exec sleep 100' | {last} &")]
        while not up.exists():
            os.sched_yield()
    said += [shell.says("kill -s STOP %1; wait %1; echo code $?"), shell.says("jobs")]
    said += [shell.says("bg; echo code $?"), shell.says("jobs")]
    said += [shell.says("kill -TSTP %1; wait %1; echo code $?"), shell.says("jobs")]
    said += [shell.says("kill -s CONT %1; echo code $?; bg")]
    # Whether a wait comes before the death of a job that was stopped is chance, so it runs.
    said += [shell.says("kill -KILL %1; wait %1; echo code $?"), shell.says("jobs")]
    return [seen(text) for text in said]


def over_in_front(shell: Prompt) -> list[Step]:
    said = []
    for ending in ("true", "false", "kill -TERM $$", "kill -KILL $$"):
        said += [shell.says(f"sh -c 'kill -STOP $$; {ending}'"), shell.says("echo code $?")]
        said += [shell.says("jobs"), shell.says("fg"), shell.says("echo code $?; jobs")]
    return [seen(text) for text in said]


def reads_in_the_background(shell: Prompt) -> list[Step]:
    said = [shell.says("cat & wait %1; echo code $?"), shell.says("jobs")]
    shell.begin("fg")
    shell.person.until(b"cat\r\n")
    shell.person.type(b"typed\n")
    shell.person.until(b"typed\r\ntyped\r\n")
    said += [shell.stop(), shell.says("echo code $?"), shell.says("jobs")]
    said += [shell.says("kill %1; bg; wait %1; echo code $?")]
    return [seen(text) for text in said]


STORIES: Final[list[Story]] = [
    ctrl_z_bg_kill_wait,
    fg_and_again_ctrl_z,
    stopped_from_elsewhere,
    over_in_front,
    reads_in_the_background,
]


def told_by(shell: str, story: Story) -> list[Step]:
    with prompt_of(shell) as at:
        return story(at)


@pytest.mark.parametrize("story", STORIES, ids=lambda story: story.__name__)
def test_states_and_codes_are_those_of_other_shells(story: Story) -> None:
    ours = told_by("amper", story)
    assert any(states for states, _ in ours)
    assert {shell: told_by(shell, story) for shell in SHELLS} == dict.fromkeys(SHELLS, ours)


STOPPED: Final = "sh -c 'kill -STOP $$; exec sleep 100' & wait %1; echo code $?"
"""Other shells lose a SIGTERM that comes while they fork; this job shows that it has come further."""


@pytest.mark.parametrize(
    "lines",
    [
        ["(exit 3) & wait %1; echo code $?"],
        ["true & wait %1; echo code $?"],
        ["sleep 100 & kill -9 %1; wait %1; echo code $?"],
        ["sleep 100 | (trap '' TERM; cat) & kill -KILL %1; wait %1; echo code $?"],
        [STOPPED, "bg; kill %1; wait %1; echo code $?"],
        [STOPPED, "bg; kill %1; wait; echo code $?"],
        ["wait; echo code $?"],
    ],
)
def test_the_ends_of_jobs_are_those_of_other_shells(lines: list[str]) -> None:
    def story(shell: Prompt) -> list[Step]:
        return [seen(shell.says(line)) for line in [*lines, "jobs; echo code $?"]]

    ours = told_by("amper", story)
    assert {shell: told_by(shell, story) for shell in SHELLS} == dict.fromkeys(SHELLS, ours)
