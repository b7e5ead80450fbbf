"""The event loop's shell alone: tasks, cancellation, reading ahead."""

import asyncio
import gc
import itertools
from collections.abc import Coroutine, Iterator
from contextlib import suppress
from typing import Any

import httpx
import pytest

from langchain_minitoolai import errors
from langchain_minitoolai._http.effects import Request, Response, Sleep, Workflow
from langchain_minitoolai._http.retry import RetryPolicy, send
from tests.unit_tests.shells import (
    DONE,
    STOP,
    WHOLE,
    AsyncShell,
    Body,
    Exchange,
    Item,
    call,
    delta,
    once,
    read,
    read_all,
)

AHEAD = 64


@pytest.fixture
def shells() -> Iterator[list[AsyncShell]]:
    """Shells to close; each must have nothing left to do, and nothing to complain about."""
    made: list[AsyncShell] = []
    yield made
    gc.collect()
    for shell in made:
        shell.close()


def turns(shell: AsyncShell, count: int) -> None:
    """Let the loop take some turns."""

    async def wait() -> None:
        for _ in range(count):
            await asyncio.sleep(0)

    shell.do(wait())


def cancelled_at(
    shells: list[AsyncShell], exchange: Exchange, asked: Request, after: float, *, times: int = 1
) -> AsyncShell:
    """Cancel a call, some seconds after its start."""
    shell = AsyncShell(exchange)
    shells.append(shell)

    async def doing() -> None:
        task = asyncio.ensure_future(shell.client.run(once(asked)))
        await asyncio.sleep(after)
        assert shell.network.lent.busy == 1
        for _ in range(times):
            task.cancel()
            await asyncio.sleep(0)
        with pytest.raises(asyncio.CancelledError):
            await task

    shell.do(doing())
    return shell


@pytest.mark.parametrize("times", [1, 2])
@pytest.mark.parametrize("response_mode", ["body", "answer", "stream"])
def test_a_call_cancelled_before_its_headers_leaves_nothing_behind(
    shells: list[AsyncShell], response_mode: str, times: int
) -> None:
    exchange = Exchange(WHOLE, before=[50.0])
    shell = cancelled_at(shells, exchange, call(response_mode=response_mode), 1.0, times=times)
    assert shell.clock() < 1002.0
    assert not exchange.answered


@pytest.mark.parametrize("times", [1, 2])
@pytest.mark.parametrize("response_mode", ["body", "answer"])
def test_a_call_cancelled_while_it_reads_gives_its_connection_back(
    shells: list[AsyncShell], response_mode: str, times: int
) -> None:
    exchange = Exchange([delta("a"), 50.0])
    cancelled_at(shells, exchange, call(response_mode=response_mode), 1.0, times=times)
    assert exchange.closed == 1


class Slow(Body):
    """A body that takes a second to close, and counts how often it is told to stop that."""

    interrupted = 0

    async def aclose(self) -> None:
        try:
            await asyncio.sleep(1.0)
        except asyncio.CancelledError:
            Slow.interrupted += 1
            raise
        await super().aclose()


def slow_to_close(shell: AsyncShell, monkeypatch: pytest.MonkeyPatch) -> None:
    handle = shell.service.handle_async_request

    async def slow(request: httpx.Request) -> httpx.Response:
        response = await handle(request)
        assert isinstance(response.stream, Body)
        response.stream.__class__ = Slow
        return response

    Slow.interrupted = 0
    monkeypatch.setattr(shell.service, "handle_async_request", slow)


@pytest.mark.parametrize("response_mode", ["body", "answer", "stream"])
def test_the_task_on_the_wire_is_cancelled_once_whatever_is_cancelled_meanwhile(
    shells: list[AsyncShell], monkeypatch: pytest.MonkeyPatch, response_mode: str
) -> None:
    exchange = Exchange([delta("a"), 50.0])
    shell = AsyncShell(exchange)
    shells.append(shell)
    slow_to_close(shell, monkeypatch)

    async def asking() -> None:
        reply = await shell.client.run(once(call(response_mode=response_mode)))
        await read_all(reply.answer)

    async def doing() -> None:
        task = asyncio.ensure_future(asking())
        await asyncio.sleep(1.0)
        for _ in range(5):
            task.cancel()
            await asyncio.sleep(0.1)
        with pytest.raises(asyncio.CancelledError):
            await task
        await asyncio.sleep(1.0)

    shell.do(doing())
    assert Slow.interrupted == 0
    assert exchange.closed == 1


