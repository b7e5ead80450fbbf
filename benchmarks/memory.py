"""The measures of memory: what an open stream holds, and what many calls leave behind."""

import asyncio
import gc
import tracemalloc
from collections.abc import Callable

from benchmarks.bench import Bench
from benchmarks.clock import Sample, live_objects, open_files, resident_kib
from benchmarks.spec import Client

GROWTH_CHUNKS = 5


def open_streams(bench: Bench, size: int) -> dict[str, Sample]:
    """Hold `size` streams open after their first chunk: KiB each, resident and allocated.

    Resident memory is read in a process that has had as many open only now; allocations
    are traced in a second pass.
    """
    bench.run(_drain(bench.client(chunks=2), 2))
    client = bench.client(chunks=2, hold=True)
    resident = bench.run(_held(bench, client, size, resident_kib))
    tracemalloc.start()
    try:
        allocated = bench.run(_held(bench, client, size, _traced_kib))
    finally:
        tracemalloc.stop()
    return {
        "stream_resident": {"value": resident},
        "stream_allocated": {"value": allocated},
    }


def _traced_kib() -> float:
    return tracemalloc.get_traced_memory()[0] / 1024


async def _held(bench: Bench, client: Client, size: int, reading: Callable[[], float]) -> float:
    opened = asyncio.Semaphore(0)

    async def read() -> None:
        async for piece in client.astream():
            if piece:
                opened.release()

    gc.collect()
    before = reading()
    tasks = [asyncio.ensure_future(read()) for _ in range(size)]
    async with asyncio.timeout(60):
        for _ in range(size):
            await opened.acquire()
    gc.collect()
    held = (reading() - before) / size
    bench.ask_server("release")
    await asyncio.gather(*tasks)
    return held


async def _drain(client: Client, times: int) -> None:
    for _ in range(times):
        async for _piece in client.astream():
            pass


def growth(bench: Bench, size: int) -> dict[str, Sample]:
    """Make `size` calls of four kinds and tell what grew since the warm-up before them."""
    client = bench.client(chunks=GROWTH_CHUNKS)
    _four_kinds(bench, client, max(size // 4, 8))
    _readings(bench)  # what the first reading leaves behind must not count either
    before = _readings(bench)
    _four_kinds(bench, client, size)
    grown = {name: after - before[name] for name, after in _readings(bench).items()}
    own = 1  # asking for the count is a connection, too
    grown["connections"] = (grown["connections"] - own) * 1000 / size
    grown["tasks"] = bench.run(_tasks())
    return {f"growth_{name}": {"value": value} for name, value in grown.items()}


def _readings(bench: Bench) -> dict[str, float]:
    # Objects first: listing them takes memory, which must not count as grown.
    return {
        "objects": live_objects(),
        "files": open_files(),
        "connections": bench.ask_server("stats")["made"],
        "resident": resident_kib(),
    }


def _four_kinds(bench: Bench, client: Client, size: int) -> None:
    async def calls() -> None:
        for _ in range(size // 4):
            await client.ainvoke()
        await _drain(client, size // 4)

    for _ in range(size // 4):
        client.invoke()
    for _ in range(size // 4):
        "".join(client.stream())
    bench.run(calls())


async def _tasks() -> int:
    return len(asyncio.all_tasks()) - 1
