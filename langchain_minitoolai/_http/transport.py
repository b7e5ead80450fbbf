"""httpx transports over public interfaces: sync deadlines, environment proxies, tracing."""

import socket
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from contextvars import ContextVar
from ipaddress import ip_address
from ssl import SSLContext
from typing import Any, Final, TypeVar, cast
from urllib.request import getproxies

import httpcore
import httpx

_T = TypeVar("_T")
_REMAINING: Final[ContextVar[Callable[[], float]]] = ContextVar("_REMAINING")
"""Seconds left of the exchange that the current thread starts; raises `TimeoutError` at the end."""
_CONNECTED: Final = ("connection.connect_tcp.complete", "connection.start_tls.complete")


class ExchangeTrace:
    """How far an exchange got, as httpcore's `trace` extension reports it.

    Attributes:
        connected: Whether a connection was opened for this exchange.
        sent: Whether the request was sent; `None` where the transport does not trace.
        connection: The network stream that was opened.
        closing: Whether closing the response has begun and not ended.
    """

    __slots__ = ("closing", "connected", "connection", "sent")

    def __init__(self) -> None:
        """Start before the connection."""
        self.connected = False
        self.sent: bool | None = None
        self.connection: Any = None
        self.closing = False

    @property
    def stale(self) -> bool:
        """Whether the request went over a connection of an earlier exchange."""
        return self.sent is not None and not self.connected

    @property
    def lost(self) -> bool:
        """Whether httpcore's async pool keeps the closed connection for ever.

        It does if a cancellation strikes between connecting and sending, or while it closes.
        """
        return self.closing or (self.connection is not None and self.sent is False)

    def record(self, event: str, info: Mapping[str, Any]) -> None:
        """Take an event; the callback of a sync request."""
        if event == "connection.connect_tcp.started":
            self.connected, self.sent = True, False
        elif event.endswith("send_request_headers.started"):
            self.sent = True
        elif event in _CONNECTED:
            self.connection = info["return_value"]
        elif "response_closed." in event:
            self.closing = not event.endswith(".complete")

    async def arecord(self, event: str, info: Mapping[str, Any]) -> None:
        """Take an event; the callback of an async request."""
        self.record(event, info)


class DeadlineTransport(httpx.BaseTransport):
    """A sync transport that bounds a whole exchange, not each read alone.

    It is httpcore's pool over a network backend that asks before each step how many seconds are
    left: the request's extension `remaining`. Without it, headers that drip in, endless interim
    responses and a server that lingers could hold a call for ever.
    """

    def __init__(self, ssl_context: SSLContext, proxy: httpx.Proxy | None, **limits: Any) -> None:
        """Open nothing.

        Args:
            ssl_context: For the service.
            proxy: A proxy to go through.
            **limits: What `httpcore.ConnectionPool` takes: `max_connections`,
                `max_keepalive_connections`, `keepalive_expiry`.
        """
        through = None
        if proxy is not None:
            through = httpcore.Proxy(
                str(proxy.url), proxy.raw_auth, proxy.headers.raw, proxy.ssl_context
            )
        self._pool = httpcore.ConnectionPool(
            ssl_context=ssl_context, proxy=through, network_backend=_Backend(), **limits
        )

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Send a request; its response has a body that is still to be read.

        Raises:
            httpcore.TimeoutException: At the exchange's deadline; other errors of httpcore too,
                whose names are httpx's.
            TimeoutError: The same, before a step.
        """
        url = request.url
        target = httpcore.URL(
            scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=url.raw_path
        )
        token = _REMAINING.set(request.extensions["remaining"])
        try:
            response = self._pool.handle_request(
                httpcore.Request(
                    request.method,
                    target,
                    headers=request.headers.raw,
                    content=cast("Iterable[bytes]", request.stream),
                    extensions=request.extensions,
                )
            )
        finally:
            _REMAINING.reset(token)
        connection = response.extensions.get("network_stream")  # a mock of httpcore has none
        if connection is not None and not connection.get_extra_info("was_read"):
            response.close()  # httpcore had it in its buffer: it answers no request of ours
            raise httpx.RemoteProtocolError("the response came before its request")
        return httpx.Response(
            response.status,
            headers=response.headers,
            stream=_Body(response),
            extensions=response.extensions,
        )

    def close(self) -> None:
        """Close all connections."""
        self._pool.close()


class _Body(httpx.SyncByteStream):
    def __init__(self, response: httpcore.Response) -> None:
        self._response = response

    def __iter__(self) -> Iterator[bytes]:
        return self._response.iter_stream()

    def close(self) -> None:
        self._response.close()


class _Backend(httpcore.NetworkBackend):
    """Opens connections, by httpcore's own backend."""

    def __init__(self) -> None:
        self._inner = httpcore.SyncBackend()

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.NetworkStream:
        """Connect to the first address that answers; each has an equal share of what is left."""

        def connect(address: str, share: int) -> httpcore.NetworkStream:
            seconds = _shorter(timeout) / share
            return _Stream(
                self._inner.connect_tcp(address, port, seconds, local_address, socket_options)
            )

        *others, last = resolve(host, port)
        for number, address in enumerate(others):
            with suppress(httpcore.ConnectError, httpcore.ConnectTimeout):
                return connect(address, len(others) + 1 - number)
        return connect(last, 1)


