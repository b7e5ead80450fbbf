"""Image downloads: bare requests, checked addresses, redirects followed by hand."""

from typing import Final

from langchain_minitoolai._http.effects import (
    Clock,
    Download,
    Resolve,
    Response,
    Sleep,
    Workflow,
)
from langchain_minitoolai._http.retry import RETRYABLE_STATUS, backoff
from langchain_minitoolai._http.transport import CONNECT_TIMEOUT
from langchain_minitoolai._image_files import MAX_BYTES
from langchain_minitoolai._images.ssrf import (
    check_url,
    pick_addresses,
    redirect_target,
)
from langchain_minitoolai.errors import APIConnectionError, ImageDownloadError, MiniToolAIError

IDLE_TIMEOUT: Final = 30.0
"""Seconds without progress before a download is given up."""
ATTEMPTS: Final = 3

_OK: Final = 200
_NOT_YET: Final = 404
"""Statuses that a delivery network may give for an image that has only just been made."""


def fetch_image(url: str, *, loopback: bool, clock: Clock, deadline: float) -> Workflow[bytes]:
    """Fetch an image; a failure that may pass is tried again.

    Args:
        url: Where the service says the image is.
        loopback: Whether loopback may be asked, as when the API itself is there.
        clock: The scale of the deadline.
        deadline: When it must be over.

    Raises:
        ImageDownloadError: If it can't be had.
    """
    attempt = 0
    while True:
        if clock() >= deadline:
            raise ImageDownloadError("no time was left to fetch the image")
        try:
            return (yield from _follow(url, loopback=loopback, clock=clock, deadline=deadline))
        except ImageDownloadError as error:
            if attempt + 1 >= ATTEMPTS or not error.is_retryable:
                raise
        yield Sleep(backoff(attempt))
        attempt += 1


def _follow(url: str, *, loopback: bool, clock: Clock, deadline: float) -> Workflow[bytes]:
    """Fetch once, over at most three redirects, each checked like the first address."""
    hops = 0
    while True:
        check_url(url, loopback=loopback)
        response = yield from _get(url, loopback=loopback, clock=clock, deadline=deadline)
        if response.status == _OK:
            return response.body
        location = response.headers.get("location")
        target = redirect_target(url, response.status, location, hops=hops, loopback=loopback)
        if target is None:
            break
        url, hops = target, hops + 1
    status = response.status
    raise ImageDownloadError(
        f"the image's address answers with HTTP {status}",
        status_code=status,
        is_retryable=status in RETRYABLE_STATUS or status == _NOT_YET,
    )


def _get(url: str, *, loopback: bool, clock: Clock, deadline: float) -> Workflow[Response]:
    """Fetch from the addresses of the host in turn, until one can be connected to."""
    timeout = min(IDLE_TIMEOUT, max(deadline - clock(), 0.0))
    try:
        found = yield Resolve(url, timeout, deadline)
        addresses = pick_addresses(url, found, loopback=loopback)
        connect_timeout = CONNECT_TIMEOUT / len(addresses)
        while True:
            ip = addresses.pop(0)
            try:
                response: Response = yield Download(
                    url, MAX_BYTES, timeout, deadline, ip, connect_timeout
                )
            except APIConnectionError as caught:
                if caught.maybe_sent or not addresses:
                    raise
            else:
                return response
    except ImageDownloadError:
        raise
    except MiniToolAIError as caught:
        again = isinstance(caught, APIConnectionError) and caught.is_retryable
        failure = ImageDownloadError(f"the image can't be fetched: {caught}", is_retryable=again)
    raise failure