def test_a_loop_that_cancels_everything_at_its_end_cancels_the_task_on_the_wire_once(
    shells: list[AsyncShell], monkeypatch: pytest.MonkeyPatch
) -> None:
    exchange = Exchange([delta("a"), 50.0])
    shell = AsyncShell(exchange)
    shells.append(shell)
    slow_to_close(shell, monkeypatch)
    answer = shell.run(once(call(response_mode="stream"))).answer

    async def doing() -> None:
        reader = asyncio.ensure_future(read_all(answer))
        await asyncio.sleep(1.0)
        for task in asyncio.all_tasks():
            if task is not asyncio.current_task():
                task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await reader
        assert shell.clock() == pytest.approx(1002.0)

    shell.do(doing())
    assert Slow.interrupted == 0
    assert exchange.closed == 1


def test_a_call_that_is_timed_out_by_its_caller_leaves_nothing_behind(
    shells: list[AsyncShell],
) -> None:
    exchange = Exchange([delta("a"), 50.0])
    shell = AsyncShell(exchange)
    shells.append(shell)
    with pytest.raises(TimeoutError):
        shell.do(asyncio.wait_for(shell.client.run(once(call(response_mode="answer"))), 2.0))
    assert exchange.closed == 1
    assert shell.clock() == pytest.approx(1002.0)


def test_a_wait_can_be_cancelled(shells: list[AsyncShell]) -> None:
    def flow() -> Workflow[None]:
        yield Sleep(60.0)

    shell = AsyncShell(Exchange())
    shells.append(shell)
    with pytest.raises(TimeoutError):
        shell.do(asyncio.wait_for(shell.client.run(flow()), 1.0))
    assert shell.clock() == pytest.approx(1001.0)


@pytest.mark.parametrize("response_mode", ["body", "answer", "stream"])
@pytest.mark.parametrize("before", [[], [b""], [b"", httpx.ReadError("reset")]])
def test_a_call_cancelled_at_any_turn_leaves_nothing_behind_and_no_complaint(
    shells: list[AsyncShell], response_mode: str, before: list[Any]
) -> None:
    exchanges = [Exchange(WHOLE, before=before) for _ in range(16)]
    shell = AsyncShell(*exchanges)
    shells.append(shell)

    async def asking() -> None:
        reply = await shell.client.run(once(call(response_mode=response_mode)))
        if response_mode == "stream":
            assert await read_all(reply.answer) == "Alaska"

    async def doing(count: int) -> None:
        task = asyncio.ensure_future(asking())
        for _ in range(count):
            await asyncio.sleep(0)
        task.cancel()
        with suppress(asyncio.CancelledError, errors.APIConnectionError):
            await task
        assert shell.network.lent.busy == 0

    for count in range(len(exchanges)):
        shell.do(doing(count))
    assert all(exchange.closed == exchange.answered for exchange in exchanges)


