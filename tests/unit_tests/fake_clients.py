"""Both clients over a scripted service, on a fake clock: no socket, no waiting.

A test lists what the service does, and when: bytes that come, seconds that pass, trace events and
exceptions of the network. It runs in whatever time that takes, at once.
"""

import asyncio
import json
import selectors
import time
from collections.abc import (
    AsyncIterator,
    Callable,
    Coroutine,
    Iterable,
    Iterator,
    Mapping,
    Sequence,
)
from contextlib import aclosing, closing
from dataclasses import dataclass, field
from typing import Any, Final, Literal, Protocol, TypeAlias, TypeVar, TypeVarTuple

import httpx
import pytest

from langchain_minitoolai import contract, errors
from langchain_minitoolai._http.async_client import AsyncClient
from langchain_minitoolai._http.client import SyncClient
from langchain_minitoolai._http.effects import (
    Request,
    Response,
    StreamRequest,
    StreamResponse,
    Workflow,
)
from langchain_minitoolai._http.error_mapping import error_from_payload
from langchain_minitoolai._http.pool import ClientPool, PooledClient, TransportConfig
from langchain_minitoolai._http.transport import Origin

T = TypeVar("T")
Ts = TypeVarTuple("Ts")
Mode: TypeAlias = Literal["bounded", "collected", "open"]
"""Form of a body: in one piece, parsed to its end, or as an open stream."""

BASE: Final = "https://service.test/api"
KEY: Final = "sk-test-0123456789"
MODES: Final = ("bounded", "collected", "open")
STREAMED: Final = ("collected", "open")
_MAX_EVENT: Final = 4 * 1024 * 1024


class Clock:
    """A time that passes only where somebody waits."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


# --- Streams ------------------------------------------------------------------------


def event(payload: Any) -> bytes:
    """Write one event of a stream."""
    text = payload if isinstance(payload, str) else json.dumps(payload)
    return f"data: {text}\n\n".encode()


def delta(text: str | None = None, finish: str | None = None) -> bytes:
    """Write an event with a piece of the answer, or its finish reason."""
    content = {} if text is None else {"content": text}
    choice = {"index": 0, "delta": content, "logprobs": None, "finish_reason": finish}
    return event({"id": "chatcmpl-1", "model": "gpt-4o-mini-2024-07-18", "choices": [choice]})


DONE: Final = event("[DONE]")
STOP: Final = delta(finish="stop")
USAGE: Final = event({"choices": [], "usage": {"total_tokens": 20}})
COMMENT: Final = b": keep-alive\n\n"
WHOLE: Final = [delta("Ala"), delta("ska"), STOP, USAGE, DONE]


class DeltaReader:
    """Parses the events above to their texts: the least that implements `BodyReader`."""

    def __init__(self, api_key: str = "") -> None:
        self.events = 0
        self.done = False
        self.finish_reason: str | None = None
        self.usage: dict[str, Any] | None = None
        self._api_key = api_key
        self._rest = b""
        self._deferred: Exception | None = None

    @property
    def complete(self) -> bool:
        return self.done or self.finish_reason is not None

    def feed(self, block: bytes) -> list[str]:
        self.raise_deferred()
        *blocks, self._rest = (self._rest + block).split(b"\n\n")
        if len(self._rest) > _MAX_EVENT:
            raise errors.InvalidResponseError(f"an event of more than {_MAX_EVENT} bytes")
        texts: list[str] = []
        try:
            for one in blocks:
                texts += self._read(one)
        except errors.MiniToolAIError as error:
            self.defer_error(error, texts)
        return texts

    def _read(self, block: bytes) -> list[str]:
        if self.done or not block.startswith(b"data: "):
            return []
        self.events += 1
        if block == DONE.strip():
            self.done = True
            return []
        try:
            payload = json.loads(block.removeprefix(b"data: "))
        except ValueError:
            raise errors.MalformedStreamError("an event is no JSON", status_code=200) from None
        if "error" in payload:
            raise error_from_payload(payload, secret=self._api_key)
        self.usage = payload.get("usage", self.usage)
        choices = payload.get("choices", [])
        for choice in choices:
            self.finish_reason = choice["finish_reason"] or self.finish_reason
        return [text for choice in choices if (text := choice["delta"].get("content"))]

    def end(self) -> list[str]:
        self.raise_deferred()
        if not self.complete:
            raise errors.StreamInterruptedError("the answer was cut", status_code=200)
        return []

    def raise_deferred(self) -> None:
        if self._deferred is not None:
            raise self._deferred

    def defer_error(self, error: Exception, items: Sequence[Any]) -> None:
        if not items:
            raise error
        self._deferred = error


def text_of(items: Iterable[Any]) -> str:
    """Join the items of a stream that are text."""
    return "".join(item for item in items if isinstance(item, str))


# --- The service --------------------------------------------------------------------


class FakeNetworkStream:
    """The connection of a response, which counts how often it is closed."""

    def __init__(self) -> None:
        self.closed = 0

    async def aclose(self) -> None:
        self.closed += 1
        await asyncio.sleep(0)


@dataclass(frozen=True)
class Trace:
    """An item: the transport reports an event of httpcore's `trace` extension."""

    name: str
    connection: FakeNetworkStream | None = None

    @property
    def info(self) -> dict[str, Any]:
        return {"return_value": self.connection}


