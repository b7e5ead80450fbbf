"""Below httpx's surface: our network backend, certificates, and what a request dies of."""

import ssl
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeAlias

import certifi
import httpcore
import httpx
import pytest

from langchain_minitoolai import errors
from langchain_minitoolai._budget import Budget
from langchain_minitoolai._network import (
    KEEP_SECONDS,
    WIRE_FAILURES,
    Route,
    _Stream,
    failure_of,
    make_async_client,
    make_client,
    ssl_context,
)
from langchain_minitoolai._sockets import SocketBackend
from tests.unit_tests.shells import Clock

Made: TypeAlias = httpx.Client | httpx.AsyncClient
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nSet-Cookie: a=b\r\n\r\n{}"
UNVERIFIED = Route(verify=False)


class Wire:
    """What lies under our backend: notes the time each step is given, and takes some."""

    def __init__(self, clock: Clock, *packets: bytes, takes: float = 1.0) -> None:
        self.times: list[tuple[str, float | None]] = []
        self.closed = 0
        self._clock = clock
        self._packets = list(packets)
        self._takes = takes

    def step(self, name: str, timeout: float | None) -> None:
        self.times.append((name, timeout))
        self._clock.sleep(self._takes)

    def connect_tcp(self, host: str, port: int, timeout: float, **_: Any) -> Any:
        self.step(f"connect {host}:{port}", timeout)
        return self

    def start_tls(self, context: ssl.SSLContext, hostname: str, timeout: float) -> Any:
        self.step("tls", timeout)
        return self

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        self.step("read", timeout)
        return self._packets.pop(0)

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self.step("write", timeout)

    def close(self) -> None:
        self.closed += 1

    def get_extra_info(self, info: str) -> Any:
        return None


@pytest.fixture
def clock() -> Clock:
    return Clock()


def pools(client: Made) -> Iterator[Any]:
    """Give every pool of connections that a client has."""
    for transport in (client._transport, *client._mounts.values()):
        if transport is not None:
            yield transport._pool


def exchange(wire: Wire, budget: Budget, url: str, route: Route = UNVERIFIED) -> httpx.Response:
    """Make one exchange over a fake wire."""
    client = make_client(route, keep=1)
    for pool in pools(client):
        pool._network_backend._inner = wire
    with client:
        return client.send(
            httpx.Request("POST", url, content=b"{}", extensions=budget.extensions())
        )


# --- Clients --------------------------------------------------------------------------


@pytest.mark.parametrize("make", [make_client, make_async_client])
@pytest.mark.parametrize("proxy", [None, "http://proxy.test:3128", "https://u:p@proxy.test"])
@pytest.mark.parametrize("variable", [None, "HTTPS_PROXY", "ALL_PROXY"])
def test_our_backend_is_under_every_pool_of_a_client(
    monkeypatch: pytest.MonkeyPatch,
    make: Callable[..., Made],
    proxy: str | None,
    variable: str | None,
) -> None:
    if variable:
        monkeypatch.setenv(variable, "http://environment.test:8080")
        monkeypatch.setenv("NO_PROXY", "localhost")
    client = make(Route(proxy, verify=False), keep=1)
    found = list(pools(client))
    assert len(found) == (2 if variable or proxy else 1)
    for pool in found:
        backend = pool._network_backend
        if isinstance(client, httpx.AsyncClient):
            assert isinstance(backend, SocketBackend)
        else:
            assert isinstance(backend._inner, httpcore.NetworkBackend)
        connection = pool.create_connection(httpcore.Origin(b"https", b"service.test", 443))
        assert backend in vars(connection).values() or any(
            backend in vars(inner).values()
            for inner in vars(connection).values()
            if hasattr(inner, "__dict__")
        )


@pytest.mark.parametrize("make", [make_client, make_async_client])
def test_a_client_keeps_so_many_connections_and_opens_any_number(
    make: Callable[..., Made],
) -> None:
    for keep in (0, 16):
        (pool,) = pools(make(UNVERIFIED, keep=keep))
        assert pool._max_keepalive_connections == keep
        assert pool._max_connections > 10**6
        assert pool._keepalive_expiry == KEEP_SECONDS


def test_a_client_follows_no_redirect_and_keeps_no_cookie(clock: Clock) -> None:
    redirect = b"HTTP/1.1 302 Found\r\nLocation: http://b.test/\r\nContent-Length: 0\r\n\r\n"
    assert not make_client(UNVERIFIED, keep=1).follow_redirects
    response = exchange(Wire(clock, redirect), Budget(clock, 60.0, None), "http://a.test/")
    assert response.status_code == 302
    client = make_client(UNVERIFIED, keep=1)
    client.cookies.extract_cookies(
        httpx.Response(
            200, headers={"set-cookie": "a=b"}, request=httpx.Request("GET", "http://a.test")
        )
    )
    assert not list(client.cookies.jar)


# --- Certificates ---------------------------------------------------------------------


def test_certificates_are_read_once() -> None:
    assert ssl_context(verify=False) is ssl_context(verify=False)


def test_certificates_are_verified_unless_that_is_switched_off() -> None:
    assert ssl_context(verify=True).verify_mode is ssl.CERT_REQUIRED
    assert ssl_context(verify=False).verify_mode is ssl.CERT_NONE


def test_certificates_may_come_from_a_file_or_a_folder(tmp_path: Path) -> None:
    for path in (certifi.where(), str(tmp_path)):
        context = ssl_context(path)
        assert context.verify_mode is ssl.CERT_REQUIRED
        assert context.check_hostname


