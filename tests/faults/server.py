"""A raw-socket HTTP server whose every byte, packet border, reset and stall is scripted.

A script answers one request through an `Exchange`; a server is given a list of scripts,
the first for the first request and so on, the last for all that follow. What the server
saw (connections, requests, when each connection closed and by whom) is its `Record`.
Nothing here knows the service or the clients.
"""

import select
import socket
import ssl
import struct
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Self, TypeAlias

PATIENCE = 15.0
"""Seconds after which the server gives up on a client that neither reads nor leaves."""


class GoneError(Exception):
    """The client closed the connection while a script was answering."""


@dataclass
class Connection:
    """One accepted connection; times are `time.monotonic()`.

    Attributes:
        number: Its place in the order of acceptance, from 0.
        opened: When it was accepted.
        closed: When either side closed it, or `None` while it is open.
        closed_by: `"client"` or `"server"`, once closed.
        sent: Bytes handed to the kernel so far.
    """

    number: int
    opened: float
    closed: float | None = None
    closed_by: str = ""
    sent: int = 0


@dataclass
class Request:
    """One request as it arrived."""

    number: int
    connection: Connection
    method: str
    target: str
    headers: dict[str, str]
    body: bytes
    at: float


@dataclass
class Record:
    """Connections and requests that a server saw."""

    connections: list[Connection] = field(default_factory=list)
    requests: list[Request] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    def open_connections(self) -> list[Connection]:
        """Return the connections that nobody has closed yet."""
        return [one for one in self.connections if one.closed is None]

    def wait_closed(self, most_open: int = 0, seconds: float = 1.5) -> bool:
        """Wait until at most `most_open` connections are open; return whether that came true."""
        until = time.monotonic() + seconds
        while len(self.open_connections()) > most_open:
            if time.monotonic() > until:
                return False
            time.sleep(0.01)
        return True


class Exchange:
    """One request and the means to answer it byte by byte."""

    def __init__(self, sock: socket.socket, request: Request) -> None:
        """Answer `request` on `sock`."""
        self.request = request
        self._socket = sock

    def send(self, *packets: bytes, gap: float = 0.0) -> None:
        """Send each packet on its own, `gap` seconds apart.

        Raises:
            GoneError: If the client is not there any more.
        """
        for number, packet in enumerate(packets):
            if number and gap:
                self.pause(gap)
            try:
                self._socket.sendall(packet)
            except OSError as error:
                raise GoneError from error
            self.request.connection.sent += len(packet)

    def pause(self, seconds: float) -> None:
        """Wait; raise `GoneError` as soon as the client closes."""
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0:
            ready, _, _ = select.select([self._socket], [], [], left)
            if ready and self._is_gone():
                raise GoneError
            if ready:
                time.sleep(min(left, 0.01))

    def stall(self) -> None:
        """Say nothing until the client closes, or patience ends."""
        self.pause(PATIENCE)

    def reset(self) -> None:
        """Close with a TCP reset, so that the client reads ECONNRESET."""
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close()

    def close(self) -> None:
        """Close the connection."""
        connection = self.request.connection
        connection.closed, connection.closed_by = time.monotonic(), "server"
        self._socket.close()

    def _is_gone(self) -> bool:
        try:
            return self._socket.recv(1, socket.MSG_PEEK) == b""
        except (BlockingIOError, ssl.SSLWantReadError):
            return False
        except (OSError, ValueError):
            return True


Script: TypeAlias = Callable[[Exchange], None]


class FaultServer:
    """Serves scripts on a loopback port until it is closed; a context manager."""

    def __init__(self, scripts: Sequence[Script], tls: ssl.SSLContext | None = None) -> None:
        """Listen on a free port and answer with `scripts`."""
        self.record = Record()
        self.scripts = list(scripts)
        self._tls = tls
        self._lock = threading.Lock()
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        self._sockets: set[socket.socket] = set()
        self.port: int = self._listener.getsockname()[1]
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        """The server's origin."""
        return f"{'https' if self._tls else 'http'}://127.0.0.1:{self.port}"

    def close(self) -> None:
        """Stop listening and cut every connection."""
        with self._lock:
            sockets = list(self._sockets)
        for sock in [self._listener, *sockets]:
            with suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
        self._thread.join(5)
        self._listener.close()

    def __enter__(self) -> Self:
        """Return the listening server."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the server."""
        self.close()

    def _accept(self) -> None:
        while True:
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            sock.settimeout(PATIENCE)
            with self._lock:
                connection = Connection(len(self.record.connections), time.monotonic())
                self.record.connections.append(connection)
                self._sockets.add(sock)
            threading.Thread(target=self._serve, args=(sock, connection), daemon=True).start()

    def _serve(self, sock: socket.socket, connection: Connection) -> None:
        raw = sock
        try:
            if self._tls is not None:
                sock = self._tls.wrap_socket(sock, server_side=True)
            self._converse(sock, connection)
        except (GoneError, OSError):
            pass
        except Exception as error:  # noqa: BLE001 - a broken script must show in the verdict
            self.record.problems.append(repr(error))
        finally:
            if connection.closed is None:
                connection.closed, connection.closed_by = time.monotonic(), "client"
            with self._lock:
                self._sockets.discard(raw)
            sock.close()
            raw.close()

    def _converse(self, sock: socket.socket, connection: Connection) -> None:
        buffered = b""
        while connection.closed is None:
            while b"\r\n\r\n" not in buffered:
                received = sock.recv(65536)
                if not received:
                    return
                buffered += received
            head, _, buffered = buffered.partition(b"\r\n\r\n")
            first, *lines = head.decode("latin-1").split("\r\n")
            headers = {k.lower(): v.strip() for k, _, v in (line.partition(":") for line in lines)}
            length = int(headers.get("content-length", "0"))
            while len(buffered) < length:
                received = sock.recv(65536)
                if not received:
                    return
                buffered += received
            body, buffered = buffered[:length], buffered[length:]
            method, target, _ = first.split(" ", 2)
            with self._lock:
                number = len(self.record.requests)
                request = Request(
                    number, connection, method, target, headers, body, time.monotonic()
                )
                self.record.requests.append(request)
            script = self.scripts[min(number, len(self.scripts) - 1)]
            script(Exchange(sock, request))
