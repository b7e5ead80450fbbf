import asyncio
import copy
import gc
import pickle
import socket
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import pytest
from langchain_core.language_models import BaseChatModel

from tests.faults.client import (
    QUESTION,
    Client,
    LateError,
    acall,
    call,
    check_answer,
    check_error,
    check_released,
    check_soon,
    run_forked,
)
from tests.faults.fault import fault
from tests.faults.server import Exchange, FaultServer, Script
from tests.faults.wire import (
    CHUNKED,
    GOOD,
    answer,
    chunked,
    error,
    event,
    head,
    stream,
    token,
    tokens,
)

SOON = 1.5
"""Seconds within which what is let go must be gone."""
SETTINGS = {"timeout": 4.0, "total_timeout": 60.0}
ROOT = Path(__file__).parents[2]


def _slow(exchange: Exchange) -> None:
    """Send a token every 20 ms, far beyond what anybody reads."""
    exchange.send(head(headers=CHUNKED), *map(chunked, tokens()))
    for _ in range(300):
        exchange.send(chunked(event(token("x"))))
        exchange.pause(0.02)


def _mute(exchange: Exchange) -> None:
    exchange.send(head(headers=CHUNKED))
    exchange.stall()


@contextmanager
def _serving(client: Client, *scripts: Script) -> Iterator[tuple[BaseChatModel, FaultServer]]:
    with FaultServer(scripts) as server:
        yield client.target.model(server.url, **SETTINGS), server


@asynccontextmanager
async def _released_after(
    client: Client, *scripts: Script, most_open: int = 0
) -> AsyncIterator[tuple[BaseChatModel, FaultServer]]:
    """Serve a model; then nothing stays open, the loop has no complaint, a call is answered."""
    complaints: list[str] = []
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _, facts: complaints.append(str(facts["message"])))
    with _serving(client, *scripts) as (model, server):
        yield model, server
        await asyncio.to_thread(check_released, server.record, most_open)
        server.scripts[:] = [GOOD]
        check_answer(client, await acall(model))
    assert complaints == []


# --- Breaks ---------------------------------------------------------------------------


@fault("break out of a stream", "a stream let go closes its connection", modes=("stream",), times=1)
@fault("a dozen breaks", "no break costs a connection", modes=("stream",), times=12)
def test_a_broken_stream_closes_its_connection(client: Client, times: int) -> None:
    with _serving(client, _slow) as (model, server):
        for _ in range(times):
            for _ in model.stream(QUESTION):
                break
        check_released(server.record)
        server.scripts[:] = [GOOD]
        check_answer(client, call(model))


@fault(
    "break out of an async stream",
    "an async stream let go closes its connection",
    modes=("astream",),
    times=1,
)
@fault("a dozen breaks", "no break costs a connection", modes=("astream",), times=12)
async def test_a_broken_async_stream_closes_its_connection(client: Client, times: int) -> None:
    async with _released_after(client, _slow) as (model, _):
        for _ in range(times):
            async for _ in model.astream(QUESTION):
                break


@fault("aclose", "`aclose` closes the connection before it returns", modes=("astream",))
async def test_aclose_closes_the_connection(client: Client) -> None:
    async with _released_after(client, _slow) as (model, _):
        pieces = model.astream(QUESTION)
        await anext(pieces)
        await pieces.aclose()  # type: ignore[attr-defined]


# --- Cancellations ------------------------------------------------------------------------


async def _consume(model: BaseChatModel) -> None:
    async for _ in model.astream(QUESTION):
        pass


async def _ainvoke(model: BaseChatModel) -> None:
    await model.ainvoke(QUESTION)


async def _asked(server: FaultServer) -> None:
    """Wait until the server has a request and its first answer is under way."""
    while not server.record.requests:  # noqa: ASYNC110 - the server lives in threads
        await asyncio.sleep(0.01)
    await asyncio.sleep(0.2)


async def _check_cancelled(task: asyncio.Task[None]) -> None:
    """Assert that a task that was cancelled ends, soon and as such."""
    began = time.monotonic()
    await asyncio.wait([task], timeout=SOON)
    assert task.done(), "the task goes on"
    assert task.cancelled(), repr(task)
    check_soon(time.monotonic() - began, 1.0)


@fault(
    "cancel a stream",
    "a cancelled stream closes its connection",
    modes=("astream",),
    script=_slow,
    start=_consume,
    times=1,
)
@fault(
    "cancel an ainvoke",
    "a cancelled call closes its connection",
    modes=("ainvoke",),
    script=_mute,
    start=_ainvoke,
    times=1,
)
@fault(
    "double cancel",
    "cleaning up outlives a second cancellation",
    modes=("astream",),
    script=_slow,
    start=_consume,
    times=3,
)
async def test_a_cancelled_call_closes_its_connection(
    client: Client, script: Script, start: Callable[[BaseChatModel], Any], times: int
) -> None:
    async with _released_after(client, script) as (model, server):
        task: asyncio.Task[None] = asyncio.create_task(start(model))
        await _asked(server)
        for _ in range(times):
            task.cancel()
            await asyncio.sleep(0)
        await _check_cancelled(task)


