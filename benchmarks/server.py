"""The server of the benchmarks: pre-encoded answers, in a process of its own.

The address says what is answered: `/c200-p16/…` streams 200 content chunks, 16 events a
packet; `/c1-p1-h/…` holds the answer after its first event until `GET /release`;
`/c1-p1-t/…` sends a packet each millisecond, as a model does that takes its time.
`GET /stats` tells how many connections were made, are open, and served requests.

Run as `python -m benchmarks.server`; it prints its port and ends with its standard input.
"""

import asyncio
import json
import re
import resource
import sys
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, cast

from benchmarks import payload

if TYPE_CHECKING:
    from collections.abc import Iterator

_SHAPE = re.compile(rb"^POST /c(\d+)-p(\d+)(-[ht])?(/\S*) ")
_LENGTH = re.compile(rb"(?i)\r\ncontent-length: *(\d+)")
_ASKS_FOR_STREAM = re.compile(rb'"stream": *true')
_ALWAYS_STREAMS = b"/chat-completions/"
_BURST = 10
"""How many packets a connection sends before the others have their turn."""

_PACE = 0.001


@dataclass(slots=True)
class State:
    """What all connections share."""

    made: int = 0
    open: int = 0
    requests: int = 0
    held: list["Connection"] = field(default_factory=list)

    def stats(self) -> bytes:
        """Tell the counts as an answer."""
        counts = {"made": self.made, "open": self.open, "requests": self.requests}
        return payload.plain(json.dumps(counts).encode())

    def release(self) -> bytes:
        """Let the held answers go on."""
        held, self.held = self.held, []
        for connection in held:
            connection.pump()
        return payload.plain(b"{}")


class Connection(asyncio.Protocol):
    """One connection, kept alive, answering one request after the other."""

    def __init__(self, state: State) -> None:
        """Count among the connections of `state`."""
        self._state = state
        self._transport: asyncio.Transport
        self._buffer = b""
        self._packets: Iterator[bytes] = iter(())
        self._paused = False
        self._loop = asyncio.get_running_loop()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the transport; write nothing ahead of what the peer has read."""
        self._transport = cast("asyncio.Transport", transport)
        self._transport.set_write_buffer_limits(high=0)
        self._state.made += 1
        self._state.open += 1

    def connection_lost(self, exc: Exception | None) -> None:
        """Count the connection out."""
        del exc
        self._state.open -= 1

    def data_received(self, data: bytes) -> None:
        """Answer once a request is complete."""
        self._buffer += data
        head, found, body = self._buffer.partition(b"\r\n\r\n")
        length = _LENGTH.search(head)
        if not found or len(body) < (int(length[1]) if length else 0):
            return
        self._buffer = b""
        self._answer(head, body)

    def _answer(self, head: bytes, body: bytes) -> None:
        self._state.requests += 1
        shape = _SHAPE.match(head)
        if shape is None:
            self._transport.write(self._told(head))
            return
        count, per_packet, manner, path = int(shape[1]), int(shape[2]), shape[3], shape[4]
        if not path.endswith(_ALWAYS_STREAMS) and not _ASKS_FOR_STREAM.search(body):
            self._transport.write(payload.document(count))
            return
        self._packets = iter(payload.packets(count, per_packet))
        if manner == b"-h":
            self._transport.write(next(self._packets))
            self._transport.write(next(self._packets))
            self._state.held.append(self)
        elif manner == b"-t":
            self._tick()
        else:
            self.pump()

    def _told(self, head: bytes) -> bytes:
        if head.startswith(b"GET /stats"):
            return self._state.stats()
        if head.startswith(b"GET /release"):
            return self._state.release()
        return b"HTTP/1.1 404 Not Found\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"

    def _tick(self) -> None:
        packet = next(self._packets, None)
        if packet is not None and not self._transport.is_closing():
            self._transport.write(packet)
            self._loop.call_later(_PACE, self._tick)

    def pump(self) -> None:
        """Send a burst of packets, each by its own call, as long as the peer keeps up."""
        if self._transport.is_closing():
            return
        for _ in range(_BURST):
            packet = next(self._packets, None)
            if packet is None:
                return
            self._transport.write(packet)
            if self._paused:
                return
        self._loop.call_soon(self.pump)

    def pause_writing(self) -> None:
        """Wait for the peer."""
        self._paused = True

    def resume_writing(self) -> None:
        """Go on where the peer made us wait."""
        self._paused = False
        self._loop.call_soon(self.pump)


async def serve() -> None:
    """Listen on loopback until the standard input ends."""
    loop = asyncio.get_running_loop()
    state = State()
    server = await loop.create_server(lambda: Connection(state), "127.0.0.1", 0, backlog=4096)
    sys.stdout.write(f"{server.sockets[0].getsockname()[1]}\n")
    sys.stdout.flush()
    await loop.run_in_executor(None, sys.stdin.read)


def main() -> None:
    """Allow as many connections as the system does, and serve."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    asyncio.run(serve())


if __name__ == "__main__":
    main()
