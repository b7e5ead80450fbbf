"""Server-sent events decoder: bytes to events, as the WHATWG defines it.

https://html.spec.whatwg.org/multipage/server-sent-events.html#parsing-an-event-stream
"""

from typing import Final, NamedTuple

MAX_EVENT: Final = 4 * 1024 * 1024
"""The most bytes that one event, or one line, may hold."""

DONE: Final = b"[DONE]"
_LINE: Final = 16  # what a line costs to keep besides its bytes
_MESSAGE: Final = b"message"
_BOM: Final = b"\xef\xbb\xbf"


class EventTooLargeError(ValueError):
    """An event holds more bytes than the decoder takes."""


class Event(NamedTuple):
    """One event: its data, still UTF-8 (perhaps with bad bytes), and its type."""

    data: bytes
    name: bytes = _MESSAGE


_new_event: Final = tuple.__new__  # a third of the time of calling the class


class SSEDecoder:
    """State machine from bytes, cut anywhere, to the events they complete.

    `id` and `retry` matter to a client that reconnects; this one never does.

    Attributes:
        at_boundary: Whether nothing of the next event was fed yet.
    """

    def __init__(self, limit: int = MAX_EVENT) -> None:
        """Start before the first byte of a stream.

        Args:
            limit: The most bytes of one event.
        """
        self._limit = limit
        self._head: bytes | None = b""  # the first bytes, until it is clear that they are no BOM
        self._tail = bytearray()  # a line whose end has not come
        self._after_cr = False  # a LF that comes next belongs to the CR before it
        self._data: list[bytes] = []
        self._size = 0
        self._name = b""
        self.at_boundary = False

    def feed(self, chunk: bytes) -> list[Event]:
        """Take the next bytes.

        Args:
            chunk: Any number of bytes, cut anywhere.

        Returns:
            The events that these bytes complete, oldest first.

        Raises:
            EventTooLargeError: If an event outgrows the limit.
        """
        if self._head == b"" and chunk[:1] == b"d":
            self._head, self.at_boundary = None, True  # no BOM
        if self.at_boundary and (events := _whole_events(chunk, self._limit)):
            return events
        events = self._feed(chunk)
        self.at_boundary = not (self._tail or self._data or self._name or self._after_cr)
        self.at_boundary = self.at_boundary and self._head is None
        return events

    def _feed(self, chunk: bytes) -> list[Event]:
        if self._head is not None:
            chunk = self._skip_bom(self._head + chunk)
        if self._after_cr and chunk:
            self._after_cr = False
            if chunk[0] == 0x0A:
                chunk = chunk[1:]
        if b"\r" in chunk:
            self._after_cr = chunk[-1] == 0x0D
            chunk = chunk.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        if b"\n" not in chunk:
            self._hold(chunk)
            return []
        if self._tail:
            chunk = bytes(self._tail) + chunk
        lines = chunk.split(b"\n")
        self._tail = bytearray()
        self._hold(lines.pop())
        return self._read(lines)

    def end(self) -> list[Event]:
        """Take the end of the stream.

        Returns:
            A `[DONE]` that lacks its line ends; any other unfinished event is dropped, as
            the standard says.
        """
        if self._head:
            self._hold(self._head)
        self._field(bytes(self._tail))
        done = b"\n".join(self._data).strip() == DONE
        return [Event(DONE)] if done else []

    def _skip_bom(self, head: bytes) -> bytes:
        if len(head) < len(_BOM) and _BOM.startswith(head):
            self._head = head
            return b""
        self._head = None
        return head.removeprefix(_BOM)

    def _hold(self, part: bytes) -> None:
        self._tail += part
        if self._tail[:1] == b":":
            del self._tail[1:]  # a comment: only the fact that it is one matters
        self._check(len(self._tail))

    def _check(self, more: int) -> None:
        if self._size + more > self._limit:
            raise EventTooLargeError(f"an event of more than {self._limit} bytes")

    def _read(self, lines: list[bytes]) -> list[Event]:
        events = []
        for line in lines:
            if line:
                self._field(line)
            else:
                if self._data:
                    events.append(Event(b"\n".join(self._data), self._name or _MESSAGE))
                    self._data = []
                    self._size = 0
                self._name = b""
        return events

    def _field(self, line: bytes) -> None:
        name, _, value = line.partition(b":")
        if name == b"data":
            self._check(len(value) + _LINE)
            self._size += len(value) + _LINE
            self._data.append(value[1:] if value[:1] == b" " else value)
        elif name == b"event":
            self._name = value[1:] if value[:1] == b" " else value


def _whole_events(chunk: bytes, limit: int) -> list[Event]:
    """Read events of one `data` line each, as servers send them; nothing if any is otherwise."""
    if chunk[:6] != b"data: " or chunk[-2:] != b"\n\n" or b"\r" in chunk or len(chunk) > limit:
        return []
    blocks = chunk[6:-2].split(b"\n\ndata: ")
    if chunk.count(b"\n") != 2 * len(blocks):
        return []
    return [_new_event(Event, (data, _MESSAGE)) for data in blocks]
