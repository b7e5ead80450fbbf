"""Connections under our sync backend that are no sockets."""

import ssl
from collections.abc import Iterator
from typing import Any, TypeAlias

import httpx

from langchain_minitoolai._http.deadline import Budget
from langchain_minitoolai._http.network import Route, make_client
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
