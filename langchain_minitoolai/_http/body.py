"""Response bodies: bounds, decompression, and the decoder of server-sent events.

Events are as the WHATWG defines them:
https://html.spec.whatwg.org/multipage/server-sent-events.html#parsing-an-event-stream
"""

import zlib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final, Generic, NamedTuple, TypeVar

from langchain_minitoolai import errors
from langchain_minitoolai._http.effects import MAX_JSON_BODY, BodyReader
from langchain_minitoolai._http.error_mapping import MAX_ERROR_BODY
from langchain_minitoolai._http.transport import Deadline
from langchain_minitoolai._redaction import tidy

R = TypeVar("R", bound=BodyReader)

USAGE_GRACE: Final = 5.0
"""Seconds to wait for what may follow the finish reason: the usage, and `[DONE]`."""
DRAIN_SECONDS: Final = 0.05
"""Seconds to wait after `[DONE]` for the last bytes of the body, to keep the connection."""
_TOKENS: Final = ("prompt_tokens", "completion_tokens", "total_tokens")
_STEP: Final = 64 * 1024
"""The most bytes that one step of decompression gives."""
_GZIP_MAGIC: Final = b"\x1f\x8b"
"""How each member of a gzip body begins; RFC 1952 allows any number."""
MAX_EVENT: Final = 4 * 1024 * 1024
"""The most bytes that one event, or one line, may hold."""

DONE: Final = b"[DONE]"
_LINE: Final = 16  # what a line costs to keep besides its bytes
_MESSAGE: Final = b"message"
_BOM: Final = b"\xef\xbb\xbf"


class ContentDecoder:
    """Undoes a compression that was not asked for, in bounded steps.

    Raises:
        InvalidResponseError: If the headers name an encoding that can't be undone.
    """

    def __init__(self, headers: Mapping[str, str]) -> None:
        """Choose by the response's headers."""
        encoding = headers.get("content-encoding", "").strip().lower()
        if encoding not in ("", "identity", "gzip", "x-gzip", "deflate"):
            message = tidy(f"the service sent a content encoding nobody asked for: {encoding}")
            raise errors.InvalidResponseError(message)
        self.is_identity = encoding in ("", "identity")
        self._zlib = None if self.is_identity else zlib.decompressobj(47)
        self._multi_member = "gzip" in encoding
        self._held = b""

    def decode(self, block: bytes) -> Iterable[bytes]:
        """Return the block's content, in steps of at most 64 KiB if it was compressed."""
        return (block,) if self._zlib is None else self._inflate(self._zlib, block)

    def _inflate(self, inflater: "zlib._Decompress", block: bytes) -> Iterator[bytes]:
        block, self._held = self._held + block, b""
        while block:
            if inflater.eof:
                if len(block) < len(_GZIP_MAGIC) and self._multi_member:
                    self._held = block  # too few bytes to know what follows
                    return
                if not block.startswith(_GZIP_MAGIC) or not self._multi_member:
                    self._multi_member = False  # padding, or junk: the content is over
                    return
                inflater = self._zlib = zlib.decompressobj(31)
            try:
                yield inflater.decompress(block, _STEP)
            except zlib.error:
                message = "the service sent a compressed answer that can't be read"
                raise errors.MalformedStreamError(message, status_code=200) from None
            block = inflater.unused_data or inflater.unconsumed_tail


class StreamReader(Generic[R]):
    """Feeds a body to its parser, and moves the deadline with each event."""

    def __init__(self, headers: Mapping[str, str], parser: R, deadline: Deadline) -> None:
        """Start before the first block."""
        self.parser = parser
        self._decoder = ContentDecoder(headers)
        self._deadline = deadline

    def feed(self, raw: bytes) -> list[Any]:
        """Take a block; only an event in it is progress."""
        if self._decoder.is_identity:
            return self._parse(raw)
        items: list[Any] = []
        try:
            for block in self._decoder.decode(raw):
                items += self._parse(block)
        except errors.MiniToolAIError as error:
            self.parser.defer_error(error, items)
        return items

    def _parse(self, block: bytes) -> list[Any]:
        parser = self.parser
        before = parser.events
        items: list[Any] = parser.feed(block)
        if parser.events == before:
            if not parser.complete:
                self._deadline.check()
        elif parser.complete:
            self._deadline.cap(USAGE_GRACE)
        else:
            self._deadline.reset_idle()
        if parser.done:
            self._deadline.cap(DRAIN_SECONDS)
        return items

    def consumed(self) -> None:
        """Go on after the consumer took the items: his time does not count."""
        self.parser.raise_deferred()
        self._deadline.reset_idle()

    def end(self, failure: errors.MiniToolAIError | None) -> list[Any]:
        """Take the end of the body, and what ended it, which counts if the content is incomplete.

        Raises:
            MiniToolAIError: If the content is incomplete; its `usage` is what was counted.
        """
        try:
            self.parser.raise_deferred()
            if failure is not None and not self.parser.complete:
                raise failure
            items: list[Any] = self.parser.end()
        except errors.MiniToolAIError as error:
            usage = self.parser.usage or {}
            error.usage = {key: usage[key] for key in _TOKENS if isinstance(usage.get(key), int)}
            raise
        return items