@fault(
    "cancel a backoff",
    "a cancelled wait ends at once, and nothing is sent again",
    modes=("ainvoke",),
)
async def test_a_cancelled_wait_sends_nothing_again(client: Client) -> None:
    busy = error("503 Busy", headers={"Retry-After": "30"})
    async with _released_after(client, busy, most_open=1) as (model, server):
        task = asyncio.create_task(_ainvoke(model))
        await _asked(server)
        task.cancel()
        await _check_cancelled(task)
        assert len(server.record.requests) == 1


@fault("cancel at any moment", "no moment is a bad one to cancel at", modes=("astream",))
async def test_no_moment_is_a_bad_one_to_cancel_at(client: Client) -> None:
    async with _released_after(client, _slow, most_open=1) as (model, _):
        for number in range(60):
            task = asyncio.create_task(_consume(model))
            await asyncio.sleep(0.0004 * number)
            task.cancel()
            if number % 2:
                task.cancel()
            await asyncio.sleep(0)
            task.cancel()
            await asyncio.wait([task], timeout=SOON)
            assert task.done(), "the task goes on"


@fault(
    "cancel while connecting",
    "one cancellation ends a call, also as its connection is made",
    modes=("ainvoke",),
)
async def test_one_cancellation_ends_a_call_as_it_connects(client: Client) -> None:
    """Cancel calls once each around that moment: there anyio may take it for one of its own."""
    loop = asyncio.get_running_loop()
    loop.set_debug(True)
    loop.slow_callback_duration = 30.0
    async with _released_after(client, _mute) as (model, _):
        for number in range(125):
            task = asyncio.create_task(_ainvoke(model))
            await asyncio.sleep(0.00008 * number)
            task.cancel()
            await asyncio.wait([task], timeout=SOON)
            assert task.done(), f"cancelled after {0.08 * number:.2f} ms, it goes on"


@fault(
    "cancel during the TLS handshake",
    "a connection that is only half made is closed as well",
    modes=("ainvoke", "astream"),
)
async def test_a_connection_that_is_half_made_is_closed(client: Client) -> None:
    accepted: list[socket.socket] = []
    with socket.create_server(("127.0.0.1", 0)) as listener, ExitStack() as held:

        def accept() -> None:
            while len(accepted) < 2:
                accepted.append(held.enter_context(listener.accept()[0]))

        threading.Thread(target=accept, daemon=True).start()
        origin = f"https://127.0.0.1:{listener.getsockname()[1]}"
        times = {"timeout": 0.6, "total_timeout": 3.0, "max_retries": 0}
        model = client.target.model(origin, **times)
        gc.disable()  # what closes a connection must not be chance
        held.callback(gc.enable)
        task = asyncio.create_task(acall(model, client.mode))
        while not accepted and not task.done():  # noqa: ASYNC110 - a thread accepts
            await asyncio.sleep(0.01)
        await asyncio.sleep(0.1)
        task.cancel()
        await asyncio.wait([task])
        made = await acall(model, client.mode)
        assert made.error is not None
        await asyncio.sleep(0.2)
        assert await asyncio.to_thread(lambda: [_is_closed(one) for one in accepted]) == [True] * 2


def _is_closed(sock: socket.socket) -> bool:
    """Read what a client sent, and return whether it has left."""
    sock.settimeout(0.5)
    try:
        while sock.recv(65536):
            pass
    except TimeoutError:
        return False
    except ConnectionError:
        return True
    return True


@fault("wait_for", "`asyncio.wait_for` ends a call in time", modes=("ainvoke",))
async def test_wait_for_ends_a_call(client: Client) -> None:
    async with _released_after(client, _mute) as (model, _):
        began = time.monotonic()
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(model.ainvoke(QUESTION), 0.5)
        check_soon(time.monotonic() - began, 1.3)


# --- Times ------------------------------------------------------------------------------

PIECES = ["x"] * 300


@fault("a slow caller", "the time that the caller takes is no stall", modes=("stream", "astream"))
def test_a_pause_of_the_caller_is_no_stall(client: Client) -> None:
    async def pause(model: BaseChatModel) -> list[str]:
        shown: list[str] = []
        async for chunk in model.astream(QUESTION):
            await asyncio.sleep(0.0 if shown else 0.8)
            shown.append(str(chunk.text))
        return shown

    with FaultServer([stream(answer(PIECES))]) as server:
        model = client.target.model(server.url, timeout=0.5, max_retries=0)
        if client.is_async:
            shown = asyncio.run(pause(model))
        else:
            shown = []
            for chunk in model.stream(QUESTION):
                time.sleep(0.0 if shown else 0.8)
                shown.append(str(chunk.text))
    assert "".join(shown) == "".join(PIECES)


