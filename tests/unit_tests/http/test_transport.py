"""The sync transport that obeys a deadline, proxies of the environment, and tracing."""

import base64
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any

import httpcore
import httpx
import pytest

from langchain_minitoolai._http import transport
from langchain_minitoolai._http.pool import ssl_context
from langchain_minitoolai._http.transport import (
    CONNECT_TIMEOUT,
    Deadline,
    DeadlineTransport,
    ExchangeTrace,
    Origin,
    environment_proxy,
    is_loopback,
    resolve,
)
from langchain_minitoolai.errors import APITimeoutError
from tests.unit_tests.fake_clients import CONNECTING, SENDING, Clock
from tests.unit_tests.fake_streams import RESPONSE, FakeBackend

LIMITS = {"max_connections": None, "max_keepalive_connections": 1, "keepalive_expiry": 30.0}


@pytest.fixture
def clock() -> Clock:
    return Clock()


# --- Tracing --------------------------------------------------------------------------


def test_a_transport_that_does_not_trace_says_nothing_of_what_was_sent() -> None:
    trace = ExchangeTrace()
    assert (trace.connected, trace.sent, trace.connection, trace.stale) == (
        False,
        None,
        None,
        False,
    )


def test_a_request_over_a_kept_connection_can_meet_a_stale_one() -> None:
    trace = ExchangeTrace()
    trace.record(SENDING.name, {})
    assert (trace.sent, trace.stale) == (True, True)


def test_a_request_over_a_new_connection_can_not() -> None:
    trace = ExchangeTrace()
    trace.record(CONNECTING.name, {})
    assert (trace.connected, trace.sent, trace.stale) == (True, False, False)
    trace.record("http2.send_request_headers.started", {})
    assert (trace.sent, trace.stale) == (True, False)


async def test_the_newest_stream_of_a_connection_is_kept() -> None:
    trace = ExchangeTrace()
    await trace.arecord("connection.connect_tcp.complete", {"return_value": "plain"})
    assert trace.connection == "plain"
    await trace.arecord("connection.start_tls.complete", {"return_value": "encrypted"})
    await trace.arecord("http11.receive_response_headers.complete", {"return_value": "other"})
    assert trace.connection == "encrypted"


@pytest.mark.parametrize(
    ("events", "lost"),
    [
        ([], False),
        ([CONNECTING.name], False),
        ([CONNECTING.name, "connection.connect_tcp.complete"], True),
        ([CONNECTING.name, "connection.connect_tcp.complete", SENDING.name], False),
        (["http11.response_closed.started"], True),
        (["http11.response_closed.started", "http11.response_closed.failed"], True),
        (["http11.response_closed.started", "http11.response_closed.complete"], False),
    ],
)
def test_a_connection_is_lost_between_connecting_and_sending_and_while_it_closes(
    events: list[str], *, lost: bool
) -> None:
    trace = ExchangeTrace()
    for event in events:
        trace.record(event, {"return_value": "a connection"})
    assert trace.lost is lost


# --- Over a fake network ----------------------------------------------------------------


def over(
    monkeypatch: pytest.MonkeyPatch, backend: FakeBackend, proxy: str | None = None
) -> DeadlineTransport:
    monkeypatch.setattr(httpcore, "SyncBackend", lambda: backend)
    through = httpx.Proxy(proxy) if proxy else None
    return DeadlineTransport(ssl_context(verify=False), through, **LIMITS)


def exchange(
    made: DeadlineTransport, url: str, deadline: Deadline, **headers: str
) -> httpx.Response:
    request = httpx.Request(
        "POST", url, content=b"{}", headers=headers, extensions=deadline.sync_extensions()
    )
    response = made.handle_request(request)
    assert isinstance(response.stream, httpx.SyncByteStream)
    response.read()
    return response


def test_each_step_has_the_time_that_all_before_it_have_left(
    monkeypatch: pytest.MonkeyPatch, clock: Clock
) -> None:
    backend = FakeBackend(clock, RESPONSE[:20], RESPONSE[20:-1], RESPONSE[-1:])
    made = over(monkeypatch, backend)
    response = exchange(made, "https://service.test/x", Deadline(clock, 60.0, None))
    assert (response.status_code, response.content) == (200, b"{}")
    connect, tls, *others = backend.steps
    assert (connect, tls) == (("connect service.test:443", 10.0), ("tls service.test", 10.0))
    assert [limit for _, limit in others] == [58.0 - step for step in range(len(others))]
    assert [name for name, _ in others if name == "read"] == ["read"] * 3


