"""A target's process: reads what to measure, one JSON object a line, and answers the samples.

Run as `python -m benchmarks.worker TARGET ROOT`.
"""

import json
import sys
from typing import Any

from benchmarks.bench import Bench
from benchmarks.clock import allow_many_files
from benchmarks.measures import MEASURES


def _answer(bench: Bench, order: dict[str, Any]) -> dict[str, Any]:
    measure = next(m for m in MEASURES if m.name == order["measure"])
    try:
        return {"samples": measure.samples(bench, order["size"])}
    except Exception as error:  # noqa: BLE001 - told to the parent, which shows it in the table
        return {"error": f"{type(error).__name__}: {error}"[:300]}


def main() -> None:
    """Serve orders until the standard input ends."""
    allow_many_files()
    bench = Bench(*sys.argv[1:])
    out = sys.stdout
    sys.stdout = sys.stderr  # a library that prints must not break the protocol
    for line in sys.stdin:
        out.write(json.dumps(_answer(bench, json.loads(line))) + "\n")
        out.flush()


if __name__ == "__main__":
    main()