def test_a_path_without_certificates_is_an_input_error_that_says_what_is_allowed(
    tmp_path: Path,
) -> None:
    junk = tmp_path / "junk.pem"
    junk.write_text("no certificate")
    for path in (str(junk), str(tmp_path / "nowhere")):
        with pytest.raises(errors.InvalidInputError, match=r"verify is .*; allowed: True, False"):
            ssl_context(path)


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


class Socket:
    """A connected socket, which notes its time limit and takes some."""

    def __init__(self, wire: Wire) -> None:
        self.limits: list[float] = []
        self._wire = wire

    def settimeout(self, seconds: float) -> None:
        self.limits.append(seconds)

    def recv(self, size: int) -> bytes:
        return self._wire.read(size)


class SocketWire(Wire):
    """A wire whose bytes are read from the socket under it."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.socket = Socket(self)

    def get_extra_info(self, info: str) -> Any:
        return self.socket if info == "socket" else None


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


def test_a_handshake_without_a_budget_has_no_limit_and_is_not_cut(clock: Clock) -> None:
    wire = SocketWire(clock, b"\x05\x00\n\nrest")
    stream = _Stream(wire)
    stream.write(b"\x05\x01\x00")
    assert stream.read(99) == b"\x05\x00\n\nrest"
    assert wire.times == [("write", None), ("read", None)]


def test_a_connection_with_bytes_that_nobody_asked_for_can_be_read(clock: Clock) -> None:
    stream = _Stream(SocketWire(clock))
    assert not stream.get_extra_info("is_readable")
    stream.seam.hand_back(b"HTTP/1.1 200 OK")
    assert stream.get_extra_info("is_readable")


def test_headers_that_drip_are_cut_off_when_the_time_is_up(clock: Clock) -> None:
    drip = [bytes([byte]) for byte in ANSWER]
    wire = Wire(clock, *drip)
    with pytest.raises(TimeoutError) as raised:
        exchange(wire, Budget(clock, 9.0, None), "http://service.test/api")
    assert isinstance(raised.value, WIRE_FAILURES)
    assert clock() == 1009.0
    assert wire.closed


# --- What a request dies of -----------------------------------------------------------


def budget_of(clock: Clock, *, fresh: bool = False, connecting: bool = False) -> Budget:
    budget = Budget(clock, 9.0, None)
    if fresh:
        budget.to_connect()
        if not connecting:
            budget.connected()
    return budget


@pytest.mark.parametrize("caught", [TimeoutError(), httpx.ReadTimeout(""), httpx.WriteTimeout("")])
@pytest.mark.parametrize("answering", [True, False])
def test_no_progress_is_a_timeout(clock: Clock, caught: Exception, *, answering: bool) -> None:
    failure = failure_of(caught, budget_of(clock), answering=answering)
    assert type(failure) is errors.APITimeoutError
    assert str(failure) == "the service made no progress for 9 s"
    assert not failure.is_retryable


@pytest.mark.parametrize(
    "caught", [httpx.ReadError("x"), httpx.RemoteProtocolError("x"), ConnectionResetError("x")]
)
def test_a_break_is_told_by_whether_the_answer_had_begun(clock: Clock, caught: Exception) -> None:
    during = failure_of(caught, budget_of(clock), answering=True)
    assert type(during) is errors.StreamInterruptedError
    assert not during.stale
    for fresh in (True, False):
        before = failure_of(caught, budget_of(clock, fresh=fresh))
        assert type(before) is errors.APIConnectionError
        assert (before.stale, before.maybe_sent, before.is_retryable) == (not fresh, True, True)


@pytest.mark.parametrize(
    ("caught", "words"),
    [
        (httpx.ConnectError("Name or service not known"), "Name or service not known"),
        (httpx.ConnectTimeout("timed out"), "timed out"),
        (httpx.PoolTimeout(""), "no connection in the time allowed"),
        (httpx.ProxyError("407 Proxy Authentication Required"), "407 Proxy"),
        (httpx.UnsupportedProtocol("no such"), "no such"),
    ],
)
def test_what_was_not_sent_says_so_and_may_be_tried_again(
    clock: Clock, caught: Exception, words: str
) -> None:
    failure = failure_of(caught, budget_of(clock))
    assert isinstance(failure, errors.APIConnectionError)
    assert words in str(failure)
    assert (failure.maybe_sent, failure.stale, failure.is_retryable) == (False, False, True)
    assert not failure.maybe_charged


@pytest.mark.parametrize("caught", [TimeoutError(), httpx.ReadError("reset"), ssl.SSLError("x")])
def test_whatever_happens_while_connecting_was_not_sent(clock: Clock, caught: Exception) -> None:
    failure = failure_of(caught, budget_of(clock, fresh=True, connecting=True))
    assert isinstance(failure, errors.APIConnectionError)
    assert (failure.maybe_sent, failure.stale, failure.is_retryable) == (False, False, True)


@pytest.mark.parametrize(
    "caught",
    [
        httpx.ConnectError("[SSL: CERTIFICATE_VERIFY_FAILED] self-signed certificate"),
        httpx.LocalProtocolError("Illegal header value"),
    ],
)
def test_what_would_fail_again_is_not_retryable(clock: Clock, caught: Exception) -> None:
    failure = failure_of(caught, budget_of(clock))
    assert (failure.is_retryable, failure.maybe_sent) == (False, False)