def test_connecting_and_tls_together_obey_a_short_deadline(
    monkeypatch: pytest.MonkeyPatch, clock: Clock
) -> None:
    backend = FakeBackend(clock, RESPONSE)
    exchange(over(monkeypatch, backend), "https://service.test/", Deadline(clock, 5.5, None))
    assert backend.steps[:2] == [
        ("connect service.test:443", pytest.approx(5.45)),
        ("tls service.test", 4.5),
    ]


@pytest.mark.parametrize(
    "drip",
    [
        [b"H", b"T", b"T", b"P"] * 99,
        [b"HTTP/1.1 103 Early Hints\r\n\r\n"] * 99,
        [RESPONSE[:-2], b"", b""],
    ],
)
def test_headers_that_drip_in_end_at_the_deadline(
    monkeypatch: pytest.MonkeyPatch, clock: Clock, drip: list[bytes]
) -> None:
    backend = FakeBackend(clock, *drip, takes=3.0)
    made = over(monkeypatch, backend)
    with pytest.raises((TimeoutError, httpcore.RemoteProtocolError)):
        exchange(made, "http://service.test/", Deadline(clock, 20.0, None))
    assert clock() <= 1021.0
    assert backend.opened[0].closed


def test_a_kept_connection_obeys_the_next_exchange_s_deadline(
    monkeypatch: pytest.MonkeyPatch, clock: Clock
) -> None:
    backend = FakeBackend(clock, RESPONSE, RESPONSE)
    made = over(monkeypatch, backend)
    exchange(made, "http://service.test/", Deadline(clock, 60.0, None))
    before = len(backend.steps)
    exchange(made, "http://service.test/", Deadline(clock, 9.0, None))
    assert len(backend.opened) == 1
    limits = [limit for _, limit in backend.steps[before:]]
    assert limits == [9.0 - step for step in range(len(limits))]
    assert backend.steps[-1][0] == "read"


def test_a_response_that_came_before_its_request_is_refused(
    monkeypatch: pytest.MonkeyPatch, clock: Clock
) -> None:
    backend = FakeBackend(clock, RESPONSE + RESPONSE.replace(b"{}", b"[]"), RESPONSE)
    made = over(monkeypatch, backend)
    deadline = Deadline(clock, 60.0, None)
    assert exchange(made, "http://service.test/", deadline).content == b"{}"
    with pytest.raises(httpx.RemoteProtocolError, match="before its request"):
        exchange(made, "http://service.test/", deadline)


def test_the_next_address_is_tried_where_the_first_does_not_answer(
    monkeypatch: pytest.MonkeyPatch, clock: Clock
) -> None:
    monkeypatch.setattr(transport, "resolve", lambda *_: ["::1", "10.0.0.1", "10.0.0.2"])
    refused = {"::1": httpcore.ConnectError("refused"), "10.0.0.1": httpcore.ConnectTimeout("late")}
    backend = FakeBackend(clock, RESPONSE, unreachable=refused)
    response = exchange(
        over(monkeypatch, backend), "http://service.test/", Deadline(clock, 9.05, None)
    )
    assert response.status_code == 200
    names, limits = zip(*backend.steps[:3], strict=True)
    assert names == ("connect ::1:80", "connect 10.0.0.1:80", "connect 10.0.0.2:80")
    assert limits == pytest.approx((3.0, 8.05 / 2, 7.05))


def test_where_no_address_answers_the_last_one_s_error_is_raised(
    monkeypatch: pytest.MonkeyPatch, clock: Clock
) -> None:
    monkeypatch.setattr(transport, "resolve", lambda *_: ["10.0.0.1", "10.0.0.2"])
    refused = {host: httpcore.ConnectError(host) for host in ("10.0.0.1", "10.0.0.2")}
    backend = FakeBackend(clock, unreachable=refused)
    with pytest.raises(httpcore.ConnectError, match=r"10\.0\.0\.2"):
        exchange(over(monkeypatch, backend), "http://service.test/", Deadline(clock, 9.0, None))


