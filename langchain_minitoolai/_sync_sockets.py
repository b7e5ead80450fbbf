"""Sync connections: each step takes the time that its exchange has left, and no more.

httpcore hands the values of a request's `timeout` extension down to its network backend as
they are, so a `Budget` arrives here in place of a number.
"""

import socket
from contextlib import suppress
from typing import Any, Final

import httpcore

from langchain_minitoolai._http.deadline import Budget
from langchain_minitoolai._seam import Seam

_MOST: Final = 64 * 1024
"""The most bytes that one read of a body gives."""
_SLACK: Final = 0.02
"""Seconds by which a read's time limit may be off: moving it costs a system call."""


class Stream:
    """A connection; its bytes are read from the socket itself.

    What httpcore does around that costs as much as reading.

    Attributes:
        seam: Keeps the bodies of answers apart from their heads.
    """

    def __init__(self, inner: Any, budget: Budget, tls: int = 0) -> None:
        """Wrap httpcore's own connection.

        Args:
            inner: It.
            budget: The time for a proxy's handshake, for which httpcore names none.
            tls: How many layers of TLS there are.
        """
        self.seam = Seam()
        self._inner = inner
        self._budget = budget
        self._tls = tls
        # With TLS in TLS the socket is not where the bytes come from.
        self._socket: Any = inner.get_extra_info("socket") if tls <= 1 else None
        self._seconds: float | None = None  # the socket's limit, where it is known

    def read(self, max_bytes: int, timeout: Any = None) -> bytes:
        """Read what httpcore is to have: of an answer, the head alone."""
        if not timeout:
            return self._receive(max_bytes, self._budget)
        return self.seam.cut(self.seam.take() or self._receive(max_bytes, timeout))

    def read_body(self, budget: Budget) -> bytes:
        """Read the next bytes of a body that `seam` kept apart."""
        return self.seam.take() or self._receive(_MOST, budget)

    def _receive(self, max_bytes: int, budget: Budget) -> bytes:
        left = budget.left()
        if self._socket is None:
            return self._receive_inside(max_bytes, left)
        if self._seconds is None or not -_SLACK < left - self._seconds < _SLACK:
            self._socket.settimeout(left)
            self._seconds = left
        received: bytes = self._socket.recv(max_bytes)
        return received

    def _receive_inside(self, max_bytes: int, left: float) -> bytes:
        try:
            received: bytes = self._inner.read(max_bytes, left)
        except httpcore.TimeoutException:
            raise TimeoutError from None
        except httpcore.NetworkError as broken:
            raise ConnectionError(str(broken)) from None
        return received

    def write(self, buffer: bytes, timeout: Any = None) -> None:
        """Send."""
        self._seconds = None
        if timeout:
            self.seam.begin()
        self._inner.write(buffer, (timeout or self._budget).left())

    def start_tls(
        self, ssl_context: Any, server_hostname: Any = None, timeout: Any = None
    ) -> "Stream":
        """Shake hands."""
        inner = self._inner.start_tls(ssl_context, server_hostname, timeout.to_connect())
        timeout.connected()
        return Stream(inner, timeout, self._tls + 1)

    def close(self) -> None:
        """Close."""
        self._inner.close()

    def get_extra_info(self, info: str) -> Any:
        """Answer what httpcore asks of a connection."""
        if info == "is_readable" and self.seam.dirty:
            return True  # and so not to be used again
        return self._inner.get_extra_info(info)


class Backend:
    """Makes connections, by httpcore's own backend."""

    def __init__(self, inner: Any) -> None:
        """Keep it."""
        self._inner = inner

    def connect_tcp(self, host: str, port: int, timeout: Any = None, **options: Any) -> Stream:
        """Connect to the first of a host's addresses that answers.

        Each has an equal share of the time that those before it have left. Looking the host
        up takes what the system takes.

        Raises:
            OSError: If the host is unknown.
            httpcore.NetworkError: If no address answers.
            httpcore.TimeoutException: If none does in time.
        """
        timeout.to_connect()
        *others, last = addresses(host, port)
        for number, address in enumerate(others):
            with suppress(httpcore.NetworkError, httpcore.TimeoutException):
                return self._connect(address, port, timeout, len(others) + 1 - number, options)
        return self._connect(last, port, timeout, 1, options)

    def _connect(
        self, address: str, port: int, budget: Budget, shares: int, options: dict[str, Any]
    ) -> Stream:
        seconds = budget.to_connect() / shares
        inner = self._inner.connect_tcp(address, port, seconds, **options)
        budget.connected()
        return Stream(inner, budget)


def addresses(host: str, port: int) -> list[str]:
    """Look a host up: its addresses, each once."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(place[4][0]) for place in found))
