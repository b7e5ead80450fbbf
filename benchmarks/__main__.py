"""The command `python -m benchmarks`: measure, and write tables and JSON."""

import argparse
import json
import sys
from pathlib import Path

from benchmarks.measures import MEASURES, Effort
from benchmarks.report import as_json, markdown
from benchmarks.session import Failure, Round, Session
from benchmarks.targets import TARGETS


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="under a minute; for orientation")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write everything here")
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="write the tables here")
    parser.add_argument(
        "--only", nargs="+", metavar="MEASURE", choices=[m.name for m in MEASURES],
        help="only these measures: " + ", ".join(m.name for m in MEASURES),
    )  # fmt: skip
    parser.add_argument(
        "--targets", nargs="+", metavar="TARGET", choices=list(TARGETS), default=list(TARGETS),
        help="only these targets: " + ", ".join(TARGETS),
    )  # fmt: skip
    parser.add_argument("--rounds", type=int, help="this many rounds of each measure")
    return parser.parse_args()


def _say(text: str) -> None:
    sys.stderr.write(f"\r\033[K{text}")
    sys.stderr.flush()


def _run(chosen: argparse.Namespace) -> tuple[dict[str, list[Round]], list[str]]:
    results: dict[str, list[Round]] = {}
    with Session(_say) as session:
        # Fresh interpreters last: the workers' imports have compiled everything by then.
        for measure in sorted(MEASURES, key=lambda m: m.run is None):
            effort = measure.effort(quick=chosen.quick)
            if chosen.only:
                effort = (effort or measure.full) if measure.name in chosen.only else None
            if effort is None:
                continue
            if chosen.rounds:
                effort = Effort(effort.size, chosen.rounds)
            rounds = session.measure(measure, effort, chosen.targets)
            results |= {row.name: rounds for row in measure.rows}
        _say("")
        return results, _notes(session.failures)


def _notes(failures: list[Failure]) -> list[str]:
    """Say each reason once, with all that it kept from being measured."""
    reasons: dict[tuple[str, str], list[str]] = {}
    for failure in failures:
        reasons.setdefault((failure.target, failure.reason), []).append(failure.measure)
    return [f"{t} ({', '.join(ms)}): {reason}" for (t, reason), ms in reasons.items()]


def main() -> None:
    """Measure what was asked for."""
    chosen = _arguments()
    results, notes = _run(chosen)
    data = as_json(results, notes, quick=chosen.quick)
    tables = markdown(data)
    if chosen.json:
        chosen.json.write_text(json.dumps(data, indent=1, ensure_ascii=False) + "\n", "utf-8")
    if chosen.markdown:
        chosen.markdown.write_text(tables, "utf-8")
    sys.stdout.write(tables)


if __name__ == "__main__":
    main()