def test_a_connection_without_a_limit_of_its_own_has_the_exchange_s(
    monkeypatch: pytest.MonkeyPatch, clock: Clock
) -> None:
    backend = FakeBackend(clock, RESPONSE)
    request = httpx.Request(
        "GET",
        "http://service.test/",
        extensions={"remaining": Deadline(clock, 7.0, None).remaining},
    )
    over(monkeypatch, backend).handle_request(request).read()
    assert backend.steps[0] == ("connect service.test:80", 7.0)


def test_a_proxy_is_connected_to_with_its_user_and_password(
    monkeypatch: pytest.MonkeyPatch, clock: Clock
) -> None:
    backend = FakeBackend(clock, RESPONSE)
    made = over(monkeypatch, backend, "http://user:pw@proxy.test:3128")
    exchange(made, "http://service.test/x", Deadline(clock, 60.0, None))
    assert backend.steps[0][0] == "connect proxy.test:3128"
    assert b"POST http://service.test/x HTTP/1.1\r\n" in backend.opened[0].written
    credentials = base64.b64encode(b"user:pw")
    assert b"Proxy-Authorization: Basic " + credentials in backend.opened[0].written


def test_closing_a_transport_closes_its_connections(
    monkeypatch: pytest.MonkeyPatch, clock: Clock
) -> None:
    backend = FakeBackend(clock, RESPONSE)
    made = over(monkeypatch, backend)
    exchange(made, "http://service.test/", Deadline(clock, 60.0, None))
    assert backend.opened[0].closed == 0
    made.close()
    assert backend.opened[0].closed == 1


def test_a_body_that_is_closed_early_closes_its_connection(
    monkeypatch: pytest.MonkeyPatch, clock: Clock
) -> None:
    backend = FakeBackend(clock, RESPONSE[:-1])
    request = httpx.Request(
        "GET", "http://service.test/", extensions=Deadline(clock, 9.0, None).sync_extensions()
    )
    response = over(monkeypatch, backend).handle_request(request)
    assert backend.opened[0].closed == 0
    response.close()
    assert backend.opened[0].closed == 1


# --- Over loopback ----------------------------------------------------------------------


Serve = Callable[[Callable[[socket.socket], None]], str]


@pytest.fixture
def serve(loopback: None) -> Iterator[Serve]:
    """Serve one connection by a function; it ends when its peer closes."""
    threads: list[threading.Thread] = []

    def start(talk: Callable[[socket.socket], None]) -> str:
        listener = socket.create_server(("127.0.0.1", 0))

        def run() -> None:
            with closing(listener), closing(listener.accept()[0]) as peer:
                peer.settimeout(5)
                try:
                    talk(peer)
                except OSError:
                    return  # the client closed first, as it should

        threads.append(threading.Thread(target=run))
        threads[-1].start()
        return f"http://127.0.0.1:{listener.getsockname()[1]}/"

    yield start
    for thread in threads:
        thread.join(10)
        assert not thread.is_alive()


def receive(peer: socket.socket) -> bytes:
    """Receive a request, or the end of the connection."""
    request = b""
    while not request.endswith(b"{}") and (block := peer.recv(9999)):
        request += block
    return request


def hold(made: DeadlineTransport, url: str) -> float:
    """Make an exchange with a fifth of a second; return how long it took to fail."""
    began = time.monotonic()
    with closing(made), pytest.raises((httpcore.TimeoutException, TimeoutError)):
        exchange(made, url, Deadline(time.monotonic, 0.2, None))
    return time.monotonic() - began


@pytest.mark.parametrize("drip", [b"x", b"HTTP/1.1 103 Early Hints\r\n\r\n", None])
def test_a_server_that_drips_or_stalls_holds_a_call_no_longer_than_its_deadline(
    serve: Serve, drip: bytes | None
) -> None:
    def talk(peer: socket.socket) -> None:
        receive(peer)
        peer.sendall(b"HTTP/1.1 200 OK\r\nX: " if drip == b"x" else b"")
        while drip:
            peer.sendall(drip)
            time.sleep(0.01)
        receive(peer)

    made = DeadlineTransport(ssl_context(verify=False), None, **LIMITS)
    assert 0.15 < hold(made, serve(talk)) < 2.0


