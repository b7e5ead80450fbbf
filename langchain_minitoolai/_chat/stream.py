"""Chat completion stream parser: bytes to deltas, completeness, JSON bodies.

It does no I/O and implements the body reader protocol of `_http`.
"""

from collections.abc import Sequence
from typing import Any, Final, NamedTuple, TypeAlias

from langchain_minitoolai import errors
from langchain_minitoolai._http.body import DONE, Event, EventTooLargeError, SSEDecoder
from langchain_minitoolai._http.effects import MAX_JSON_BODY
from langchain_minitoolai._http.error_mapping import (
    MAX_ERROR_BODY,
    error_from_payload,
    parse_json_object,
    summarize_body,
)
from langchain_minitoolai._redaction import MAX_MESSAGE, tidy


class Refusal(NamedTuple):
    """A piece of the text in which the model refuses to answer."""

    text: str


Delta: TypeAlias = str | Refusal | list[dict[str, Any]]
"""A part of the response: text, a refusal, or OpenAI's `tool_calls` deltas."""

_METADATA: Final = ("id", "model", "system_fingerprint", "service_tier")
_FIELDS: Final = (b":", b"data", b"event", b"id", b"retry")
_UTF8_BOM: Final = b"\xef\xbb\xbf"
_BLANK: Final = _UTF8_BOM + b" \t\r\n"
"""Bytes that may precede a JSON body: whitespace and a BOM."""


class ChatStreamParser:
    """Incremental parser of one chat response, whether an event stream or one JSON body.

    Attributes:
        metadata: `id`, `model`, `system_fingerprint`, `service_tier` of the first event.
        finish_reason: The service's reason for the end of the response.
        usage: The service's token counts.
        done: `[DONE]` was read: nothing more will come.
        events: How many data events were read; only these are progress.
    """

    def __init__(self, api_key: str = "") -> None:
        """Start before the first byte; `api_key` is redacted in error messages."""
        self.metadata: dict[str, str] = {}
        self.finish_reason: str | None = None
        self.usage: dict[str, Any] | None = None
        self.done = False
        self.events = 0
        self._api_key = api_key
        self._has_choice = False
        self._decoder = SSEDecoder()
        self._deferred: Exception | None = None
        self._head = b""
        self._json_body: JSONBody | None = None

    @property
    def complete(self) -> bool:
        """Whether the end of the response was read."""
        return self.done or self.finish_reason is not None

    def feed(self, block: bytes) -> list[Delta]:
        """Parse the next bytes of the body.

        Args:
            block: Any number of bytes, cut anywhere.

        Returns:
            The deltas that these bytes complete.

        Raises:
            MiniToolAIError: If the service reports an error, or the bytes are no response. Where
                deltas precede the error in the block, they are returned and the next call raises.
        """
        self.raise_deferred()
        if self.done:
            return []
        if self._json_body is not None:
            self._json_body.add(block)
            return []
        if not self.events and len(self._head) < MAX_MESSAGE:
            before, self._head = self._head, self._head + block[:MAX_MESSAGE]
            if self._head.lstrip(_BLANK)[:1] in (b"{", b"<"):
                self._json_body = JSONBody(self._api_key)
                self._json_body.add(before + block)
                return []
        return self._parse(self._decode(block))

    def end(self) -> list[Delta]:
        """Parse the end of the body.

        Returns:
            The deltas that only the end completes.

        Raises:
            MiniToolAIError: If the response is incomplete, or was none.
        """
        self.raise_deferred()
        if self._json_body is not None:
            return self._parse_json_body(self._json_body.parse())
        deltas = self._parse(self._decoder.end())
        if not self.complete:
            raise self._incomplete_error()
        if not self._has_choice:
            raise errors.MalformedStreamError("the service sent an empty answer", status_code=200)
        return deltas

    def raise_deferred(self) -> None:
        """Raise the error that followed the last deltas in their block."""
        if self._deferred is not None:
            raise self._deferred

    def defer_error(self, error: Exception, deltas: Sequence[Any]) -> None:
        """Keep an error for `raise_deferred` where deltas precede it; raise it otherwise."""
        if not deltas:
            raise error
        self._deferred = error

    def _decode(self, block: bytes) -> list[Event]:
        try:
            return self._decoder.feed(block)
        except EventTooLargeError as error:
            message = f"the service sent {error}"
            raise errors.InvalidResponseError(message, status_code=200) from None

    def _incomplete_error(self) -> errors.MiniToolAIError:
        head = self._head.lstrip(_BLANK)
        is_stream = head.startswith(_FIELDS) or any(field.startswith(head) for field in _FIELDS)
        if self.events or is_stream:
            message = "the answer ended before it was complete"
            return errors.StreamInterruptedError(message, status_code=200)
        text = head.decode("utf-8", "replace")
        message = tidy(f"the answer is no event stream: {text}", self._api_key)
        return errors.InvalidResponseError(message, status_code=200)

    def _parse(self, events: list[Event]) -> list[Delta]:
        deltas: list[Delta] = []
        try:
            for data, name in events:
                if data.strip() == DONE:
                    self.done = True
                    break
                self.events += 1
                self._parse_event(data, name, deltas)
        except errors.MiniToolAIError as error:
            self.defer_error(error, deltas)
        return deltas

    def _parse_event(self, data: bytes, name: bytes, deltas: list[Delta]) -> None:
        event = parse_json_object(data)
        if event is None:
            raise malformed_event_error(data, self._api_key)
        if name == b"error" or is_error_payload(event):
            raise error_from_payload(event, secret=self._api_key)
        if not self.metadata:
            self.metadata = _metadata(event)
        usage = event.get("usage")
        if isinstance(usage, dict):
            self.usage = usage
        choices = event.get("choices")
        if choices and isinstance(choices, list) and isinstance(choices[0], dict):
            self._parse_choice(choices[0], "delta", deltas)

    def _parse_choice(self, choice: dict[str, Any], key: str, deltas: list[Delta]) -> None:
        self._has_choice = True
        delta = choice.get(key)
        if isinstance(delta, dict):
            content = delta.get("content")
            if content and isinstance(content, str):
                deltas.append(content)
            refusal = delta.get("refusal")
            if refusal and isinstance(refusal, str):
                deltas.append(Refusal(refusal))
            calls = delta.get("tool_calls")
            if calls and isinstance(calls, list):
                deltas.append([call for call in calls if isinstance(call, dict)])
        reason = choice.get("finish_reason")
        if reason:
            self.finish_reason = str(reason)

    def _parse_json_body(self, body: dict[str, Any]) -> list[Delta]:
        deltas: list[Delta] = []
        self.metadata = _metadata(body)
        usage = body.get("usage")
        self.usage = usage if isinstance(usage, dict) else None
        self._parse_choice(body["choices"][0], "message", deltas)
        self.done = True  # JSON that parses is whole
        return deltas


