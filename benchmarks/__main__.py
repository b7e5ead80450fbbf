"""The command `python -m benchmarks`: measure, and print a Markdown table."""

import argparse
import sys
from pathlib import Path

from benchmarks.measures import MEASURES
from benchmarks.report import VARIANTS, filled, table
from benchmarks.rounds import Round, Session

_QUICK_ROUNDS = 3


def _arguments() -> argparse.Namespace:
    rows = ", ".join(MEASURES)
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--only", nargs="+", metavar="ROW", choices=list(MEASURES), help=rows)
    parser.add_argument("--quick", action="store_true", help="half a minute; for orientation")
    parser.add_argument("--page", type=Path, help="write the table between the marks of this page")
    return parser.parse_args()


def _report(text: str) -> None:
    sys.stderr.write(f"\r\033[K{text}")
    sys.stderr.flush()


def _measure(session: Session, name: str, asked: argparse.Namespace) -> list[Round]:
    measure = MEASURES[name]
    size, rounds = measure.size, measure.rounds
    if asked.quick:
        size, rounds = size // 5, _QUICK_ROUNDS
    clients = [variant for variant in VARIANTS if variant in measure.goals]
    return session.measure(name, [*clients, *measure.against], size, rounds)


def main() -> None:
    """Measure what was asked for."""
    asked = _arguments()
    chosen = [n for n, m in MEASURES.items() if m.quick or not asked.quick]
    results: dict[str, list[Round]] = {}
    with Session(_report) as session:
        for name in asked.only or chosen:
            results[name] = _measure(session, name, asked)
            text = table(results, session.failures)
            if asked.page:  # a run that is interrupted leaves what it has measured
                asked.page.write_text(filled(asked.page.read_text("utf-8"), text), "utf-8")
    _report("")
    sys.stdout.write(text)


if __name__ == "__main__":
    main()