def test_closing_that_fails_still_counts_the_call_off(
    shells: list[AsyncShell], monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(_: Body) -> None:
        raise httpx.CloseError("gone")

    shell = AsyncShell(Exchange([b"{}"]))
    shells.append(shell)
    monkeypatch.setattr(Body, "aclose", fail)
    with pytest.raises(httpx.CloseError):
        shell.run(once(call()))
    assert shell.network.lent.busy == 0


def test_a_connection_made_for_a_call_that_came_to_nothing_is_closed(
    shells: list[AsyncShell],
) -> None:
    made: list[Body] = []

    async def connect(request: httpx.Request) -> httpx.Response:
        budget = request.extensions["timeout"]["read"]
        budget.made = Body(exchange, budget, shell.clock)
        made.append(budget.made)
        raise httpx.ConnectError("the handshake broke")

    exchange = Exchange()
    shell = AsyncShell(exchange)
    shells.append(shell)
    vars(shell.service)["handle_async_request"] = connect
    with pytest.raises(errors.APIConnectionError, match="the handshake broke"):
        shell.run(once(call()))
    assert (len(made), exchange.closed) == (1, 1)


# --- Open answers -------------------------------------------------------------------


def opened(shells: list[AsyncShell], exchange: Exchange, **changes: Any) -> tuple[AsyncShell, Any]:
    shell = AsyncShell(exchange)
    shells.append(shell)
    return shell, shell.run(once(call(response_mode="stream", **changes))).answer


def test_an_answer_is_read_ahead_but_only_so_far(shells: list[AsyncShell]) -> None:
    exchange = Exchange(itertools.repeat(delta("x")))
    shell, answer = opened(shells, exchange)
    turns(shell, 500)
    assert exchange.read == AHEAD
    batches = shell.batches(answer)
    assert next(batches) == ["x"] * AHEAD
    turns(shell, 500)
    assert exchange.read <= 2 * AHEAD
    batches.close()  # type: ignore[attr-defined]
    assert exchange.closed == 1


def test_an_answer_held_back_by_its_reader_is_not_timed_out(shells: list[AsyncShell]) -> None:
    exchange = Exchange([*[delta("x")] * 200, 20.0, STOP, DONE])
    shell, answer = opened(shells, exchange)
    turns(shell, 500)
    shell.do(asyncio.sleep(3600.0))
    assert read(shell, answer) == "x" * 200


def test_a_stall_after_the_reader_has_caught_up_is_a_timeout(shells: list[AsyncShell]) -> None:
    shell, answer = opened(shells, Exchange([*[delta("x")] * 200, 100.0]))
    turns(shell, 500)
    shell.do(asyncio.sleep(3600.0))
    with pytest.raises(errors.APITimeoutError):
        read(shell, answer)


def test_an_answer_nobody_reads_ends_when_it_is_closed(shells: list[AsyncShell]) -> None:
    exchange = Exchange(itertools.repeat(delta("x")))
    shell, answer = opened(shells, exchange)

    async def doing() -> None:
        batches = aiter(answer)
        await anext(batches)
        await asyncio.sleep(1.0)
        await batches.aclose()

    shell.do(doing())
    assert exchange.closed == 1


def test_a_reader_cancelled_while_it_waits_ends_the_answer(shells: list[AsyncShell]) -> None:
    exchange = Exchange([delta("a"), 50.0])
    shell, answer = opened(shells, exchange)
    with pytest.raises(TimeoutError):
        shell.do(asyncio.wait_for(read_all(answer), 1.0))
    assert exchange.closed == 1


def test_a_reader_that_forgets_to_close_ends_the_answer_too(shells: list[AsyncShell]) -> None:
    exchange = Exchange(itertools.cycle([delta("a"), 1.0]))
    shell, answer = opened(shells, exchange)

    async def doing() -> None:
        async for _ in answer:
            break

    shell.do(doing())
    gc.collect()
    turns(shell, 10)
    assert exchange.closed == 1


def test_an_answer_whose_task_was_cancelled_from_outside_is_cancelled(
    shells: list[AsyncShell],
) -> None:
    shell, answer = opened(shells, Exchange([delta("a"), 50.0]))

    async def doing() -> str:
        asyncio.get_running_loop().call_later(1.0, answer._task.cancel)
        return await read_all(answer)

    with pytest.raises(asyncio.CancelledError):
        shell.do(doing())


def test_a_call_whose_task_was_cancelled_from_outside_is_cancelled(
    shells: list[AsyncShell],
) -> None:
    shell = AsyncShell(Exchange(WHOLE, before=[50.0]))
    shells.append(shell)

    async def doing() -> Response:
        asking = asyncio.ensure_future(shell.client.run(once(call(response_mode="stream"))))
        await asyncio.sleep(1.0)
        (task,) = asyncio.all_tasks() - {asking, asyncio.current_task()}
        task.cancel()
        return await asking

    with pytest.raises(asyncio.CancelledError):
        shell.do(doing())


def test_events_in_quick_succession_are_progress_all_the_same(shells: list[AsyncShell]) -> None:
    events: list[Item] = [delta("x"), 0.003]
    exchange = Exchange([*events * 400, *WHOLE])
    shell, answer = opened(shells, exchange, timeout=0.1)
    assert read(shell, answer) == "x" * 400 + "Alaska"


def test_many_answers_are_read_at_once(shells: list[AsyncShell]) -> None:
    shell = AsyncShell(Exchange([1.0, *WHOLE]))
    shells.append(shell)

    async def one() -> str:
        flow = send(call(response_mode="stream"), RetryPolicy(), shell.clock)
        return await read_all((await shell.client.run(flow)).answer)

    async def doing(parts: list[Coroutine[Any, Any, str]]) -> list[str]:
        return await asyncio.gather(*parts)

    assert shell.do(doing([one() for _ in range(30)])) == ["Alaska"] * 30
    assert shell.clock() == pytest.approx(1001.0)
