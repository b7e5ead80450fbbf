"""Pictures fetched from where the service put them: bare requests, without our key.

Names are resolved here, every address they resolve to is checked, and the connection goes to
the one that was checked. `_address` decides; this room acts, in both colours.
"""

import asyncio
import contextlib
import socket
import time
from collections.abc import Mapping
from typing import Final

import httpx

from langchain_minitoolai._http.body import Decoder
from langchain_minitoolai._http.deadline import Budget
from langchain_minitoolai._http.network import WIRE_FAILURES, Route, failure_of
from langchain_minitoolai._http.pool import network
from langchain_minitoolai._image_files import MAX_BYTES
from langchain_minitoolai._images.ssrf import (
    Target,
    check_resolved,
    is_loopback,
    redirected,
    target,
)
from langchain_minitoolai._version import __version__
from langchain_minitoolai.errors import APIConnectionError, ImageDownloadError, InvalidResponseError

IDLE: Final = 30.0
"""Seconds without progress before a download is given up."""
LONGEST: Final = 60.0
"""Seconds that a download may take where nobody says."""

_OK: Final = 200
_AGAIN: Final = frozenset({404, 408, 425, 429, 500, 502, 503, 504, *range(520, 528)})
_PLAIN: Final = Route()


def fetch(
    address: str,
    *,
    route: Route = _PLAIN,
    loopback: bool | None = None,
    seconds: float = LONGEST,
) -> bytes:
    """Fetch what lies at an address.

    Args:
        address: Where the service says the picture is.
        route: How to connect.
        loopback: Whether loopback may be asked; if not said, when the address itself is there.
        seconds: For all of it.

    Raises:
        ImageDownloadError: If it can't be had; `is_retryable` if another try may help.
    """
    loopback = _near(address) if loopback is None else loopback
    client = network(route).client(fresh=True)
    budget = Budget(time.monotonic, min(IDLE, seconds), time.monotonic() + seconds)
    hops = 0
    while True:
        where = target(address, loopback=loopback)
        try:
            ip = check_resolved(_resolve(where), loopback=loopback)
            response = client.send(_request(address, ip, budget), stream=True)
            with contextlib.closing(response):
                following = _judge(address, response, hops, loopback=loopback)
                if following is None:
                    intake = _Intake(response.headers)
                    for block in response.stream:  # type: ignore[union-attr]
                        intake.feed(block)
                        budget.progress()
                    return bytes(intake.body)
        except (*WIRE_FAILURES, InvalidResponseError) as caught:
            failure = _failed(caught, budget)
        else:
            address, hops = following, hops + 1
            continue
        raise failure


async def afetch(
    address: str,
    *,
    route: Route = _PLAIN,
    loopback: bool | None = None,
    seconds: float = LONGEST,
) -> bytes:
    """Fetch what lies at an address: `fetch`, with `await`."""
    near = _near(address) if loopback is None else loopback
    task = asyncio.create_task(_afetch(address, route, seconds, loopback=near))
    try:
        await asyncio.wait((task,))
    finally:
        # Cancelled at most once, httpcore always gets to close its connection.
        if not task.done():
            task.cancel()
            await asyncio.wait((task,))
    return task.result()


async def _afetch(address: str, route: Route, seconds: float, *, loopback: bool) -> bytes:
    budget = Budget(time.monotonic, min(IDLE, seconds), time.monotonic() + seconds)
    shard = await network(route).loop_clients().shard(fresh=True)
    hops = 0
    while True:
        where = target(address, loopback=loopback)
        response = None
        try:
            async with asyncio.timeout(budget.left()) as timeout:
                found = await asyncio.to_thread(_resolve, where)
                ip = check_resolved(found, loopback=loopback)
                response = await shard.client.send(_request(address, ip, budget), stream=True)
                following = _judge(address, response, hops, loopback=loopback)
                if following is None:
                    intake = _Intake(response.headers)
                    async for block in response.stream:  # type: ignore[union-attr]
                        intake.feed(block)
                        budget.progress()
                        timeout.reschedule(asyncio.get_running_loop().time() + budget.left())
                    return bytes(intake.body)
        except (*WIRE_FAILURES, InvalidResponseError) as caught:
            failure = _failed(caught, budget)
        else:
            address, hops = following, hops + 1
            continue
        finally:
            if response is not None:
                await response.aclose()
        raise failure


class _Intake:
    """Takes a picture's bytes up to their bound."""

    def __init__(self, headers: Mapping[str, str]) -> None:
        self.body = bytearray()
        self._decode = Decoder(headers)
        length = headers.get("content-length", "")
        if length.isdigit() and int(length[:18]) > MAX_BYTES:
            raise _too_long()

    def feed(self, block: bytes) -> None:
        for part in self._decode(block):
            self.body += part
            if len(self.body) > MAX_BYTES:
                raise _too_long()


def _too_long() -> ImageDownloadError:
    return ImageDownloadError(f"the picture has more than {MAX_BYTES} bytes")


def _near(address: str) -> bool:
    try:
        return is_loopback(httpx.URL(address).host)
    except httpx.InvalidURL:
        return False


def _resolve(where: Target) -> list[str]:
    found = socket.getaddrinfo(where.host, where.port, type=socket.SOCK_STREAM)
    return [str(entry[4][0]) for entry in found]


def _request(address: str, ip: str, budget: Budget) -> httpx.Request:
    """Build a request that connects to a checked address and asks for the name."""
    url = httpx.URL(address)
    headers = {
        "Host": url.netloc.decode("ascii"),
        "Accept": "image/*",
        "Accept-Encoding": "identity",
        "User-Agent": f"langchain-minitoolai/{__version__}",
    }
    extensions = {**budget.extensions(), "sni_hostname": url.raw_host.decode("ascii")}
    return httpx.Request("GET", url.copy_with(host=ip), headers=headers, extensions=extensions)


def _judge(address: str, response: httpx.Response, hops: int, *, loopback: bool) -> str | None:
    """Give the next address if the answer redirects; `None` if it is to be read."""
    location = response.headers.get("location")
    status = response.status_code
    following = redirected(address, status, location, hops=hops, loopback=loopback)
    if following is None and status != _OK:
        raise ImageDownloadError(
            f"the picture's address answers with HTTP {status}",
            status_code=status,
            is_retryable=status in _AGAIN,
        )
    return following


def _failed(caught: Exception, budget: Budget) -> ImageDownloadError:
    if isinstance(caught, InvalidResponseError):
        return ImageDownloadError(f"the picture can't be read: {caught}")
    if isinstance(caught, socket.gaierror):
        return ImageDownloadError("the picture's host can't be resolved", is_retryable=True)
    failure = failure_of(caught, budget)
    again = isinstance(failure, APIConnectionError) and failure.is_retryable
    return ImageDownloadError(f"the picture can't be fetched: {failure}", is_retryable=again)
