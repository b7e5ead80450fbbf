"""The results as JSON and as Markdown tables."""

import platform
import sys
from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from benchmarks.figures import GOALS, figure, reached, wrong
from benchmarks.measures import ROWS
from benchmarks.session import Round
from benchmarks.targets import TARGETS

_PACKAGES = (
    "langchain-minitoolai", "langchain-core", "langchain-openai", "openai",
    "langchain-mistralai", "httpx", "httpcore", "httpx-aiohttp", "aiohttp", "pydantic",
)  # fmt: skip

Results = Mapping[str, Sequence[Round]]
"""The rounds by row."""


def versions() -> dict[str, str]:
    """Give the versions of everything that is measured, where it is installed."""
    found = {"python": platform.python_version()}
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def machine() -> dict[str, Any]:
    """Tell on what was measured, without naming the machine."""
    lines = _lines("/proc/cpuinfo")
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return {
        "processor": names[0] if names else platform.machine(),
        "cores": len(names) or 1,
        "system": f"{platform.system()} {platform.release().partition('-')[0]}",
        "implementation": sys.implementation.name,
    }


def _lines(path: str) -> list[str]:
    try:
        return Path(path).read_text(encoding="utf-8").splitlines()
    except OSError:
        return []


def as_json(results: Results, notes: Sequence[str], *, quick: bool) -> dict[str, Any]:
    """Give everything: where it was measured, every round, every figure and every goal."""
    return {
        "versions": versions(),
        "machine": machine(),
        "quick": quick,
        "notes": list(notes),
        "figures": {row: _figures(results[row], row) for row in ROWS if row in results},
        "goals": [
            {"goal": goal.title, "at_most": goal.at_most, "reached": reached(results, goal)}
            for goal in GOALS
        ],
        "rounds": {row: list(rounds) for row, rounds in results.items()},
    }


def _figures(rounds: Sequence[Round], row: str) -> dict[str, dict[str, Any]]:
    return {
        target: {
            "cpu": figure(rounds, row, target),
            "wall": figure(rounds, row, target, "wall"),
            "wrong": wrong(rounds, row, target),
        }
        for target in TARGETS
        if figure(rounds, row, target) is not None
    }


def markdown(data: Mapping[str, Any]) -> str:
    """Give the tables of what `as_json` gave."""
    goals = _goals(data)
    parts = [_measured_on(data), _table(data, "cpu"), "Wall time of the same calls:"]
    parts += [_table(data, "wall"), "The goals, as medians of ratios within a round:", goals]
    parts += [f"Not measured: {note}" for note in data["notes"]]
    return "\n\n".join(part for part in parts if part) + "\n"


def _measured_on(data: Mapping[str, Any]) -> str:
    on = data["machine"]
    packages = ", ".join(f"{name} {number}" for name, number in data["versions"].items())
    kind = "A quick run, for orientation only. " if data["quick"] else ""
    return f"{kind}{on['cores']} cores, {on['processor']}, {on['system']}; {packages}."


def _table(data: Mapping[str, Any], field: str) -> str:
    figures = data["figures"]
    shown = [target for target in TARGETS if any(target in row for row in figures.values())]
    titles = ["CPU" if field == "cpu" else "wall", *(TARGETS[t].title for t in shown)]
    lines = [_line(titles), _line(["---", *("---:" for _ in shown)])]
    for name, by_target in figures.items():
        row = ROWS[name]
        if field == "wall" and row.unit not in {"ms", "µs"}:
            continue
        title = f"{row.title}, {row.unit}" if row.unit else row.title
        lines.append(_line([title, *(_cell(by_target.get(t), field) for t in shown)]))
    return "\n".join(lines)


def _goals(data: Mapping[str, Any]) -> str:
    lines = [_line(["goal", "at most", "reached", "met"]), _line(["---", "---:", "---:", "---"])]
    for goal in data["goals"]:
        got = goal["reached"]
        if got is not None:
            met = "yes" if got <= goal["at_most"] else "no"
            lines.append(_line([goal["goal"], _number(goal["at_most"]), _number(got), met]))
    return "\n".join(lines) if len(lines) > 2 else ""


def _cell(figures: Mapping[str, Any] | None, field: str) -> str:
    if figures is None:
        return ""
    mark = f" ({figures['wrong']} wrong)" if figures["wrong"] else ""
    return _number(figures[field]) + mark


def _number(value: float) -> str:
    """Show three digits that count."""
    if value == 0:
        return "0"
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.3g}"


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"
