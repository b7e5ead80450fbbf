"""Both shells over a scripted service, in a time of their own: no socket, no waiting.

A test says what the service does, and when, as a list of items: bytes that come, seconds that
pass, exceptions that the network raises. It runs in whatever time that takes, at once.
"""

import asyncio
import json
import selectors
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Iterator, Mapping
from contextlib import aclosing, closing
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any, Protocol, TypeAlias, TypeVar, cast

import httpx
import pytest

from langchain_minitoolai import contract
from langchain_minitoolai._chat.stream import Delta
from langchain_minitoolai._http.async_client import AsyncClient
from langchain_minitoolai._http.client import Client
from langchain_minitoolai._http.deadline import Budget
from langchain_minitoolai._http.effects import Request, Response, Workflow
from langchain_minitoolai._http.network import Route
from langchain_minitoolai._http.pool import Network

T = TypeVar("T")
Item: TypeAlias = bytes | float | Exception | type["Connecting"]

BASE = "https://service.test/api"
KEY = "sk-test-0123456789"


class Connecting:
    """An item: a connection is being made from here on."""


class Clock:
    """A time that passes only where somebody waits."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


def event(payload: Any) -> bytes:
    """Write one event of a stream."""
    text = payload if isinstance(payload, str) else json.dumps(payload)
    return f"data: {text}\n\n".encode()


def delta(text: str | None = None, finish: str | None = None) -> bytes:
    """Write an event with a piece of the answer, or its finish reason."""
    content = {} if text is None else {"content": text}
    choice = {"index": 0, "delta": content, "logprobs": None, "finish_reason": finish}
    return event({"id": "chatcmpl-1", "model": "gpt-4o-mini-2024-07-18", "choices": [choice]})


DONE = event("[DONE]")
STOP = delta(finish="stop")
USAGE = event({"choices": [], "usage": {"total_tokens": 20}})
COMMENT = b": keep-alive\n\n"
WHOLE = [delta("Ala"), delta("ska"), STOP, USAGE, DONE]


@dataclass
class Exchange:
    """What the service does with one request.

    Attributes:
        body: What comes after the headers.
        before: What comes before them.
        read: How many items of it all were asked for.
        answered: Whether the headers were sent.
        closed: How often the response was closed.
    """

    body: Iterable[Item] = ()
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    before: Iterable[Item] = ()
    read: int = 0
    answered: bool = False
    closed: int = 0


class Body(httpx.SyncByteStream, httpx.AsyncByteStream):
    """A body that comes as the script says; each read takes the time its exchange has left."""

    def __init__(self, exchange: Exchange, budget: Budget, clock: Clock) -> None:
        self._exchange = exchange
        self._budget = budget
        self._clock = clock

    def __iter__(self) -> Iterator[bytes]:
        return self.play(self._exchange.body)

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for block in self.aplay(self._exchange.body):
            yield block

    def close(self) -> None:
        self._exchange.closed += 1

    async def aclose(self) -> None:
        self._exchange.closed += 1

    def play(self, items: Iterable[Item]) -> Iterator[bytes]:
        for item in items:
            self._exchange.read += 1
            left = self._budget.left()
            if isinstance(item, float):
                self._clock.sleep(min(item, left))
                if item >= left:
                    raise httpx.ReadTimeout("timed out")
            elif (block := self._other(item)) is not None:
                yield block

    async def aplay(self, items: Iterable[Item]) -> AsyncIterator[bytes]:
        for item in items:
            self._exchange.read += 1
            if isinstance(item, float):
                await asyncio.sleep(item)
            elif (block := self._other(item)) is not None:
                await asyncio.sleep(0)
                yield block

    def _other(self, item: bytes | Exception | type[Connecting]) -> bytes | None:
        if isinstance(item, Exception):
            raise item
        if isinstance(item, bytes):
            return item
        self._budget.to_connect()
        return None


class Service(httpx.BaseTransport, httpx.AsyncBaseTransport):
    """A transport that plays one exchange a request, the last one for all that follow."""

    def __init__(self, clock: Clock, *exchanges: Exchange) -> None:
        self._clock = clock
        self.exchanges = list(exchanges)
        self.requests: list[httpx.Request] = []

    def _begin(self, request: httpx.Request) -> tuple[Exchange, Body]:
        exchange = self.exchanges[min(len(self.requests), len(self.exchanges) - 1)]
        request.read()
        self.requests.append(request)
        return exchange, Body(exchange, request.extensions["timeout"]["read"], self._clock)

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        exchange, body = self._begin(request)
        for _ in body.play(exchange.before):
            pass
        exchange.answered = True
        return httpx.Response(exchange.status, headers=dict(exchange.headers), stream=body)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        exchange, body = self._begin(request)
        async for _ in body.aplay(exchange.before):
            pass
        exchange.answered = True
        return httpx.Response(exchange.status, headers=dict(exchange.headers), stream=body)


class FakeNetwork:
    """Lends clients over a scripted service, and notes which were asked for."""

    def __init__(self, service: Service) -> None:
        self.route = Route()
        self.fresh: list[bool] = []
        self._client = httpx.Client(transport=service)
        self.lent = SimpleNamespace(client=httpx.AsyncClient(transport=service), busy=0)

    def client(self, *, fresh: bool) -> httpx.Client:
        self.fresh.append(fresh)
        return self._client

    def loop_clients(self) -> "FakeNetwork":
        return self

    async def shard(self, *, fresh: bool) -> SimpleNamespace:
        self.fresh.append(fresh)
        return self.lent


class Selector(selectors.SelectSelector):
    """Lets time pass instead of waiting for it."""

    def __init__(self, clock: Clock) -> None:
        super().__init__()
        self._clock = clock

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = super().select(0)
        if timeout is None and not ready:
            raise AssertionError("the loop waits for something that never comes")
        if timeout and not ready:
            self._clock.sleep(timeout)
        return ready


class Loop(asyncio.SelectorEventLoop):
    """An event loop in the clock's time, which notes what it would complain about."""

    def __init__(self, clock: Clock) -> None:
        super().__init__(Selector(clock))
        self._clock = clock
        self.complaints: list[str] = []
        self.set_exception_handler(lambda _, context: self.complaints.append(context["message"]))

    def time(self) -> float:
        return self._clock()


