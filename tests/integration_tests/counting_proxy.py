"""Proxy that counts connections."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from urllib.parse import urlsplit


@dataclass
class Count:
    """Count of the connections, and the address to forward them to."""

    base_url: str
    connections: int = 0


@contextmanager
def counting_proxy(base_url: str) -> Iterator[Count]:
    """Pass connections on to a service on loopback while the block runs, and count them."""
    target = urlsplit(base_url)
    listener = socket.create_server(("127.0.0.1", 0))
    count = Count(f"http://127.0.0.1:{listener.getsockname()[1]}{target.path}")
    opened: list[socket.socket] = [listener]

    def accept() -> None:
        with suppress(OSError):
            while True:
                near, _ = listener.accept()
                count.connections += 1
                far = socket.create_connection((target.hostname, target.port))
                opened.extend((near, far))
                for one, other in ((near, far), (far, near)):
                    threading.Thread(target=_pass_on, args=(one, other), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    try:
        yield count
    finally:
        for each in opened:
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()


def _pass_on(one: socket.socket, other: socket.socket) -> None:
    with suppress(OSError):
        while data := one.recv(65536):
            other.sendall(data)
    with suppress(OSError):
        other.shutdown(socket.SHUT_WR)
