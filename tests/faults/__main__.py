"""Print the matrix: every fault by name, mode, verdict and seconds."""

import argparse
import logging
import sys
import time
import warnings
from collections.abc import Sequence
from importlib.util import find_spec

from tests.faults.catalog import FAULTS
from tests.faults.driver import Result, judge
from tests.faults.fault import Fault
from tests.faults.runs import MODES
from tests.faults.targets import TARGETS, Target


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the faults asked for; return 0 when all are held."""
    options = _parse(arguments)
    target = TARGETS[options.target]
    if find_spec(target.module) is None:
        package = target.module.replace("_", "-")
        print(f"{package} is not installed: {sys.executable} -m pip install {package}")
        return 2
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    chosen = [fault for fault in FAULTS if _is_chosen(fault, options, target)]
    began, held, unexpected = time.monotonic(), 0, 0
    print(f"{'fault':<50} {'mode':<8} {'seconds':>7}  verdict", flush=True)
    for fault in chosen:
        results = _results(fault, options.mode, target)
        for result in results:
            _show(result)
        is_held = not any(result.wrong for result in results)
        held += is_held
        unexpected += not is_held and fault.name not in target.known
    seconds = time.monotonic() - began
    print(
        f"{target.name} holds {held} of {len(chosen)} faults, worst mode counted, {seconds:.0f} s; "
        f"{unexpected} not held are not known"
    )
    return 1 if unexpected else 0


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    parser.add_argument("--target", choices=sorted(TARGETS), default="ours")
    parser.add_argument("--only", metavar="NAME", default="", help="a part of a name or a group")
    parser.add_argument("--mode", choices=MODES, help="one mode instead of all that differ")
    return parser.parse_args(arguments)


def _is_chosen(fault: Fault, options: argparse.Namespace, target: Target) -> bool:
    named = options.only in fault.name or options.only == fault.group
    return named and (target.ours or fault.peers) and not set(fault.modes).isdisjoint(target.modes)


def _results(fault: Fault, mode: str | None, target: Target) -> list[Result]:
    isolated = True if not target.ours else None
    modes = [one for one in fault.modes if mode in (None, one) and one in target.modes]
    return [judge(fault, one, target, isolated=isolated) for one in modes]


def _show(result: Result) -> None:
    name = f"{result.fault.group}: {result.fault.name}"
    verdict = f"FAILS: {result.wrong}" if result.wrong else "holds"
    print(f"{name:<50} {result.mode:<8} {result.seconds:7.2f}  {verdict}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
