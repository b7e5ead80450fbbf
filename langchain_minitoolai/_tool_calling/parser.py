"""Tool-call parser: the streamed text of an answer to text and tool-call events.

A tag with the conversation's key opens a call, which is read as it comes. Calls without the key
are read only where they end the answer, once it has ended, and only if nobody else wrote them.
"""

import json
import re
from collections.abc import Callable, Iterable
from typing import Any, Final, NamedTuple

from langchain_minitoolai._tool_calling import events
from langchain_minitoolai._tool_calling.events import DECODER, Event, decode_arguments
from langchain_minitoolai._tool_calling.markdown import Kind, MarkdownScanner
from langchain_minitoolai._tool_calling.prompt import mask_key
from langchain_minitoolai._tool_calling.quotations import ARGUMENT_KEYS, Quotations

MAX_UNKEYED: Final = 32  # more are text: each is looked for in all of the input
_CALL_KEYS: Final = frozenset({"name", "id", "type", *ARGUMENT_KEYS})
_TAGS: Final = ("<tool_call", "</tool_call", "<think>", "</think>")
_UNFINISHED_TAG: Final = re.compile(r"</?tool_call(?:\s[^<>]{0,60})?", re.IGNORECASE)
_CLOSE_TAG: Final = re.compile(r"</tool_call(?:\s[^<>]{0,60})?>", re.IGNORECASE)
_BETWEEN: Final = re.compile(r"(?:[\s,`]|</?tool_call(?:\s[^<>]{0,60})?>)++", re.IGNORECASE)
_FENCE_LINE: Final = re.compile(r"\s*(?:`{3,}(?:json|tool_calls?|tool_code)?\s*)?", re.IGNORECASE)
_PLAIN: Final = re.compile(r"[^<`~\n]+")
_S: Final = r"\s{0,64}"
_HEAD: Final = re.compile(
    rf'{_S}\{{{_S}"name"{_S}:{_S}"([^"\\]{{1,200}})"{_S},'
    rf'{_S}"(?:{"|".join(ARGUMENT_KEYS)})"{_S}:{_S}(?=\{{)'
)
_HEAD_LENGTH: Final = 1000
_STEP: Final = 256
_FIRST_KEY: Final = re.compile(
    rf'[\s\[]{{0,64}}\{{{_S}"([^"\\]{{0,80}})"(?:{_S}:{_S}"([^"\\]{{0,200}})")?'
)
_COULD_BE_FIRST_KEY: Final = re.compile(rf'[\s\[]{{0,64}}(?:\{{{_S}(?:"[^"\\]{{0,80}})?)?')
_NAME: Final = re.compile(rf'"name"{_S}:{_S}"([^"\\]{{1,200}})"')
_BLANKS: Final = re.compile(r"\s+")
_OUTSIDE: Final = re.compile(r'[^"{}\[\]<\\]+')
_INSIDE: Final = re.compile(r'(?:[^"\\]++|\\.)++', re.DOTALL)


