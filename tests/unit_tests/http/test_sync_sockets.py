"""Sync connections: each step takes the time that its exchange has left."""

import socket
from typing import Any

import httpcore
import pytest

from langchain_minitoolai import _sync_sockets
from langchain_minitoolai._http.deadline import Budget
from langchain_minitoolai._http.network import WIRE_FAILURES, Route
from langchain_minitoolai._sync_sockets import Backend, Stream, addresses
from tests.unit_tests.shells import Clock
from tests.unit_tests.wires import ANSWER, SocketWire, Wire, exchange


@pytest.fixture
def clock() -> Clock:
    return Clock()


# --- Time -----------------------------------------------------------------------------


def test_each_step_is_given_the_time_that_is_left(clock: Clock) -> None:
    wire = Wire(clock, ANSWER[:20], ANSWER[20:])
    budget = Budget(clock, 10.0, None)
    assert exchange(wire, budget, "https://service.test/api").content == b"{}"
    assert wire.times[:2] == [("connect service.test:443", 10.0), ("tls", 9.0)]
    assert {name for name, _ in wire.times[2:]} == {"write", "read"}
    assert [left for _, left in wire.times] == [10.0 - step for step in range(len(wire.times))]
    assert wire.closed
    assert (budget.fresh, budget.connecting) == (True, False)


def test_connecting_takes_ten_seconds_at_most_whatever_the_timeout(clock: Clock) -> None:
    wire = Wire(clock, ANSWER, takes=4.0)
    exchange(wire, Budget(clock, 600.0, None), "https://service.test/api")
    assert wire.times[:2] == [("connect service.test:443", 10.0), ("tls", 6.0)]


def test_a_proxy_is_connected_to_in_the_same_time(clock: Clock) -> None:
    wire = Wire(clock, b"HTTP/1.1 200 OK\r\n\r\n", ANSWER)
    route = Route("http://proxy.test:3128", verify=False)
    exchange(wire, Budget(clock, 60.0, None), "https://service.test/api", route)
    assert wire.times[0] == ("connect proxy.test:3128", 10.0)
    assert [name for name, _ in wire.times if name == "tls"] == ["tls"]


@pytest.mark.parametrize("url", ["http://service.test/api", "https://service.test/api"])
def test_a_socket_is_given_the_time_that_is_left(clock: Clock, url: str) -> None:
    wire = SocketWire(clock, ANSWER[:20], ANSWER[20:30], ANSWER[30:])
    assert exchange(wire, Budget(clock, 10.0, None), url).content == b"{}"
    started = wire.socket.limits[0]
    assert started == 10.0 - sum(name != "read" for name, _ in wire.times)
    assert wire.socket.limits == [started, started - 1, started - 2]


def test_a_socket_s_limit_is_moved_only_where_it_matters(clock: Clock) -> None:
    drip = [bytes([byte]) for byte in ANSWER]
    wire = SocketWire(clock, *drip, takes=0.001)
    exchange(wire, Budget(clock, 10.0, None), "http://service.test/api")
    assert len(wire.socket.limits) < len(drip) / 15


def test_headers_that_drip_over_a_socket_are_cut_off_when_the_time_is_up(clock: Clock) -> None:
    wire = SocketWire(clock, *[bytes([byte]) for byte in ANSWER])
    with pytest.raises(TimeoutError):
        exchange(wire, Budget(clock, 9.0, None), "http://service.test/api")
    assert clock() == 1009.0
    assert wire.closed


def test_with_tls_inside_tls_the_bytes_do_not_come_from_the_socket(clock: Clock) -> None:
    wire = SocketWire(clock, b"HTTP/1.1 200 OK\r\n\r\n", ANSWER)
    route = Route("https://proxy.test:3128", verify=False)
    exchange(wire, Budget(clock, 60.0, None), "https://service.test/api", route)
    assert [name for name, _ in wire.times if name == "tls"] == ["tls", "tls"]
    assert len(wire.socket.limits) == 1
    assert len([left for name, left in wire.times if name == "read" and left]) == 1


