"""What is done with each block of a body, whoever reads it: decode, bound, watch the time."""

import zlib
from collections.abc import Iterable, Iterator, Mapping
from typing import Final

from langchain_minitoolai import errors
from langchain_minitoolai._chat.stream import ChatStreamParser, Delta
from langchain_minitoolai._http.deadline import Budget
from langchain_minitoolai._http.error_mapping import MAX_DOCUMENT, MAX_PAGE

ENDING: Final = 5.0
"""Seconds to wait for what may follow the finish reason: the usage, and `[DONE]`."""
_STEP: Final = 64 * 1024
"""The most bytes that one step of decompression gives."""
_MEMBER: Final = b"\x1f\x8b"
"""How each part of a gzip body begins; RFC 1952 allows any number."""


class Decoder:
    """Undoes the compression that was not asked for, in bounded steps.

    Attributes:
        plain: There is none to undo.
    """

    def __init__(self, headers: Mapping[str, str]) -> None:
        """Choose by the reply's headers.

        Raises:
            InvalidResponseError: If the encoding is none that can be undone.
        """
        encoding = headers.get("content-encoding", "").strip().lower()
        if encoding not in ("", "identity", "gzip", "x-gzip", "deflate"):
            message = errors.tidy(
                f"the service sent a content encoding nobody asked for: {encoding}"
            )
            raise errors.InvalidResponseError(message)
        self.plain = encoding in ("", "identity")
        self._zlib = None if self.plain else zlib.decompressobj(47)
        self._members = "gzip" in encoding
        self._held = b""

    def __call__(self, block: bytes) -> Iterable[bytes]:
        """Give the block's content, in steps of at most 64 KiB if it was compressed."""
        return (block,) if self._zlib is None else self._inflate(self._zlib, block)

    def _inflate(self, inflater: "zlib._Decompress", block: bytes) -> Iterator[bytes]:
        block, self._held = self._held + block, b""
        while block:
            if inflater.eof:
                if len(block) < len(_MEMBER) and self._members:
                    self._held = block  # too few bytes to know what follows
                    return
                if not block.startswith(_MEMBER) or not self._members:
                    self._members = False  # padding, or junk: what was meant is over
                    return
                inflater = self._zlib = zlib.decompressobj(31)
            try:
                yield inflater.decompress(block, _STEP)
            except zlib.error:
                message = "the service sent a compressed answer that can't be read"
                raise errors.MalformedStreamError(message, status_code=200) from None
            block = inflater.unused_data or inflater.unconsumed_tail


class AnswerIntake:
    """Takes a chat answer's body block by block.

    Attributes:
        reader: What was read so far.
    """

    def __init__(self, headers: Mapping[str, str], budget: Budget, secret: str = "") -> None:
        """Start before the first block.

        Args:
            headers: Of the reply, by lower-case name.
            budget: The time of this exchange.
            secret: The API key, to be kept out of errors.
        """
        self.reader = ChatStreamParser(secret)
        self._decode = Decoder(headers)
        self._budget = budget

    def feed(self, raw: bytes) -> list[Delta]:
        """Take a block; only an event in it counts as progress.

        Raises:
            MiniToolAIError: As `ChatStreamParser.feed`; or if the time is up.
        """
        if self._decode.plain:
            return self._take(raw)
        pieces: list[Delta] = []
        try:
            for block in self._decode(raw):
                pieces += self._take(block)
        except errors.MiniToolAIError as failure:
            self.reader.defer_error(failure, pieces)
        return pieces

    def _take(self, block: bytes) -> list[Delta]:
        reader = self.reader
        before = reader.events
        pieces = reader.feed(block)
        progress = reader.events > before
        if reader.complete:
            if progress:
                self._budget.shorten(ENDING)
        elif progress:
            self._budget.progress()
        else:
            self._budget.check()
        return pieces

    def end(self, failure: errors.MiniToolAIError | None) -> list[Delta]:
        """Take the end of the body.

        Args:
            failure: What ended it, if not the service; of no interest if the answer is whole.

        Raises:
            MiniToolAIError: If the answer is not whole.
        """
        self.reader.raise_deferred()
        if failure is not None and not self.reader.complete:
            raise failure
        return self.reader.end()


class BodyIntake:
    """Takes a body that is wanted in one piece, up to a bound.

    Attributes:
        full: No more is wanted.
    """

    def __init__(self, status: int, headers: Mapping[str, str]) -> None:
        """Start before the first block."""
        self.full = False
        self._success = status < 300
        self._bound = MAX_DOCUMENT if self._success else MAX_PAGE
        self._body = bytearray()
        try:
            self._decode = Decoder(headers)
        except errors.InvalidResponseError:
            if self._success:
                raise
            self.full = True

    def feed(self, raw: bytes) -> None:
        """Take a block.

        Raises:
            InvalidResponseError: If a success outgrows its bound, or can't be decoded; an
                error's body is cut there, since its status says enough.
        """
        try:
            self._take(raw)
        except errors.InvalidResponseError:
            if self._success:
                raise
            self.full = True

    def _take(self, raw: bytes) -> None:
        for block in () if self.full else self._decode(raw):
            self._body += block
            if len(self._body) > self._bound:
                message = f"the service sent an answer of more than {self._bound} bytes"
                raise errors.InvalidResponseError(message, status_code=200)

    def end(self, failure: errors.MiniToolAIError | None) -> bytes:
        """Give the body; that of an error even if it broke off.

        Raises:
            MiniToolAIError: If a success broke off.
        """
        if failure is not None and self._success:
            raise failure
        return bytes(self._body[: self._bound])
