"""A body in HTTP/1.1's chunks: bytes from the wire to the bytes of the answer.

RFC 9112, section 7.1. Most packets of a stream are one chunk, and for that a general parser
does several times the work that reading it is.
"""

import re
from typing import Final

MAX_LINE: Final = 4096
"""The most bytes of a line: a chunk's size with its extensions, or a trailer."""
MAX_TRAILERS: Final = 64 * 1024
"""The most bytes of what may follow the last chunk."""

LAST: Final = b"0\r\n\r\n"
"""The end of a body."""

_END: Final = b"\r\n"
_SIZE: Final = re.compile(rb"([0-9A-Fa-f]{1,20})[ \t]*(?:;.*)?\r\n")
_TRAILER: Final = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+:[^\r\n]*\r?\n")
_BARE_SIZE: Final = re.compile(rb"([0-9A-Fa-f]{1,20})\r\n").match


class BrokenFrameError(ConnectionError):
    """The bytes are no body in chunks, or end before it does."""


class ChunkedBody:
    """A state machine that is fed bytes, cut anywhere, and gives those of the body.

    Attributes:
        done: The body is complete.
        excess: What was fed beyond its end.
    """

    __slots__ = ("_between", "_failure", "_held", "_left", "_trailers", "done", "excess")

    def __init__(self) -> None:
        """Start before the first chunk."""
        self.done = False
        self.excess = b""
        self._between = True  # nothing of the next chunk was seen
        self._left = 0  # bytes of the current chunk, with the line end after it
        self._held = b""  # a line whose end has not come
        self._trailers = -1  # bytes of the trailers so far; -1 before the last chunk
        self._failure: BrokenFrameError | None = None

    def feed(self, data: bytes) -> bytes:
        """Take the next bytes.

        Args:
            data: Any number of bytes but none, cut anywhere.

        Returns:
            The bytes of the body among them.

        Raises:
            BrokenFrameError: If they can't be read as chunks; `check` raises it where there
                are bytes of the body before.
        """
        found: list[bytes] = []
        at = self._whole(data, found) if self._between else 0
        if at < len(data):
            try:
                self._feed(self._held + data[at:], found)
            except BrokenFrameError as failure:
                if not found:
                    raise
                self._failure = failure
            self._between = not (self._left or self._held) and self._trailers < 0
        return found[0] if len(found) == 1 else b"".join(found)

    def check(self) -> None:
        """Raise what came together with bytes that had to be given first."""
        if self._failure is not None:
            raise self._failure

    def end(self) -> None:
        """Take the end of the connection.

        Raises:
            BrokenFrameError: If the body is not complete.
        """
        if not self.done:
            raise BrokenFrameError("the connection ended within the body")

    def _whole(self, data: bytes, found: list[bytes]) -> int:
        """Read the whole chunks at the beginning; give where the rest begins."""
        at = 0
        while size := _BARE_SIZE(data, at):
            start = size.end()
            end = start + int(size[1], 16)
            if end == start or data[end : end + 2] != _END:
                break
            found.append(data[start:end])
            at = end + len(_END)
        return at

    def _feed(self, data: bytes, found: list[bytes]) -> None:
        self._held = b""
        at = 0
        while at < len(data) and not self.done:
            if self._left > len(_END):
                piece = data[at : at + self._left - len(_END)]
                found.append(piece)
                at += len(piece)
                self._left -= len(piece)
            elif self._left:
                if data[at] != _END[-self._left]:
                    raise BrokenFrameError("a chunk is longer than it says")
                at += 1
                self._left -= 1
            else:
                at = self._line(data, at)
        self.excess = data[at:]

    def _line(self, data: bytes, at: int) -> int:
        """Read the line that begins there; give where the next one does."""
        end = data.find(b"\n", at) + 1
        if (end or len(data)) - at > MAX_LINE:
            raise BrokenFrameError("a line between chunks takes too many bytes")
        if not end:
            self._held = data[at:]
            return len(data)
        if self._trailers >= 0:
            self._trailer(data[at:end])
            return end
        size = _SIZE.fullmatch(data, at, end)
        if size is None:
            raise BrokenFrameError("a chunk does not say its size")
        length = int(size[1], 16)
        if length:
            self._left = length + len(_END)
        else:
            self._trailers = 0
        return end

    def _trailer(self, line: bytes) -> None:
        self._trailers += len(line)
        if self._trailers > MAX_TRAILERS:
            raise BrokenFrameError("the trailers take too many bytes")
        self.done = line in (b"\r\n", b"\n")
        if not self.done and _TRAILER.fullmatch(line) is None:
            raise BrokenFrameError("what follows the last chunk is no trailer")
