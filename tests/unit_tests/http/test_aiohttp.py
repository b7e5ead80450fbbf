"""Async calls over aiohttp's connections: the real client, on lines that are no sockets."""

import asyncio
import gc
from collections.abc import Callable, Coroutine, Iterator
from typing import Any, TypeAlias

import aiohttp
import pytest
from aiohttp.client_proto import ResponseHandler

from langchain_minitoolai import errors
from langchain_minitoolai._http.async_client import AsyncClient
from langchain_minitoolai._http.effects import Response
from langchain_minitoolai._http.network import KEEP_SECONDS, Route, make_async_client
from langchain_minitoolai._http.pool import Network
from tests.unit_tests.shells import BASE, KEY, WHOLE, call, delta, once, read_all, text_of

Act: TypeAlias = bytes | Exception | None
"""What comes over a line: bytes, its end by an error, or its end."""

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
END = b"0\r\n\r\n"


def framed(*events: bytes) -> bytes:
    """Write events as chunks of HTTP."""
    return b"".join(b"%x\r\n%s\r\n" % (len(event), event) for event in events)


ANSWER = HEAD + framed(*WHOLE) + END


class Line(asyncio.Transport):
    """A connection that does the next acts at each request."""

    def __init__(self, protocol: ResponseHandler, acts: Iterator[list[Act]]) -> None:
        super().__init__()
        self.sent = b""
        self.requests: list[bytes] = []
        self.closed = False
        self._protocol = protocol
        self._acts = acts
        protocol.connection_made(self)

    def write(self, data: Any) -> None:
        self.sent += bytes(data)
        if self.sent.endswith(b"}"):
            self.requests.append(self.sent)
            self.sent = b""
            for act in next(self._acts):
                asyncio.get_running_loop().call_soon(self._do, act)

    def end(self, error: Exception | None = None) -> None:
        if not self.closed:
            self.closed = True
            asyncio.get_running_loop().call_soon(self._protocol.connection_lost, error)

    def _do(self, act: Act) -> None:
        if not isinstance(act, bytes):
            self.end(act)
        elif not self.closed:
            self._protocol.data_received(act)

    def close(self) -> None:
        self.end()

    def abort(self) -> None:
        self.end()

    def is_closing(self) -> bool:
        return self.closed


