"""Medians, ratios within a round, and the Markdown table with the goals beside them."""

import os
import platform
from collections.abc import Mapping, Sequence
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from statistics import median

from benchmarks.measures import MEASURES
from benchmarks.rounds import Round

BEGIN = "<!-- benchmarks: begin -->"
END = "<!-- benchmarks: end -->"
VARIANTS = {"minitoolai": "ChatMiniToolAI", "aiohttp": "with `aiohttp`"}
_COLUMNS = {"openai": "× ChatOpenAI", "mistral": "× ChatMistralAI", "floor": "× floor"}
_PACKAGES = "langchain-core langchain-openai openai langchain-mistralai httpx httpx-aiohttp aiohttp"


def figure(rounds: Sequence[Round], client: str) -> float | None:
    """Return the median over the rounds, or `None` where nothing was measured."""
    found = [each[client] for each in rounds if client in each]
    return median(found) if found else None


def ratio(rounds: Sequence[Round], client: str, below: Sequence[str]) -> float | None:
    """Return the median of the ratios of `client` to the sum of `below`, each within one round."""
    complete = [each for each in rounds if below and {client, *below} <= each.keys()]
    sums = [(each[client], sum(each[name] for name in below)) for each in complete]
    ratios = [above / total for above, total in sums if total]
    return median(ratios) if ratios else None


def table(results: Mapping[str, Sequence[Round]], failures: Mapping[tuple[str, str], str]) -> str:
    """Return the table in Markdown, with what was measured on, and what could not be."""
    lines = [_line(["CPU, median", "", "figure", *_COLUMNS.values()])]
    lines.append(_line(["---", "---", "---:", *["---:"] * len(_COLUMNS)]))
    for name, rounds in results.items():
        lines += [_line(_cells(name, rounds, variant)) for variant in MEASURES[name].goals]
    notes = [f"Not measured: {name}, {client}: {why}" for (name, client), why in failures.items()]
    return "\n\n".join([_versions(), "\n".join(lines), *notes]) + "\n"


def _cells(name: str, rounds: Sequence[Round], variant: str) -> list[str]:
    measure = MEASURES[name]
    cells = [_cell(figure(rounds, variant), measure.limit, measure.unit)]
    for column, goal in zip(_COLUMNS, measure.goals[variant], strict=True):
        below = measure.floor if column == "floor" else {column} & set(measure.against)
        cells.append(_cell(ratio(rounds, variant, [*below]), goal))
    return [measure.title, VARIANTS[variant], *cells]


def _cell(value: float | None, goal: float | None, unit: str = "") -> str:
    if value is None:
        return "not measured" if goal is not None else ""
    text = f"{_number(value)} {unit}".strip()
    if goal is None:
        return text
    limit = f"≤ {_number(goal)}"
    return f"{text} ({limit})" if value <= goal else f"**{text}** (missed: {limit})"


def _number(value: float) -> str:
    """Return `value` with three significant digits."""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _versions() -> str:
    found = [f"Python {platform.python_version()}", f"{os.cpu_count()} cores"]
    for package in _PACKAGES.split():
        with suppress(PackageNotFoundError):
            found.append(f"{package} {version(package)}")
    return ", ".join(found) + "."


def filled(page: str, text: str) -> str:
    """Return `page` with `text` between its two marks.

    Raises:
        ValueError: The page lacks a mark.
    """
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end):
        raise ValueError(f"the page needs the marks {BEGIN} and {END}")
    return f"{before}{BEGIN}\n\n{text}\n{END}{after}"
