"""JSON text, piece by piece -> tokens (a state machine).

The grammar is RFC 8259, with one liberty: control characters may stand in strings, since
models write line ends there. Nothing is decoded here; each token carries the text it covers.
"""

import re
from collections.abc import Iterator
from typing import Final, Literal, TypeAlias

Kind: TypeAlias = Literal[
    "space", "open", "close", "key", "colon", "comma", "quote", "chars", "unquote", "scalar"
]
Token: TypeAlias = tuple[Kind, int, str]
"""What it is, how many brackets stand open around it, and its text.

Keys and scalars come whole, the strings of values in pieces between `quote` and `unquote`.
"""

MAX_DEPTH: Final = 100
"""Deeper nesting is an error: parsers further on recurse."""

_SPACE: Final = re.compile(r"[ \t\r\n]+")
_STRING: Final = re.compile(r'(?:[^"\\]+|\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4}))+')
_SCALAR_PART: Final = re.compile(r"[-+.0-9A-Za-z]*")
_SCALAR: Final = re.compile(r"true|false|null|-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][-+]?[0-9]+)?")
_HEX: Final = "0123456789abcdefABCDEF"

_VALUE: Final = '{["-0123456789tfn'
_FIRST_VALUE: Final = _VALUE + "]"
_FIRST_KEY: Final = '"}'
_KEY: Final = '"'
_COLON: Final = ":"
_MORE: Final = ",}]"


class JsonScanner:
    """Reads one JSON value.

    Attributes:
        position: Where in the last text the reading stands.
        done: Whether the value is complete; nothing after it is read.
        error: Why the text is no JSON, once it is none.
    """

    def __init__(self) -> None:
        """Expect a value."""
        self.position = 0
        self.done = False
        self.error = ""
        self._expected = _VALUE
        self._closers: list[str] = []
        self._lex = self._structure
        self._pending: list[str] = []
        self._escape = ""

    def scan(self, text: str, start: int = 0) -> Iterator[Token]:
        """Read on, from `start`, until the text, the value or the grammar ends."""
        self.position = start
        end = len(text)
        while self.position < end and not self.done and not self.error:
            token = self._lex(text)
            if token is not None:
                yield token

    def _structure(self, text: str) -> Token | None:
        char = text[self.position]
        if match := _SPACE.match(text, self.position):
            return self._token("space", match[0])
        if char not in self._expected:
            return self._fail(f"{char!r} stands where JSON allows none")
        if char in "{[":
            return self._open(char)
        if char in "}]":
            return self._close(char)
        if char in ",:":
            return self._separate(char)
        return self._open_scalar(char)

    def _separate(self, char: str) -> Token:
        in_object = char == "," and self._closers[-1] == "}"
        self._expected = _KEY if in_object else _VALUE
        return self._token("comma" if char == "," else "colon", char)

    def _open(self, char: str) -> Token | None:
        if len(self._closers) == MAX_DEPTH:
            return self._fail(f"the JSON is nested deeper than {MAX_DEPTH} levels")
        token = self._token("open", char)
        self._closers.append("}" if char == "{" else "]")
        self._expected = _FIRST_KEY if char == "{" else _FIRST_VALUE
        return token

    def _close(self, char: str) -> Token | None:
        if self._closers[-1] != char:
            return self._fail(f"{char!r} closes what was not opened")
        self._closers.pop()
        self._end_value()
        return self._token("close", char)

    def _open_scalar(self, char: str) -> Token | None:
        if char != '"':
            self._lex = self._scalar
            return None
        self._lex = self._string
        if self._in_key:
            self._pending = ['"']
            self.position += 1
            return None
        return self._token("quote", '"')

    def _string(self, text: str) -> Token | None:
        if self._escape:
            return self._escaped(text)
        if match := _STRING.match(text, self.position):
            return self._chars(match[0], len(match[0]))
        if text[self.position] == '"':
            return self._close_string()
        self._escape = "\\"
        self.position += 1
        return None

    def _escaped(self, text: str) -> Token | None:
        char = text[self.position]
        first = self._escape == "\\"
        if char not in ('"\\/bfnrtu' if first else _HEX):
            return self._fail(f"{self._escape + char!r} is no escape of JSON")
        escape = self._escape + char
        if escape == "\\u" or 2 < len(escape) < 6:
            self._escape = escape
            self.position += 1
            return None
        self._escape = ""
        return self._chars(escape, 1)

    def _chars(self, chars: str, length: int) -> Token | None:
        if self._in_key:
            self._pending.append(chars)
            self.position += length
            return None
        return self._token("chars", chars, length)

    def _close_string(self) -> Token:
        self._lex = self._structure
        if self._in_key:
            self._expected = _COLON
            key = "".join(self._pending) + '"'
            self._pending = []
            return self._token("key", key, 1)
        self._end_value()
        return self._token("unquote", '"')

    def _scalar(self, text: str) -> Token | None:
        match = _SCALAR_PART.match(text, self.position)
        part = match[0] if match else ""
        self._pending.append(part)
        self.position += len(part)
        if self.position == len(text):
            return None
        scalar = "".join(self._pending)
        if not _SCALAR.fullmatch(scalar):
            return self._fail(f"{scalar[:40]!r} is no value of JSON")
        self._pending = []
        self._lex = self._structure
        self._end_value()
        return self._token("scalar", scalar, 0)

    @property
    def _in_key(self) -> bool:
        return self._expected in (_FIRST_KEY, _KEY)

    def _end_value(self) -> None:
        self._expected = _MORE
        self.done = not self._closers

    def _token(self, kind: Kind, text: str, length: int | None = None) -> Token:
        self.position += len(text) if length is None else length
        return kind, len(self._closers), text

    def _fail(self, reason: str) -> Token | None:
        self.error = reason
        return None
