"""Network streams and backends that are no sockets, for httpcore's sync pool."""

import ssl
from collections.abc import Mapping
from typing import Any

import httpcore

from tests.unit_tests.fake_clients import Clock

RESPONSE = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nSet-Cookie: a=b\r\n\r\n{}"


class FakeBackend(httpcore.NetworkBackend):
    """Opens fake connections, and notes the time limit that each step is given.

    Attributes:
        steps: The steps and their limits.
        opened: The connections.
    """

    def __init__(
        self,
        clock: Clock,
        *packets: bytes,
        takes: float = 1.0,
        unreachable: Mapping[str, Exception] | None = None,
    ) -> None:
        self.steps: list[tuple[str, float | None]] = []
        self.opened: list[FakeConnection] = []
        self.packets = list(packets)
        self._clock = clock
        self._takes = takes
        self._unreachable = unreachable or {}

    def step(self, name: str, timeout: float | None) -> None:
        self.steps.append((name, timeout))
        self._clock.sleep(self._takes)

    def connect_tcp(
        self, host: str, port: int, timeout: float | None = None, *_: Any, **__: Any
    ) -> httpcore.NetworkStream:
        self.step(f"connect {host}:{port}", timeout)
        if host in self._unreachable:
            raise self._unreachable[host]
        self.opened.append(FakeConnection(self))
        return self.opened[-1]


class FakeConnection(httpcore.NetworkStream):
    """A connection that reads its backend's packets, one a read."""

    def __init__(self, backend: FakeBackend) -> None:
        self.closed = 0
        self.written = b""
        self._backend = backend

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        self._backend.step("read", timeout)
        return self._backend.packets.pop(0)

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self.written += buffer
        self._backend.step("write", timeout)

    def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,
    ) -> httpcore.NetworkStream:
        self._backend.step(f"tls {server_hostname}", timeout)
        return self

    def get_extra_info(self, info: str) -> Any:
        return None

    def close(self) -> None:
        self.closed += 1
