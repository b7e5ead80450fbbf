"""Quotation check: whether a tool call stands in the text that a model was given.

Words are compared, not JSON, so that spacing, quoting, escaping and fences make no difference.
Values in another order, or encoded for URLs, are not found.
"""

import html
import json
import re
from collections.abc import Iterable, Mapping
from typing import Any, Final

ARGUMENT_KEYS: Final = ("arguments", "parameters", "args", "input")
"""Names that models give a call's arguments; the first is the one the prompt asks for."""

_WORD: Final = re.compile(r"[^\W_]+")
_UNICODE_ESCAPE: Final = re.compile(r"(?<!\\)\\+u([0-9a-fA-F]{4})")
_ESCAPE: Final = re.compile(r"(?<!\\)\\+[nrtbf]?")
_INVISIBLE: Final = re.compile("[\u00ad\u200b-\u200f\u2060-\u2064\ufeff]")
# No character; `html.unescape` fails where `int` refuses so many digits.
_LONG_REFERENCE: Final = re.compile(r"&#\d{8,}")


def words(text: str) -> str:
    """Reduce a text to its words, in lower case, one blank before and after each."""
    text = _unescape_html(_unescape_html(text))
    text = _UNICODE_ESCAPE.sub(lambda match: chr(int(match[1], 16)), text)
    text = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")  # joins pairs
    text = _INVISIBLE.sub("", _ESCAPE.sub(" ", _unescape_html(text)))
    return f" {' '.join(_WORD.findall(text.casefold()))} "


def _unescape_html(text: str) -> str:
    return html.unescape(_LONG_REFERENCE.sub(" ", text)) if "&" in text else text


class Quotations:
    """The texts that others wrote; their words are read once, and only when asked for."""

    def __init__(self, texts: Iterable[str]) -> None:
        """Keep the texts."""
        self._texts = texts
        self._words: str | None = None

    def holds(self, name: str, arguments: Mapping[str, Any]) -> bool:
        """Check whether the words of a call's name, and those of its arguments, stand there."""
        if arguments:
            return self.holds_text(name) and self.holds_text(json.dumps(arguments))
        forms = [f"name {name}", *(f"{name} {key}" for key in ARGUMENT_KEYS)]
        return any(map(self.holds_text, forms))

    def holds_text(self, text: str) -> bool:
        """Check whether the words of a text stand there, in their order."""
        if self._words is None:
            self._words = words("\n".join(self._texts))
        return words(text) in self._words
