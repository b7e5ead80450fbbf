"""Below httpx's surface: how clients are made, how time reaches their sockets, what fails."""

import ssl
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any, Final, NamedTuple, TypeVar

import httpx

from langchain_minitoolai import errors
from langchain_minitoolai._aiohttp import aiohttp_failures, make_aiohttp_client
from langchain_minitoolai._budget import Budget
from langchain_minitoolai._cookieless import CookielessAsyncClient, CookielessClient
from langchain_minitoolai._seam import Seam
from langchain_minitoolai._sockets import SocketBackend

_SLACK: Final = 0.02
"""Seconds by which a read's time limit may be off: moving it costs a system call."""

_MOST: Final = 64 * 1024
"""The most bytes that one read of a body gives."""

KEEP_SECONDS: Final = 30.0
"""How long an idle connection is kept: an agent's tools take longer than httpx's 5 s."""

WIRE_FAILURES: Final = (httpx.TransportError, OSError)
"""What a request can die of; the built-in `TimeoutError` is an `OSError`."""


def wire_failures(budget: Budget) -> tuple[type[Exception], ...]:
    """Give what an exchange can die of, whichever network it has."""
    return (*WIRE_FAILURES, *aiohttp_failures()) if budget.foreign else WIRE_FAILURES


_C = TypeVar("_C", httpx.Client, httpx.AsyncClient)


class Route(NamedTuple):
    """A way of connecting: all that decides which connections can be shared."""

    proxy: str | None = None
    verify: bool | str = True
    aiohttp: bool = False
    """Whether async calls go over aiohttp's connections."""


def make_client(route: Route, *, keep: int) -> httpx.Client:
    """Make a sync client.

    Args:
        route: How to connect.
        keep: The most idle connections to keep.
    """
    return _take_over(CookielessClient(**_options(route, keep)), _Backend)


def make_async_client(route: Route, *, keep: int) -> httpx.AsyncClient:
    """Make an async client; see `make_client`."""
    if route.aiohttp:
        return make_aiohttp_client(_options(route, keep), keep=keep)
    return _take_over(CookielessAsyncClient(**_options(route, keep)), lambda _: SocketBackend())


@lru_cache(maxsize=8)
def ssl_context(verify: bool | str) -> ssl.SSLContext:  # noqa: FBT001 - as httpx has it
    """Make the TLS context, once: reading the certificates is most of a client's cost.

    Raises:
        InvalidInputError: If the path holds no certificates.
    """
    if not isinstance(verify, str):
        return httpx.create_ssl_context(verify=verify)
    try:
        if Path(verify).is_dir():
            return ssl.create_default_context(capath=verify)
        return ssl.create_default_context(cafile=verify)
    except OSError:
        allowed = "True, False, or the path of certificates in PEM form"
        raise errors.InvalidInputError(f"verify is {verify!r}; allowed: {allowed}") from None


def failure_of(
    caught: Exception, budget: Budget, *, answering: bool = False, place: str = ""
) -> errors.MiniToolAIError:
    """Say in our terms what a request died of.

    Args:
        caught: One of `wire_failures`; nothing of it is kept.
        budget: The exchange's time.
        answering: Whether the reply's headers had come.
        place: The host and port that was asked, for the words where it was not reached.
    """
    # httpx-aiohttp calls every broken connection a failure to connect in time.
    late = TimeoutError if budget.foreign else (TimeoutError, httpx.TimeoutException)
    if answering:
        if isinstance(caught, late):
            return errors.APITimeoutError(budget.reason())
        return errors.StreamInterruptedError("the connection broke before the answer was complete")
    unsent = budget.connecting or (not budget.foreign and isinstance(caught, _UNSENT))
    if isinstance(caught, late) and not unsent:
        return errors.APITimeoutError(budget.reason())
    if not unsent:
        failure = errors.APIConnectionError("the connection broke before the service answered")
        failure.stale = not budget.fresh
        return failure
    words = errors.tidy(str(caught)) or "no connection in the time allowed"
    at = f" at {place}" if place else ""
    failure = errors.APIConnectionError(f"can't connect to the service{at}: {words}")
    failure.maybe_sent = failure.maybe_charged = False
    if "CERTIFICATE_VERIFY_FAILED" in words or isinstance(caught, httpx.LocalProtocolError):
        failure.is_retryable = False
    return failure


