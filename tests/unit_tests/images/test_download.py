"""Fetching, with a wire that is only pretended."""

import asyncio
import socket
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import httpx
import pytest

from langchain_minitoolai._images import download
from langchain_minitoolai._images.download import afetch, fetch
from langchain_minitoolai.errors import ImageDownloadError

Handler = Callable[[httpx.Request], httpx.Response]


@pytest.fixture(params=["sync", "async"])
def fetched(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Fetch an address from a handler, with names that resolve as told."""

    def run(
        handler: Handler,
        address: str = "https://cdn.example.com/a.png",
        *,
        found: tuple[str, ...] = ("8.8.8.8",),
        **options: Any,
    ) -> bytes:
        def resolve(host: str, port: int, **_: Any) -> Any:
            if not found:
                raise socket.gaierror(-2, "Name or service not known")
            return [(2, 1, 6, "", (ip, port)) for ip in found]

        async def shard(*, fresh: bool) -> Any:
            assert fresh
            client = httpx.AsyncClient(transport=httpx.MockTransport(handler))
            return SimpleNamespace(client=client)

        pretended = SimpleNamespace(
            client=lambda *, fresh: httpx.Client(transport=httpx.MockTransport(handler)),
            loop_clients=lambda: SimpleNamespace(shard=shard),
        )
        monkeypatch.setattr(socket, "getaddrinfo", resolve)
        monkeypatch.setattr(download, "network", lambda route: pretended)
        if request.param == "sync":
            return fetch(address, **options)
        return asyncio.run(afetch(address, **options))

    return run


def test_the_connection_goes_to_the_checked_address_and_asks_for_the_name(fetched: Any) -> None:
    seen: list[httpx.Request] = []

    def handler(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        return httpx.Response(200, content=b"bytes")

    assert fetched(handler, "https://cdn.example.com:8443/a.png?x=1") == b"bytes"
    (request,) = seen
    assert str(request.url) == "https://8.8.8.8:8443/a.png?x=1"
    assert request.headers["host"] == "cdn.example.com:8443"
    assert request.extensions["sni_hostname"] == "cdn.example.com"
    assert "authorization" not in request.headers
    assert "cookie" not in request.headers


@pytest.mark.parametrize("found", [("10.0.0.1",), ("8.8.8.8", "127.0.0.1")])
def test_a_name_that_resolves_to_a_private_address_is_not_asked(
    fetched: Any, found: tuple[str, ...]
) -> None:
    with pytest.raises(ImageDownloadError, match="not a public address"):
        fetched(lambda _: pytest.fail("asked"), found=found)


def test_loopback_is_asked_when_told_or_when_the_address_is_there(fetched: Any) -> None:
    def handler(_: httpx.Request) -> httpx.Response:
        return httpx.Response(200, content=b"x")

    address = "http://127.0.0.1:8000/a.png"
    assert fetched(handler, address, found=("127.0.0.1",)) == b"x"
    with pytest.raises(ImageDownloadError, match="no https"):
        fetched(handler, address, loopback=False)
    with pytest.raises(ImageDownloadError, match="no https"):
        fetched(handler, "http://[half/a.png")
    with pytest.raises(ImageDownloadError, match="no https"):
        fetched(handler, "https://a:b/")


def test_each_redirect_is_checked_anew(fetched: Any) -> None:
    def handler(request: httpx.Request) -> httpx.Response:
        if request.url.path == "/a.png":
            return httpx.Response(302, headers={"location": "//other.example.com/b"})
        assert request.headers["host"] == "other.example.com"
        return httpx.Response(200, content=b"b")

    assert fetched(handler) == b"b"
    with pytest.raises(ImageDownloadError, match="redirects"):
        fetched(lambda _: httpx.Response(302, headers={"location": "http://10.0.0.1/"}))
    with pytest.raises(ImageDownloadError, match="more than 3"):
        fetched(lambda _: httpx.Response(302, headers={"location": "/a.png"}))


@pytest.mark.parametrize(
    ("status", "again"), [(404, True), (503, True), (403, False), (206, False)]
)
def test_any_status_but_200_is_no_picture(fetched: Any, status: int, *, again: bool) -> None:
    with pytest.raises(ImageDownloadError, match=f"HTTP {status}") as caught:
        fetched(lambda _: httpx.Response(status))
    assert caught.value.is_retryable is again


def test_more_than_the_bound_is_read_no_further(
    fetched: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(download, "MAX_BYTES", 100)
    with pytest.raises(ImageDownloadError, match="more than 100 bytes"):
        fetched(lambda _: httpx.Response(200, content=b"x" * 101))
    for headers in ({"content-length": "junk"}, {"content-length": "5"}):
        with pytest.raises(ImageDownloadError, match="more than 100 bytes"):
            fetched(lambda _, sent=headers: httpx.Response(200, content=b"x" * 101, headers=sent))


def test_an_encoding_nobody_asked_for_is_refused(fetched: Any) -> None:
    def handler(_: httpx.Request) -> httpx.Response:
        response = httpx.Response(200, content=b"x")
        response.headers["content-encoding"] = "zstd"
        return response

    with pytest.raises(ImageDownloadError, match="can't be read"):
        fetched(handler)


@pytest.mark.parametrize(
    ("failure", "again"),
    [
        (httpx.ConnectError("refused"), True),
        (httpx.ReadError("broke"), True),
        (httpx.ReadTimeout("slow"), False),
    ],
)
def test_a_wire_that_fails_is_told_in_our_terms(
    fetched: Any, failure: Exception, *, again: bool
) -> None:
    def handler(_: httpx.Request) -> httpx.Response:
        raise failure

    with pytest.raises(ImageDownloadError, match="can't be fetched") as caught:
        fetched(handler)
    assert caught.value.is_retryable is again


def test_a_name_that_is_none_is_told_of(fetched: Any) -> None:
    with pytest.raises(ImageDownloadError, match="can't be resolved") as caught:
        fetched(lambda _: httpx.Response(200), found=())
    assert caught.value.is_retryable


async def test_a_cancelled_fetch_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    started = asyncio.Event()
    ended = asyncio.Event()

    async def endless(*_: Any, **__: Any) -> bytes:
        started.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()
        return b""

    monkeypatch.setattr(download, "_afetch", endless)
    task = asyncio.create_task(afetch("https://cdn.example.com/a.png"))
    await started.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert ended.is_set()
