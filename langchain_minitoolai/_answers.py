"""The service's chat answer: bytes to pieces, and whether it is complete."""

from typing import Any, Final, NamedTuple, TypeAlias

from pydantic_core import from_json

from langchain_minitoolai import errors
from langchain_minitoolai._failures import MAX_DOCUMENT, MAX_PAGE, body_words, told_error
from langchain_minitoolai._frame import ContentFrame
from langchain_minitoolai._sse import DONE, Event, EventDecoder, EventTooLargeError

Piece: TypeAlias = str | list[dict[str, Any]]
"""A piece of the answer: text, or OpenAI's `tool_calls` deltas."""

_INFO: Final = ("id", "model", "system_fingerprint", "service_tier")
_BLANK: Final = b"\xef\xbb\xbf \t\r\n"  # a BOM and white space
_NEXT: Final = b"\n\n"
_FIELDS: Final = (b":", b"data", b"event", b"id", b"retry")


class Answer(NamedTuple):
    """A whole answer: its pieces in order, and the reader that knows the rest."""

    pieces: list[Piece]
    reader: "AnswerReader"


class AnswerReader:
    """Reads one chat answer, whatever form it comes in, and knows whether it is complete.

    Attributes:
        info: `id`, `model`, `system_fingerprint`, `service_tier`, as first told.
        finish_reason: The service's word for why the answer ended.
        usage: The service's token counts.
        done: `[DONE]` was seen: nothing more will come.
        events: How many data events were read; only these are progress.
    """

    def __init__(self, secret: str = "") -> None:
        """Start before the first byte.

        Args:
            secret: The API key, to be kept out of errors.
        """
        self.info: dict[str, str] = {}
        self.finish_reason: str | None = None
        self.usage: dict[str, Any] | None = None
        self.done = False
        self.events = 0
        self._secret = secret
        self._answered = False
        self._decoder = EventDecoder()
        self._frame = ContentFrame()
        self._failure: errors.MiniToolAIError | None = None
        self._head = b""
        self._document: bytearray | None = None

    @property
    def complete(self) -> bool:
        """Whether the answer's end was seen."""
        return self.done or self.finish_reason is not None

    def feed(self, block: bytes) -> list[Piece]:
        """Take the next bytes of the body.

        Args:
            block: Any number of bytes, cut anywhere.

        Returns:
            The pieces of the answer that these bytes complete.

        Raises:
            MiniToolAIError: If the service tells of an error, or the bytes are no answer.
        """
        self.check()
        if self.done:
            return []
        pieces, rest = self._texts(block)
        if not pieces:
            return self._feed(rest)
        return self._both(pieces, rest) if rest else pieces

    def _both(self, pieces: list[Piece], rest: bytes) -> list[Piece]:
        """Add the pieces of what comes next; what is wrong with it is raised after them."""
        try:
            return pieces + self.feed(rest)
        except errors.MiniToolAIError as failure:
            if not pieces:
                raise
            self._failure = failure
        return pieces

    def _texts(self, block: bytes) -> tuple[list[Piece], bytes]:
        """Read the events at the block's beginning that are like an earlier one."""
        if not self._decoder.between:
            return [], block
        texts, rest = self._frame.texts(block)
        self.events += len(texts)
        return [text for text in texts if text], rest

    def _feed(self, block: bytes) -> list[Piece]:
        if self._document is not None:
            self._document += block
            self._check_document(self._document)
            return []
        if not self.events and len(self._head) < errors.MAX_MESSAGE:
            before, self._head = self._head, self._head + block[: errors.MAX_MESSAGE]
            if self._head.lstrip(_BLANK)[:1] in (b"{", b"<"):
                self._document = bytearray(before + block)
                self._check_document(self._document)
                return []
            first = block.find(_NEXT) + len(_NEXT) if block.startswith(b"data: ") else 0
            if len(_NEXT) < first < len(block):  # the others are most often like it
                return self._both(self._read(self._decode(block[:first])), block[first:])
        return self._read(self._decode(block))

    def _decode(self, block: bytes) -> list[Event]:
        try:
            return self._decoder.feed(block)
        except EventTooLargeError as error:
            message = f"the service sent {error}"
            raise errors.InvalidResponseError(message, status_code=200) from None

    def end(self) -> list[Piece]:
        """Take the end of the body.

        Returns:
            The pieces that only the end completes.

        Raises:
            MiniToolAIError: If the answer is incomplete, or was none.
        """
        self.check()
        if self._document is not None:
            return self._read_document(bytes(self._document))
        pieces = self._read(self._decoder.end())
        if not self.complete:
            raise self._cut()
        if not self._answered:
            raise errors.GarbledStreamError("the service sent an empty answer", status_code=200)
        return pieces

    def check(self) -> None:
        """Raise what came in one block with pieces that had to be seen first."""
        if self._failure is not None:
            raise self._failure

    def _cut(self) -> errors.MiniToolAIError:
        head = self._head.lstrip(_BLANK)
        begun = head.startswith(_FIELDS) or any(field.startswith(head) for field in _FIELDS)
        if self.events or begun:
            message = "the answer ended before it was complete"
            return errors.StreamInterruptedError(message, status_code=200)
        words = head.decode("utf-8", "replace")
        message = errors.tidy(f"the answer is no event stream: {words}", self._secret)
        return errors.InvalidResponseError(message, status_code=200)

    def _check_document(self, document: bytearray) -> None:
        page = document[: errors.MAX_MESSAGE].lstrip(_BLANK)[:1] == b"<"
        if page and len(document) > MAX_PAGE:
            raise self._page(bytes(document[:MAX_PAGE]))
        if len(document) > MAX_DOCUMENT:
            message = f"the service sent a JSON answer of more than {MAX_DOCUMENT} bytes"
            raise errors.InvalidResponseError(message, status_code=200)

    def _page(self, body: bytes) -> errors.MiniToolAIError:
        message = f"the service answered with a page instead of an answer: {body_words(body)}"
        return errors.InvalidResponseError(errors.tidy(message, self._secret), status_code=200)

    def _read(self, events: list[Event]) -> list[Piece]:
        pieces: list[Piece] = []
        try:
            self._read_events(events, pieces)
        except errors.MiniToolAIError as failure:
            if not pieces:
                raise
            self._failure = failure
        return pieces

    def _read_events(self, events: list[Event], pieces: list[Piece]) -> None:
        for data, name in events:
            text = self._frame.text(data) if name != b"error" else None
            if text is None and data.strip() == DONE:
                self.done = True
                break
            self.events += 1
            if text is None:
                self._read_whole(data, name, pieces)
            elif text:
                pieces.append(text)

    def _read_whole(self, data: bytes, name: bytes, pieces: list[Piece]) -> None:
        chunk = self._parse(data)
        if name == b"error" or "error" in chunk or "status" in chunk:
            self._raise_told(chunk, name)
        if not self.info:
            self.info = _info(chunk)
        usage = chunk.get("usage")
        if isinstance(usage, dict):
            self.usage = usage
        choices = chunk.get("choices")
        if choices and isinstance(choices, list) and isinstance(choices[0], dict):
            before = len(pieces)
            self._read_choice(choices[0], "delta", pieces)
            if pieces[before:] and self.finish_reason is None and usage is None:
                self._learn(data, pieces[before:])

    def _learn(self, data: bytes, pieces: list[Piece]) -> None:
        if len(pieces) == 1 and isinstance(pieces[0], str):
            self._frame.learn(data, pieces[0])

    def _parse(self, data: bytes) -> dict[str, Any]:
        try:
            chunk = from_json(data)
        except ValueError:
            try:
                chunk = from_json(data.decode("utf-8", "replace"))
            except ValueError:
                chunk = None
        if not isinstance(chunk, dict):
            words = data[:4096].decode("utf-8", "replace")
            message = f"the stream holds an event that can't be read: {words}"
            raise errors.GarbledStreamError(errors.tidy(message, self._secret), status_code=200)
        return chunk

    def _read_choice(self, choice: dict[str, Any], key: str, pieces: list[Piece]) -> None:
        self._answered = True
        delta = choice.get(key)
        if isinstance(delta, dict):
            content = delta.get("content") or delta.get("refusal")
            if content and isinstance(content, str):
                pieces.append(content)
            calls = delta.get("tool_calls")
            if calls and isinstance(calls, list):
                pieces.append([call for call in calls if isinstance(call, dict)])
        reason = choice.get("finish_reason")
        if reason:
            self.finish_reason = str(reason)

    def _read_document(self, body: bytes) -> list[Piece]:
        if body.lstrip(_BLANK)[:1] == b"<":
            raise self._page(body)
        document = self._parse(body.removeprefix(b"\xef\xbb\xbf"))
        self._raise_told(document, b"")
        choices = document.get("choices")
        if not isinstance(choices, list) or not choices or not isinstance(choices[0], dict):
            message = f"the service's answer holds no choice: {body_words(body)}"
            raise errors.InvalidResponseError(errors.tidy(message, self._secret), status_code=200)
        pieces: list[Piece] = []
        self.info = _info(document)
        usage = document.get("usage")
        self.usage = usage if isinstance(usage, dict) else None
        self._read_choice(choices[0], "message", pieces)
        self.done = True  # a document that parses is whole
        return pieces

    def _raise_told(self, chunk: dict[str, Any], name: bytes) -> None:
        if name == b"error" or chunk.get("error") or chunk.get("status") in ("error", "failed"):
            raise told_error(chunk, secret=self._secret)


def _info(chunk: dict[str, Any]) -> dict[str, str]:
    return {key: chunk[key] for key in _INFO if isinstance(chunk.get(key), str)}
