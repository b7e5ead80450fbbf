"""One JSON object that may be a tool call: its tokens -> a name and arguments."""

import json
import re
from collections.abc import Callable
from collections.abc import Set as AbstractSet
from typing import Final

from langchain_minitoolai._tool_calling.json_scan import JsonScanner, Kind

ARGUMENT_KEYS: Final = ("arguments", "parameters", "args", "input")
IGNORED_KEYS: Final = ("id", "type")

_SPACES: Final = " \t\r\n"
_CONTROL: Final = re.compile(r"[\x00-\x1f]")
_SURROGATE: Final = re.compile(r"[\ud800-\udfff]")
_HIGH_AT_END: Final = re.compile(r"(?<!\\)(?:\\\\)*(\\u[dD][89abAB][0-9a-fA-F]{2})\Z")


def _escape(match: re.Match[str]) -> str:
    return f"\\u{ord(match[0]):04x}"


class CallObject:
    """Watches the tokens of one object and tells what it is.

    Attributes:
        name: The tool's name, once it is read and bound.
        started: Whether it is a call for certain; its pieces can go out.
        done: Whether the call is complete.
        foreign: Whether it is no call of ours, so text.
        problem: Why it is a broken call, once it is one.
        pieces: Argument text that nobody has taken yet.
    """

    def __init__(self, names: AbstractSet[str], depth: int, *, explicit: bool) -> None:
        """Watch for a call of one of `names`.

        Args:
            names: The bound tools.
            depth: How many brackets stand open around the object.
            explicit: Whether a tag announced a call, so that a fault in it is a broken call.
        """
        self.name: str | None = None
        self.started = False
        self.done = False
        self.foreign = False
        self.problem = ""
        self.pieces: list[str] = []
        self._names = names
        self._members = depth + 1
        self._explicit = explicit
        self._taken: list[str] = []
        self._keys: set[str] = set()
        self._name_pieces: list[str] = []
        self._text: _TextArguments | None = None
        self._value: Callable[[Kind, str], None] = self._ignore

    def take(self, kind: Kind, depth: int, text: str) -> None:
        """Read the next token, from the one after the opening bracket."""
        if depth > self._members:
            self._value("chars" if kind in ("chars", "key") else "space", text)
        elif depth < self._members:
            self._end()
        elif kind == "key":
            self._key(json.loads(text, strict=False))
        elif kind not in ("space", "colon", "comma"):
            self._value(kind, text)

    def take_pieces(self) -> str:
        """Hand over the argument text that has come since the last time."""
        text = "".join(self.pieces)
        self.pieces.clear()
        self._taken.append(text)
        return text

    @property
    def arguments(self) -> str:
        """All argument text so far."""
        return "".join((*self._taken, *self.pieces))

    def fail(self, reason: str) -> None:
        """Note that the object can't be read on."""
        if self._explicit or self.name is not None:
            self.problem = reason
        else:
            self.foreign = True

    def _key(self, key: str) -> None:
        role = "arguments" if key in ARGUMENT_KEYS else key
        if role in self._keys and role in ("name", "arguments"):
            return self.fail(f"the call gives its {role} twice")
        self._keys.add(role)
        if role == "name":
            self._value = self._read_name
        elif role == "arguments":
            self._value = self._read_arguments
        elif key in IGNORED_KEYS:
            self._value = self._ignore
        elif self._explicit or self.started:
            self.problem = f"{key!r} is no key of a call"
        else:
            self.foreign = True
        return None

    def _ignore(self, kind: Kind, text: str) -> None:
        pass

    def _read_name(self, kind: Kind, text: str) -> None:
        if kind == "chars":
            self._name_pieces.append(text)
        elif kind == "unquote":
            name = json.loads(f'"{"".join(self._name_pieces)}"', strict=False)
            if name not in self._names:
                self.foreign = True
                return
            self.name = name
            self.started = self._explicit or "arguments" in self._keys
        elif kind != "quote":
            self.foreign = True

    def _read_arguments(self, kind: Kind, text: str) -> None:
        if kind == "open" and text == "{":
            self._value = self._read_object
            self._read_object(kind, text)
        elif kind == "quote":
            self._text = _TextArguments(self.pieces)
            self._value = self._read_text
        elif kind != "scalar" or text != "null":
            return self.fail("the arguments are no JSON object")
        self.started = self.name is not None
        return None

    def _read_object(self, kind: Kind, text: str) -> None:
        self.pieces.append(_CONTROL.sub(_escape, text) if kind == "chars" else text)

    def _read_text(self, kind: Kind, text: str) -> None:
        assert self._text is not None  # noqa: S101 (the quote came first)
        if kind == "chars":
            self._text.feed(text)
        elif problem := self._text.finish():
            self.fail(problem)

    def _end(self) -> None:
        if self.name is None:
            self.foreign = True
            return
        if not self.arguments:
            self.pieces.append("{}")
        self.started = True
        try:
            json.loads(self.arguments)
        except ValueError as error:
            # Grammar is not all: Python reads no integer of 5,000 digits.
            self.problem = f"the arguments can't be read: {error}"
        else:
            self.done = True


class _TextArguments:
    """Arguments given as a string that holds the JSON object.

    A fault counts only when the string ends: where it ends then depends on nothing else.
    """

    def __init__(self, pieces: list[str]) -> None:
        self._pieces = pieces
        self._scanner = JsonScanner()
        self._high = ""
        self._opened = False
        self._problem = ""

    def feed(self, raw: str) -> None:
        """Read a piece of the string, still escaped."""
        raw = self._high + raw
        high = _HIGH_AT_END.search(raw) if raw[-6:-4] == "\\u" else None
        self._high = high[1] if high else ""
        self._read(raw.removesuffix(self._high))

    def finish(self) -> str:
        """Read the string's end; the outcome is the problem, if any."""
        self._read(self._high)
        if self._opened and not self._scanner.done:
            self._note(self._scanner.error or "the arguments end too early")
        return self._problem

    def _read(self, raw: str) -> None:
        decoded = _SURROGATE.sub(_escape, json.loads(f'"{raw}"', strict=False))
        start = 0 if self._opened else len(decoded) - len(decoded.lstrip(_SPACES))
        if start == len(decoded) or self._problem:
            return
        if not self._opened and decoded[start] != "{":
            self._note("the arguments are no JSON object")
            return
        self._opened = True
        for kind, _, text in self._scanner.scan(decoded, start):
            repair = kind in ("chars", "key")
            self._pieces.append(_CONTROL.sub(_escape, text) if repair else text)
        if self._scanner.done and decoded[self._scanner.position :].strip(_SPACES):
            self._note("the arguments are more than one JSON object")

    def _note(self, problem: str) -> None:
        self._problem = self._problem or problem
