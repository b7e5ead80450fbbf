"""A flow that is left in the middle lets go of what it holds, at once."""

import asyncio
from typing import Any

import pytest

from langchain_minitoolai._http.async_client import AsyncClient
from langchain_minitoolai._http.client import Client
from langchain_minitoolai._http.effects import Invoke, Workflow


def holding(held: list[str]) -> Workflow[None]:
    def stop() -> None:
        raise KeyboardInterrupt

    async def astop() -> None:
        raise asyncio.CancelledError

    held.append("claim")
    try:
        yield Invoke(stop, astop)
    finally:
        held.clear()


def test_an_interrupted_call_lets_go_while_its_traceback_is_kept() -> None:
    held: list[str] = []
    nowhere: Any = None
    with pytest.raises(KeyboardInterrupt) as kept:
        Client(nowhere, "https://example.com/api", "a-key").run(holding(held))
    assert (held, kept.type) == ([], KeyboardInterrupt)


async def test_a_cancelled_call_lets_go_while_its_traceback_is_kept() -> None:
    held: list[str] = []
    nowhere: Any = None
    with pytest.raises(asyncio.CancelledError) as kept:
        await AsyncClient(nowhere, "https://example.com/api", "a-key").run(holding(held))
    assert (held, kept.type) == ([], asyncio.CancelledError)
