"""Async connections straight on asyncio: no timer, no task and no lock for a read.

It is httpcore's network backend interface; what comes with httpcore costs, for each read, more
than reading does. Time is watched by whoever reads (`_async_client.py`); only connecting and
the TLS handshake are bounded here.
"""

import asyncio
import select
from typing import Any, Final, cast

from langchain_minitoolai._seam import Seam

_HIGH: Final = 256 * 1024
"""Bytes not yet read above which the network is told to wait."""


class SocketStream(asyncio.Protocol):
    """One connection: what arrives waits here to be read."""

    def __init__(self) -> None:
        """Start before the connection stands."""
        self._transport: asyncio.Transport = cast("asyncio.Transport", None)
        self._arrived = bytearray()
        self._ended = False
        self._failure: Exception | None = None
        self._paused = False
        self._full = False
        self._waiter: asyncio.Future[None] | None = None
        self.seam = Seam()

    # --- What asyncio tells ---------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the transport."""
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        """Keep what arrived."""
        self._arrived += data
        if len(self._arrived) > _HIGH and not self._paused:
            self._paused = True
            self._transport.pause_reading()
        self._wake()

    def eof_received(self) -> None:
        """Note that nothing more will come."""
        self._ended = True
        self._wake()

    def connection_lost(self, exc: Exception | None) -> None:
        """Note why nothing more will come."""
        self._ended = True
        self._failure = exc
        self._wake()

    def pause_writing(self) -> None:
        """Note that the network takes no more for now."""
        self._full = True

    def resume_writing(self) -> None:
        """Note that it takes more."""
        self._full = False
        self._wake()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    async def _news(self) -> None:
        self._waiter = asyncio.get_running_loop().create_future()
        await self._waiter

    # --- What httpcore asks for -----------------------------------------------------

    async def read(self, max_bytes: int, timeout: Any = None) -> bytes:
        """Give what arrived, or nothing at the end.

        Raises:
            OSError: If the connection broke, once all that arrived was read.
        """
        data = self.seam.take() or await self._next(max_bytes)
        return self.seam.cut(data) if timeout else data  # a SOCKS handshake has none

    async def read_body(self) -> bytes:
        """Give the next bytes of a body that `seam` kept apart; see `read`."""
        return self.seam.take() or await self._next(_HIGH)

    async def _next(self, max_bytes: int) -> bytes:
        while not self._arrived:
            if isinstance(self._failure, OSError):
                raise self._failure
            if self._ended:
                return b""
            await self._news()
        data = bytes(self._arrived[:max_bytes])
        del self._arrived[:max_bytes]
        if self._paused and len(self._arrived) <= _HIGH:
            self._paused = False
            self._transport.resume_reading()
        return data

    async def write(self, buffer: bytes, timeout: Any = None) -> None:
        """Send; where nobody takes it any more, what they said before can still be read."""
        if timeout:
            self.seam.begin()
        if not self._transport.is_closing():
            self._transport.write(buffer)
        while self._full and not self._ended:
            await self._news()

    async def start_tls(
        self, ssl_context: Any, server_hostname: Any = None, timeout: Any = None
    ) -> "SocketStream":
        """Shake hands; the connection is closed if that fails or is cancelled."""
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(timeout.to_connect()):
                made = await loop.start_tls(
                    self._transport, self, ssl_context, server_hostname=server_hostname
                )
        except BaseException:
            await self.aclose()
            raise
        self._transport = cast("asyncio.Transport", made)
        timeout.connected()
        return self

    async def aclose(self) -> None:
        """Close at once; nothing that matters is under way."""
        self._transport.abort()
        await asyncio.sleep(0)  # so that the loop lets go of the socket

    def get_extra_info(self, info: str) -> Any:
        """Answer what httpcore asks of a connection."""
        if info == "is_readable":
            # Of an idle connection: the server has closed it.
            unasked = bool(self._arrived) or self.seam.dirty
            return self._ended or unasked or self._is_readable()
        names = {"client_addr": "sockname", "server_addr": "peername"}
        return self._transport.get_extra_info(names.get(info, info))

    def _is_readable(self) -> bool:
        # The loop may not have looked since the server closed.
        descriptor = self._transport.get_extra_info("socket").fileno()
        if descriptor < 0:
            return True
        if not hasattr(select, "poll"):
            return bool(select.select([descriptor], [], [], 0)[0])
        poll = select.poll()
        poll.register(descriptor, select.POLLIN)
        return bool(poll.poll(0))


class SocketBackend:
    """Makes connections in the running loop."""

    async def connect_tcp(
        self, host: str, port: int, timeout: Any = None, **options: Any
    ) -> SocketStream:
        """Connect, within the time that a `Budget` leaves.

        Raises:
            OSError: If that fails; the built-in `TimeoutError` is one.
        """
        connecting = asyncio.create_task(_connect(host, port, timeout.to_connect()))
        try:
            # Connecting may take a cancellation for one of its own, or lose a socket just made.
            stream = await asyncio.shield(connecting)
        except asyncio.CancelledError:
            _late.add(connecting)
            connecting.add_done_callback(_close_late)
            raise
        timeout.connected()
        timeout.made = stream
        return stream


async def _connect(host: str, port: int, seconds: float) -> SocketStream:
    loop = asyncio.get_running_loop()
    # asyncio's own loops try IPv4 beside IPv6; others may not know the option.
    eager: dict[str, Any] = {}
    if isinstance(loop, asyncio.BaseEventLoop):
        eager = {"happy_eyeballs_delay": 0.25}
    async with asyncio.timeout(seconds):
        _, stream = await loop.create_connection(SocketStream, host, port, **eager)
    return stream


_late: Final[set[asyncio.Task[Any]]] = set()
"""Connections being made for calls that were cancelled, and their ends."""


def _close_late(task: asyncio.Task[SocketStream]) -> None:
    _late.discard(task)
    if not task.cancelled() and task.exception() is None:
        closing = asyncio.get_running_loop().create_task(task.result().aclose())
        _late.add(closing)
        closing.add_done_callback(_late.discard)
