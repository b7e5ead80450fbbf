"""One fresh interpreter: importing a target, making its first model and the next, one call.

Run as `python -m benchmarks.cold TARGET ROOT STATEMENT`; nothing that a target might import
itself is imported before the statement is timed.
"""

import sys
import time


def _resident_kib() -> float:
    with open("/proc/self/statm", encoding="ascii") as file:  # noqa: PTH123 - no pathlib yet
        return int(file.read().split()[1]) * 4.0


def _timed_import(statement: str) -> "dict[str, dict[str, float]]":
    before = _resident_kib()
    wall, cpu = time.perf_counter(), time.process_time()
    exec(statement, {})  # noqa: S102 - a statement of ours, from the list of targets
    took = {"cpu": time.process_time() - cpu, "wall": time.perf_counter() - wall}
    return {"import": took, "import_resident": {"value": _resident_kib() - before}}


def main() -> None:
    """Measure, and print the samples as JSON."""
    target, root, statement, next_models = sys.argv[1:]
    rows = _timed_import(statement)

    import importlib
    import json

    from benchmarks.clock import Stopwatch
    from benchmarks.spec import Spec
    from benchmarks.targets import TARGETS

    make = TARGETS[target].make
    importlib.import_module(TARGETS[target].module)
    with Stopwatch() as first:
        client = make(Spec(root, chunks=1))
    with Stopwatch() as call:
        answer = client.invoke()
    with Stopwatch() as following:
        for _ in range(int(next_models)):
            make(Spec(root, chunks=1))
    rows["make_first"] = first.per(1)
    rows["first_call"] = call.per(1, int(answer != "The"))
    rows["make_next"] = following.per(int(next_models))
    sys.stdout.write(json.dumps(rows) + "\n")


if __name__ == "__main__":
    main()
