"""A short cut for events that differ from an earlier one in nothing but their text.

A stream repeats the same JSON around each piece of text. Where the bytes before and after are
the same as in an event that was read whole, the one string between them is all there is to
parse: a JSON string put in the place of another changes nothing else.
"""

import re
from typing import Final

from pydantic_core import from_json

_KEY: Final = b'"content":'
_ODD: Final = (b"\n", b"\\", b'"refusal"')  # what could make another string the text
_STRING: Final = re.compile(rb'\s*"(?:[^"\\]|\\.)*"', re.DOTALL)


class ContentFrame:
    """The bytes around the text of the last event that was read whole."""

    def __init__(self) -> None:
        """Start without a frame."""
        self._before = b""
        self._after = b""
        self._opening = b""
        self._closing = b""
        self._between = b""

    def text(self, data: bytes) -> str | None:
        """Give an event's text.

        Args:
            data: The event's JSON.

        Returns:
            Its text; `None` if it has to be read whole.
        """
        before, after = self._before, self._after
        if not before or not (data.startswith(before) and data.endswith(after)):
            return None
        return _text(data[len(before) : len(data) - len(after)])

    def texts(self, block: bytes) -> tuple[list[str], bytes]:
        """Give the texts of the events that a block begins with.

        Args:
            block: Bytes of the stream, from the beginning of an event on.

        Returns:
            Their texts, none if the first has to be read whole, and the rest of the block.
        """
        opening = self._opening
        if not opening or not block.startswith(opening):
            return [], block
        end = block.rfind(self._closing, len(opening))
        if end < 0:
            return [], block
        inside = block[len(opening) : end]
        strings = inside.split(self._between)
        if b"\r" in inside or inside.count(b"\n") != 2 * (len(strings) - 1):
            return [], block  # a line ends where no event does
        if len(strings) == 1:
            text = _text(strings[0])
            return ([], block) if text is None else ([text], block[end + len(self._closing) :])
        # A line end can't stand inside a JSON string: so what is joined can't run together.
        texts = _list(b"[" + b"\n,\n".join(strings) + b"]")
        if len(texts) != len(strings):
            return [], block
        return texts, block[end + len(self._closing) :]

    def learn(self, data: bytes, text: str) -> None:
        """Take the bytes around the text of an event that was read whole.

        Args:
            data: The event's JSON.
            text: What was read as its text; nothing is learnt if that stands nowhere in it, or
                if it is not clear where.
        """
        self._before = self._opening = b""
        start = data.find(_KEY) + len(_KEY)
        found = _STRING.match(data, start) if data.count(_KEY) == 1 else None
        around = data[:start] + data[found.end() :] if found else b""
        odd = any(mark in around for mark in _ODD)
        if found and not odd and _text(found[0]) == text:
            self._before, self._after = data[:start], data[found.end() :]
            self._opening, self._closing = b"data: " + self._before, self._after + b"\n\n"
            self._between = self._closing + self._opening


def _text(raw: bytes) -> str | None:
    """Read one text; nothing if it is anything else."""
    try:
        text = from_json(raw)
    except ValueError:
        return None
    return text if type(text) is str else None


def _list(raw: bytes) -> list[str]:
    """Read a list of texts; nothing if it is anything else."""
    try:
        texts: list[str] = from_json(raw)
    except ValueError:
        return []
    return texts if {str}.issuperset(map(type, texts)) else []
