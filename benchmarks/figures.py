"""From rounds to figures: medians, ratios within a round, and whether a goal is met."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median

from benchmarks.measures import ROWS
from benchmarks.session import Round

Terms = tuple[tuple[str, str], ...]
"""Rows of targets, to be added up: `(("stream", "httpx"), ("stream", "core"))`."""

_FACTORS = {"ms": 1e3, "µs": 1e6}


@dataclass(frozen=True, slots=True)
class Goal:
    """The most that a ratio, or a plain figure, may be.

    Attributes:
        title: How the table calls it.
        above: What is compared.
        below: With what; nothing where `at_most` is a figure in the row's own unit.
        at_most: The most that meets it.
    """

    title: str
    above: Terms
    below: Terms
    at_most: float


def figure(rounds: Sequence[Round], row: str, target: str, field: str = "cpu") -> float | None:
    """Give the median over the rounds, in the row's unit; `None` where nothing was measured."""
    values = [v for r in rounds if (v := _value(r, row, target, field)) is not None]
    return median(values) * _FACTORS.get(ROWS[row].unit, 1.0) if values else None


def wrong(rounds: Sequence[Round], row: str, target: str) -> int:
    """Count the wrong answers over all rounds."""
    samples = (r.get(target, {}).get(row, {}) for r in rounds)
    return int(sum(sample.get("wrong", 0) for sample in samples))


def reached(results: Mapping[str, Sequence[Round]], goal: Goal) -> float | None:
    """Give the median of the goal's ratio, each taken within one round.

    Args:
        results: The rounds by row.
        goal: What to compare.
    """
    tops = _sums(results, goal.above)
    bottoms = _sums(results, goal.below) if goal.below else [1.0] * len(tops)
    ratios = [
        top / bottom
        for top, bottom in zip(tops, bottoms, strict=False)
        if top is not None and bottom
    ]
    return median(ratios) if ratios else None


def best(results: Mapping[str, Sequence[Round]], above: Terms, below: Terms) -> float | None:
    """Give the ratio of the least sums of all rounds: noise only ever adds."""
    tops = [top for top in _sums(results, above) if top is not None]
    bottoms = [bottom for bottom in _sums(results, below) if bottom is not None]
    return min(tops) / min(bottoms) if tops and bottoms else None


def _sums(results: Mapping[str, Sequence[Round]], terms: Terms) -> list[float | None]:
    """Add up `terms` within each round; rounds of several measures are paired by number."""
    columns = [
        [_value(r, row, target, "cpu") for r in results.get(row, ())] for row, target in terms
    ]
    return [_sum(values) for values in zip(*columns, strict=False)]


def _sum(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) if len(known) == len(values) else None


def _value(samples: Round, row: str, target: str, field: str) -> float | None:
    sample = samples.get(target, {}).get(row)
    if sample is None:
        return None
    return sample["value"] if "value" in sample else sample.get(field)


def _one(row: str, target: str = "ours") -> Terms:
    return ((row, target),)


def _floors(row: str) -> Terms:
    return ((row, "httpx"), (row, "core"))


def _goal(row: str, title: str, target: str, at_most: float, whose: str = "ours") -> Goal:
    return Goal(f"{title}, over {target}", _one(row, whose), _one(row, target), at_most)


GOALS: tuple[Goal, ...] = (
    _goal("import", "import", "core", 1.1),
    _goal("make_next", "next model made", "openai", 0.1),
    _goal("invoke_1", "`invoke`, one chunk", "openai", 0.35),
    _goal("invoke_1", "`invoke`, one chunk", "mistral", 0.85),
    _goal("invoke_200", "`invoke`, 200 chunks over SSE", "httpx", 0.9),
    _goal("stream", "`stream`, a chunk", "openai", 0.16),
    _goal("stream", "`stream`, a chunk", "mistral", 0.55),
    Goal("`stream`, a chunk, over httpx + core", _one("stream"), _floors("stream"), 1.4),
    _goal("astream", "`astream`, a chunk", "openai", 0.16),
    _goal("astream", "`astream`, a chunk", "mistral", 0.55),
    Goal("`astream`, a chunk, over httpx + core", _one("astream"), _floors("astream"), 1.1),
    _goal("first_token", "first token, sync", "httpx", 1.2),
    _goal("afirst_token", "first token, async", "httpx", 1.2),
    _goal("astream_once_200", "200 `astream` at once", "mistral", 0.7),
    _goal("astream_once_200", "200 `astream` at once", "httpx", 0.4),
    _goal("astream_once_1000", "1,000 `astream` at once", "openai", 0.35),
    _goal("astream_once_200", "200 with `aiohttp`", "openai", 0.15, "ours_aiohttp"),
    _goal("astream_once_200", "200 with `aiohttp`", "raw", 4.0, "ours_aiohttp"),
    _goal("astream_once_1000", "1,000 with `aiohttp`", "openai", 0.1, "ours_aiohttp"),
    _goal("astream_once_1000", "1,000 with `aiohttp`", "raw", 4.0, "ours_aiohttp"),
    _goal("stream_allocated", "an open stream, allocated", "openai", 0.7),
    _goal("stream_resident", "an open stream, resident", "openai", 0.7),
    Goal(
        "`stream` with 20 tools bound, over without",
        _one("stream_tools"), _one("stream"), 2.0,
    ),
    Goal(
        "`astream` with 20 tools bound, over without",
        _one("astream_tools"), _one("astream"), 2.0,
    ),
    Goal("many calls: connections per 1,000", _one("growth_connections"), (), 1.0),
    Goal("many calls: open files more", _one("growth_files"), (), 0.0),
    Goal("many calls: tasks left", _one("growth_tasks"), (), 0.0),
    Goal("many calls: objects more", _one("growth_objects"), (), 50.0),
    Goal("many calls: resident memory more, KiB", _one("growth_resident"), (), 512.0),
)  # fmt: skip
