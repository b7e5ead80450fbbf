"""500 breaks and cancellations at random moments, over every kind of client; run by itself.

It prints what is still open afterwards: nothing, where all is well.
"""

import asyncio
import gc
import os
import random
import sys
import time
import warnings
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

with warnings.catch_warnings():  # what importing others prints is not the matter here
    warnings.simplefilter("ignore")
    import httpx
    import httpx2
    from httpx_aiohttp import HttpxAiohttpClient

    from langchain_minitoolai import ChatMiniToolAI

BREAKS = 100  # over each kind of client
AT_ONCE = 4
QUESTION = "What is 2 + 2?"
ANSWER = "2 + 2 = 4."
LONGEST = 0.04  # seconds; an answer takes about half of it
LIMITS: Any = {"max_connections": AT_ONCE}  # so that one connection kept out would be missed


def report(what: str, count: int) -> None:
    """Print what should not be."""
    sys.stdout.write(f"{what}: {count}\n")


def kinds() -> dict[str, dict[str, Any]]:
    """Return the options of a model over each kind of client."""
    return {
        "own": {},
        "aiohttp": {"async_transport": "aiohttp"},
        "httpx": {
            "http_client": lambda: httpx.Client(limits=httpx.Limits(**LIMITS)),
            # A cancellation while it closes costs httpcore's async pool a place.
            "http_async_client": httpx.AsyncClient,
        },
        "httpx2": {
            "http_client": lambda: httpx2.Client(limits=httpx2.Limits(**LIMITS)),
            "http_async_client": lambda: httpx2.AsyncClient(limits=httpx2.Limits(**LIMITS)),
        },
        "HttpxAiohttpClient": {
            "http_async_client": lambda: HttpxAiohttpClient(limits=httpx.Limits(**LIMITS)),
        },
    }


def sockets() -> int:
    """Count this process's connections."""
    count = 0
    for each in Path("/proc/self/fd").iterdir():
        with suppress(OSError):
            count += os.readlink(each).startswith("socket:")  # noqa: PTH115 - no path of a file
    return count


async def cancel(model: ChatMiniToolAI, dice: random.Random) -> None:
    call: Any = model.ainvoke(QUESTION) if dice.random() < 0.5 else read(model, 99)
    task = asyncio.ensure_future(call)
    await asyncio.sleep(dice.uniform(0.0, LONGEST))
    task.cancel()
    if dice.random() < 0.3:  # again, while it cleans up
        await asyncio.sleep(0)
        task.cancel()
    with suppress(asyncio.CancelledError):
        await task


async def read(model: ChatMiniToolAI, most: int) -> None:
    async for _ in model.astream(QUESTION):
        most -= 1
        if most <= 0:
            break  # and it is left to the loop to close


async def close(model: ChatMiniToolAI, most: int) -> None:
    stream: Any = model.astream(QUESTION)
    for _ in range(most):
        with suppress(StopAsyncIteration):
            await anext(stream)
    await stream.aclose()


async def one(model: ChatMiniToolAI, dice: random.Random) -> None:
    ways: list[Callable[[], Any]] = [
        lambda: cancel(model, dice),
        lambda: cancel(model, dice),
        lambda: read(model, dice.randint(1, 6)),
        lambda: close(model, dice.randint(0, 6)),
    ]
    await dice.choice(ways)()


async def async_breaks(model: ChatMiniToolAI, dice: random.Random, before: int) -> None:
    loop = asyncio.get_running_loop()
    loop.slow_callback_duration = 30.0  # speed is not the matter here
    for _ in range(BREAKS // 2 // AT_ONCE):
        await asyncio.gather(*(one(model, dice) for _ in range(AT_ONCE)))
    gc.collect()
    streams: list[Any] = [model.astream(QUESTION) for _ in range(AT_ONCE)]
    texts = [(await anext(each)).text for each in streams]  # all open at once
    for place, stream in enumerate(streams):
        texts[place] += "".join([chunk.text async for chunk in stream])
    assert texts == [ANSWER] * AT_ONCE, texts
    assert (await model.ainvoke(QUESTION)).text == ANSWER
    left = sockets() - before
    if left > 2 * AT_ONCE:  # those of calls that ended well are kept for the next
        report("open after async breaks", left)


def sync_breaks(model: ChatMiniToolAI, dice: random.Random, before: int) -> None:
    for _ in range(BREAKS // 2):
        stream: Any = model.stream(QUESTION)
        for _ in range(dice.randint(0, 6)):
            next(stream, None)
        if dice.random() < 0.5:
            stream.close()
        del stream
    streams: list[Any] = [model.stream(QUESTION) for _ in range(AT_ONCE)]
    texts = [next(each).text for each in streams]
    texts = [
        first + "".join(c.text for c in each) for first, each in zip(texts, streams, strict=True)
    ]
    assert texts == [ANSWER] * AT_ONCE, texts
    assert model.invoke(QUESTION).text == ANSWER
    left = sockets() - before
    if left > 2 * AT_ONCE:
        report("open after sync breaks", left)


def main() -> None:
    """Break calls off, and print what stays open."""
    for kind, options in kinds().items():
        model = ChatMiniToolAI(timeout=20.0, max_retries=0, **options)
        dice = random.Random(20)
        before = sockets()
        asyncio.run(async_breaks(model, dice, before))
        gc.collect()
        time.sleep(0.05)
        if left := sockets() - before:
            report(f"open after the event loop's end, {kind}", left)
        sync_breaks(model, dice, before)


if __name__ == "__main__":
    main()
