"""Response bodies: bounded, decoded step by step, and timed."""

import zlib
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final, Generic, TypeVar

from langchain_minitoolai import errors
from langchain_minitoolai._http.deadline import Deadline
from langchain_minitoolai._http.effects import MAX_JSON_BODY, BodyReader
from langchain_minitoolai._http.error_mapping import MAX_ERROR_BODY
from langchain_minitoolai._redaction import tidy

T = TypeVar("T")
R = TypeVar("R", bound=BodyReader[Any])

USAGE_GRACE: Final = 5.0
"""Seconds to wait for what may follow the finish reason: the usage, and `[DONE]`."""
DRAIN_SECONDS: Final = 0.05
"""Seconds to wait after `[DONE]` for the last bytes of the body, to keep the connection."""
_TOKENS: Final = ("prompt_tokens", "completion_tokens", "total_tokens")
_STEP: Final = 64 * 1024
"""The most bytes that one step of decompression gives."""
_GZIP_MAGIC: Final = b"\x1f\x8b"
"""How each member of a gzip body begins; RFC 1952 allows any number."""


class ContentDecoder:
    """Undoes a compression that was not asked for, in bounded steps.

    Attributes:
        is_identity: There is none to undo.
    """

    def __init__(self, headers: Mapping[str, str]) -> None:
        """Choose by the response's headers.

        Raises:
            InvalidResponseError: If the encoding can't be undone.
        """
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


class StreamReader(Generic[T, R]):
    """Feeds a body to its parser, and moves the deadline with each event.

    Attributes:
        parser: The parser.
    """

    def __init__(self, headers: Mapping[str, str], parser: R, deadline: Deadline) -> None:
        """Start before the first block.

        Raises:
            InvalidResponseError: If the content encoding can't be undone.
        """
        self.parser = parser
        self._decoder = ContentDecoder(headers)
        self._deadline = deadline

    def feed(self, raw: bytes) -> list[T]:
        """Take a block; only an event in it is progress.

        Raises:
            MiniToolAIError: What the parser raises; or if the time is up.
        """
        if self._decoder.is_identity:
            return self._parse(raw)
        items: list[T] = []
        try:
            for block in self._decoder.decode(raw):
                items += self._parse(block)
        except errors.MiniToolAIError as error:
            self.parser.defer_error(error, items)
        return items

    def _parse(self, block: bytes) -> list[T]:
        parser = self.parser
        before = parser.events
        items: list[T] = parser.feed(block)
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
        """Go on after the consumer took the items: his time does not count.

        Raises:
            MiniToolAIError: What the parser deferred.
        """
        self.parser.raise_deferred()
        self._deadline.reset_idle()

    def end(self, failure: errors.MiniToolAIError | None) -> list[T]:
        """Take the end of the body.

        Args:
            failure: What ended it, if not the service; ignored if the content is complete.

        Raises:
            MiniToolAIError: If the content is incomplete; `usage` tells what it had cost.
        """
        try:
            self.parser.raise_deferred()
            if failure is not None and not self.parser.complete:
                raise failure
            items: list[T] = self.parser.end()
        except errors.MiniToolAIError as error:
            usage = self.parser.usage or {}
            error.usage = {
                name: usage[name] for name in _TOKENS if isinstance(usage.get(name), int)
            }
            raise
        return items


class BoundedBody:
    """A body that is wanted in one piece, up to a bound.

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
            status: Of a success the whole body must come; of an error, what comes of it.
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
        length = headers.get("content-length", "")
        try:
            self._decoder = ContentDecoder(headers)
            if self._is_success and length.isdecimal() and int(length[:18]) > limit:
                raise self._too_large()
        except errors.InvalidResponseError:
            if self._is_success:
                raise
            self.truncated = True

    def feed(self, raw: bytes) -> None:
        """Take a block.

        Raises:
            InvalidResponseError: If a success outgrows its bound or can't be decoded; an error's
                body is cut there, since its status says enough.
        """
        try:
            self._take(raw)
        except errors.InvalidResponseError:
            if self._is_success:
                raise
            self.truncated = True

    def _take(self, raw: bytes) -> None:
        for block in () if self.truncated else self._decoder.decode(raw):
            self._content += block
            if len(self._content) > self._limit:
                raise self._too_large()
        if self._deadline is not None:
            self._deadline.reset_idle()

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