_UNSENT: Final = (
    httpx.ConnectError,
    httpx.ConnectTimeout,
    httpx.PoolTimeout,
    httpx.ProxyError,
    httpx.UnsupportedProtocol,
    httpx.LocalProtocolError,
)


def _options(route: Route, keep: int) -> dict[str, Any]:
    return {
        "verify": ssl_context(route.verify),
        "proxy": route.proxy,
        "limits": httpx.Limits(
            max_connections=None, max_keepalive_connections=keep, keepalive_expiry=KEEP_SECONDS
        ),
    }


def _take_over(client: _C, backend: Callable[[Any], Any]) -> _C:
    """Put our backend under a client; the one place that touches private attributes."""
    for transport in (client._transport, *client._mounts.values()):  # noqa: SLF001
        if transport is not None:
            pool = transport._pool  # noqa: SLF001
            pool._network_backend = backend(pool._network_backend)  # noqa: SLF001
    return client


class _Stream:
    """A connection whose reads and writes take the time their exchange has left.

    httpcore hands the values of a request's `timeout` extension down to its network backend
    as they are, so a `Budget` arrives here in place of a number. Bytes are read from the
    socket itself: what httpcore does around that costs as much as reading.
    """

    def __init__(self, inner: Any, tls: int = 0) -> None:
        self._inner = inner
        self._tls = tls
        # With TLS in TLS the socket is not where the bytes come from.
        self._socket: Any = inner.get_extra_info("socket") if tls <= 1 else None
        self._seconds: float | None = None  # the socket's limit, where it is known
        self.seam = Seam()

    def read(self, max_bytes: int, timeout: Any = None) -> Any:
        if not timeout:  # a SOCKS handshake has none
            return self._inner.read(max_bytes, None)
        left = timeout.left()
        if self._socket is None:
            return self._inner.read(max_bytes, left)
        return self.seam.cut(self.seam.take() or self._receive(max_bytes, left))

    def read_body(self, budget: Budget) -> bytes:
        """Give the next bytes of a body that `seam` kept apart."""
        return self.seam.take() or self._receive(_MOST, budget.left())

    def _receive(self, max_bytes: int, left: float) -> bytes:
        if self._seconds is None or not -_SLACK < left - self._seconds < _SLACK:
            self._socket.settimeout(left)
            self._seconds = left
        received: bytes = self._socket.recv(max_bytes)
        return received

    def write(self, buffer: bytes, timeout: Any = None) -> Any:
        self._seconds = None
        if timeout:
            self.seam.begin()
        return self._inner.write(buffer, timeout.left() if timeout else None)

    def start_tls(self, ssl_context: Any, server_hostname: Any = None, timeout: Any = None) -> Any:
        stream = self._inner.start_tls(ssl_context, server_hostname, timeout.to_connect())
        timeout.connected()
        return _Stream(stream, self._tls + 1)

    def close(self) -> None:
        self._inner.close()

    def get_extra_info(self, info: str) -> Any:
        if info == "is_readable" and self.seam.held:
            return True  # of an idle connection: something came that nobody asked for
        return self._inner.get_extra_info(info)


class _Backend:
    """httpcore's network backend, with a `Budget` where it expects a number."""

    def __init__(self, inner: Any) -> None:
        self._inner = inner

    def connect_tcp(self, host: str, port: int, timeout: Any = None, **options: Any) -> Any:
        stream = self._inner.connect_tcp(host, port, timeout.to_connect(), **options)
        timeout.connected()
        return _Stream(stream)
