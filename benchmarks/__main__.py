"""`python -m benchmarks`: measure, show, and write the report."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence

from benchmarks import machine, report, text
from benchmarks.floor_programs import CannotBuild, compiler
from benchmarks.harness import Bench
from benchmarks.measures import MEASURES
from benchmarks.outcome import Outcome, Run
from benchmarks.progress import Progress
from benchmarks.scale import FULL, QUICK, Scale


def main(arguments: Sequence[str] | None = None) -> int:
    """Return the exit code: a goal that is missed is a result like any other."""
    options = _parser().parse_args(arguments)
    scale = QUICK if options.quick else FULL
    if options.rounds is not None:
        scale = scale.with_rounds(options.rounds)
    try:
        compiler()
        run = _measure(scale, options.measures or list(MEASURES), is_quiet=options.json)
    except CannotBuild as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nInterrupted: nothing was written.", file=sys.stderr)
        return 130
    if options.json:
        print(json.dumps(run.to_dict(), indent=1, ensure_ascii=False))
    else:
        print("\n".join(text.verdicts(run.goals)))
    if not (options.measures or options.quick or options.no_report):
        report.add("{}.{}".format(*sys.version_info), run)
        print(f"Written to {report.REPORT.name} in docs.", file=sys.stderr)
    return 0


def _measure(scale: Scale, names: Sequence[str], *, is_quiet: bool) -> Run:
    progress = Progress()
    bench = Bench(scale, progress)
    facts, before = machine.describe(), machine.load()
    outcomes: list[Outcome] = []
    for name in names:
        outcomes.append(MEASURES[name](bench))
        progress.clear()
        if not is_quiet:
            print("\n".join(text.tables(outcomes[-1])), flush=True)
    facts["Load"] = f"{before} before, {machine.load()} after"
    facts["Rounds"] = f"{scale.rounds}, {scale.few_rounds} or {scale.fewest_rounds}"
    return Run(facts, tuple(outcomes))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description="Compare amper with C programs that do the same work, and with its peers. "
        "A full run takes a few minutes, and writes docs/benchmarks.md.",
    )
    parser.add_argument(
        "measures",
        nargs="*",
        type=_measure_name,
        metavar="MEASURE",
        help=f"measure only these, and write no report: {', '.join(MEASURES)}",
    )
    parser.add_argument("--quick", action="store_true", help="measure less, and write no report")
    parser.add_argument("--rounds", type=_positive, help="how often each candidate runs")
    parser.add_argument("--json", action="store_true", help="print JSON instead of tables")
    parser.add_argument("--no-report", action="store_true", help="leave the report as it is")
    return parser


def _measure_name(name: str) -> str:
    if name not in MEASURES:
        raise argparse.ArgumentTypeError(
            f"there is no measure {name!r}: choose from {', '.join(MEASURES)}"
        )
    return name


def _positive(value: str) -> int:
    if not value.isdecimal() or int(value) < 1:
        raise argparse.ArgumentTypeError(f"{value!r} is no number of rounds: it takes at least one")
    return int(value)


if __name__ == "__main__":
    sys.exit(main())
