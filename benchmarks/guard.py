"""Guard rails: fail when the chat model has got slower against floors measured beside it.

Every check is a ratio of this run: of the least of several rounds, since noise only adds.
It fails where the ratio is more than half above the one in `reference.json`, or above the
check's own bound; never on an absolute time. What fails is measured once more before.

Run as `python -m benchmarks.guard`; `--update` writes the ratios as the new reference.
"""

import argparse
import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from benchmarks.figures import Terms, best
from benchmarks.measures import MEASURES, Effort
from benchmarks.session import Round, Session

REFERENCE = Path(__file__).with_name("reference.json")
WORSE = 1.5
"""How much worse than its reference a ratio may be."""


@dataclass(frozen=True, slots=True)
class Check:
    """A ratio to watch.

    Attributes:
        name: As `reference.json` calls it.
        above: What is watched.
        below: The floor, or the sum of floors.
        measures: What has to be run for it.
        at_most: A bound that holds whatever the reference says.
    """

    name: str
    above: Terms
    below: Terms
    measures: tuple[str, ...]
    at_most: float | None = None


def _check(name: str, row: str, *floors: str, measure: str = "") -> Check:
    return Check(name, ((row, "ours"),), tuple((row, f) for f in floors), (measure or row,))


CHECKS = (
    _check("import / core", "import", "core", measure="cold"),
    _check("next model / core", "make_next", "core", measure="cold"),
    _check("invoke / (httpx + core)", "invoke_1", "httpx", "core"),
    _check("ainvoke / (httpx + core)", "ainvoke_1", "httpx", "core"),
    _check("invoke of 200 chunks / httpx", "invoke_200", "httpx"),
    _check("stream / (httpx + core)", "stream", "httpx", "core"),
    _check("astream / (httpx + core)", "astream", "httpx", "core"),
    _check("first token / httpx", "first_token", "httpx"),
    _check("50 astream at once / httpx", "astream_once_50", "httpx"),
    _check("open stream / httpx", "stream_allocated", "httpx", measure="open_streams"),
    Check(
        "stream with 20 tools bound / without",
        (("stream_tools", "ours"),), (("stream", "ours"),), ("stream",), at_most=2.0,
    ),
    Check(
        "astream with 20 tools bound / without",
        (("astream_tools", "ours"),), (("astream", "ours"),), ("astream",), at_most=2.0,
    ),
)  # fmt: skip

EFFORTS = {
    "cold": Effort(20, 2),
    "invoke_1": Effort(30, 9),
    "ainvoke_1": Effort(30, 9),
    "invoke_200": Effort(5, 7),
    "stream": Effort(1500, 5),
    "astream": Effort(1500, 5),
    "first_token": Effort(20, 9),
    "astream_once_50": Effort(50, 3),
    "open_streams": Effort(60, 1),
}

Results = dict[str, list[Round]]


def _measure(session: Session, names: set[str], results: Results) -> None:
    """Add the rounds of the measures called `names`."""
    for measure in MEASURES:
        if measure.name in names:
            effort = EFFORTS[measure.name]
            rounds = session.measure(measure, effort, _targets(measure.name))
            for row in measure.rows:
                results.setdefault(row.name, []).extend(rounds)


def _targets(name: str) -> list[str]:
    """Give the targets that the checks of a measure compare, and no others."""
    terms = [term for c in CHECKS if name in c.measures for term in (*c.above, *c.below)]
    return sorted({target for _, target in terms}, reverse=True)


def verdict(check: Check, ratio: float | None, reference: Mapping[str, float]) -> str:
    """Say what is wrong with `ratio`; nothing where all is well."""
    if ratio is None:
        return "could not be measured"
    if check.at_most is not None and ratio > check.at_most:
        return f"is above {check.at_most:g}"
    known = reference.get(check.name)
    if known is None:
        return "has no reference; --update writes one"
    return f"is more than half above {known:.3g}" if ratio > known * WORSE else ""


def _broken(results: Results, reference: Mapping[str, float]) -> list[Check]:
    return [c for c in CHECKS if verdict(c, best(results, c.above, c.below), reference)]


def _run(reference: Mapping[str, float]) -> Results:
    results: Results = {}
    with Session() as session:
        _measure(session, set(EFFORTS), results)
        if not reference:
            _measure(session, set(EFFORTS), results)  # a reference is worth twice the time
        again = {name for check in _broken(results, reference) for name in check.measures}
        if reference and not session.failures:
            _measure(session, again, results)
        for failure in session.failures:
            sys.stdout.write(f"{failure.target}, {failure.measure}: {failure.reason}\n")
    return results


def main() -> int:
    """Measure, say each ratio, and give 1 where one is too high."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.guard", description=__doc__)
    parser.add_argument("--update", action="store_true", help="write reference.json")
    update = parser.parse_args().update
    known = json.loads(REFERENCE.read_text("utf-8")) if REFERENCE.exists() else {}
    results = _run({} if update else known)
    ratios = {check.name: best(results, check.above, check.below) for check in CHECKS}
    if update:
        rounded = {name: round(ratio, 3) for name, ratio in ratios.items() if ratio is not None}
        REFERENCE.write_text(json.dumps(rounded, indent=2) + "\n", "utf-8")
        known = rounded
    wrong = 0
    for check in CHECKS:
        ratio = ratios[check.name]
        said = verdict(check, ratio, known)
        wrong += bool(said)
        shown = "-" if ratio is None else f"{ratio:.3g}"
        sys.stdout.write(f"{check.name:40} {shown:>8}  {said or 'ok'}\n")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
