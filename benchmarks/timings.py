"""The measures of time: calls, streams, first tokens, many at once."""

import asyncio
import gc
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from benchmarks import payload
from benchmarks.bench import Bench
from benchmarks.clock import Sample, Stopwatch
from benchmarks.spec import Client

AT_ONCE_CHUNKS = 50
FIRST_TOKEN_CHUNKS = 20
WORKERS = 16


def invoke(bench: Bench, size: int, *, chunks: int = 1, streaming: bool = True) -> Sample:
    """Call `size` times, one after the other."""
    client = bench.client(chunks=chunks, streaming=streaming)
    gc.collect()
    with Stopwatch() as watch:
        answers = [client.invoke() for _ in range(size)]
    return watch.per(size, _wrong(answers, chunks))


def ainvoke(bench: Bench, size: int, *, chunks: int = 1, streaming: bool = True) -> Sample:
    """Call `size` times, one after the other, on one loop."""
    client = bench.client(chunks=chunks, streaming=streaming)

    async def calls() -> Sample:
        gc.collect()
        with Stopwatch() as watch:
            answers = [await client.ainvoke() for _ in range(size)]
        return watch.per(size, _wrong(answers, chunks))

    return _sample(bench.run(calls()))


def stream(bench: Bench, size: int, **shape: Any) -> Sample:
    """Read one stream of `size` chunks; the times are per chunk."""
    client = bench.client(chunks=size, **shape)
    gc.collect()
    with Stopwatch() as watch:
        answer = "".join(client.stream())
    return watch.per(size, _wrong([answer], size))


def astream(bench: Bench, size: int, **shape: Any) -> Sample:
    """Read one stream of `size` chunks; the times are per chunk."""
    client = bench.client(chunks=size, **shape)

    async def read() -> Sample:
        gc.collect()
        with Stopwatch() as watch:
            answer = "".join([piece async for piece in client.astream()])
        return watch.per(size, _wrong([answer], size))

    return _sample(bench.run(read()))


def first_token(bench: Bench, size: int) -> Sample:
    """Wait for the first text of `size` streams; the rest is read outside the watch."""
    client = bench.client(chunks=FIRST_TOKEN_CHUNKS)
    watch = Stopwatch()
    answers = []
    for _ in range(size):
        pieces = client.stream()
        with watch:
            first = next(piece for piece in pieces if piece)
        answers.append(first + "".join(pieces))
    return watch.per(size, _wrong(answers, FIRST_TOKEN_CHUNKS))


def afirst_token(bench: Bench, size: int) -> Sample:
    """Wait for the first text of `size` streams; the rest is read outside the watch."""
    client = bench.client(chunks=FIRST_TOKEN_CHUNKS)

    async def calls() -> Sample:
        watch = Stopwatch()
        answers = []
        for _ in range(size):
            pieces = client.astream()
            with watch:
                first = ""
                while not first:
                    first = await anext(pieces)
            answers.append(first + "".join([piece async for piece in pieces]))
        return watch.per(size, _wrong(answers, FIRST_TOKEN_CHUNKS))

    return _sample(bench.run(calls()))


def astream_at_once(bench: Bench, size: int) -> Sample:
    """Read `size` streams at once; the times are for all of them."""
    client = bench.client(chunks=AT_ONCE_CHUNKS)

    async def read() -> str:
        return "".join([piece async for piece in client.astream()])

    return _sample(bench.run(_at_once([read for _ in range(size)], AT_ONCE_CHUNKS)))


def ainvoke_at_once(bench: Bench, size: int) -> Sample:
    """Call `size` times at once; the peers ask for one JSON document."""
    client = bench.client(chunks=AT_ONCE_CHUNKS, streaming=False)
    return _sample(bench.run(_at_once([client.ainvoke for _ in range(size)], AT_ONCE_CHUNKS)))


async def _at_once(calls: list[Any], chunks: int) -> Sample:
    gc.collect()
    with Stopwatch() as watch:
        answers = await asyncio.gather(*(call() for call in calls), return_exceptions=True)
    return watch.per(1, _wrong(answers, chunks))


def batch(bench: Bench, size: int) -> Sample:
    """Call `size` times in threads: `batch`, or a thread pool where there is no LangChain."""
    client = bench.client(chunks=AT_ONCE_CHUNKS, streaming=False)
    gc.collect()
    with Stopwatch() as watch:
        answers = _in_threads(client, size)
    return watch.per(1, _wrong(answers, AT_ONCE_CHUNKS))


def _in_threads(client: Client, size: int) -> list[str]:
    own_way = getattr(client, "batch", None)
    if own_way is not None:
        answers: list[str] = own_way(size, WORKERS)
        return answers
    with ThreadPoolExecutor(WORKERS) as pool:
        return list(pool.map(lambda _: client.invoke(), range(size)))


def _wrong(answers: list[Any], chunks: int) -> int:
    expected = payload.text(chunks)
    return sum(answer != expected for answer in answers)


def _sample(value: Any) -> Sample:
    sample: Sample = value
    return sample