def test_two_calls_go_over_one_connection(serve: Serve) -> None:
    received: list[bytes] = []

    def talk(peer: socket.socket) -> None:
        for _ in range(2):
            received.append(receive(peer))
            peer.sendall(RESPONSE)
        receive(peer)

    url = serve(talk)
    with closing(DeadlineTransport(ssl_context(verify=False), None, **LIMITS)) as made:
        for _ in range(2):
            response = exchange(made, url, Deadline(time.monotonic, 5.0, None), x_mine="1")
            assert response.headers["content-length"] == "2"
    assert len(received) == 2


# --- Names ------------------------------------------------------------------------------


def test_a_name_has_each_of_its_addresses_once(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []

    def found(host: str, port: int, **options: Any) -> list[Any]:
        asked.append((host, port, options))
        return [(0, 0, 0, "", (ip, port)) for ip in ("10.0.0.1", "::1", "10.0.0.1")]

    monkeypatch.setattr(socket, "getaddrinfo", found)
    assert resolve("service.test", 443) == ["10.0.0.1", "::1"]
    assert asked == [("service.test", 443, {"type": socket.SOCK_STREAM, "flags": 0})]


@pytest.mark.usefixtures("loopback")  # no name server is asked
@pytest.mark.parametrize(
    ("host", "found"),
    [
        ("10.0.0.1", ["10.0.0.1"]),
        ("2130706433", ["127.0.0.1"]),
        ("0x7f.1", ["127.0.0.1"]),
        ("::1", ["::1"]),
        ("service.test", None),
    ],
)
def test_a_host_is_an_address_however_it_is_written(host: str, found: list[str] | None) -> None:
    assert resolve(host, 443, numeric=True) == found


@pytest.mark.usefixtures("loopback")  # these names fail before any is looked up
@pytest.mark.parametrize("host", ["a" * 70 + ".test", "a..test"])
def test_what_is_no_host_name_is_an_unknown_host(host: str) -> None:
    with pytest.raises(socket.gaierror, match="no host name"):
        resolve(host, 443)


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("localhost", True),
        ("LOCALHOST.", True),
        ("sandbox.localhost", True),
        ("127.0.0.1", True),
        ("127.8.8.8", True),
        ("::1", True),
        ("0.0.0.0", False),  # noqa: S104 - not bound to
        ("8.8.8.8", False),
        ("localhost.evil.test", False),
        ("notlocalhost", False),
        ("", False),
        (None, False),
    ],
)
def test_loopback_is_this_machine(host: str | None, *, expected: bool) -> None:
    assert is_loopback(host) is expected


# --- Proxies of the environment -----------------------------------------------------------


def proxy_of(url: str) -> str | None:
    return environment_proxy(Origin.of(url))


def test_without_variables_there_is_no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    assert proxy_of("https://service.test") is None
    monkeypatch.setenv("NO_PROXY", "service.test")
    monkeypatch.setenv("http_proxy", "")
    assert proxy_of("http://other.test") is None


def test_each_scheme_has_its_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "proxy.test:1")
    assert proxy_of("https://service.test") is None
    monkeypatch.setenv("all_proxy", "http://c.test")
    assert proxy_of("https://service.test") == "http://c.test"
    monkeypatch.setenv("HTTPS_PROXY", "https://b.test")
    assert proxy_of("https://service.test") == "https://b.test"
    assert proxy_of("http://service.test") == "http://proxy.test:1"


