"""Answers in the prompted form, piece by piece -> text and calls (a state machine).

A call stands in `<tool_call>` tags, in a Markdown fence, or opens the message as bare JSON,
one object or a list. What is no call of a bound tool is text, and flows at once: only a tail
that could still become a marker, or the opening of a call, is held back.
"""

import re
from collections.abc import Callable, Iterable
from typing import Final

from langchain_minitoolai._tool_calling.events import Event, Text, cut_reason, new_call_id
from langchain_minitoolai._tool_calling.value import CallLog, ValueReader

TAG: Final = "<tool_call>"
END_TAG: Final = "</tool_call>"
FENCE: Final = "```"
LANGUAGES: Final = ("", "json", "tool_call", "tool_calls", "tool_code")

_SPACES: Final = re.compile(r"[ \t\r\n]*")
_AFTER_TAG: Final = re.compile(r"[ \t\r\n]{0,64}")
_WORD: Final = re.compile(r"[A-Za-z_]{0,10}")
_BRACKETS: Final = ("{", "[")
_LINE_START: Final = 4
"""A line end and three spaces: what may stand before a fence."""
_MARKER: Final = re.compile(f"{TAG}|{FENCE}", re.IGNORECASE | re.ASCII)
_CLOSERS: Final = {
    END_TAG: re.compile(END_TAG, re.IGNORECASE | re.ASCII),
    FENCE: re.compile(FENCE),
    "": re.compile(r"(?!)"),
}


