import asyncio
import select
import ssl
from types import SimpleNamespace
from typing import Any

import pytest

from langchain_minitoolai import _sockets
from langchain_minitoolai._http.deadline import Budget
from langchain_minitoolai._sockets import SocketBackend, SocketStream


class Transport:
    """Notes what it is asked for; closing it is told to the stream, as a loop does."""

    def __init__(self, descriptor: int = -1) -> None:
        self.asked: list[str] = []
        self.sent = bytearray()
        self.closing = False
        self._descriptor = descriptor

    def pause_reading(self) -> None:
        self.asked.append("pause")

    def resume_reading(self) -> None:
        self.asked.append("resume")

    def write(self, data: bytes) -> None:
        self.sent += data

    def is_closing(self) -> bool:
        return self.closing

    def abort(self) -> None:
        self.asked.append("abort")

    def get_extra_info(self, name: str) -> Any:
        return SimpleNamespace(fileno=lambda: self._descriptor) if name == "socket" else name


def stream(transport: Transport | None = None) -> SocketStream:
    made = SocketStream()
    made.connection_made(transport or Transport())  # type: ignore[arg-type]
    return made


def budget() -> Budget:
    return Budget(lambda: 0.0, 60.0, None)


async def later(step: Any, *arguments: Any) -> None:
    await asyncio.sleep(0)
    step(*arguments)


async def test_bytes_are_read_as_they_arrived_and_no_more_than_asked() -> None:
    wire = stream()
    wire.data_received(b"abc")
    assert await wire.read(2) == b"ab"
    assert await wire.read(9) == b"c"


async def test_a_reader_waits_for_what_has_not_arrived() -> None:
    wire = stream()
    read, _ = await asyncio.gather(wire.read(9), later(wire.data_received, b"abc"))
    assert read == b"abc"


async def test_the_end_is_no_bytes_after_all_that_arrived() -> None:
    wire = stream()
    wire.data_received(b"last")
    wire.eof_received()
    assert [await wire.read(9), await wire.read(9)] == [b"last", b""]


async def test_a_break_is_told_after_all_that_arrived() -> None:
    wire = stream()
    wire.data_received(b"last")
    wire.connection_lost(ConnectionResetError("reset"))
    assert await wire.read(9) == b"last"
    with pytest.raises(ConnectionResetError, match="reset"):
        await wire.read(9)


@pytest.mark.parametrize("reason", [None, RuntimeError("odd")])
async def test_a_waiting_reader_learns_that_the_connection_is_gone(
    reason: Exception | None,
) -> None:
    wire = stream()
    read, _ = await asyncio.gather(wire.read(9), later(wire.connection_lost, reason))
    assert read == b""


async def test_the_network_is_told_to_wait_while_too_much_is_unread() -> None:
    transport = Transport()
    wire = stream(transport)
    for _ in range(3):
        wire.data_received(bytes(_sockets._HIGH))
    assert transport.asked == ["pause"]
    await wire.read(_sockets._HIGH)
    assert transport.asked == ["pause"]
    await wire.read(_sockets._HIGH)
    assert transport.asked == ["pause", "resume"]


async def test_a_writer_waits_while_the_network_takes_no_more() -> None:
    transport = Transport()
    wire = stream(transport)
    wire.pause_writing()
    await asyncio.gather(wire.write(b"abc"), later(wire.resume_writing))
    assert transport.sent == b"abc"


async def test_a_writer_to_a_closed_connection_leaves_the_word_to_the_reader() -> None:
    transport = Transport()
    wire = stream(transport)
    transport.closing = True
    wire.pause_writing()
    wire.data_received(b"HTTP/1.1 413 Too large")
    wire.connection_lost(BrokenPipeError())
    await wire.write(b"abc")
    assert transport.sent == b""
    assert await wire.read(99) == b"HTTP/1.1 413 Too large"


async def test_closing_is_at_once() -> None:
    transport = Transport()
    await stream(transport).aclose()
    assert transport.asked == ["abort"]


def test_what_httpcore_asks_is_answered_in_asyncio_s_words() -> None:
    wire = stream()
    assert wire.get_extra_info("client_addr") == "sockname"
    assert wire.get_extra_info("server_addr") == "peername"
    assert wire.get_extra_info("ssl_object") == "ssl_object"


def test_an_idle_connection_that_ended_or_has_bytes_is_readable() -> None:
    ended, full = stream(), stream()
    ended.eof_received()
    full.data_received(b"x")
    assert ended.get_extra_info("is_readable")
    assert full.get_extra_info("is_readable")
    assert stream(Transport(-1)).get_extra_info("is_readable")