def _metadata(event: dict[str, Any]) -> dict[str, str]:
    return {key: event[key] for key in _METADATA if isinstance(event.get(key), str)}


class JSONBody:
    """A bounded buffer for a response that is one JSON object, or an HTML page."""

    def __init__(self, api_key: str) -> None:
        """Start before the first byte; `api_key` is redacted in error messages."""
        self._body = bytearray()
        self._api_key = api_key

    def add(self, block: bytes) -> None:
        """Append the next bytes.

        Raises:
            InvalidResponseError: If the body exceeds its limit.
        """
        self._body += block
        if len(self._body) > MAX_ERROR_BODY and self._is_html():
            raise self._html_error()
        if len(self._body) > MAX_JSON_BODY:
            message = f"the service sent a JSON answer of more than {MAX_JSON_BODY} bytes"
            raise errors.InvalidResponseError(message, status_code=200)

    def parse(self) -> dict[str, Any]:
        """Parse the whole body, which has at least one choice.

        Raises:
            MiniToolAIError: If it is a page, no JSON object, an error payload, or no response.
        """
        if self._is_html():
            raise self._html_error()
        body = bytes(self._body)
        payload = parse_json_object(body.removeprefix(_UTF8_BOM))
        if payload is None:
            raise malformed_event_error(body, self._api_key)
        if is_error_payload(payload):
            raise error_from_payload(payload, secret=self._api_key)
        choices = payload.get("choices")
        if not isinstance(choices, list) or not choices or not isinstance(choices[0], dict):
            message = f"the service's answer holds no choice: {summarize_body(body)}"
            raise errors.InvalidResponseError(tidy(message, self._api_key), status_code=200)
        return payload

    def _is_html(self) -> bool:
        return self._body[:MAX_MESSAGE].lstrip(_BLANK)[:1] == b"<"

    def _html_error(self) -> errors.MiniToolAIError:
        text = summarize_body(bytes(self._body[:MAX_ERROR_BODY]))
        message = f"the service answered with a page instead of an answer: {text}"
        return errors.InvalidResponseError(tidy(message, self._api_key), status_code=200)


def is_error_payload(payload: dict[str, Any]) -> bool:
    """Check whether a JSON object reports an error."""
    return bool(payload.get("error")) or payload.get("status") in ("error", "failed")


def malformed_event_error(data: bytes, api_key: str) -> errors.MalformedStreamError:
    """Make the error for bytes that are no JSON object.

    The caller must not hold the key in a local variable, since tracebacks show those.
    """
    text = data[:4096].decode("utf-8", "replace")
    message = f"the stream holds an event that can't be read: {text}"
    return errors.MalformedStreamError(tidy(message, api_key), status_code=200)
