"""Waits that end when the client disconnects."""

import asyncio
from collections.abc import Awaitable
from typing import Final, TypeVar

from starlette.requests import Request

from langchain_minitoolai.sandbox._validation import APIError

T = TypeVar("T")
LONG: Final = 3600.0
"""Seconds after which no client is waiting any more."""


async def until_gone(request: Request, seconds: float) -> bool:
    """Wait until the client leaves, at most so many seconds; return whether it left."""
    try:
        async with asyncio.timeout(seconds):
            while (await request.receive())["type"] != "http.disconnect":
                pass
    except TimeoutError:
        return False
    return True


async def unless_gone(request: Request, work: Awaitable[T]) -> T:
    """Wait for some work, and drop it when the client leaves before it is done."""
    task = asyncio.ensure_future(work)
    gone = asyncio.ensure_future(until_gone(request, LONG))
    await asyncio.wait({task, gone}, return_when=asyncio.FIRST_COMPLETED)
    if not task.done():
        task.cancel()
    gone.cancel()
    await asyncio.gather(task, gone, return_exceptions=True)
    if task.cancelled():
        raise APIError("The client left.", status=499)
    return task.result()
