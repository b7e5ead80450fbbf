"""Downloads of images over real sockets: every address, proxies, private addresses, cuts."""

import asyncio
import socket
import threading
from collections.abc import Callable, Iterator
from typing import Any, TypeAlias

import pytest

from langchain_minitoolai._http.async_client import AsyncClient
from langchain_minitoolai._http.client import SyncClient
from langchain_minitoolai._http.pool import ClientPool, TransportConfig
from langchain_minitoolai._images import download
from langchain_minitoolai._images.download import fetch_image
from langchain_minitoolai.errors import ImageDownloadError

PNG = b"\x89PNG and more"
WHOLE = b"HTTP/1.1 200 OK\r\nContent-Length: 13\r\n\r\n" + PNG
Fetch: TypeAlias = Callable[..., bytes]


class Listener:
    """A server of scripted answers, the last one for ever.

    Attributes:
        received: The first line of each request.
    """

    def __init__(self, *answers: bytes) -> None:
        self.received: list[str] = []
        self._answers = list(answers)
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port = self._socket.getsockname()[1]
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        while True:
            try:
                peer, _ = self._socket.accept()
            except OSError:
                return
            with peer:
                head = b""
                while b"\r\n\r\n" not in head and (block := peer.recv(4096)):
                    head += block
                if not head:
                    return
                self.received.append(head.split(b"\r\n")[0].decode())
                peer.sendall(self._answers.pop(0) if self._answers[1:] else self._answers[0])

    def close(self) -> None:
        socket.create_connection(("127.0.0.1", self.port)).close()  # `accept` is not interrupted
        self._socket.close()
        self._thread.join(10)


@pytest.fixture
def listen() -> Iterator[Callable[..., Listener]]:
    """Start listeners, and stop them."""
    started: list[Listener] = []

    def start(*answers: bytes) -> Listener:
        started.append(Listener(*answers))
        return started[-1]

    yield start
    for listener in started:
        listener.close()


@pytest.fixture(params=["sync", "async"])
def fetch(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Fetch:
    """Fetch an image, without waiting before another attempt."""
    monkeypatch.setattr(download, "backoff", lambda _: 0.0)

    def fetching(url: str, *, loopback: bool = False, proxy: str | None = None) -> bytes:
        pool = ClientPool(TransportConfig(proxy))
        kind = SyncClient if request.param == "sync" else AsyncClient
        client: Any = kind(pool, "https://service.test/api", "a-key")
        end = client.clock() + 30
        outcome: Any = client.execute(
            fetch_image(url, loopback=loopback, clock=client.clock, deadline=end)
        )
        found: bytes = asyncio.run(outcome) if request.param == "async" else outcome
        return found

    return fetching


def test_the_next_address_of_a_host_is_tried_where_the_first_refuses(
    fetch: Fetch, listen: Callable[..., Listener], monkeypatch: pytest.MonkeyPatch
) -> None:
    server, real = listen(WHOLE), socket.getaddrinfo

    def several(host: Any, *args: Any, **options: Any) -> Any:
        hosts = ["127.0.0.2", "127.0.0.1"] if host == "images.localhost" else [host]
        return [entry for each in hosts for entry in real(each, *args, **options)]

    monkeypatch.setattr(socket, "getaddrinfo", several)
    url = f"http://images.localhost:{server.port}/a.png"
    assert fetch(url, loopback=True) == PNG
    assert server.received == ["GET /a.png HTTP/1.1"]


def test_a_download_cut_short_is_tried_again(fetch: Fetch, listen: Callable[..., Listener]) -> None:
    server = listen(WHOLE[:-5], WHOLE)
    assert fetch(f"http://127.0.0.1:{server.port}/a.png", loopback=True) == PNG
    assert len(server.received) == 2


@pytest.mark.parametrize("source", ["given", "environment"])
def test_a_proxy_is_asked_for_the_name_and_looks_it_up_itself(
    fetch: Fetch, listen: Callable[..., Listener], monkeypatch: pytest.MonkeyPatch, source: str
) -> None:
    proxy = listen(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n")
    url = f"http://127.0.0.1:{proxy.port}"
    if source == "environment":
        monkeypatch.setenv("HTTPS_PROXY", url)
    with pytest.raises(ImageDownloadError, match="can't be fetched"):
        fetch("https://no-such-name.test/a.png", proxy=url if source == "given" else None)
    assert set(proxy.received) == {"CONNECT no-such-name.test:443 HTTP/1.1"}


@pytest.mark.parametrize(
    "host",
    ["10.0.0.1", "127.1", "0x7f000001", "2130706433", "[::1]", "[fec0::1]", "localhost"],
)
def test_a_proxy_is_never_asked_for_a_private_address(
    fetch: Fetch, listen: Callable[..., Listener], host: str
) -> None:
    proxy = listen(b"HTTP/1.1 200 OK\r\n\r\n")
    with pytest.raises(ImageDownloadError, match="not a public address"):
        fetch(f"https://{host}/a.png", proxy=f"http://127.0.0.1:{proxy.port}")
    assert proxy.received == []


@pytest.mark.parametrize("host", ["a..b", "a" * 64, "a" * 64 + ".com", "-", "xn--a"])
def test_a_host_that_is_none_is_an_error_of_ours(fetch: Fetch, host: str) -> None:
    with pytest.raises(ImageDownloadError):
        fetch(f"https://{host}.invalid/x.png")
