"""An answer's body, block by block: read from its connection itself where that can be done.

httpcore and h11 take a body apart and check it anew at each of six levels. Where it comes in
chunks, which is how a stream comes, the connection's own bytes go straight to `ChunkedBody`;
h11 is handed the body's end, so that it knows that the connection is free again.
"""

from collections.abc import AsyncGenerator, Iterator
from typing import Any, cast

import httpx

from langchain_minitoolai._chunked import LAST, ChunkedBody
from langchain_minitoolai._http.deadline import Budget
from langchain_minitoolai._seam import Seam


def blocks(response: httpx.Response, budget: Budget) -> Iterator[bytes]:
    """Give the body as it comes.

    Raises:
        OSError: If it breaks off; `TimeoutError` if the budget is used up.
        httpx.TransportError: The same, where httpx reads it.
    """
    wire, frame = _wire(response), ChunkedBody()
    if wire is not None:
        while not frame.done:
            data = wire.read_body(budget)
            if not data:
                frame.end()
            if block := frame.feed(data):
                yield block
                frame.check()
        wire.seam.hand_back(LAST)
    yield from cast("httpx.SyncByteStream", response.stream)
    if wire is not None:
        wire.seam.hand_back(frame.excess)


async def ablocks(response: httpx.Response) -> AsyncGenerator[bytes]:
    """Give the body as it comes; whoever reads it watches the time. See `blocks`."""
    wire, frame = _wire(response), ChunkedBody()
    if wire is not None:
        while not frame.done:
            data = await wire.read_body()
            if not data:
                frame.end()
            if block := frame.feed(data):
                yield block
                frame.check()
        wire.seam.hand_back(LAST)
    async for block in cast("httpx.AsyncByteStream", response.stream):
        yield block
    if wire is not None:
        wire.seam.hand_back(frame.excess)


def _wire(response: httpx.Response) -> Any:
    """Give the connection if the body can be read from it; `None` if httpx has to.

    Then the connection hands on what belongs to the body, and keeps what does not.
    """
    wire: Any = response.extensions.get("network_stream")
    seam: Seam | None = getattr(wire, "seam", None)
    if seam is None:
        return None
    length = _length(response)
    coding = response.headers.get("transfer-encoding", "").strip().lower()
    http = response.http_version == "HTTP/1.1"
    if length is None and seam.clean and coding == "chunked" and http:
        return wire
    seam.allow(length)
    return None


def _length(response: httpx.Response) -> int | None:
    """Give the bytes of a body that does not come in chunks, where they are known."""
    if response.status_code in (204, 304):
        return 0
    told = response.headers.get("content-length", "")
    if "transfer-encoding" in response.headers or not (told.isascii() and told.isdigit()):
        return None
    return int(told)
