"""Guard for CI: fail where the chat model costs more, against floors measured beside it.

Each ratio is the median of several rounds, and is compared with the one in `guard.json`: never a
time, so that a slow machine passes. What fails is measured a second time before it counts.

Run as `python -m benchmarks.guard`; `--update` writes the ratios of this machine as the new ones.
"""

import argparse
import json
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path

from benchmarks.measures import MEASURES
from benchmarks.report import ratio
from benchmarks.rounds import Session

STORED = Path(__file__).with_name("guard.json")
TOLERANCE = 1.5
"""The most that a ratio may be, as a multiple of its stored value."""

SIZES = {
    "stream": 1500, "astream": 1500, "invoke": 40, "ainvoke": 40,
    "first_token": 20, "at_once_200": 50, "open_stream": 40,
}  # fmt: skip
_ROUNDS = 7


def measure(session: Session, names: Iterable[str]) -> dict[str, float]:
    """Return the ratios to the floor, by measure and variant of the chat model."""
    ratios = {}
    for name in names:
        variants, floor = MEASURES[name].goals, MEASURES[name].floor
        rounds = session.measure(name, [*variants, *floor], SIZES[name], _ROUNDS)
        for variant in variants:
            if (value := ratio(rounds, variant, floor)) is not None:
                ratios[f"{name}/{variant}"] = round(value, 3)
    return ratios


def too_high(ratios: Mapping[str, float], stored: Mapping[str, float]) -> list[str]:
    """Return the names of stored ratios that are exceeded or were not measured."""
    return [n for n, value in stored.items() if n not in ratios or ratios[n] > value * TOLERANCE]


def main() -> int:
    """Measure, print each ratio, and return 1 where one is too high."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.guard", description=__doc__)
    parser.add_argument("--update", action="store_true", help="write guard.json")
    update = parser.parse_args().update
    with Session() as session:
        ratios = measure(session, SIZES)
        if update:
            STORED.write_text(json.dumps(ratios, indent=2) + "\n", "utf-8")
        stored: dict[str, float] = json.loads(STORED.read_text("utf-8"))
        if high := too_high(ratios, stored):
            ratios |= measure(session, {name.partition("/")[0] for name in high})
        for (name, client), why in session.failures.items():
            print(f"{name}, {client}: {why}")
    high = too_high(ratios, stored)
    for name, value in stored.items():
        result = f"above {value * TOLERANCE:.3g}" if name in high else "ok"
        print(f"{name:24} {ratios.get(name, float('nan')):8.3f}  {result}")
    return 1 if high else 0


if __name__ == "__main__":
    sys.exit(main())