CONNECTING: Final = Trace("connection.connect_tcp.started")
SENDING: Final = Trace("http11.send_request_headers.started")
Item: TypeAlias = bytes | float | Exception | Trace


def connected(connection: FakeNetworkStream | None = None) -> list[Item]:
    """List what is reported while a connection is made."""
    return [CONNECTING, Trace("connection.connect_tcp.complete", connection)]


@dataclass
class Exchange:
    """Behaviour of the service for one request.

    Attributes:
        body: What comes after the headers.
        before: What comes before them.
        connection: What the response gives as its `network_stream`.
        read: How many items of it all were asked for.
        answered: Whether the headers were sent.
        closed: How often the response was closed.
    """

    body: Iterable[Item] = ()
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    before: Iterable[Item] = ()
    connection: FakeNetworkStream | None = None
    read: int = 0
    answered: bool = False
    closed: int = 0


class FakeBody(httpx.SyncByteStream, httpx.AsyncByteStream):
    """A body that comes as the script says; a sync read takes the time its exchange has left."""

    def __init__(self, exchange: Exchange, extensions: Mapping[str, Any], clock: Clock) -> None:
        self._exchange = exchange
        self._extensions = extensions
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
            left = self._extensions["remaining"]()
            if isinstance(item, float):
                self._clock.sleep(min(item, left))
                if item >= left:
                    raise httpx.ReadTimeout("timed out")
            elif isinstance(item, Trace):
                self._extensions["trace"](item.name, item.info)
            else:
                yield _raised(item)

    async def aplay(self, items: Iterable[Item]) -> AsyncIterator[bytes]:
        for item in items:
            self._exchange.read += 1
            await asyncio.sleep(item if isinstance(item, float) else 0)
            if isinstance(item, Trace):
                await self._extensions["trace"](item.name, item.info)
            elif not isinstance(item, float):
                yield _raised(item)


def _raised(item: bytes | Exception) -> bytes:
    if isinstance(item, Exception):
        raise item
    return item


class ScriptedTransport(httpx.BaseTransport, httpx.AsyncBaseTransport):
    """A transport that plays one exchange a request, the last one for all that follow."""

    def __init__(self, clock: Clock, *exchanges: Exchange) -> None:
        self._clock = clock
        self.exchanges = list(exchanges)
        self.requests: list[httpx.Request] = []

    def _begin(self, request: httpx.Request) -> tuple[Exchange, FakeBody]:
        exchange = self.exchanges[min(len(self.requests), len(self.exchanges) - 1)]
        request.read()
        self.requests.append(request)
        return exchange, FakeBody(exchange, request.extensions, self._clock)

    def _answer(self, exchange: Exchange, body: FakeBody) -> httpx.Response:
        exchange.answered = True
        stream = exchange.connection
        extensions = {} if stream is None else {"network_stream": stream}
        headers = dict(exchange.headers)
        return httpx.Response(exchange.status, headers=headers, stream=body, extensions=extensions)

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        exchange, body = self._begin(request)
        for _ in body.play(exchange.before):
            pass
        return self._answer(exchange, body)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        exchange, body = self._begin(request)
        async for _ in body.aplay(exchange.before):
            pass
        return self._answer(exchange, body)


class FakePool(ClientPool):
    """A pool of clients over a transport, which notes how they were asked for.

    Attributes:
        asked: Whether a new connection was wanted, for each request.
        lent: The async clients that were lent.
    """

    def __init__(self, transport: ScriptedTransport, **options: Any) -> None:
        client = httpx.Client(transport=transport, **options)
        async_client = httpx.AsyncClient(transport=transport, **options)
        super().__init__(TransportConfig(http_client=client, http_async_client=async_client))
        self.asked: list[bool] = []
        self.lent: list[PooledClient] = []

    def client(self, origin: Origin, *, new_connection: bool) -> Any:
        self.asked.append(new_connection)
        return super().client(origin, new_connection=new_connection)

    async def async_client(self, origin: Origin, *, new_connection: bool) -> PooledClient:
        self.asked.append(new_connection)
        self.lent.append(await super().async_client(origin, new_connection=new_connection))
        return self.lent[-1]

    @property
    def in_flight(self) -> int:
        return sum(pooled.in_flight for pooled in self.lent)


# --- The event loop -----------------------------------------------------------------


class FakeSelector(selectors.SelectSelector):
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


