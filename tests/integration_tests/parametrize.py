"""Parametrization: the same test of runnables, sync and async."""

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest
from langchain_core.runnables import Runnable


class Sync:
    """Calls as plain functions."""

    def invoke(self, runnable: Runnable[Any, Any], given: Any, *args: Any, **kwargs: Any) -> Any:
        return runnable.invoke(given, *args, **kwargs)

    def stream(
        self, runnable: Runnable[Any, Any], given: Any, *args: Any, **kwargs: Any
    ) -> list[Any]:
        return list(runnable.stream(given, *args, **kwargs))

    def batch(self, runnable: Runnable[Any, Any], given: Sequence[Any], **kwargs: Any) -> list[Any]:
        return runnable.batch(list(given), **kwargs)


class Async(Sync):
    """Calls with `await`, each in an event loop of its own."""

    def invoke(self, runnable: Runnable[Any, Any], given: Any, *args: Any, **kwargs: Any) -> Any:
        return asyncio.run(runnable.ainvoke(given, *args, **kwargs))

    def stream(
        self, runnable: Runnable[Any, Any], given: Any, *args: Any, **kwargs: Any
    ) -> list[Any]:
        async def collected() -> list[Any]:
            return [each async for each in runnable.astream(given, *args, **kwargs)]

        return asyncio.run(collected())

    def batch(self, runnable: Runnable[Any, Any], given: Sequence[Any], **kwargs: Any) -> list[Any]:
        return asyncio.run(runnable.abatch(list(given), **kwargs))


Caller = Sync | Async
sync_and_async = pytest.mark.parametrize("caller", [Sync(), Async()], ids=["sync", "async"])
