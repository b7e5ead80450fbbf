"""httpx transports over public interfaces: sync deadlines, environment proxies, tracing."""

import socket
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from contextvars import ContextVar
from ipaddress import ip_address
from ssl import SSLContext
from typing import Any, Final, NamedTuple, cast
from urllib.request import getproxies, proxy_bypass

import httpcore
import httpx

from langchain_minitoolai import errors
from langchain_minitoolai._http.effects import Clock

_REMAINING: Final[ContextVar[Callable[[], float]]] = ContextVar("_REMAINING")
"""Seconds left of the exchange that the current thread starts; raises `TimeoutError` at the end."""
_CONNECTED: Final = ("connection.connect_tcp.complete", "connection.start_tls.complete")
CONNECT_TIMEOUT: Final = 10.0
"""Seconds to connect, at most."""
_CONNECT_MARGIN: Final = 0.05
"""Seconds by which connecting ends before the whole exchange does, so that it is known to."""


class Deadline:
    """The time that one exchange has left.

    Attributes:
        limit: When the exchange is over if there is no progress, on the clock's scale.
    """

    __slots__ = ("_clock", "_connect", "_idle", "_total", "limit")

    def __init__(
        self, clock: Clock, idle: float, total: float | None, connect: float = CONNECT_TIMEOUT
    ) -> None:
        """Start the clock.

        Args:
            clock: Seconds on a monotonic scale.
            idle: Seconds allowed without progress.
            total: The end of the whole call, on the clock's scale.
            connect: Seconds to connect, at most.
        """
        self._clock = clock
        self._connect = connect
        self._idle = idle
        self._total = float("inf") if total is None else total
        self.limit = min(clock() + idle, self._total)

    def reset_idle(self) -> None:
        """Start the idle time anew, since there was progress."""
        self.limit = min(self._clock() + self._idle, self._total)

    def cap(self, seconds: float) -> None:
        """Allow at most these seconds from now on, since the content is complete."""
        self._idle = min(self._idle, seconds)
        self.limit = min(self.limit, self._clock() + seconds)

    def check(self) -> None:
        """Raise `APITimeoutError` if no time is left."""
        if self.limit <= self._clock():
            raise errors.APITimeoutError(self.timeout_message())

    def remaining(self) -> float:
        """Return the seconds left.

        Raises:
            TimeoutError: If there are none.
        """
        left = self.limit - self._clock()
        if left <= 0:
            raise TimeoutError
        return left

    def timeout_message(self) -> str:
        """Describe the limit that was reached."""
        if self.limit >= self._total:
            return "the call took longer than its total timeout allows"
        return f"the service made no progress for {self._idle:g} s"

    def sync_extensions(self) -> dict[str, Any]:
        """Return the time limits of a sync request.

        `timeout` bounds each read on any transport; `remaining` bounds all of them together on
        `DeadlineTransport`.
        """
        left = self.remaining()
        limits = {"connect": self._to_connect(left), "read": left, "write": left, "pool": left}
        return {"timeout": limits, "remaining": self.remaining}

    def async_extensions(self) -> dict[str, Any]:
        """Return the time limits of an async request: all but connecting is timed by its task."""
        connect = self._to_connect(self.remaining())
        return {"timeout": {"connect": connect, "read": None, "write": None, "pool": None}}

    def _to_connect(self, left: float) -> float:
        return max(min(left - _CONNECT_MARGIN, self._connect), 0.001)


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

        *others, last = resolve(host, port) or [host]
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


class Origin(NamedTuple):
    """The scheme, host and port of a URL."""

    scheme: str
    host: str
    port: int

    @classmethod
    def of(cls, url: str) -> "Origin":
        """Parse a URL; its host is as it is sent.

        Raises:
            httpx.InvalidURL: If it is none.
        """
        parsed = httpx.URL(url)
        host = parsed.raw_host.decode("ascii")
        return cls(parsed.scheme, host, parsed.port or (443 if parsed.scheme == "https" else 80))

    @property
    def netloc(self) -> str:
        """The host and the port."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def resolve(host: str, port: int, *, numeric: bool = False) -> list[str] | None:
    """Resolve a host name: its addresses, each once.

    Args:
        host: The name, or an address.
        port: The port.
        numeric: Whether to ask no name server: the result is `None` for a name.

    Raises:
        OSError: If the host is unknown.
    """
    flags = socket.AI_NUMERICHOST if numeric else 0
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=flags)
    except UnicodeError:
        raise socket.gaierror(f"{host!r} is no host name") from None
    except socket.gaierror:
        if not numeric:
            raise
        return None
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


def environment_proxy(origin: Origin) -> str | None:
    """Return the proxy that the environment names for an origin."""
    proxies = getproxies()
    proxy = proxies.get(origin.scheme) or proxies.get("all")
    is_excluded = "*" in proxies.get("no", "").replace(" ", "").split(",")
    if not proxy or is_excluded or proxy_bypass(origin.netloc) or proxy_bypass(origin.host):
        return None
    return proxy if "://" in proxy else f"http://{proxy}"


def is_loopback(host: str | None) -> bool:
    """Whether a host is this machine: `localhost`, a name below it (RFC 6761), or an address."""
    host = (host or "").rstrip(".").lower()
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False
