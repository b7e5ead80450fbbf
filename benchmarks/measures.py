"""Measures as data: what runs in the client's process, on which clients, and the goals.

A measure's function takes a client's name, the server's address and a size, and returns one figure.
"""

import asyncio
import gc
import resource
import time
import tracemalloc
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any

from benchmarks.clients import CLIENTS, Client
from benchmarks.server import tokens

_CHUNKS = 50
"""Of each stream where a call, and not a chunk, is the unit."""


@cache
def _client(name: str, root: str, shape: str) -> Client:
    return CLIENTS[name](f"{root}/{shape}/api")


_runner = cache(asyncio.Runner)
"""Gives the one event loop of this process, so that connections live on between rounds."""


def _check(answers: list[str], chunks: int) -> None:
    expected = "".join(tokens(chunks))
    if wrong := sum(answer != expected for answer in answers):
        raise ValueError(f"{wrong} of {len(answers)} answers were wrong")


def _cpu(calls: Callable[[], list[str]], chunks: int) -> float:
    """Return the CPU seconds of `calls`, all threads and the kernel's part included."""
    gc.collect()
    start = time.process_time()
    answers = calls()
    seconds = time.process_time() - start
    _check(answers, chunks)
    return seconds


def invoke(name: str, root: str, size: int) -> float:
    """Call `size` times; return µs a call."""
    client = _client(name, root, "1-fast")
    return _cpu(lambda: [client.invoke() for _ in range(size)], 1) / size * 1e6


def ainvoke(name: str, root: str, size: int) -> float:
    """Call `size` times, one after the other; return µs a call."""
    client = _client(name, root, "1-fast")

    async def calls() -> list[str]:
        return [await client.ainvoke() for _ in range(size)]

    return _cpu(lambda: _runner().run(calls()), 1) / size * 1e6


def stream(name: str, root: str, size: int, pace: str = "fast") -> float:
    """Read a stream of `size` chunks; return µs a chunk."""
    client = _client(name, root, f"{size}-{pace}")
    return _cpu(lambda: ["".join(client.stream())], size) / size * 1e6


async def _text(client: Client) -> str:
    return "".join([content async for content in client.astream()])


def astream(name: str, root: str, size: int, pace: str = "fast") -> float:
    """Read a stream of `size` chunks; return µs a chunk."""
    client = _client(name, root, f"{size}-{pace}")
    return _cpu(lambda: [_runner().run(_text(client))], size) / size * 1e6


def at_once(name: str, root: str, size: int) -> float:
    """Read `size` streams at once; return ms for all of them."""
    client = _client(name, root, f"{_CHUNKS}-fast")

    async def calls() -> list[str]:
        return await asyncio.gather(*(_text(client) for _ in range(size)))

    return _cpu(lambda: _runner().run(calls()), _CHUNKS) * 1e3


def first_token(name: str, root: str, size: int) -> float:
    """Wait for the first text of `size` streams; return ms a stream."""
    client, seconds = _client(name, root, f"{_CHUNKS}-fast"), 0.0
    gc.collect()
    for _ in range(size):
        contents = client.stream()
        start = time.process_time()
        first = next(content for content in contents if content)
        seconds += time.process_time() - start
        _check([first + "".join(contents)], _CHUNKS)
    return seconds / size * 1e3


def afirst_token(name: str, root: str, size: int) -> float:
    """Wait for the first text of `size` streams; return ms a stream."""
    client = _client(name, root, f"{_CHUNKS}-fast")

    async def calls() -> float:
        seconds = 0.0
        for _ in range(size):
            contents, first = client.astream(), ""
            start = time.process_time()
            while not first:
                first = await anext(contents)
            seconds += time.process_time() - start
            _check([first + "".join([c async for c in contents])], _CHUNKS)
        return seconds

    gc.collect()
    return _runner().run(calls()) / size * 1e3


def open_stream(name: str, root: str, size: int) -> float:
    """Hold `size` streams open after their first chunk; return KiB allocated by Python for each."""
    _runner().run(_text(_client(name, root, "2-fast")))
    tracemalloc.start()
    try:
        return _runner().run(_held(_client(name, root, "2-held"), size)) / size / 1024
    finally:
        tracemalloc.stop()


async def _held(client: Client, size: int) -> int:
    gc.collect()
    before, _ = tracemalloc.get_traced_memory()
    streams = [client.astream() for _ in range(size)]
    for contents in streams:
        while not await anext(contents):
            pass
    gc.collect()
    after, _ = tracemalloc.get_traced_memory()
    for contents in streams:
        await contents.aclose()
    return after - before


def growth(name: str, root: str, size: int, reading: Callable[[], float]) -> float:
    """Return how much `reading` grows over `size` calls of four kinds, after as many to warm up."""
    client = _client(name, root, "5-fast")
    _calls(client, size)
    reading()  # what the first reading itself leaves behind does not count
    before = reading()
    _calls(client, size)
    return reading() - before