class ToolCallParser:
    """Parses one answer; any cut of it gives the same events, once adjacent pieces are merged.

    A state is a method that reads on from a position and returns where it stopped.
    """

    def __init__(
        self,
        names: Iterable[str],
        key: str,
        quotations: Quotations | None = None,
        *,
        strict: bool = False,
        new_id: Callable[[], str] = events.new_call_id,
    ) -> None:
        """Stand before the answer.

        Args:
            names: The tools that may be called.
            key: The conversation's key.
            quotations: Calls without the key that stand here are text.
            strict: Whether all calls without the key are text.
            new_id: Makes the calls' ids.
        """
        self._names = frozenset(names)
        self._key = key
        self._quotations = quotations or Quotations(())
        self._strict = strict or not self._names
        self._new_id = new_id
        self._tag = re.compile(rf'(?i:<tool_call\s{{1,8}}key\s{{0,8}}=\s{{0,8}}"){key}"\s{{0,8}}>')
        self._state = self._text
        self._markdown = MarkdownScanner()
        self._flowing = False  # whether plain text changes nothing
        self._held = ""  # the tail of what came, which may be the start of a tag or of the key
        self._opening = ""  # the tag of what may be a call
        self._content = _Content(keyed=False)
        self._again = ""  # what turned out to be text, to be read as such
        self._events: list[Event] = []
        self._out: list[str] = []  # text that is in no event yet
        self._gap: list[str] = []  # what is not shown unless text follows
        self._in_gap = self._fence_in_gap = False
        self._calls, self._id = 0, ""  # how many are over; the one that is being streamed
        self._sent: list[str] = []  # its arguments

    def feed(self, text: str) -> list[Event]:
        """Parse a piece of the answer."""
        if self._flowing and _PLAIN.fullmatch(text) and self._tail(text) == len(text):
            return [events.Text(mask_key(text, self._key))]
        text = self._held + text
        end = self._tail(text)
        self._held = text[end:]
        self._read_tags(text[:end])
        calm = self._state == self._text and not self._held and not self._in_gap
        self._flowing = calm and self._markdown.mid_line
        return self._take_events()

    def finish(self, finish_reason: str | None = None) -> list[Event]:
        """Parse the answer's end; `finish_reason` is the service's own."""
        self._read(self._held)
        self._held = ""
        self._interrupt(events.truncation_reason(finish_reason), ended=True)
        self._emit("", self._markdown.take("\n"))
        if not self._fence_in_gap and "".join(self._gap).strip():
            self._flush_gap()
        return self._take_events()

    def _tail(self, text: str) -> int:
        """Find where a tag or the key may have begun at the end of the text."""
        start = text.rfind("<", max(0, len(text) - 80))
        tail = text[start:].lower()
        begun = any(tag.startswith(tail) for tag in _TAGS) and tail not in _TAGS[2:]
        if start >= 0 and (begun or _UNFINISHED_TAG.fullmatch(tail)):
            return start
        lengths = range(len(self._key) - 1, 0, -1)
        return len(text) - next((n for n in lengths if text.endswith(self._key[:n])), 0)

    def _read_tags(self, text: str) -> None:
        """Read text; tags with the key are found first, whatever they stand in."""
        position = 0
        for match in self._tag.finditer(text):
            self._read(text[position : match.start()])
            self._interrupt("another call began inside the call")
            if self._markdown.quotes():
                self._emit(match[0], self._markdown.take("<"))
            else:
                self._opening, self._state = match[0], self._keyed
                self._content = _Content(keyed=True)
            position = match.end()
        self._read(text[position:])

    def _read(self, text: str) -> None:
        inputs = [(text, 0)]
        while inputs:
            text, position = inputs.pop()
            while position < len(text) and not self._again:
                position = self._state(text, position)
            if self._again:
                inputs += [(text, position), (self._again, 0)]
                self._again = ""

    def _interrupt(self, reason: str, *, ended: bool = False) -> None:
        """End what is open: a tag with the key, or the answer's end, stands here."""
        while self._state != self._text:
            keyed, self._state = self._state == self._keyed, self._text
            if keyed and (ended or self._content.head.strip()):
                self._end_keyed(reason)
            elif keyed or not (ended and self._accept_unkeyed(reason)):
                self._reject(for_good=True)
            self._read("")

    def _text(self, text: str, position: int) -> int:
        begun = self._markdown.has_text
        for kind, end in self._markdown.read(text, position):
            piece = text[position:end]
            whole = kind == "text" and piece[0] in "{[" and not (begun or self._markdown.thinking)
            whole = whole and bool(_FENCE_LINE.fullmatch("".join(self._gap)))
            if (whole or kind == "tag") and not self._strict:
                self._opening, self._state = "" if whole else piece, self._unkeyed
                self._content = _Content(keyed=False)
                return position if whole else end
            self._emit(piece, kind)
            begun, position = self._markdown.has_text, end
        return position

    def _emit(self, text: str, kind: Kind = "text") -> None:
        """Emit text; what goes with a call, should nothing else follow, waits."""
        if kind in ("fence", "fence_end") or (self._in_gap and not text.strip()):
            self._gap.append(text)
            self._in_gap = True
            if kind == "fence_end" and self._fence_in_gap:  # a fence around calls alone
                self._gap, self._fence_in_gap = [], False
            elif kind == "fence_end":
                self._flush_gap()
            return
        if self._in_gap:
            self._flush_gap()
        self._out.append(text)

    def _flush_gap(self) -> None:
        self._out += self._gap
        self._gap, self._in_gap, self._fence_in_gap = [], False, False

    def _settle_gap(self) -> None:
        """Decide what becomes of what stands before a call: a fence around calls alone goes."""
        held, fence = "".join(self._gap).strip(), self._markdown.fence
        self._fence_in_gap = bool(fence) and held.startswith(fence)
        if held and not self._fence_in_gap:
            self._flush_gap()

    def _unkeyed(self, text: str, position: int) -> int:
        """Read what may be calls; it is kept until the answer ends, or until it can be none."""
        limit = min(len(text), position + _STEP)  # what is soon found to be none is not read far
        end = self._content.read(text, position, limit)
        if not self._content.may_be_call(self._names):
            self._reject()
        elif end < limit:
            self._reject(for_good=True)
        return end

    def _reject(self, *, for_good: bool = False) -> None:
        """Take what may have been a call as text; what it holds may be one, unless `for_good`."""
        if self._opening:
            self._emit(self._opening, self._markdown.take("<"))
        self._state = self._text
        if for_good:
            strict, self._strict = self._strict, True
            self._text(self._content.text, 0)
            self._strict = strict
        else:
            self._again = self._content.text

    def _accept_unkeyed(self, reason: str) -> bool:
        """Read calls without the key: all that stands there are such, or none is."""
        values, rest, error = _decode_values(self._content.text)
        calls = [_read_call(value, self._names, keyed=False) for value, _ in values]
        name = _NAME.search(rest)
        if (
            not (name and name[1] in self._names if rest else calls)
            or len(calls) > MAX_UNKEYED
            or any(call.problem for call in calls)
            or any(self._quotations.holds(call.name, call.arguments) for call in calls)
            or (rest and self._quotations.holds_text(rest))
        ):
            return False
        self._settle_gap()
        for call in calls:
            self._add_call(call)
        if rest:
            self._add_invalid(name and name[1], rest, reason or error)
        return True

    def _keyed(self, text: str, position: int) -> int:
        content = self._content
        end = content.read(text, position, len(text))
        if content.head.lstrip()[:1] not in ("", "{", "["):  # the tag was only spoken of
            self._reject()
            return end
        if content.name in self._names:
            if not self._id:
                self._settle_gap()
                self._id, self._sent = self._new_id(), []
                self._add(events.CallStart(self._calls, self._id, content.name))
            if content.new:
                self._sent += content.new
                self._add(events.CallArguments(self._calls, "".join(content.new)))
                content.new.clear()
        if match := _CLOSE_TAG.match(text, end):
            self._state = self._text
            self._end_keyed("")
            return match.end()
        return end

    def _end_keyed(self, reason: str) -> None:
        content, sent = self._content, "".join(self._sent)
        self._settle_gap()
        values, rest, error = _decode_values(content.text)
        for value, raw in values:
            call = _read_call(value, self._names, keyed=True)
            streamed = (content.name, DECODER.decode(sent)) if self._id else call[:2]
            problem = call.problem or ("the call gives a key twice" if streamed != call[:2] else "")
            if problem:
                self._add_invalid(call.name or None, raw, problem)
            elif self._id:
                self._add(events.CallEnd(self._calls, sent))
                self._next_call()
            else:
                self._add_call(call)
        if not values or rest[:1] in ("{", "["):
            name = _NAME.search(rest)
            self._add_invalid(name and name[1], rest, reason or error or "the call is empty")
        elif rest.strip("}] \t\r\n"):
            self._again = rest

    def _add(self, *added: Event) -> None:
        text, self._out = mask_key("".join(self._out), self._key), []
        self._events += [events.Text(text), *added] if text else added

    def _take_events(self) -> list[Event]:
        self._add()
        taken, self._events = self._events, []
        return taken

    def _add_call(self, call: "_Call") -> None:
        index, arguments = self._calls, json.dumps(call.arguments)
        self._add(events.CallStart(index, self._new_id(), call.name))
        self._add(events.CallArguments(index, arguments), events.CallEnd(index, arguments))
        self._next_call()

    def _add_invalid(self, name: str | None, raw: str, reason: str) -> None:
        raw, started = mask_key(raw.strip(), self._key), bool(self._id)
        suffix = events.invalidating_suffix("".join(self._sent) if started else raw)
        call_id = self._id or self._new_id()
        self._add(events.InvalidCall(self._calls, call_id, name, raw, reason, started, suffix))
        self._next_call()

    def _next_call(self) -> None:
        self._calls += 1
        self._id, self._in_gap, self._markdown.has_text = "", True, True
        if not self._fence_in_gap:
            self._gap = []
        self._markdown.start_line()


