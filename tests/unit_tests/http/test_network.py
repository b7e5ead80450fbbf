"""Below httpx's surface: our network backend, certificates, and what a request dies of."""

import ssl
from collections.abc import Callable
from pathlib import Path

import certifi
import httpcore
import httpx
import pytest

from langchain_minitoolai import errors
from langchain_minitoolai._http.deadline import Budget
from langchain_minitoolai._http.network import (
    KEEP_SECONDS,
    Route,
    failure_of,
    make_async_client,
    make_client,
    ssl_context,
)
from langchain_minitoolai._sockets import SocketBackend
from tests.unit_tests.shells import Clock
from tests.unit_tests.wires import UNVERIFIED, Made, Wire, exchange, pools


@pytest.fixture
def clock() -> Clock:
    return Clock()


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
