"""Workflows that run to their end though their call is cancelled or interrupted."""

import asyncio
import contextvars
import signal
import threading
from collections.abc import Callable
from typing import Any

import pytest

from langchain_minitoolai import errors
from langchain_minitoolai._http.async_client import AsyncClient
from langchain_minitoolai._http.client import SyncClient
from langchain_minitoolai._http.effects import Invoke, Uninterrupted, Workflow
from langchain_minitoolai._http.pool import TransportConfig, client_pool

ARGUMENTS: Any = (client_pool(TransportConfig()), "https://example.com/api", "a-key-of-ours")
WHERE: contextvars.ContextVar[str] = contextvars.ContextVar("WHERE", default="")


class Order:
    """A workflow of two steps, the first of which waits until it is let go on."""

    def __init__(self) -> None:
        self.began, self.go_on, self.ended = (threading.Event() for _ in range(3))
        self.was_cancelled = False
        self.effect: Uninterrupted[str] = Uninterrupted(self._work)

    def start(self) -> Workflow[str]:
        result: str = yield self.effect
        return result

    def _work(self, is_cancelled: Callable[[], bool]) -> Workflow[str]:
        yield Invoke(self._wait, self._await)
        self.was_cancelled = is_cancelled()
        yield Invoke(self.ended.set, self._end)
        return "done"

    def _wait(self) -> None:
        self.began.set()
        assert self.go_on.wait(5)

    async def _await(self) -> None:
        self.began.set()
        while not self.go_on.is_set():  # noqa: ASYNC110 - an event of threads
            await asyncio.sleep(0)

    async def _end(self) -> None:
        self.ended.set()


def run(order: Order, *, is_async: bool) -> str:
    if is_async:
        return asyncio.run(AsyncClient(*ARGUMENTS).execute(order.start()))
    return SyncClient(*ARGUMENTS).execute(order.start())


@pytest.mark.parametrize("is_async", [False, True])
def test_its_result_is_the_outcome(*, is_async: bool) -> None:
    order = Order()
    order.go_on.set()
    assert run(order, is_async=is_async) == "done"
    assert not order.was_cancelled


@pytest.mark.parametrize("is_async", [False, True])
def test_its_error_is_raised_in_the_call(*, is_async: bool) -> None:
    def work(_: Callable[[], bool]) -> Workflow[str]:
        yield from ()
        raise errors.ServiceError("boom")

    order = Order()
    order.effect = Uninterrupted(work)
    with pytest.raises(errors.ServiceError, match="boom"):
        run(order, is_async=is_async)


@pytest.mark.parametrize("is_async", [False, True])
def test_it_runs_in_the_context_of_the_call(*, is_async: bool) -> None:
    def work(_: Callable[[], bool]) -> Workflow[str]:
        yield from ()
        return WHERE.get()

    order = Order()
    order.effect = Uninterrupted(work)
    token = WHERE.set("here")
    try:
        assert run(order, is_async=is_async) == "here"
    finally:
        WHERE.reset(token)


def test_an_exception_of_a_signal_handler_does_not_end_it() -> None:
    order = Order()

    def interrupt() -> None:
        order.began.wait(5)
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGUSR1)

    def raising(*_: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGUSR1, raising)
    thread = threading.Thread(target=interrupt)
    thread.start()
    try:
        with pytest.raises(KeyboardInterrupt):
            run(order, is_async=False)
    finally:
        signal.signal(signal.SIGUSR1, before)
        thread.join()
    assert not order.ended.is_set()
    order.go_on.set()
    assert order.ended.wait(5)
    assert order.was_cancelled


async def started(order: Order) -> asyncio.Task[str]:
    task = asyncio.create_task(AsyncClient(*ARGUMENTS).execute(order.start()))
    while not order.began.is_set():  # noqa: ASYNC110 - an event of threads
        await asyncio.sleep(0)
    return task


async def test_a_cancelled_call_ends_at_once_and_it_goes_on() -> None:
    order = Order()
    task = await started(order)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert not order.ended.is_set()
    order.go_on.set()
    while not order.ended.is_set():  # noqa: ASYNC110 - an event of threads
        await asyncio.sleep(0)
    assert order.was_cancelled


async def test_other_tasks_cannot_cancel_it() -> None:
    order = Order()
    await started(order)
    before = asyncio.all_tasks() - {asyncio.current_task()}
    for task in before:
        task.cancel()
    await asyncio.wait([task for task in before if task.get_name() != "x"], timeout=0.01)
    order.go_on.set()
    while not order.ended.is_set():  # noqa: ASYNC110 - an event of threads
        await asyncio.sleep(0)


def test_the_end_of_the_event_loop_waits_for_it() -> None:
    order = Order()

    async def call() -> None:
        await started(order)
        asyncio.get_running_loop().call_later(0.01, order.go_on.set)

    asyncio.run(call())
    assert order.ended.is_set()


async def test_its_own_timers_cancel_its_steps() -> None:
    async def slow() -> None:
        async with asyncio.timeout(0.01):
            await asyncio.Event().wait()

    def work(_: Callable[[], bool]) -> Workflow[str]:
        with pytest.raises(TimeoutError):
            yield Invoke(lambda: None, slow)
        return "timed out"

    order = Order()
    order.effect = Uninterrupted(work)
    assert await AsyncClient(*ARGUMENTS).execute(order.start()) == "timed out"