class _Call(NamedTuple):
    """A call as read from a JSON value; `problem` is why it is none."""

    name: str
    arguments: dict[str, Any]
    problem: str


def _read_call(value: Any, names: frozenset[str], *, keyed: bool) -> _Call:
    """Read a call; one without the key must give its arguments."""
    name = value.get("name") if isinstance(value, dict) else None
    if not isinstance(name, str):
        return _Call("", {}, "it is no JSON object that names a tool")
    if name not in names:
        known = ", ".join(sorted(names)) or "none"
        return _Call(name, {}, f"no tool is called {name!r}; those to call are: {known}")
    if strange := [key for key in value if key not in _CALL_KEYS]:
        return _Call(name, {}, f"{strange[0]!r} is no key of a call")
    given = [value[key] for key in ARGUMENT_KEYS if key in value] or [None]
    if len(given) > 1:
        return _Call(name, {}, "the call gives its arguments twice")
    try:
        return _Call(name, decode_arguments((given[0] or {}) if keyed else given[0]), "")
    except ValueError as error:
        return _Call(name, {}, f"the arguments can't be read: {error}")


def _decode_values(text: str) -> tuple[list[tuple[Any, str]], str, str]:
    """Decode values, and what lists hold, each with its text; give the rest, and its fault."""
    values: list[tuple[Any, str]] = []
    position = _end_of(_BETWEEN, text, 0)
    while position < len(text):
        try:
            value, end = DECODER.raw_decode(text, position)
        except (ValueError, RecursionError) as problem:
            return values, text[position:], f"it is no JSON: {problem}"
        inner = value if isinstance(value, list) else [value]
        values += ((each, text[position:end]) for each in inner)
        position = _end_of(_BETWEEN, text, end)
    return values, "", ""