class BoundedBody:
    """A body that is wanted in one piece, up to a bound; of an error, what comes of it.

    Attributes:
        truncated: No more is wanted.
    """

    def __init__(
        self,
        status: int,
        headers: Mapping[str, str],
        limit: int = MAX_JSON_BODY,
        deadline: Deadline | None = None,
    ) -> None:
        """Start before the first block.

        Args:
            status: Of a success the whole body must come.
            headers: By lower-case name.
            limit: The most bytes of a success.
            deadline: Moved by each block; without it the body has the time of its response.

        Raises:
            InvalidResponseError: If a success is too large or can't be decoded.
        """
        self.truncated = False
        self._is_success = status < 300
        self._limit = limit if self._is_success else MAX_ERROR_BODY
        self._deadline = deadline
        self._content = bytearray()
        self._decoder: ContentDecoder | None = None
        with self._cut_unless_success():
            self._decoder = ContentDecoder(headers)
        length = headers.get("content-length", "")
        if self._is_success and length.isdecimal() and int(length[:18]) > limit:
            raise self._too_large()

    def feed(self, raw: bytes) -> None:
        """Take a block.

        Raises:
            InvalidResponseError: If a success outgrows its bound or can't be decoded.
        """
        with self._cut_unless_success():
            for block in self._decoder.decode(raw) if self._decoder else ():
                self._content += block
                if len(self._content) > self._limit:
                    raise self._too_large()
        if self._deadline is not None:
            self._deadline.reset_idle()

    @contextmanager
    def _cut_unless_success(self) -> Iterator[None]:
        try:
            yield
        except errors.InvalidResponseError:
            if self._is_success:
                raise
            self.truncated = True  # the status of an error says enough

    def _too_large(self) -> errors.InvalidResponseError:
        message = f"the service sent an answer of more than {self._limit} bytes"
        return errors.InvalidResponseError(message, status_code=200)

    def end(self, failure: errors.MiniToolAIError | None) -> bytes:
        """Return the body; that of an error even if it broke off.

        Raises:
            MiniToolAIError: If a success broke off.
        """
        if failure is not None and self._is_success:
            raise failure
        return bytes(self._content[: self._limit])


# --- Server-sent events -------------------------------------------------------------


class EventTooLargeError(ValueError):
    """An event holds more bytes than the decoder takes."""


class Event(NamedTuple):
    """One event: its data, still UTF-8 (perhaps with bad bytes), and its type."""

    data: bytes
    name: bytes = _MESSAGE


_new_event: Final = tuple.__new__  # a third of the time of calling the class


class SSEDecoder:
    """State machine from bytes, cut anywhere, to the events they complete.

    Attributes:
        at_boundary: Whether nothing of the next event was fed yet.
    """

    def __init__(self, limit: int = MAX_EVENT) -> None:
        """Start before the first byte of a stream; an event has at most `limit` bytes."""
        self._limit = limit
        self._head: bytes | None = b""  # the first bytes, until it is clear that they are no BOM
        self._tail = bytearray()  # a line whose end has not come
        self._after_cr = False  # a LF that comes next belongs to the CR before it
        self._data: list[bytes] = []
        self._size = 0
        self._name = b""
        self.at_boundary = False

    def feed(self, chunk: bytes) -> list[Event]:
        """Take the next bytes, cut anywhere; return the events that they complete.

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
        """Take the end of the stream; return a `[DONE]` that lacks its line ends.

        Any other unfinished event is dropped, as the standard says.
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