@pytest.mark.parametrize("readable", [True, False])
@pytest.mark.parametrize("polls", [True, False])
def test_what_the_loop_has_not_seen_yet_is_asked_of_the_system(
    monkeypatch: pytest.MonkeyPatch, *, readable: bool, polls: bool
) -> None:
    found = [(7, select.POLLIN)] if readable else []
    poll = SimpleNamespace(register=lambda *_: None, poll=lambda _: found)
    fake = {"select": lambda *_: ([7] if readable else [], [], []), "POLLIN": 1}
    if polls:
        fake["poll"] = lambda: poll
    monkeypatch.setattr(_sockets, "select", SimpleNamespace(**fake))
    assert stream(Transport(7)).get_extra_info("is_readable") is readable


async def test_shaking_hands_changes_the_transport(monkeypatch: pytest.MonkeyPatch) -> None:
    plain, secure = Transport(), Transport()

    async def start_tls(transport: Any, protocol: Any, context: Any, **options: Any) -> Any:
        assert (transport, protocol, context) == (plain, wire, "context")
        assert options == {"server_hostname": "a.example"}
        return secure

    monkeypatch.setattr(asyncio.get_running_loop(), "start_tls", start_tls)
    wire, left = stream(plain), budget()
    assert await wire.start_tls("context", "a.example", left) is wire
    assert not left.connecting
    await wire.write(b"x")
    assert (bytes(plain.sent), bytes(secure.sent)) == (b"", b"x")


@pytest.mark.parametrize("error", [ssl.SSLError("bad"), asyncio.CancelledError()])
async def test_hands_that_are_not_shaken_close_the_connection(
    monkeypatch: pytest.MonkeyPatch, error: BaseException
) -> None:
    async def start_tls(*_: Any, **__: Any) -> Any:
        raise error

    monkeypatch.setattr(asyncio.get_running_loop(), "start_tls", start_tls)
    transport, left = Transport(), budget()
    with pytest.raises(type(error)):
        await stream(transport).start_tls("context", "a.example", left)
    assert transport.asked == ["abort"]
    assert left.connecting


async def test_a_connection_is_made_eagerly_where_the_loop_can(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made = stream()

    async def create(factory: Any, host: str, port: int, **options: Any) -> Any:
        assert (factory, host, port) == (SocketStream, "a.example", 443)
        assert options == {"happy_eyeballs_delay": 0.25}
        return None, made

    monkeypatch.setattr(asyncio.get_running_loop(), "create_connection", create)
    left = budget()
    assert await SocketBackend().connect_tcp("a.example", 443, left) is made
    assert left.made is made
    assert (left.fresh, left.connecting) == (True, False)


async def test_a_loop_of_another_kind_is_asked_for_no_more_than_it_knows(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made = stream()

    async def create(factory: Any, host: str, port: int) -> Any:
        return None, made

    loop = asyncio.get_running_loop()
    monkeypatch.setattr(loop, "create_connection", create)
    monkeypatch.setattr(asyncio, "BaseEventLoop", type("Other", (), {}))
    assert await _sockets._connect("a.example", 443, 1.0) is made


@pytest.mark.parametrize("outcome", ["made", "failed", "cancelled"])
async def test_a_connection_that_nobody_waits_for_is_closed_when_it_stands(
    monkeypatch: pytest.MonkeyPatch, outcome: str
) -> None:
    transport, go = Transport(), asyncio.Event()

    async def create(*_: Any, **__: Any) -> Any:
        await go.wait()
        if outcome != "made":
            raise OSError("refused") if outcome == "failed" else asyncio.CancelledError
        return None, stream(transport)

    monkeypatch.setattr(asyncio.get_running_loop(), "create_connection", create)
    left = budget()
    calling = asyncio.create_task(SocketBackend().connect_tcp("a.example", 443, left))
    await asyncio.sleep(0)
    calling.cancel()
    with pytest.raises(asyncio.CancelledError):
        await calling
    assert len(_sockets._late) == 1
    go.set()
    for _ in range(9):
        await asyncio.sleep(0)
    assert transport.asked == (["abort"] if outcome == "made" else [])
    assert not _sockets._late
    assert left.made is None


async def test_a_connection_that_fails_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    async def create(*_: Any, **__: Any) -> Any:
        raise ConnectionRefusedError("refused")

    monkeypatch.setattr(asyncio.get_running_loop(), "create_connection", create)
    left = budget()
    with pytest.raises(ConnectionRefusedError):
        await SocketBackend().connect_tcp("a.example", 443, left)
    assert left.connecting