@fault(
    "connect timed out",
    "a server that accepts nobody costs no more than the time allowed",
    modes=("invoke", "ainvoke"),
)
def test_a_server_that_accepts_nobody_costs_the_time_allowed(client: Client) -> None:
    with socket.create_server(("127.0.0.1", 0), backlog=0) as listener, ExitStack() as held:
        address = listener.getsockname()
        for _ in range(4):  # fills the backlog, so that the next connection is never made
            one = held.enter_context(socket.socket())
            one.setblocking(False)  # noqa: FBT003 - the method's own signature
            one.connect_ex(address)
        times = {"timeout": 0.5, "total_timeout": 1.5}
        [made] = client.call(client.target.model(f"http://127.0.0.1:{address[1]}", **times))
    check_soon(made.seconds, 4.0)
    check_error(client, made, "APIConnectionError")


# --- Loops, threads, processes --------------------------------------------------------------


@fault("two loops", "one model serves one loop after another", modes=("astream",))
def test_one_model_serves_one_loop_after_another(client: Client) -> None:
    with _serving(client, GOOD) as (model, server):
        for _ in range(2):
            check_answer(client, asyncio.run(acall(model, "astream")))
        check_released(server.record)


async def _several(client: Client, model: BaseChatModel) -> None:
    for made in await asyncio.gather(*(acall(model) for _ in range(3))):
        check_answer(client, made)
    check_answer(client, await acall(model, "astream"))


@fault("two loops with pooled answers", "no loop is given another's connection", modes=("ainvoke",))
def test_no_loop_is_given_anothers_connection(client: Client) -> None:
    with _serving(client, GOOD) as (model, server):
        for _ in range(3):
            asyncio.run(_several(client, model))
            check_released(server.record)


def _in_threads(work: Callable[[], None], count: int) -> None:
    """Do the same in some threads at once, and raise what one of them raised."""
    raised: list[BaseException | None] = []

    def guarded() -> None:
        try:
            work()
        except BaseException as error:  # noqa: BLE001 - raised again below
            raised.append(error)
        else:
            raised.append(None)

    threads = [threading.Thread(target=guarded, daemon=True) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(15)
    assert len(raised) == count, "some threads did not end"
    for one in filter(None, raised):
        raise one


@fault("loops in threads", "one model serves loops side by side", modes=("ainvoke",))
def test_one_model_serves_loops_side_by_side(client: Client) -> None:
    with _serving(client, GOOD) as (model, server):

        def work() -> None:
            asyncio.run(_several(client, model))
            asyncio.run(_several(client, model))

        _in_threads(work, 4)
        check_released(server.record)


@fault("threads", "one model serves threads side by side", modes=("invoke",))
def test_one_model_serves_threads_side_by_side(client: Client) -> None:
    with _serving(client, GOOD) as (model, _):

        def work() -> None:
            for mode in ("invoke", "stream", "invoke"):
                check_answer(client, call(model, mode))

        _in_threads(work, 8)


@fault("fork after use", "a forked child opens connections of its own", modes=("invoke",))
def test_a_forked_child_opens_its_own_connections(client: Client) -> None:
    with _serving(client, GOOD) as (model, server):

        def work() -> None:
            check_answer(client, call(model))
            check_answer(client, asyncio.run(acall(model)))

        check_answer(client, call(model))
        run_forked(work)
        check_answer(client, call(model))
    parents, childs = [one.connection for one in server.record.requests[:2]]
    assert parents is not childs


def _copy(model: BaseChatModel) -> BaseChatModel:
    return copy.copy(copy.deepcopy(model)).model_copy()


def _pickle(model: BaseChatModel) -> BaseChatModel:
    made: BaseChatModel = pickle.loads(pickle.dumps(model))  # noqa: S301 - made right here
    return made


@fault("pickle", "a model that was used survives a pickle", modes=("invoke",), copied=_pickle)
@fault("deepcopy", "a model that was used can be copied", modes=("invoke",), copied=_copy)
def test_a_model_that_was_used_can_be_copied(
    client: Client, copied: Callable[[BaseChatModel], BaseChatModel]
) -> None:
    with _serving(client, GOOD) as (model, _):
        check_answer(client, call(model))
        check_answer(client, asyncio.run(acall(model)))
        twin = copied(model)
        check_answer(client, call(twin))
        check_answer(client, call(model, "stream"))
        check_answer(client, asyncio.run(acall(twin, "astream")))


@pytest.mark.usefixtures("uncovered")
@fault(
    "quiet garbage collection",
    "what is dropped is dropped without a warning",
    modes=("stream", "astream"),
)
def test_what_is_dropped_is_dropped_quietly(client: Client) -> None:
    command = [sys.executable, "-X", "dev", "-W", "error", "-m", "tests.faults.gc_script"]
    with FaultServer([_slow, GOOD]) as server:
        ended = subprocess.run(
            [*command, client.target.name, server.url, client.mode],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
            cwd=ROOT,
        )
        assert ended.stderr.strip() == ""
        assert ended.returncode == 0
        if not server.record.wait_closed(0):
            raise LateError("connections outlive their process")
