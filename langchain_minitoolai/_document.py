"""An answer that is one document and no stream: a JSON object, or a page."""

from typing import Any, Final

from pydantic_core import from_json

from langchain_minitoolai import errors
from langchain_minitoolai._failures import MAX_DOCUMENT, MAX_PAGE, body_words, told_error

BLANK: Final = b"\xef\xbb\xbf \t\r\n"
"""What may stand before it: a BOM and white space."""


class Document:
    """Collects a document up to a bound, and reads it."""

    def __init__(self, start: bytes, secret: str) -> None:
        """Begin with its first bytes.

        Args:
            start: They.
            secret: The API key, to be kept out of errors.

        Raises:
            InvalidResponseError: As `add` does.
        """
        self._body = bytearray()
        self._secret = secret
        self.add(start)

    def add(self, block: bytes) -> None:
        """Take the next bytes.

        Raises:
            InvalidResponseError: If it outgrows its bound.
        """
        self._body += block
        if len(self._body) > MAX_PAGE and self._is_page():
            raise self._page()
        if len(self._body) > MAX_DOCUMENT:
            message = f"the service sent a JSON answer of more than {MAX_DOCUMENT} bytes"
            raise errors.InvalidResponseError(message, status_code=200)

    def read(self) -> dict[str, Any]:
        """Give the whole document, which has at least one choice.

        Raises:
            MiniToolAIError: If it is a page, junk, an error told, or no answer.
        """
        if self._is_page():
            raise self._page()
        body = bytes(self._body)
        found = parse_object(body.removeprefix(b"\xef\xbb\xbf"), self._secret)
        raise_told(found, self._secret)
        choices = found.get("choices")
        if not isinstance(choices, list) or not choices or not isinstance(choices[0], dict):
            message = f"the service's answer holds no choice: {body_words(body)}"
            raise errors.InvalidResponseError(errors.tidy(message, self._secret), status_code=200)
        return found

    def _is_page(self) -> bool:
        return self._body[: errors.MAX_MESSAGE].lstrip(BLANK)[:1] == b"<"

    def _page(self) -> errors.MiniToolAIError:
        words = body_words(bytes(self._body[:MAX_PAGE]))
        message = f"the service answered with a page instead of an answer: {words}"
        return errors.InvalidResponseError(errors.tidy(message, self._secret), status_code=200)


def parse_object(data: bytes, secret: str) -> dict[str, Any]:
    """Parse a JSON object, also one with bytes that are no UTF-8.

    Raises:
        GarbledStreamError: If it is none.
    """
    try:
        found = from_json(data)
    except ValueError:
        try:
            found = from_json(data.decode("utf-8", "replace"))
        except ValueError:
            found = None
    if not isinstance(found, dict):
        words = data[:4096].decode("utf-8", "replace")
        message = f"the stream holds an event that can't be read: {words}"
        raise errors.GarbledStreamError(errors.tidy(message, secret), status_code=200)
    return found


def raise_told(found: dict[str, Any], secret: str) -> None:
    """Raise the error that an object tells, if it does."""
    if found.get("error") or found.get("status") in ("error", "failed"):
        raise told_error(found, secret=secret)
