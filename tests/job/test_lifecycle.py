"""What a job may become: every state with everything that can happen."""

from __future__ import annotations

from itertools import product
from typing import Final

import pytest

from amper import InternalError, JobStatus
from amper.job.lifecycle import Happening, diagram, next_status

# Written down once more, so that a change of the table is a change of two places.
MOVES: Final[dict[tuple[str | None, str], str]] = {
    (None, "queue"): "queued",
    (None, "start"): "running",
    (None, "stop"): "stopped",
    ("queued", "start"): "running",
    ("queued", "be killed"): "killed",
    ("running", "stop"): "stopped",
    ("running", "succeed"): "done",
    ("running", "fail"): "failed",
    ("running", "be killed"): "killed",
    ("running", "be lost"): "lost",
    ("stopped", "resume"): "running",
    ("stopped", "succeed"): "done",
    ("stopped", "fail"): "failed",
    ("stopped", "be killed"): "killed",
    ("stopped", "be lost"): "lost",
}


@pytest.mark.parametrize("status, happening", list(product([None, *JobStatus], Happening)))
def test_each_happening_leads_where_the_rules_say_or_nowhere(
    status: JobStatus | None, happening: Happening
) -> None:
    if (status, happening) in MOVES:
        assert next_status(status, happening) is JobStatus(MOVES[status, happening])
        return
    with pytest.raises(InternalError, match=f"{status or 'not there yet'} cannot {happening}"):
        next_status(status, happening)


def test_every_state_can_be_reached_and_the_final_ones_cannot_be_left() -> None:
    assert set(MOVES.values()) == set(JobStatus)
    assert not [move for move in MOVES if move[0] is not None and JobStatus(move[0]).is_final]


def test_the_diagram_shows_every_move_and_every_end() -> None:
    first, *lines = diagram().splitlines()
    assert first == "stateDiagram-v2"
    moves = [f"{before or '[*]'} --> {after}: {why}" for (before, why), after in MOVES.items()]
    ends = [f"{status} --> [*]" for status in ("done", "failed", "killed", "lost")]
    assert sorted(line.strip() for line in lines) == sorted(moves + ends)