class Shell(Protocol):
    """What a test does with a shell, in either colour."""

    clock: Clock
    service: Service
    network: FakeNetwork

    def run(self, flow: Workflow[T]) -> T:
        """Run a flow."""
        ...

    def batches(self, answer: Any) -> Iterator[list[Delta]]:
        """Read an open answer batch by batch; closing this closes it."""
        ...


class _Base:
    def __init__(self, *exchanges: Exchange) -> None:
        self.clock = Clock()
        self.service = Service(self.clock, *exchanges)
        self.network = FakeNetwork(self.service)


class SyncShell(_Base):
    """`Client`."""

    def __init__(self, *exchanges: Exchange) -> None:
        super().__init__(*exchanges)
        self.client = Client(cast("Network", self.network), BASE, KEY, {"X-Mine": "1"})
        vars(self.client)["clock"] = self.clock

    def run(self, flow: Workflow[T]) -> T:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(time, "sleep", self.clock.sleep)
            return self.client.run(flow)

    def batches(self, answer: Any) -> Iterator[list[Delta]]:
        with closing(iter(answer)) as batches:
            yield from batches


class AsyncShell(_Base):
    """`AsyncClient`, in a loop of its own."""

    def __init__(self, *exchanges: Exchange) -> None:
        super().__init__(*exchanges)
        self.loop = Loop(self.clock)
        self.client = AsyncClient(cast("Network", self.network), BASE, KEY, {"X-Mine": "1"})
        vars(self.client)["clock"] = self.clock

    def do(self, doing: Coroutine[Any, Any, T]) -> T:
        return self.loop.run_until_complete(doing)

    def run(self, flow: Workflow[T]) -> T:
        return self.do(self.client.run(flow))

    def batches(self, answer: Any) -> Iterator[list[Delta]]:
        found = aiter(answer)
        try:
            while True:
                try:
                    batch = self.do(anext(found))
                except StopAsyncIteration:
                    return
                yield batch
        finally:
            self.do(found.aclose())

    def close(self) -> None:
        """End the loop; it must have had nothing to complain about."""
        for _ in range(3):  # what the loop does about generators that were left halfway
            self.do(asyncio.sleep(0))
        left = asyncio.all_tasks(self.loop)
        self.do(self.loop.shutdown_asyncgens())
        self.loop.close()
        assert self.network.lent.busy == 0
        assert not left
        assert self.loop.complaints == []


MakeShell: TypeAlias = Callable[..., Shell]


def call(**changes: Any) -> Request:
    """Make a chat call."""
    return Request(contract.CHAT_PATH, changes.pop("body", {"model": "gpt-4o-mini"}), **changes)


def once(what: Request) -> Workflow[Response]:
    """Make a call, once: the flow without a decision."""
    reply: Response = yield what
    return reply


def text_of(pieces: Iterable[Delta]) -> str:
    """Join the pieces of an answer that are text."""
    return "".join(piece for piece in pieces if isinstance(piece, str))


def read(shell: Shell, answer: Any) -> str:
    """Read an open answer to its end."""
    return "".join(map(text_of, shell.batches(answer)))


async def read_all(answer: Any) -> str:
    """Read an open answer to its end, inside a loop."""
    async with aclosing(aiter(answer)) as batches:
        return "".join([text_of(pieces) async for pieces in batches])
