"""A body read from its connection itself: the same bytes as httpx's, and the same connection."""

import asyncio
from collections.abc import Callable, Iterable
from itertools import pairwise
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from langchain_minitoolai._body import ablocks, blocks
from langchain_minitoolai._http.deadline import Budget
from langchain_minitoolai._http.network import Route, make_async_client, make_client
from langchain_minitoolai._sockets import SocketStream
from tests.unit_tests.shells import Clock

URL = "http://service.test/api"
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
BODY = b"5\r\ndata:\r\n4\r\n x\n\n\r\n0\r\n\r\n"
TEXT = b"data: x\n\n"
HINTS = b"HTTP/1.1 103 Early Hints\r\nA: b\r\n\r\n"
OTHERS = {
    "a length": b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n" + TEXT,
    "no length": b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n" + TEXT,
    "HTTP/1.0": b"HTTP/1.0 200 OK\r\nConnection: close\r\n\r\n" + TEXT,
    "interim answers": HINTS * 2 + CHUNKED + BODY,
    "the end of lines as LF": CHUNKED.replace(b"\r\n", b"\n") + BODY,
    "a name in capitals": CHUNKED.replace(b"chunked", b"CHUNKED") + BODY,
}

Packets = list[bytes]
Exchange = Callable[..., tuple[bytes, Any]]


class Wire:
    """A connection under our sync backend, its bytes read from a socket or not."""

    def __init__(self, packets: Packets, *, socket: bool = True) -> None:
        self.packets = packets
        self.made = 0
        self.closed = 0
        self._socket = socket

    def connect_tcp(self, *_: Any, **__: Any) -> Any:
        self.made += 1
        return self

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        pass

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return self.packets.pop(0) if self.packets else b""

    recv = read

    def settimeout(self, seconds: float) -> None:
        pass

    def close(self) -> None:
        self.closed += 1

    def get_extra_info(self, info: str) -> Any:
        return self if info == "socket" and self._socket else None


class Stream(SocketStream):
    """A connection of ours without a socket that could be asked."""

    def _is_readable(self) -> bool:
        return False


class Transport(Wire):
    """The same under our async backend: each read finds one packet more."""

    def __init__(self, packets: Packets) -> None:
        super().__init__(packets)
        self.stream: SocketStream
        self._begun = False

    async def connect_tcp(self, *_: Any, **options: Any) -> SocketStream:
        self.made += 1
        self.stream = Stream()
        self.stream.connection_made(self)  # type: ignore[arg-type]
        options["timeout"].connected()
        return self.stream

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        if not self._begun:
            self._begun = True
            asyncio.get_running_loop().call_soon(self.arrive)

    def arrive(self) -> None:
        packet = self.packets.pop(0) if self.packets else None
        if packet:
            self.stream.data_received(packet)
            asyncio.get_running_loop().call_soon(self.arrive)
        elif packet == b"":
            self.stream.eof_received()

    def is_closing(self) -> bool:
        return False

    def abort(self) -> None:
        self.closed += 1


def request(budget: Budget) -> httpx.Request:
    return httpx.Request("POST", URL, content=b"{}", extensions=budget.extensions())


def exchange(packets: Iterable[bytes], *, own: bool = True, **options: Any) -> tuple[bytes, Wire]:
    """Make one exchange and read its body as `_body` does, or as httpx does."""
    wire = Wire(list(packets), **options)
    budget = Budget(Clock(), 60.0, None)
    client = make_client(Route(verify=False), keep=1)
    client._transport._pool._network_backend._inner = wire  # type: ignore[attr-defined]
    response = client.send(request(budget), stream=True)
    found = b"".join(blocks(response, budget) if own else response.iter_raw())
    response.close()
    return found, wire


def aexchange(packets: Iterable[bytes], *, own: bool = True) -> tuple[bytes, Wire]:
    """Do the same in a loop."""

    async def run() -> tuple[bytes, Wire]:
        wire = Transport(list(packets))
        budget = Budget(Clock(), 60.0, None)
        client = make_async_client(Route(verify=False), keep=1)
        client._transport._pool._network_backend = wire  # type: ignore[attr-defined]
        response = await client.send(request(budget), stream=True)
        body = ablocks(response) if own else response.aiter_raw()
        found = b"".join([block async for block in body])
        await response.aclose()
        return found, wire

    return asyncio.run(run())


both = pytest.mark.parametrize("exchange", [exchange, aexchange])