class Service:
    """Stands in for the network under aiohttp.

    Attributes:
        lines: The connections that were made.
        refuses: What connecting dies of, if it does.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.lines: list[Line] = []
        self.refuses: Exception | None = None
        self._acts: Iterator[list[Act]] = iter(())
        monkeypatch.setattr(aiohttp.TCPConnector, "_create_connection", self._connect)

    def will(self, *acts: list[Act]) -> AsyncClient:
        """Say what it does at each request; give a client that comes here."""
        self._acts = iter(acts)
        return AsyncClient(Network(Route(verify=False, aiohttp=True)), BASE, KEY)

    async def _connect(self, *_: Any) -> ResponseHandler:
        if self.refuses is not None:
            raise self.refuses
        protocol = ResponseHandler(asyncio.get_running_loop())
        self.lines.append(Line(protocol, self._acts))
        return protocol


@pytest.fixture
def service(monkeypatch: pytest.MonkeyPatch) -> Service:
    return Service(monkeypatch)


async def collect(client: AsyncClient, **changes: Any) -> str:
    reply: Response = await client.run(once(call(response_mode="answer", **changes)))
    return text_of(reply.answer.deltas)


async def stream(client: AsyncClient) -> str:
    return await read_all((await client.run(once(call(response_mode="stream")))).answer)


Ask: TypeAlias = Callable[[AsyncClient], Coroutine[Any, Any, str]]
both_ways = pytest.mark.parametrize("ask", [collect, stream])


# --- Answers ----------------------------------------------------------------------------


@both_ways
async def test_answers_come_over_a_kept_connection(service: Service, ask: Ask) -> None:
    client = service.will([ANSWER], [HEAD, framed(*WHOLE), END], [ANSWER])
    assert [await ask(client) for _ in range(3)] == ["Alaska"] * 3
    assert len(service.lines) == 1


async def test_a_fresh_call_keeps_no_connection(service: Service) -> None:
    client = service.will([ANSWER], [ANSWER])
    assert [await collect(client, new_connection=True) for _ in range(2)] == ["Alaska"] * 2
    assert len(service.lines) == 2


async def test_a_body_that_is_wanted_whole_comes_whole(service: Service) -> None:
    client = service.will([b"HTTP/1.1 402 No\r\nContent-Length: 2\r\n\r\n{}"])
    reply = await client.run(once(call()))
    assert (reply.status, reply.body) == (402, b"{}")


@both_ways
async def test_bytes_that_nobody_asked_for_are_never_taken_for_an_answer(
    service: Service, ask: Ask
) -> None:
    another = HEAD + framed(delta("not yours"), *WHOLE[2:]) + END
    ways: list[list[Act]] = [
        [ANSWER + another],
        [ANSWER, another],
        [HEAD, framed(*WHOLE), END + another],
    ]
    for acts in ways:
        service.lines.clear()
        client = service.will(acts, [ANSWER])
        assert await ask(client) == "Alaska"
        await asyncio.sleep(0.001)
        assert await ask(client) == "Alaska"
        assert len(service.lines) == 2


async def test_bytes_that_come_while_a_connection_is_idle_end_it(service: Service) -> None:
    client = service.will([ANSWER], [ANSWER])
    assert await collect(client) == "Alaska"
    service.lines[0]._protocol.data_received(HEAD + framed(delta("not yours"), *WHOLE[2:]) + END)
    assert await collect(client) == "Alaska"
    assert [line.closed for line in service.lines] == [True, False]


async def test_a_new_connection_on_which_bytes_come_unasked_is_not_made_again_and_again(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ResponseHandler, "should_close", True)
    client = service.will([ANSWER], [ANSWER])
    assert await collect(client) == "Alaska"
    assert len(service.lines) == 1


async def test_cookies_are_neither_kept_nor_sent(service: Service) -> None:
    cookie = b"Set-Cookie: visitor=17; Path=/\r\n\r\n"
    client = service.will([HEAD[:-2] + cookie, framed(*WHOLE), END], [ANSWER])
    for _ in range(2):
        await collect(client)
    first, second = service.lines[0].requests
    assert b"cookie" not in (first + second).lower()


# --- Breaks -----------------------------------------------------------------------------


@both_ways
@pytest.mark.parametrize(
    "after",
    [
        [framed(delta("a")), None],
        [framed(delta("a")), ConnectionResetError("reset")],
        [framed(delta("a")), b"not-a-size\r\nwhatever\r\n"],
        [framed(delta("a")) + b"not-a-size\r\nwhatever\r\n"],
    ],
)
async def test_an_answer_that_breaks_off_says_so_at_once(
    service: Service, ask: Ask, after: list[Act]
) -> None:
    client = service.will([HEAD, b"", *after])
    with pytest.raises((errors.StreamInterruptedError, errors.APIConnectionError)) as raised:
        await asyncio.wait_for(ask(client), 10.0)
    assert raised.value.is_retryable


@pytest.mark.parametrize(
    "act", [None, ConnectionResetError("reset"), b"SSH-2.0\r\n", HEAD[:-2] + b"A: b\r\n" * 500]
)
async def test_what_breaks_before_the_answer_may_have_been_sent(service: Service, act: Act) -> None:
    client = service.will([act])
    with pytest.raises(errors.APIConnectionError, match="broke before") as raised:
        await collect(client)
    failure = raised.value
    assert (failure.maybe_sent, failure.stale, failure.is_retryable) == (True, False, True)


async def test_a_kept_connection_that_breaks_is_told_from_a_new_one(service: Service) -> None:
    client = service.will([ANSWER], [None])
    await collect(client)
    with pytest.raises(errors.APIConnectionError) as raised:
        await collect(client)
    assert raised.value.stale


async def test_a_kept_connection_that_is_reset_while_idle_is_no_news(service: Service) -> None:
    complaints: list[Any] = []
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _, facts: complaints.append(facts))
    client = service.will([HEAD, framed(*WHOLE), END], [ANSWER])
    await collect(client)
    service.lines[0].end(ConnectionResetError("reset"))
    await asyncio.sleep(0)
    assert await collect(client) == "Alaska"
    gc.collect()
    await asyncio.sleep(0)
    assert complaints == []


# --- Connecting -------------------------------------------------------------------------


@pytest.mark.parametrize("error", [TimeoutError(), OSError("no"), aiohttp.ClientError("no")])
async def test_what_could_not_connect_was_not_sent(service: Service, error: Exception) -> None:
    client = service.will()
    service.refuses = error
    with pytest.raises(errors.APIConnectionError, match="can't connect") as raised:
        await collect(client)
    assert (raised.value.maybe_sent, raised.value.stale) == (False, False)


async def test_silence_is_a_timeout(service: Service) -> None:
    client = service.will([ANSWER], [])
    await collect(client)
    with pytest.raises(errors.APITimeoutError, match=r"no progress for 0\.05 s"):
        await collect(client, timeout=0.05)
    assert [line.closed for line in service.lines] == [True]


# --- Clients ----------------------------------------------------------------------------


@pytest.mark.parametrize(("keep", "seconds"), [(0, 0.0), (16, KEEP_SECONDS)])
@pytest.mark.parametrize("proxy", [None, "http://proxy.test:3128"])
async def test_a_client_opens_any_number_of_connections_and_keeps_them_by_time(
    monkeypatch: pytest.MonkeyPatch, keep: int, seconds: float, proxy: str | None
) -> None:
    monkeypatch.setenv("NO_PROXY", "localhost")
    monkeypatch.setenv("HTTPS_PROXY", "http://environment.test:8080")
    client = make_async_client(Route(proxy, verify=False, aiohttp=True), keep=keep)
    transports: list[Any] = [each for each in (client._transport, *client._mounts.values()) if each]
    assert len(transports) == 2
    for transport in transports:
        session = transport.get_client()
        assert session.connector.limit == 0
        assert session.connector._keepalive_timeout == seconds
        assert len(session.trace_configs) == 1
        await session.close()
    await client.aclose()
