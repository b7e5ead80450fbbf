"""An answer that was asked for in JSON, without the Markdown fence some models put around it."""

import re
from typing import Final

_OPENING: Final = re.compile(r"\s{0,64}```(?:json|JSON)?[ \t]{0,64}\r?\n")
_COULD_OPEN: Final = re.compile(
    r"\s{0,64}(?:`{0,2}|```(?:j|js|jso|json|J|JS|JSO|JSON)?[ \t]{0,64}\r?)"
)
_CLOSING: Final = re.compile(r"\s*```\s*\Z")
_LONGEST_CLOSING: Final = 200
"""What is held back at most, blanks included."""


class JsonUnwrapper:
    """Takes the fence off; text that has none passes as it is."""

    def __init__(self) -> None:
        """Start before the first character."""
        self._held = ""
        self._opening = True
        self._fenced = False

    def feed(self, text: str) -> str:
        """Take a piece of text; give what is surely no fence."""
        text, self._held = self._held + text, ""
        if self._opening:
            if _COULD_OPEN.fullmatch(text):
                self._held = text
                return ""
            self._opening = False
            if opened := _OPENING.match(text):
                self._fenced = True
                text = text[opened.end() :]
        if not self._fenced:
            return text
        cut = _closing(text)
        self._held = text[cut:]
        return text[:cut]

    def flush(self) -> str:
        """Give what was kept and is no fence: the text ends here."""
        held, self._held = self._held, ""
        if self._fenced and _CLOSING.fullmatch(held):
            return ""
        return held


def _closing(text: str) -> int:
    """Find where a closing fence may have begun at the text's end."""
    end = len(text.rstrip())
    ticks = min(end - len(text[:end].rstrip("`")), 3)
    return max(len(text[: end - ticks].rstrip()), len(text) - _LONGEST_CLOSING)