@both
@pytest.mark.parametrize("at", range(1, len(CHUNKED + BODY)))
def test_a_chunked_body_is_read_wherever_it_is_cut(exchange: Exchange, at: int) -> None:
    data = CHUNKED + BODY
    found, wire = exchange([data[:at], data[at:]])
    assert found == TEXT
    assert wire.closed == 0  # the connection is kept


@both
@pytest.mark.parametrize("data", OTHERS.values(), ids=OTHERS)
def test_any_other_body_is_read_as_well(exchange: Exchange, data: bytes) -> None:
    for cut in range(1, len(data)):
        assert exchange([data[:cut], data[cut:], b""])[0] == TEXT


@given(
    chunks=st.lists(st.binary(min_size=1, max_size=20), max_size=5),
    cuts=st.lists(st.integers(1, 200), max_size=6),
)
@pytest.mark.parametrize("exchange", [exchange, aexchange])
def test_the_bytes_are_those_that_httpx_gives(
    exchange: Exchange, chunks: list[bytes], cuts: list[int]
) -> None:
    body = b"".join(b"%x\r\n%s\r\n" % (len(chunk), chunk) for chunk in chunks) + b"0\r\n\r\n"
    data = CHUNKED + body
    places = sorted({0, len(data), *(cut for cut in cuts if cut < len(data))})
    packets = [data[a:b] for a, b in pairwise(places)]
    assert exchange(packets)[0] == exchange(packets, own=False)[0] == b"".join(chunks)


@both
def test_a_body_that_breaks_off_is_an_error_after_what_came(exchange: Exchange) -> None:
    for data in (CHUNKED + BODY[:-2], CHUNKED + b"zz\r\n"):
        with pytest.raises(ConnectionError):
            exchange([data, b""])


def test_damage_is_told_after_the_bytes_before_it() -> None:
    wire = Wire([CHUNKED + b"1\r\nx\r\nzz\r\n"])
    budget = Budget(Clock(), 60.0, None)
    client = make_client(Route(verify=False), keep=1)
    client._transport._pool._network_backend._inner = wire  # type: ignore[attr-defined]
    body = blocks(client.send(request(budget), stream=True), budget)
    assert next(body) == b"x"
    with pytest.raises(ConnectionError, match="does not say its size"):
        next(body)


def test_the_bytes_need_not_come_from_the_socket() -> None:
    found, wire = exchange([CHUNKED + BODY], socket=False)
    assert (found, wire.closed) == (TEXT, 0)


@both
@pytest.mark.parametrize("status", [204, 304])
@pytest.mark.parametrize("framing", [b"Transfer-Encoding: chunked", b"Content-Length: 9", b"A: b"])
def test_an_answer_that_has_no_body_is_not_waited_for(
    exchange: Exchange, status: int, framing: bytes
) -> None:
    assert exchange([b"HTTP/1.1 %d None\r\n%s\r\n\r\n" % (status, framing)])[0] == b""


ANSWERS = {
    "in chunks": CHUNKED + BODY,
    "of a length": OTHERS["a length"],
    "of a length, after interim ones": HINTS + OTHERS["a length"],
    "refused": b"HTTP/1.1 400 No\r\nContent-Length: 9\r\n\r\n" + TEXT,
}
excesses = pytest.mark.parametrize("excess", [b"", b"HTTP/1.1 200 OK\r\n\r\n", b"\n"])
answers = pytest.mark.parametrize("answer", ANSWERS.values(), ids=ANSWERS)


@answers
@excesses
@pytest.mark.parametrize("socket", [True, False])
def test_a_connection_with_bytes_that_nobody_asked_for_is_not_used_again(
    answer: bytes, excess: bytes, *, socket: bool
) -> None:
    wire = Wire([answer + excess, answer], socket=socket)
    client = make_client(Route(verify=False), keep=1)
    client._transport._pool._network_backend._inner = wire  # type: ignore[attr-defined]
    for _ in range(2):
        budget = Budget(Clock(), 60.0, None)
        response = client.send(request(budget), stream=True)
        assert b"".join(blocks(response, budget)) == TEXT
        response.close()
    assert wire.made == (2 if excess else 1)


@answers
@excesses
async def test_an_async_connection_with_such_bytes_neither(answer: bytes, excess: bytes) -> None:
    wire = Transport([answer + excess])
    client = make_async_client(Route(verify=False), keep=1)
    client._transport._pool._network_backend = wire  # type: ignore[attr-defined]
    for _ in range(2):
        response = await client.send(request(Budget(Clock(), 60.0, None)), stream=True)
        assert b"".join([block async for block in ablocks(response)]) == TEXT
        await response.aclose()
        wire.packets, wire._begun = [answer], False
    assert wire.made == (2 if excess else 1)
