"""What a measure works with, inside its target's process."""

import asyncio
import json
import socket
from typing import Any
from urllib.parse import urlsplit

from benchmarks.spec import Client, Spec
from benchmarks.targets import TARGETS


class Bench:
    """One target in one process: its clients, one event loop, and a word with the server."""

    def __init__(self, target: str, root: str) -> None:
        """Make no client yet."""
        self.target = target
        self._root = root
        self._clients: dict[Spec, Client] = {}
        self._runner = asyncio.Runner()

    def client(self, **shape: Any) -> Client:
        """Give the client for answers of this `shape`, always the same one."""
        spec = Spec(self._root, **shape)
        if spec not in self._clients:
            self._clients[spec] = TARGETS[self.target].make(spec)
        return self._clients[spec]

    def run(self, coroutine: Any) -> Any:
        """Run to the end, always on the same loop, so that connections live on."""
        return self._runner.run(coroutine)

    def ask_server(self, what: str) -> dict[str, int]:
        """Send `GET /stats` or `GET /release` over a connection of its own."""
        address = urlsplit(self._root)
        with socket.create_connection((address.hostname, address.port)) as connection:
            connection.sendall(f"GET /{what} HTTP/1.1\r\nHost: benchmark\r\n\r\n".encode())
            answer: dict[str, int] = json.loads(connection.recv(4096).partition(b"\r\n\r\n")[2])
        return answer
