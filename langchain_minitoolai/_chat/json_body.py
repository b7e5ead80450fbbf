"""An answer that is one document and no stream: a JSON object, or a page."""

from typing import Any, Final

from pydantic_core import from_json

from langchain_minitoolai import errors
from langchain_minitoolai._http.effects import MAX_JSON_BODY
from langchain_minitoolai._http.error_mapping import (
    MAX_ERROR_BODY,
    error_from_payload,
    summarize_body,
)

BLANK: Final = b"\xef\xbb\xbf \t\r\n"
"""What may stand before it: a BOM and white space."""


class Document:
    """Collects a document up to a bound, and reads it."""

    def __init__(self, secret: str) -> None:
        """Start before the first byte.

        Args:
            secret: The API key, to be kept out of errors.
        """
        self._body = bytearray()
        self._secret = secret

    def add(self, block: bytes) -> None:
        """Take the next bytes.

        Raises:
            InvalidResponseError: If it outgrows its bound.
        """
        self._body += block
        if len(self._body) > MAX_ERROR_BODY and self._is_page():
            raise self._page()
        if len(self._body) > MAX_JSON_BODY:
            message = f"the service sent a JSON answer of more than {MAX_JSON_BODY} bytes"
            raise errors.InvalidResponseError(message, status_code=200)

    def read(self) -> dict[str, Any]:
        """Give the whole document, which has at least one choice.

        Raises:
            MiniToolAIError: If it is a page, junk, an error told, or no answer.
        """
        if self._is_page():
            raise self._page()
        body = bytes(self._body)
        found = parse_object(body.removeprefix(b"\xef\xbb\xbf"))
        if found is None:
            raise garbled(body, self._secret)
        if tells_error(found):
            raise error_from_payload(found, secret=self._secret)
        choices = found.get("choices")
        if not isinstance(choices, list) or not choices or not isinstance(choices[0], dict):
            message = f"the service's answer holds no choice: {summarize_body(body)}"
            raise errors.InvalidResponseError(errors.tidy(message, self._secret), status_code=200)
        return found

    def _is_page(self) -> bool:
        return self._body[: errors.MAX_MESSAGE].lstrip(BLANK)[:1] == b"<"

    def _page(self) -> errors.MiniToolAIError:
        words = summarize_body(bytes(self._body[:MAX_ERROR_BODY]))
        message = f"the service answered with a page instead of an answer: {words}"
        return errors.InvalidResponseError(errors.tidy(message, self._secret), status_code=200)


def parse_object(data: bytes) -> dict[str, Any] | None:
    """Parse a JSON object, also one with bytes that are no UTF-8; `None` if it is none."""
    try:
        found = from_json(data)
    except ValueError:
        try:
            found = from_json(data.decode("utf-8", "replace"))
        except ValueError:
            return None
    return found if isinstance(found, dict) else None


def tells_error(found: dict[str, Any]) -> bool:
    """Say whether an object tells of an error."""
    return bool(found.get("error")) or found.get("status") in ("error", "failed")


def garbled(data: bytes, secret: str) -> errors.GarbledStreamError:
    """Make the error for bytes that are no JSON object.

    Whoever raises it must not hold the key in a local variable of its own.
    """
    words = data[:4096].decode("utf-8", "replace")
    message = f"the stream holds an event that can't be read: {words}"
    return errors.GarbledStreamError(errors.tidy(message, secret), status_code=200)