def _end_of(pattern: re.Pattern[str], text: str, position: int, limit: int | None = None) -> int:
    match = pattern.match(text, position, len(text) if limit is None else limit)
    return match.end() if match else position


class _Content:
    """What may be calls: JSON values, as far as they go.

    With the key, only a closing tag outside of strings ends it; without, whatever is neither
    JSON nor a tag or a fence between values.

    Attributes:
        head: Its first characters.
        name: The tool's name, once a call has begun in the form asked for.
        new: Pieces of its arguments that nobody has taken yet.
    """

    def __init__(self, *, keyed: bool) -> None:
        self.head = self.name = ""
        self._keyed = keyed
        self._pieces: list[str] = []
        self._length = self._depth = 0
        self._between = None if keyed else _BLANKS  # what may stand here besides JSON
        self._in_string = self._escaped = False
        self._start = self._end = -1  # where the arguments stand
        self.new: list[str] = []

    @property
    def text(self) -> str:
        return "".join(self._pieces)

    def may_be_call(self, names: frozenset[str]) -> bool:
        """Check whether the first key, and the name where that comes first, are a call's."""
        if not (match := _FIRST_KEY.match(self.head)):
            return bool(_COULD_BE_FIRST_KEY.fullmatch(self.head))
        key, name = match.groups()
        return key in _CALL_KEYS if name is None or key != "name" else name in names

    def read(self, text: str, position: int, limit: int) -> int:
        """Read on, about to `limit`; the outcome is where the reading stopped."""
        start, end = position, limit
        while position < end:
            if self._in_string:
                position = self._read_string(text, position, end)
            elif self._between and (match := self._between.match(text, position)):
                position = match.end()
            elif self._ends_at(text, position):
                break
            else:
                char = text[position]
                position += 1
                self._in_string = char == '"'
                self._depth += (char in "{[") - (char in "}]")
                self._between = None if self._keyed or self._depth else _BETWEEN
                if char in "}]" and self._depth == 1 and self._end < 0:
                    self._end = self._length + position - start
                if not self._in_string and (self._depth or self._keyed):
                    position = _end_of(_OUTSIDE, text, position, end)
        self._keep(text[start:position])
        return position

    def _ends_at(self, text: str, position: int) -> bool:
        char = text[position]
        if self._keyed:
            return char == "<" and bool(_CLOSE_TAG.match(text, position))
        return char in "<\\" if self._depth else char not in "{["

    def _read_string(self, text: str, position: int, limit: int) -> int:
        if self._escaped:
            self._escaped = False
            return position + 1
        position = _end_of(_INSIDE, text, position, limit)
        if position < limit:
            self._escaped = self._in_string = text[position] == "\\"
            position += 1
        return position

    def _keep(self, piece: str) -> None:
        """Keep a piece, and find what of it are arguments."""
        if self._start < 0 and len(self.head) < _HEAD_LENGTH:
            self.head += piece[: _HEAD_LENGTH - len(self.head)]
            if match := _HEAD.match(self.head):
                self.name, self._start = match[1], match.end()
        if self._start >= 0:
            first = max(self._start - self._length, 0)
            last = len(piece) if self._end < 0 else max(self._end - self._length, 0)
            self.new += [piece[first:last]] if first < last else []
        self._pieces.append(piece)
        self._length += len(piece)
