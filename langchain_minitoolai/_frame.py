"""A short cut for events that differ from the last one in nothing but their text.

A stream repeats the same JSON around each piece of text. Where the bytes before and after are
the same as in an event that was read whole, the one string between them is all there is to
parse: a JSON string put in the place of another changes nothing else.
"""

import re
from typing import Final

from pydantic_core import from_json

_KEY: Final = b'"content":'
_STRING: Final = re.compile(rb'\s*"(?:[^"\\]|\\.)*"', re.DOTALL)
_EMPTY: Final = 2  # bytes of an empty JSON string


class ContentFrame:
    """The bytes around the text of the last event that was read whole."""

    def __init__(self) -> None:
        """Start without a frame."""
        self._before = b""
        self._after = b""
        self._length = 0

    def read(self, data: bytes) -> str | None:
        """Give an event's text.

        Args:
            data: The event's JSON.

        Returns:
            Its text; `None` if it has to be read whole.
        """
        before, after = self._before, self._after
        if not before or len(data) < self._length:
            return None
        if not (data.startswith(before) and data.endswith(after)):
            return None
        return _text(data[len(before) : len(data) - len(after)])

    def learn(self, data: bytes, text: str) -> None:
        """Take the bytes around the text of an event that was read whole.

        Args:
            data: The event's JSON.
            text: What was read as its text; nothing is learnt if that stands nowhere in it, or
                if it is not clear where.
        """
        self._before = b""
        start = data.find(_KEY) + len(_KEY)
        found = _STRING.match(data, start) if data.count(_KEY) == 1 else None
        if found and _text(found[0]) == text:
            self._before, self._after = data[:start], data[found.end() :]
            self._length = len(self._before) + len(self._after) + _EMPTY


def _text(raw: bytes) -> str | None:
    try:
        text = from_json(raw)
    except ValueError:
        return None
    return text if isinstance(text, str) else None