class _Stream(httpcore.NetworkStream):
    """A connection; a write hands it to the exchange that the current thread starts."""

    def __init__(self, inner: httpcore.NetworkStream) -> None:
        self._inner = inner
        self._remaining = _REMAINING.get()
        self._was_read = False

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        self._was_read = True
        return self._inner.read(max_bytes, self._remaining())

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._remaining, self._was_read = _REMAINING.get(), False
        self._inner.write(buffer, self._remaining())

    def start_tls(
        self,
        ssl_context: SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,
    ) -> httpcore.NetworkStream:
        return _Stream(self._inner.start_tls(ssl_context, server_hostname, _shorter(timeout)))

    def get_extra_info(self, info: str) -> Any:
        return self._was_read if info == "was_read" else self._inner.get_extra_info(info)

    def close(self) -> None:
        self._inner.close()


def _shorter(timeout: float | None) -> float:
    left = _REMAINING.get()()
    return left if timeout is None else min(timeout, left)


def resolve(host: str, port: int) -> list[str]:
    """Resolve a host name: its addresses, each once.

    Raises:
        OSError: If the host is unknown.
    """
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except UnicodeError:
        raise socket.gaierror(f"{host!r} is no host name") from None
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


def environment_mounts(transport: Callable[[httpx.Proxy], _T]) -> dict[str, _T | None]:
    """Map URL patterns to transports, by the environment's proxy variables, as httpx does.

    A client that is handed a transport does not look at the environment by itself.

    Args:
        transport: Makes the transport through a proxy.
    """
    proxies = getproxies()
    mounts: dict[str, _T | None] = {
        f"{scheme}://": transport(
            httpx.Proxy(
                proxies[scheme] if "://" in proxies[scheme] else f"http://{proxies[scheme]}"
            )
        )
        for scheme in ("http", "https", "all")
        if proxies.get(scheme)
    }
    excluded = [host.strip().lstrip(".") for host in proxies.get("no", "").split(",")]
    if "*" in excluded or not mounts:
        return {}
    return mounts | {_pattern(host): None for host in excluded if host}


def _pattern(host: str) -> str:
    """Write a host of `no_proxy` as httpx's URL pattern: names stand for their subdomains too."""
    if "://" in host:
        return host
    if host.count(":") > 1:
        return f"all://[{host.strip('[]')}]"
    name = host.partition(":")[0]
    is_address = name.replace(".", "").isdigit()
    return f"all://{host}" if is_address or name == "localhost" else f"all://*{host}"


def is_loopback(host: str | None) -> bool:
    """Whether a host is this machine: `localhost`, a name below it (RFC 6761), or an address."""
    host = (host or "").rstrip(".").lower()
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False