class ToolReader:
    """Reads one answer; any cut of it gives the same events, once adjacent pieces are merged."""

    def __init__(self, names: Iterable[str], new_id: Callable[[], str] = new_call_id) -> None:
        """Read calls of the tools `names`; `new_id` makes the calls' ids."""
        self._names = frozenset(names)
        self._log = CallLog(new_id)
        self._state = "opening"
        self._plain = False
        self._held = ""
        self._before = "\n"  # the last few characters, to know where a line starts
        self._in_fence = False
        self._marker = ""
        self._closer = ""
        self._value = ValueReader(self._names, self._log, "", explicit=False)
        self._gap: str | None = None  # white space after a call, dropped if no text follows
        self._calls = 0

    def feed(self, text: str) -> list[Event]:
        """Read a piece of the answer."""
        if self._plain and "<" not in text and "`" not in text:
            self._before = (self._before + text)[-_LINE_START:]
            return [Text(text)]
        text, self._held = self._held + text, ""
        position = 0
        while position < len(text):
            position = self._step(text, position)
        self._plain = self._state == "text" and not self._held and self._gap is None
        return self._take()

    def finish(self, finish_reason: str | None = None) -> list[Event]:
        """Read the answer's end; `finish_reason` is the service's own."""
        if self._state == "tagged":
            self._begin(self._held, END_TAG)
        elif self._state == "fenced":
            self._say(self._marker + self._held)
        elif self._state == "broken":
            self._end_broken(self._held, "")
        else:
            self._say(self._held)
        if self._state == "value":
            self._say(self._value.cut(cut_reason(finish_reason)))
        self._state, self._held, self._plain = "text", "", False
        return self._take()

    def _take(self) -> list[Event]:
        events, self._log.events = self._log.events, []
        return events

    def _step(self, text: str, position: int) -> int:
        read: Callable[[str, int], int] = getattr(self, "_read_" + self._state)
        return read(text, position)

    # --- Text ---------------------------------------------------------------------

    def _say(self, text: str) -> None:
        if not text:
            return
        self._before = (self._before + text)[-_LINE_START:]
        if self._gap is not None:
            text = self._gap + text
            self._gap = text if text.isspace() else None
        if self._gap is None:
            self._log.events.append(Text(text))

    def _hold(self, text: str, position: int) -> int:
        self._held = text[position:]
        return len(text)

    def _read_opening(self, text: str, position: int) -> int:
        start = _end(_SPACES, text, position)
        self._say(text[position:start])
        if text[start : start + 1] in _BRACKETS:
            self._begin("", "")
        elif start < len(text):
            self._state = "text"
        return start

    def _read_text(self, text: str, position: int) -> int:
        for match in _MARKER.finditer(text, position):
            start, marker = match.start(), match[0]
            closes = marker == FENCE and self._in_fence
            if marker == FENCE and not closes and not self._starts_line(text, position, start):
                continue
            self._say(text[position:start])
            if closes:
                self._say(marker)
                self._in_fence = False
            else:
                self._marker, self._state = marker, "fenced" if marker == FENCE else "tagged"
            return match.end()
        end = min(_partial(text, position, TAG), self._partial_fence(text, position))
        self._say(text[position:end])
        return self._hold(text, end)

    def _partial_fence(self, text: str, position: int) -> int:
        start = _partial(text, position, FENCE)
        opens = self._in_fence or self._starts_line(text, position, start)
        return start if opens else len(text)

    def _starts_line(self, text: str, position: int, at: int) -> bool:
        line = self._before + text[max(position, at - _LINE_START) : at]
        return line[-_LINE_START:].rstrip(" ").endswith("\n")

    # --- Markers ------------------------------------------------------------------

    def _read_tagged(self, text: str, position: int) -> int:
        end = _end(_AFTER_TAG, text, position)
        if end == len(text):
            return self._hold(text, position)
        if text[end] in _BRACKETS:
            self._begin(text[position:end], END_TAG)
            return end
        self._say(self._marker)
        self._state = "text"
        return position

    def _read_fenced(self, text: str, position: int) -> int:
        word_end = _end(_WORD, text, position)
        end = _end(_AFTER_TAG, text, word_end)
        word = text[position:word_end].lower()
        fits = word in LANGUAGES
        if end == len(text):
            if fits or (end == word_end and any(name.startswith(word) for name in LANGUAGES)):
                return self._hold(text, position)
        elif fits and text[end] in _BRACKETS:
            self._begin(text[position:end], FENCE)
            return end
        self._say(self._marker)
        self._state, self._in_fence = "text", True
        return position

    # --- Calls --------------------------------------------------------------------

    def _begin(self, spaces: str, closer: str) -> None:
        opening = self._marker + spaces
        explicit = closer == END_TAG
        self._value = ValueReader(self._names, self._log, opening, explicit=explicit)
        self._state, self._closer, self._marker = "value", closer, ""

    def _read_value(self, text: str, position: int) -> int:
        value = self._value
        position = value.read(text, position)
        self._end_calls()
        if value.foreign:
            self._say(value.take_text())
            self._in_fence = self._closer == FENCE
            self._state = "text" if value.over else "value"
        elif value.broken:
            self._state = "broken"
        elif value.over:
            self._state = "closing"
        return position

    def _read_broken(self, text: str, position: int) -> int:
        if match := _CLOSERS[self._closer].search(text, position):
            self._end_broken(text[position : match.start()], match[0])
            return match.end()
        end = _partial(text, position, self._closer)
        self._value.add(text[position:end])
        return self._hold(text, end)

    def _end_broken(self, rest: str, closer: str) -> None:
        self._value.add(rest)
        self._state = "text"
        if self._value.end_broken():
            self._end_calls()
        else:
            self._say(self._value.take_text() + closer)

    def _end_calls(self) -> None:
        """Start a line, and wait for more than white space, where calls have ended."""
        if self._calls != self._log.calls:
            self._calls, self._gap, self._before = self._log.calls, "", "\n"

    def _read_closing(self, text: str, position: int) -> int:
        start = _end(_SPACES, text, position)
        self._say(text[position:start])
        if text[start : start + 1] in _BRACKETS:
            self._begin("", self._closer)
            return start
        closer = text[start : start + len(self._closer)].lower()
        if closer == self._closer and start < len(text):
            self._before = "\n"
            self._gap = "" if closer else self._gap
        elif self._closer.startswith(closer) and start + len(closer) == len(text):
            return self._hold(text, start)
        else:
            self._in_fence = self._closer == FENCE
            closer = ""
        self._state = "text"
        return start + len(closer)


def _end(pattern: re.Pattern[str], text: str, position: int) -> int:
    match = pattern.match(text, position)
    return match.end() if match else position


def _partial(text: str, position: int, marker: str) -> int:
    """Find where `marker` may have begun at the end of the text."""
    for length in range(min(len(marker) - 1, len(text) - position), 0, -1):
        if marker.startswith(text[-length:].lower()):
            return len(text) - length
    return len(text)
