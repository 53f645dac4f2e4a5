from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Final

import pytest

from benchmarks import report
from benchmarks.__main__ import main
from benchmarks.floor_programs import CannotBuild, compiler
from benchmarks.harness import AMPER, Bench, Samples
from benchmarks.measures import MEASURES
from benchmarks.outcome import Goal, Outcome, Row, Run, Table
from benchmarks.progress import Progress
from benchmarks.scale import QUICK
from tests.handshakes import run_script


def _has_compiler() -> bool:
    try:
        compiler()
    except CannotBuild:
        return False
    return True


# A process of its own: the peers keep threads, and the limit on descriptors is raised.
MEASURE_ALL: Final = """
import dataclasses, json
from benchmarks.harness import Bench
from benchmarks.measures import MEASURES
from benchmarks.progress import Progress
from benchmarks.scale import Scale

tiny = Scale(
    rounds=1, commands=2, megabytes=1, sequential=20, bulk=(10, 20, 40), finished=20, exits=1,
    processes=4, trees=2, beside=6, idle=4, idle_seconds=0.01,
)
found = {
    name: dataclasses.asdict(measure(Bench(tiny, Progress())))
    for name, measure in MEASURES.items()
}
print(json.dumps(found))
"""


@pytest.mark.skipif(not _has_compiler(), reason="the floor is built with a C compiler")
def test_every_measure_compares_amper_by_finite_positive_numbers() -> None:
    found = json.loads(run_script(MEASURE_ALL))
    assert list(found) == list(MEASURES)
    for name, outcome in found.items():
        rows = [row for table in outcome["tables"] for row in table["rows"]]
        numbers = [row[of] for row in rows for of in ("median", "best", "relative")]
        # Nobody survives, where all goes well.
        assert all(0 <= number < math.inf for number in numbers if number is not None), (name, rows)
        assert outcome["goals"], name
        assert all(math.isfinite(goal["value"]) for goal in outcome["goals"]), outcome["goals"]


def test_in_each_round_every_candidate_runs_once_and_the_first_round_does_not_count() -> None:
    ran: list[str] = []

    def candidate(name: str) -> dict[str, float]:
        ran.append(name)
        return {"wall": float(len(ran))}

    bench = Bench(QUICK, Progress())
    samples = bench.compare("it", {"a": lambda: candidate("a"), "b": lambda: candidate("b")}, 3)
    assert [sorted(ran[begin : begin + 2]) for begin in range(0, 8, 2)] == [["a", "b"]] * 4
    assert len(ran) == 8
    assert sorted(samples.all("a", "wall") + samples.all("b", "wall")) == [3, 4, 5, 6, 7, 8]


def test_candidates_are_compared_within_a_round() -> None:
    # The machine was ten times slower in one round: no ratio of two medians would be 2.
    quiet, busy, calm = ({AMPER: 2.0, "C": 1.0}, {AMPER: 20.0, "C": 10.0}, {AMPER: 3.0, "C": 1.5})
    rounds = {name: [{"wall": r[name]} for r in (quiet, busy, calm)] for name in (AMPER, "C")}
    samples = Samples(rounds)
    assert samples.ratio(AMPER, "C", "wall") == 2.0
    row = samples.table("it", "s", "wall").rows[1]
    assert row == Row("C", 1.5, 1.0, 0.5)


@pytest.mark.parametrize(
    "value, limit, is_floor, is_met",
    [(1.0, 1.0, False, True), (1.1, 1.0, False, False), (4.0, 4.0, True, True)],
)
def test_a_goal_is_met_at_its_limit(
    value: float, limit: float, is_floor: bool, is_met: bool
) -> None:
    assert Goal("it", value, limit, "x", is_floor).is_met is is_met


def _run(candidate: str, value: float) -> Run:
    table = Table("A measure", "ms", (Row(candidate, value, value, None),))
    goal = Goal("a goal", value, 1.0, "x", is_floor=False)
    return Run({"Kernel": "Linux"}, (Outcome((table,), (goal,), ("a note",)),))


def test_a_run_is_the_same_after_a_stay_on_disk() -> None:
    run = _run("it", 1.5)
    assert Run.from_dict(json.loads(json.dumps(run.to_dict()))) == run


def test_the_report_has_a_column_for_each_python_and_replaces_its_own_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(report, "REPORT", tmp_path / "benchmarks.md")
    monkeypatch.setattr(report, "NUMBERS", tmp_path / "benchmarks.json")
    for version, run in (
        ("3.13", _run("new", 7.0)),
        ("3.9", _run("old", 2.5)),
        ("3.9", _run("old", 0.5)),
    ):
        report.add(version, run)
    lines = report.REPORT.read_text().splitlines()
    assert "| Goal | 3.9 | 3.13 |" in lines
    assert "| a goal: at most 1x | 0.50x | **missed:** 7x |" in lines
    assert "| old | 0.50, 0.50 |  |" in lines
    assert "| new |  | 7, 7 |" in lines
    assert "On 3.9: a note." in lines


def test_an_unknown_measure_is_refused_with_the_names_of_those_that_there_are(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit) as exit:
        main(["dran"])
    assert exit.value.code == 2
    message = capsys.readouterr().err
    assert "'dran'" in message
    assert "drain" in message


def test_without_a_compiler_it_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("CC", "no-such-compiler")
    assert main([]) == 1
    assert "install one (cc)" in capsys.readouterr().err