@pytest.mark.parametrize(
    ("excluded", "url"),
    [
        ("service.test", "https://service.test"),
        (" .service.test ", "https://api.service.test"),
        ("service.test:8443", "https://service.test:8443"),
        ("localhost", "https://localhost"),
        ("10.0.0.1", "https://10.0.0.1"),
        ("10.0.0.1:80", "https://10.0.0.1:80"),
        ("::1", "https://[::1]"),
        ("[fe80::1]", "https://[fe80::1]"),
        ("a.test, *", "https://service.test"),
    ],
)
def test_a_host_that_is_excluded_has_no_proxy(
    monkeypatch: pytest.MonkeyPatch, excluded: str, url: str
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://p.test")
    assert proxy_of(url) == "http://p.test"
    monkeypatch.setenv("NO_PROXY", f"{excluded},,")
    assert proxy_of(url) is None


@pytest.mark.parametrize(
    ("url", "proxied"),
    [
        ("https://service.test/", False),
        ("https://api.service.test/", False),
        ("https://service.test.evil.test/", True),
        ("https://10.0.0.1/", False),
        ("https://10.0.0.12/", True),
        ("https://[::1]/", False),
        ("https://[::2]/", True),
        ("https://localhost/", False),
        ("https://other.test/", True),
    ],
)
def test_the_environment_is_read_as_httpx_reads_it(
    monkeypatch: pytest.MonkeyPatch, url: str, *, proxied: bool
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://p.test")
    monkeypatch.setenv("NO_PROXY", "service.test,10.0.0.1,::1,localhost")
    with httpx.Client() as theirs:
        transport_for = theirs._transport_for_url(httpx.URL(url))
        assert (transport_for is not theirs._transport) is proxied
    assert (proxy_of(url) is not None) is proxied


# --- Deadlines ---------------------------------------------------------------------


def test_time_runs_out_without_progress(clock: Clock) -> None:
    deadline = Deadline(clock, 9.0, None)
    clock.sleep(8.0)
    assert deadline.remaining() == 1.0
    deadline.check()
    clock.sleep(1.0)
    with pytest.raises(APITimeoutError, match="no progress for 9 s"):
        deadline.check()
    with pytest.raises(TimeoutError):
        deadline.remaining()


def test_progress_resets_the_idle_time_but_never_moves_the_total(clock: Clock) -> None:
    deadline = Deadline(clock, 9.0, clock() + 12.0)
    clock.sleep(8.0)
    deadline.reset_idle()
    assert deadline.remaining() == 4.0
    clock.sleep(4.0)
    with pytest.raises(APITimeoutError, match="total timeout"):
        deadline.check()


def test_a_total_that_has_passed_leaves_no_time(clock: Clock) -> None:
    deadline = Deadline(clock, 9.0, clock() - 1.0)
    for limits in (deadline.remaining, deadline.sync_extensions, deadline.async_extensions):
        with pytest.raises(TimeoutError):
            limits()


def test_a_cap_never_gives_more_time(clock: Clock) -> None:
    deadline = Deadline(clock, 9.0, None)
    deadline.cap(2.0)
    assert deadline.remaining() == 2.0
    clock.sleep(1.0)
    deadline.cap(5.0)
    assert deadline.remaining() == 1.0
    deadline.reset_idle()
    assert deadline.remaining() == 2.0
    assert deadline.timeout_message() == "the service made no progress for 2 s"


@pytest.mark.parametrize(
    ("idle", "connect"), [(60.0, CONNECT_TIMEOUT), (10.0, 9.95), (3.0, 2.95), (0.01, 0.001)]
)
def test_connecting_takes_ten_seconds_at_most_and_ends_before_the_exchange(
    clock: Clock, idle: float, connect: float
) -> None:
    deadline = Deadline(clock, idle, None)
    for extensions in (deadline.sync_extensions(), deadline.async_extensions()):
        assert extensions["timeout"]["connect"] == pytest.approx(connect)


def test_a_sync_request_has_numbers_and_a_function_that_counts_down(clock: Clock) -> None:
    extensions = Deadline(clock, 9.0, None).sync_extensions()
    assert extensions["timeout"] == pytest.approx(
        {"connect": 8.95, "read": 9.0, "write": 9.0, "pool": 9.0}
    )
    clock.sleep(4.0)
    assert extensions["remaining"]() == 5.0


def test_an_async_request_has_a_limit_for_connecting_alone(clock: Clock) -> None:
    extensions = Deadline(clock, 60.0, None).async_extensions()
    assert extensions == {"timeout": {"connect": 10.0, "read": None, "write": None, "pool": None}}
