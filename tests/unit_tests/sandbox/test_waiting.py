import asyncio
from typing import Any

import pytest
from starlette.requests import Request

from langchain_minitoolai.sandbox._app import unless_gone, until_gone
from langchain_minitoolai.sandbox._validation import APIError


def request(*kinds: str) -> Request:
    """Make a request whose client sends these messages, and then nothing."""
    messages = list(kinds)

    async def receive() -> Any:
        if messages:
            return {"type": messages.pop(0)}
        return await asyncio.Event().wait()

    return Request({"type": "http"}, receive)


async def test_waiting_ends_when_the_client_leaves() -> None:
    assert await until_gone(request("http.request", "http.disconnect"), 3600)


async def test_waiting_ends_when_its_time_is_up() -> None:
    assert not await until_gone(request("http.request"), 0.001)


async def test_work_is_awaited_while_the_client_stays() -> None:
    assert await unless_gone(request(), asyncio.sleep(0, "done")) == "done"


async def test_work_that_fails_fails_here() -> None:
    async def fail() -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await unless_gone(request(), fail())


async def test_work_is_dropped_when_the_client_leaves() -> None:
    stopped = asyncio.Event()

    async def work() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            stopped.set()

    with pytest.raises(APIError):
        await unless_gone(request("http.disconnect"), work())
    assert stopped.is_set()
