"""The service's chat answer: bytes to pieces, and whether it is complete."""

from collections.abc import Sequence
from typing import Any, Final, NamedTuple, TypeAlias

from langchain_minitoolai import errors
from langchain_minitoolai._chat.json_body import BLANK, Document, garbled, parse_object, tells_error
from langchain_minitoolai._frame import ContentFrame
from langchain_minitoolai._http.error_mapping import error_from_payload
from langchain_minitoolai._http.sse import DONE, Event, EventDecoder, EventTooLargeError

Piece: TypeAlias = str | list[dict[str, Any]]
"""A piece of the answer: text, or OpenAI's `tool_calls` deltas."""

_INFO: Final = ("id", "model", "system_fingerprint", "service_tier")
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
        self._failure: Exception | None = None
        self._head = b""
        self._document: Document | None = None

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
        self.raise_deferred()
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
            self.defer_error(failure, pieces)
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
            self._document.add(block)
            return []
        if not self.events and len(self._head) < errors.MAX_MESSAGE:
            before, self._head = self._head, self._head + block[: errors.MAX_MESSAGE]
            if self._head.lstrip(BLANK)[:1] in (b"{", b"<"):
                self._document = Document(self._secret)
                self._document.add(before + block)
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
        self.raise_deferred()
        if self._document is not None:
            return self._read_document(self._document.read())
        pieces = self._read(self._decoder.end())
        if not self.complete:
            raise self._cut()
        if not self._answered:
            raise errors.GarbledStreamError("the service sent an empty answer", status_code=200)
        return pieces

    def raise_deferred(self) -> None:
        """Raise what came in one block with pieces that had to be seen first."""
        if self._failure is not None:
            raise self._failure

    def defer_error(self, failure: Exception, pieces: Sequence[Any]) -> None:
        """Keep a failure for `check` where pieces came before it; raise it where none did."""
        if not pieces:
            raise failure
        self._failure = failure

    def _cut(self) -> errors.MiniToolAIError:
        head = self._head.lstrip(BLANK)
        begun = head.startswith(_FIELDS) or any(field.startswith(head) for field in _FIELDS)
        if self.events or begun:
            message = "the answer ended before it was complete"
            return errors.StreamInterruptedError(message, status_code=200)
        words = head.decode("utf-8", "replace")
        message = errors.tidy(f"the answer is no event stream: {words}", self._secret)
        return errors.InvalidResponseError(message, status_code=200)

    def _read(self, events: list[Event]) -> list[Piece]:
        pieces: list[Piece] = []
        try:
            self._read_events(events, pieces)
        except errors.MiniToolAIError as failure:
            self.defer_error(failure, pieces)
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
        chunk = parse_object(data)
        if chunk is None:
            raise garbled(data, self._secret)
        if name == b"error" or tells_error(chunk):
            raise error_from_payload(chunk, secret=self._secret)
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

    def _read_document(self, document: dict[str, Any]) -> list[Piece]:
        pieces: list[Piece] = []
        self.info = _info(document)
        usage = document.get("usage")
        self.usage = usage if isinstance(usage, dict) else None
        self._read_choice(document["choices"][0], "message", pieces)
        self.done = True  # a document that parses is whole
        return pieces


def _info(chunk: dict[str, Any]) -> dict[str, str]:
    return {key: chunk[key] for key in _INFO if isinstance(chunk.get(key), str)}
