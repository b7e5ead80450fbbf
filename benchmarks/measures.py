"""The measures as data: what is run, on which targets, how often, and what the rows are."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from benchmarks import memory, timings
from benchmarks.bench import Bench
from benchmarks.clock import Sample

MODELS = ("ours", "openai", "mistral")
PIPES = (*MODELS, "httpx", "raw")
ALL = (*MODELS, "httpx", "core", "raw")
ASYNC_PIPES = ("ours", "ours_aiohttp", "openai", "mistral", "httpx", "raw")


@dataclass(frozen=True, slots=True)
class Row:
    """A line of the table.

    Attributes:
        name: How goals and the JSON call it.
        title: How the table calls it.
        unit: `ms` or `µs` for times, anything else for values.
    """

    name: str
    title: str
    unit: str


@dataclass(frozen=True, slots=True)
class Effort:
    """How much is measured: `size` as the measure understands it, and how many rounds."""

    size: int
    rounds: int


@dataclass(frozen=True, slots=True)
class Measure:
    """Something to run.

    Attributes:
        name: For `--only`.
        rows: What comes of it; one row, or as many as `run` gives.
        targets: On which it makes sense.
        full: The effort of a whole run.
        quick: The effort of a quick one; `None` leaves it out.
        run: What the target's process does; `None` for fresh interpreters (`cold.py`).
        fresh: Whether each round has a process of its own.
    """

    name: str
    rows: tuple[Row, ...]
    targets: tuple[str, ...]
    full: Effort
    quick: Effort | None
    run: Callable[[Bench, int], Any] | None
    fresh: bool = False

    def samples(self, bench: Bench, size: int) -> dict[str, Sample]:
        """Run once and give the samples by row."""
        if self.run is None:
            raise ValueError(f"{self.name} needs fresh interpreters")
        got: dict[str, Any] = self.run(bench, size)
        return got if len(self.rows) > 1 else {self.rows[0].name: got}

    def effort(self, *, quick: bool) -> Effort | None:
        """Give the effort of a run; `None` where the quick one leaves this out."""
        return self.quick if quick else self.full


def _timing(
    name: str,
    title: str,
    unit: str,
    run: Callable[..., Sample],
    full: tuple[int, int],
    quick: tuple[int, int] | None,
    targets: tuple[str, ...] = PIPES,
    **options: Any,
) -> Measure:
    row = Row(name, title, unit)
    effort = Effort(*quick) if quick else None
    return Measure(name, (row,), targets, Effort(*full), effort, partial(run, **options))


def _stream_rows(name: str) -> tuple[Row, Row]:
    return (
        Row(name, f"`{name}`, a chunk", "µs"),
        Row(f"{name}_tools", f"`{name}`, 20 tools bound, a chunk", "µs"),
    )


def _with_tools(
    name: str, run: Callable[..., Sample], bench: Bench, size: int
) -> dict[str, Sample]:
    """Read the same stream without and with tools, so that both are of one round."""
    rows = {name: run(bench, size)}
    if bench.target in MODELS:
        rows[f"{name}_tools"] = run(bench, size, tools=20)
    return rows


_COLD = (
    Row("import", "import", "ms"),
    Row("import_resident", "import, resident memory", "KiB"),
    Row("make_first", "first model made", "ms"),
    Row("make_next", "next model made", "ms"),
    Row("first_call", "first call of the process, one chunk", "ms"),
)
_OPEN = (
    Row("stream_resident", "an open stream, resident memory", "KiB"),
    Row("stream_allocated", "an open stream, allocated by Python", "KiB"),
)
_GROWTH = (
    Row("growth_connections", "many calls: connections per 1,000", ""),
    Row("growth_files", "many calls: open files more", ""),
    Row("growth_tasks", "many calls: tasks left", ""),
    Row("growth_objects", "many calls: objects more", ""),
    Row("growth_resident", "many calls: resident memory more", "KiB"),
)
_T = timings

MEASURES: tuple[Measure, ...] = (
    Measure("cold", _COLD, ALL, Effort(20, 5), Effort(5, 1), None, fresh=True),
    _timing("invoke_1", "`invoke`, one chunk", "µs", _T.invoke, (100, 7), (40, 3), ALL),
    _timing("ainvoke_1", "`ainvoke`, one chunk", "µs", _T.ainvoke, (100, 7), (40, 3), ALL),
    _timing(
        "invoke_200", "`invoke`, 200 chunks over SSE", "µs", _T.invoke, (20, 7), (4, 3), ALL,
        chunks=200,
    ),
    _timing(
        "ainvoke_200", "`ainvoke`, 200 chunks over SSE", "µs", _T.ainvoke, (20, 7), None, ALL,
        chunks=200,
    ),
    _timing(
        "invoke_200_document", "`invoke`, 200 chunks (peers: one JSON document)", "µs",
        _T.invoke, (20, 7), (4, 3), MODELS, chunks=200, streaming=False,
    ),
    Measure(
        "stream", _stream_rows("stream"), ALL, Effort(5000, 7), Effort(1000, 3),
        partial(_with_tools, "stream", _T.stream),
    ),
    Measure(
        "astream", _stream_rows("astream"), ALL, Effort(5000, 7), Effort(1000, 3),
        partial(_with_tools, "astream", _T.astream),
    ),
    _timing(
        "stream_16", "`stream`, 16 events a packet, a chunk", "µs", _T.stream,
        (5000, 7), (1000, 2), PIPES, per_packet=16,
    ),
    _timing(
        "astream_16", "`astream`, 16 events a packet, a chunk", "µs", _T.astream,
        (5000, 7), None, PIPES, per_packet=16,
    ),
    _timing(
        "stream_paced", "`stream`, an event each millisecond, a chunk", "µs", _T.stream,
        (500, 5), None, PIPES, paced=True,
    ),
    _timing(
        "astream_paced", "`astream`, an event each millisecond, a chunk", "µs", _T.astream,
        (500, 5), None, PIPES, paced=True,
    ),
    _timing("first_token", "first token, sync", "ms", _T.first_token, (50, 7), (15, 2)),
    _timing("afirst_token", "first token, async", "ms", _T.afirst_token, (50, 7), (15, 2)),
    _timing(
        "astream_once_1", "1 `astream` of 50 chunks", "ms", _T.astream_at_once,
        (1, 15), (1, 3), ASYNC_PIPES,
    ),
    _timing(
        "astream_once_50", "50 `astream` at once", "ms", _T.astream_at_once,
        (50, 5), (50, 1), ASYNC_PIPES,
    ),
    _timing(
        "astream_once_200", "200 `astream` at once", "ms", _T.astream_at_once,
        (200, 5), None, ASYNC_PIPES,
    ),
    _timing(
        "astream_once_1000", "1,000 `astream` at once", "ms", _T.astream_at_once,
        (1000, 3), None, ASYNC_PIPES,
    ),
    _timing(
        "ainvoke_once_200", "200 `ainvoke` at once (peers: one JSON document)", "ms",
        _T.ainvoke_at_once, (200, 5), None, ASYNC_PIPES,
    ),
    _timing(
        "batch", "`batch` of 50, 16 threads (peers: one JSON document)", "ms", _T.batch,
        (50, 7), (50, 2),
    ),
    Measure(
        "open_streams", _OPEN, ASYNC_PIPES, Effort(60, 3), None,
        memory.open_streams, fresh=True,
    ),
    Measure(
        "growth", _GROWTH, ASYNC_PIPES, Effort(2000, 2), None, memory.growth, fresh=True,
    ),
)  # fmt: skip
ROWS = {row.name: row for measure in MEASURES for row in measure.rows}
