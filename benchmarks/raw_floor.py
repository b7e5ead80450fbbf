"""The raw floor: a socket, prebuilt request bytes and a hand-made parser.

It knows that the server never splits an event over two HTTP chunks, so it reads lines and
needs neither an HTTP parser nor a JSON parser. Nothing in Python that goes over the wire
costs less.
"""

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Iterator
from urllib.parse import urlsplit

from benchmarks.spec import BODY, Spec

_MARK = b'"content":"'
_SIZE = 65536


class _Parser:
    """Bytes in, contents out, until the last HTTP chunk."""

    def __init__(self) -> None:
        self.done = False
        self._rest = b""
        self._last = False

    def feed(self, data: bytes) -> list[str]:
        """Give the contents that `data` completes."""
        if not data or data.startswith(b"HTTP/1.1 4"):
            raise ConnectionError("no answer")
        *lines, self._rest = (self._rest + data).split(b"\n")
        contents = []
        for line in lines:
            if line.startswith(b"data: {"):
                start = line.find(_MARK)
                if start > 0:
                    contents.append(_string(line, start + len(_MARK)))
            elif line == b"0\r":
                self._last = True
            elif self._last and line == b"\r":
                self.done = True
        return contents


def _string(line: bytes, start: int) -> str:
    end = line.index(b'"', start)
    if b"\\" not in line[start:end]:
        return line[start:end].decode()
    value, _ = json.JSONDecoder().raw_decode(line[start - 1 :].decode())
    return str(value)


class RawFloor:
    """A client without HTTP or JSON, which keeps its connections."""

    def __init__(self, spec: Spec) -> None:
        """Build the bytes of the request; connect at the first use."""
        address = urlsplit(spec.minitoolai_url + "/chat-completions/")
        body = json.dumps(BODY).encode()
        head = (
            f"POST {address.path} HTTP/1.1\r\nHost: {address.netloc}\r\n"
            "Content-Type: application/json\r\nAuthorization: Bearer benchmark\r\n"
            f"Content-Length: {len(body)}\r\n\r\n"
        )
        self._request = head.encode() + body
        self._address = (address.hostname or "", address.port or 80)
        self._idle: list[socket.socket] = []
        self._async_idle: list[socket.socket] = []

    def stream(self) -> Iterator[str]:
        """Give the contents as they arrive."""
        connection = self._idle.pop() if self._idle else self._connect()
        connection.sendall(self._request)
        parser = _Parser()
        while not parser.done:
            yield from parser.feed(connection.recv(_SIZE))
        self._idle.append(connection)

    async def astream(self) -> AsyncIterator[str]:
        """Give the contents as they arrive."""
        loop = asyncio.get_running_loop()
        connection = self._async_idle.pop() if self._async_idle else await self._aconnect()
        await loop.sock_sendall(connection, self._request)
        parser = _Parser()
        while not parser.done:
            for content in parser.feed(await loop.sock_recv(connection, _SIZE)):
                yield content
        self._async_idle.append(connection)

    def invoke(self) -> str:
        """Give the whole text."""
        return "".join(self.stream())

    async def ainvoke(self) -> str:
        """Give the whole text."""
        return "".join([content async for content in self.astream()])

    def _connect(self) -> socket.socket:
        connection = socket.create_connection(self._address)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return connection

    async def _aconnect(self) -> socket.socket:
        connection = socket.socket()
        connection.settimeout(0)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        await asyncio.get_running_loop().sock_connect(connection, self._address)
        return connection