def _calls(client: Client, size: int) -> None:
    async def calls() -> None:
        for _ in range(size // 4):
            await client.ainvoke()
            await _text(client)

    for _ in range(size // 4):
        client.invoke()
        "".join(client.stream())
    _runner().run(calls())


def live_objects() -> float:
    """Return the number of objects that the garbage collector tracks."""
    gc.collect()
    return len(gc.get_objects())


def open_sockets() -> float:
    """Return the number of sockets that this process holds open."""
    return sum(descriptor.is_socket() for descriptor in Path("/proc/self/fd").iterdir())


def resident_kib() -> float:
    """Return the resident memory of this process."""
    gc.collect()
    pages = int(Path("/proc/self/statm").read_text("ascii").split()[1])
    return pages * resource.getpagesize() / 1024


Goal = tuple[float | None, float | None, float | None]


@dataclass(frozen=True, slots=True)
class Measure:
    """One row of the table for each variant of the chat model.

    Attributes:
        title: For the table.
        unit: Of the figure that `run` returns.
        run: What the client's process does.
        size: Calls, chunks or streams, as `run` takes it.
        rounds: How many rounds, whose median counts.
        goal: The highest ratios to ChatOpenAI, ChatMistralAI and the floor.
        aiohttp_goal: The same with the extra `aiohttp`, if it is measured with it.
        against: The other clients in each round.
        limit: The highest figure, where there is nothing to compare with.
        quick: Whether a quick run, with a fifth of `size`, has it.
        fresh: Whether each run has a process of its own.
    """

    title: str
    unit: str
    run: Callable[[str, str, int], float]
    size: int
    rounds: int
    goal: Goal
    aiohttp_goal: Goal | None = None
    against: tuple[str, ...] = ("openai", "mistral", "httpx")
    limit: float | None = None
    quick: bool = False
    fresh: bool = False

    @property
    def goals(self) -> dict[str, Goal]:
        """The goals by variant of the chat model."""
        goals = {"minitoolai": self.goal}
        return goals | {"aiohttp": self.aiohttp_goal} if self.aiohttp_goal else goals

    @property
    def floor(self) -> tuple[str, ...]:
        """The clients of `floor`: httpx, and langchain-core where there is such a client."""
        return tuple(name for name in ("httpx", "core") if name in self.against)


def _growth(title: str, unit: str, reading: Callable[[], float], limit: float) -> Measure:
    title, run = f"growth over 2,000 calls, {title}", partial(growth, reading=reading)
    none = (None, None, None)
    return Measure(title, unit, run, 2000, 1, none, none, (), limit, fresh=True)


_ALL: dict[str, Any] = {"against": ("openai", "mistral", "httpx", "core"), "quick": True}
MEASURES = {
    "stream": Measure("`stream`, a chunk", "µs", stream, 5000, 7, (0.16, 0.55, 1.35), **_ALL),
    "astream": Measure(
        "`astream`, a chunk", "µs", astream, 5000, 7, (0.19, 0.62, 1.4), (0.08, 0.28, 0.65), **_ALL
    ),
    "stream_paced": Measure(
        "`stream`, an event each ms, a chunk", "µs", partial(stream, pace="paced"), 500, 5,
        (0.47, 0.85, None),
    ),
    "astream_paced": Measure(
        "`astream`, an event each ms, a chunk", "µs", partial(astream, pace="paced"), 500, 5,
        (0.47, 0.85, None), (0.35, 0.55, None),
    ),
    "invoke": Measure("`invoke`, one chunk", "µs", invoke, 200, 9, (0.36, 0.75, None), **_ALL),
    "ainvoke": Measure(
        "`ainvoke`, one chunk", "µs", ainvoke, 200, 9, (0.42, 0.6, None), (0.35, 0.45, None), **_ALL
    ),
    "first_token": Measure(
        "first token, `stream`", "ms", first_token, 100, 9, (None, None, 1.2), quick=True
    ),
    "afirst_token": Measure(
        "first token, `astream`", "ms", afirst_token, 100, 9,
        (None, None, 1.2), (None, None, 1.3), quick=True,
    ),
    "at_once_200": Measure(
        "200 `astream` at once", "ms", at_once, 200, 5, (0.25, None, None), (0.1, None, None)
    ),
    "at_once_1000": Measure(
        "1,000 `astream` at once", "ms", at_once, 1000, 3, (0.4, None, None), (0.14, None, None)
    ),
    "open_stream": Measure(
        "an open stream, allocated by Python", "KiB", open_stream, 60, 3,
        (0.7, None, None), (0.7, None, None), fresh=True,
    ),
    "growth_objects": _growth("objects", "", live_objects, 100),
    "growth_sockets": _growth("open sockets", "", open_sockets, 0),
    "growth_resident": _growth("resident memory", "KiB", resident_kib, 512),
}  # fmt: skip
"""The measures by name, in the table's order."""