class FakeLoop(asyncio.SelectorEventLoop):
    """An event loop on the fake clock; what it hands to threads, it does itself.

    Attributes:
        complaints: What it would write to the log.
        timers: What was to be called later.
    """

    def __init__(self, clock: Clock) -> None:
        super().__init__(FakeSelector(clock))
        self._clock = clock
        self.complaints: list[str] = []
        self.timers: list[asyncio.TimerHandle] = []
        self.set_exception_handler(lambda _, context: self.complaints.append(context["message"]))

    def time(self) -> float:
        return self._clock()

    def call_at(
        self, when: float, callback: Callable[[*Ts], object], *args: *Ts, context: Any = None
    ) -> asyncio.TimerHandle:
        self.timers.append(super().call_at(when, callback, *args, context=context))
        return self.timers[-1]

    def run_in_executor(
        self, executor: Any, func: Callable[[*Ts], T], *args: *Ts
    ) -> asyncio.Future[T]:
        future: asyncio.Future[T] = self.create_future()
        try:
            future.set_result(func(*args))
        except Exception as error:  # noqa: BLE001 - it belongs to whoever awaits
            future.set_exception(error)
        return future

    def pending_timers(self) -> list[asyncio.TimerHandle]:
        return [one for one in self.timers if not one.cancelled() and one.when() > self.time()]


# --- Drivers ------------------------------------------------------------------------


class Driver(Protocol):
    """Actions of a test on a client, sync or async."""

    clock: Clock
    service: ScriptedTransport
    pool: FakePool

    def run(self, workflow: Workflow[T]) -> T:
        """Perform a workflow."""
        ...

    def batches(self, response: Any) -> Iterator[list[Any]]:
        """Read an open stream, some items at a time; closing this closes it."""
        ...


class _Base:
    def __init__(self, *exchanges: Exchange, **options: Any) -> None:
        self.clock = Clock()
        self.service = ScriptedTransport(self.clock, *exchanges)
        self.pool = FakePool(self.service, **options)


class SyncDriver(_Base):
    """`SyncClient`."""

    def __init__(self, *exchanges: Exchange, **options: Any) -> None:
        super().__init__(*exchanges, **options)
        self.client = SyncClient(self.pool, BASE, KEY, {"X-Mine": "1"})
        vars(self.client)["clock"] = self.clock

    def run(self, workflow: Workflow[T]) -> T:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(time, "sleep", self.clock.sleep)
            return self.client.execute(workflow)

    def batches(self, response: Any) -> Iterator[list[Any]]:
        with closing(response.stream) as batches:
            yield from batches


class AsyncDriver(_Base):
    """`AsyncClient`, in a loop of its own; each step is a task of its own."""

    def __init__(self, *exchanges: Exchange, **options: Any) -> None:
        super().__init__(*exchanges, **options)
        self.loop = FakeLoop(self.clock)
        self.client = AsyncClient(self.pool, BASE, KEY, {"X-Mine": "1"})
        vars(self.client)["clock"] = self.clock

    def do(self, doing: Coroutine[Any, Any, T]) -> T:
        return self.loop.run_until_complete(doing)

    def run(self, workflow: Workflow[T]) -> T:
        return self.do(self.client.execute(workflow))

    def batches(self, response: Any) -> Iterator[list[Any]]:
        found = aiter(response.stream)
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
        """End the loop; nothing may be left in it, and it must have had no complaint."""
        for _ in range(3):  # what the loop does about generators that were left halfway
            self.do(asyncio.sleep(0))
        tasks, timers = asyncio.all_tasks(self.loop), self.loop.pending_timers()
        self.do(self.loop.shutdown_asyncgens())
        self.loop.close()
        assert self.pool.in_flight == 0
        assert not tasks
        assert not timers
        assert self.loop.complaints == []


MakeDriver: TypeAlias = Callable[..., Driver]


def chat_request(mode: str = "bounded", **changes: Any) -> Request:
    """Make a chat request whose body is wanted in a mode."""
    body = changes.pop("body", {"model": "gpt-4o-mini"})
    if mode == "bounded":
        return Request(contract.CHAT_PATH, body, **changes)
    collect = mode == "collected"
    return StreamRequest(contract.CHAT_PATH, body, reader=DeltaReader, collect=collect, **changes)


def once(effect: Any) -> Workflow[Any]:
    """Perform one effect: the workflow without a decision."""
    return (yield effect)


def read(driver: Driver, response: Response) -> str:
    """Return the text of a response, reading its stream to the end if it is open."""
    if not isinstance(response, StreamResponse):
        return response.body.decode()
    return text_of(response.items) or "".join(map(text_of, driver.batches(response)))


async def read_all(stream: Any) -> str:
    """Read an open stream to its end, inside a loop."""
    async with aclosing(aiter(stream)) as batches:
        return "".join([text_of(items) async for items in batches])