def test_a_handshake_for_which_httpcore_names_no_time_takes_what_is_left(clock: Clock) -> None:
    wire = SocketWire(clock, b"\x05\x00\n\nrest")
    stream = Stream(wire, Budget(clock, 9.0, None))
    stream.write(b"\x05\x01\x00")
    assert stream.read(99) == b"\x05\x00\n\nrest"
    assert wire.times[0] == ("write", 9.0)
    assert wire.socket.limits == [8.0]
    clock.sleep(9.0)
    with pytest.raises(TimeoutError):
        stream.read(99)


def test_a_connection_with_bytes_that_nobody_asked_for_can_be_read(clock: Clock) -> None:
    stream = Stream(SocketWire(clock), Budget(clock, 9.0, None))
    assert not stream.get_extra_info("is_readable")
    stream.seam.hand_back(b"HTTP/1.1 200 OK")
    assert stream.get_extra_info("is_readable")


@pytest.mark.parametrize(
    ("raised", "told"),
    [
        (httpcore.ReadTimeout("timed out"), TimeoutError),
        (httpcore.ReadError("reset"), ConnectionError),
    ],
)
def test_what_a_read_inside_two_layers_of_tls_dies_of_is_python_s_own(
    clock: Clock, raised: Exception, told: type[Exception]
) -> None:
    class Broken(Wire):
        def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
            raise raised

    budget = Budget(clock, 9.0, None)
    with pytest.raises(told):
        Stream(Broken(clock), budget, tls=2).read_body(budget)


# --- Connecting -----------------------------------------------------------------------


class Hosts(Wire):
    """Addresses of which some do not answer."""

    def __init__(self, clock: Clock, *answering: str) -> None:
        super().__init__(clock)
        self._answering = answering

    def connect_tcp(self, host: str, port: int, timeout: float, **_: Any) -> Any:
        self.times.append((host, timeout))
        if host in self._answering:
            return self
        self._clock.sleep(timeout)
        raise httpcore.ConnectTimeout("timed out")


def test_each_address_of_a_host_has_its_share_of_the_time(
    monkeypatch: pytest.MonkeyPatch, clock: Clock
) -> None:
    monkeypatch.setattr(_sync_sockets, "addresses", lambda *_: ["::1", "a", "b", "c"])
    hosts, budget = Hosts(clock, "b"), Budget(clock, 60.0, None)
    Backend(hosts).connect_tcp("service.test", 443, budget)
    assert hosts.times == [("::1", 2.5), ("a", 2.5), ("b", 2.5)]
    assert not budget.connecting
    hosts, budget = Hosts(clock), Budget(clock, 2.0, None)
    began = clock()
    with pytest.raises(httpcore.ConnectTimeout):
        Backend(hosts).connect_tcp("service.test", 443, budget)
    assert clock() - began == 2.0
    assert budget.connecting


def test_a_host_s_addresses_are_each_given_once(monkeypatch: pytest.MonkeyPatch) -> None:
    found = [(socket.AF_INET6, 1, 6, "", ("::1", 443, 0, 0))] * 2
    more = [(socket.AF_INET, 1, 6, "", ("127.0.0.1", 443))]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: [*found, *more])
    assert addresses("service.test", 443) == ["::1", "127.0.0.1"]


def test_headers_that_drip_are_cut_off_when_the_time_is_up(clock: Clock) -> None:
    drip = [bytes([byte]) for byte in ANSWER]
    wire = Wire(clock, *drip)
    with pytest.raises(TimeoutError) as raised:
        exchange(wire, Budget(clock, 9.0, None), "http://service.test/api")
    assert isinstance(raised.value, WIRE_FAILURES)
    assert clock() == 1009.0
    assert wire.closed
