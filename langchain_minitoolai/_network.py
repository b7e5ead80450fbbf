"""Below httpx's surface: how clients are made, how time reaches their sockets, what fails."""

import asyncio
import ssl
from functools import lru_cache
from http.cookiejar import CookieJar
from pathlib import Path
from typing import Any, Final, NamedTuple, TypeVar

import httpx

from langchain_minitoolai import errors
from langchain_minitoolai._budget import Budget

_SLACK: Final = 0.02
"""Seconds by which a read's time limit may be off: moving it costs a system call."""

WIRE_FAILURES: Final = (httpx.TransportError, OSError)
"""What a request can die of; the built-in `TimeoutError` is an `OSError`."""

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
    return _take_over(httpx.Client(**_options(route, keep)), _Backend)


def make_async_client(route: Route, *, keep: int) -> httpx.AsyncClient:
    """Make an async client; see `make_client`."""
    if route.aiohttp:
        return _make_aiohttp_client(route, keep=keep)
    return _take_over(httpx.AsyncClient(**_options(route, keep)), _AsyncBackend)


def _make_aiohttp_client(route: Route, *, keep: int) -> httpx.AsyncClient:
    from httpx_aiohttp import HttpxAiohttpClient  # noqa: PLC0415 - an extra

    # No limit is 0 there; and a connection is kept by time, not by number.
    limits = httpx.Limits(max_connections=0, keepalive_expiry=5.0 if keep else 0.0)
    return HttpxAiohttpClient(**{**_options(route, keep), "limits": limits})


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
        caught: One of `WIRE_FAILURES`; nothing of it is kept.
        budget: The exchange's time.
        answering: Whether the reply's headers had come.
        place: The host and port that was asked, for the words where it was not reached.
    """
    if answering:
        if isinstance(caught, TimeoutError | httpx.TimeoutException):
            return errors.APITimeoutError(budget.reason())
        return errors.StreamInterruptedError("the connection broke before the answer was complete")
    unsent = _never_sent(caught) if budget.foreign else isinstance(caught, _UNSENT)
    unsent = unsent or budget.connecting
    if isinstance(caught, TimeoutError | httpx.TimeoutException) and not unsent:
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


class _NoCookies(CookieJar):
    """Keeps none and sends none: cookies would tie one user's call to another's."""

    def add_cookie_header(self, request: Any) -> None:
        """Send none."""

    def extract_cookies(self, response: Any, request: Any) -> None:
        """Keep none."""


def _never_sent(caught: Exception) -> bool:
    # httpx-aiohttp calls every broken connection a failure to connect; its cause knows better.
    causes = {kind.__name__ for kind in type(caught.__cause__ or caught).__mro__}
    return not causes.isdisjoint({"ClientConnectorError", "ConnectionTimeoutError"})


def _options(route: Route, keep: int) -> dict[str, Any]:
    return {
        "verify": ssl_context(route.verify),
        "proxy": route.proxy,
        "limits": httpx.Limits(max_connections=None, max_keepalive_connections=keep),
        "cookies": _NoCookies(),
    }


def _take_over(client: _C, backend: type["_Backend"]) -> _C:
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
        self._socket = inner.get_extra_info("socket") if tls <= 1 else None
        self._seconds: float | None = None  # the socket's limit, where it is known

    def read(self, max_bytes: int, timeout: Any = None) -> Any:
        left = timeout.left()
        if self._socket is None:
            return self._inner.read(max_bytes, left)
        if self._seconds is None or not -_SLACK < left - self._seconds < _SLACK:
            self._socket.settimeout(left)
            self._seconds = left
        return self._socket.recv(max_bytes)

    def write(self, buffer: bytes, timeout: Any = None) -> Any:
        self._seconds = None
        return self._inner.write(buffer, timeout.left())

    def start_tls(self, ssl_context: Any, server_hostname: Any = None, timeout: Any = None) -> Any:
        stream = self._inner.start_tls(ssl_context, server_hostname, timeout.to_connect())
        timeout.connected()
        return _Stream(stream, self._tls + 1)

    def close(self) -> None:
        self._inner.close()

    def get_extra_info(self, info: str) -> Any:
        return self._inner.get_extra_info(info)


class _Backend:
    """httpcore's network backend, with a `Budget` where it expects a number."""

    def __init__(self, inner: Any) -> None:
        self._inner = inner

    def connect_tcp(self, host: str, port: int, timeout: Any = None, **options: Any) -> Any:
        stream = self._inner.connect_tcp(host, port, timeout.to_connect(), **options)
        timeout.connected()
        return _Stream(stream)


class _AsyncStream(_Stream):
    """The async twin: a watchdog bounds the time, so reads need no timer of their own."""

    def __init__(self, inner: Any) -> None:
        self._inner = inner

    async def read(self, max_bytes: int, timeout: Any = None) -> Any:
        return await self._inner.read(max_bytes)

    async def write(self, buffer: bytes, timeout: Any = None) -> Any:
        return await self._inner.write(buffer)

    async def start_tls(
        self, ssl_context: Any, server_hostname: Any = None, timeout: Any = None
    ) -> Any:
        seconds = timeout.to_connect()
        try:
            stream = await self._inner.start_tls(ssl_context, server_hostname, seconds)
        except BaseException:
            # httpcore closes after an error, but not when the task is cancelled.
            await self._inner.aclose()
            raise
        timeout.connected()
        return _AsyncStream(stream)

    async def aclose(self) -> None:
        await self._inner.aclose()


class _AsyncBackend(_Backend):
    async def connect_tcp(self, host: str, port: int, timeout: Any = None, **options: Any) -> Any:
        connect = self._inner.connect_tcp(host, port, timeout.to_connect(), **options)
        task = asyncio.create_task(connect)
        try:
            # anyio may take a cancellation for one of its own, or lose the socket just made.
            stream = await asyncio.shield(task)
        except asyncio.CancelledError:
            _LATE.add(task)
            task.add_done_callback(_close_late)
            raise
        timeout.connected()
        timeout.made = _AsyncStream(stream)
        return timeout.made


_LATE: Final[set[asyncio.Task[Any]]] = set()
"""Connections being made for calls that were cancelled, and their ends."""


def _close_late(task: asyncio.Task[Any]) -> None:
    _LATE.discard(task)
    if not task.cancelled() and task.exception() is None:
        closing = asyncio.get_running_loop().create_task(task.result().aclose())
        _LATE.add(closing)
        closing.add_done_callback(_LATE.discard)
