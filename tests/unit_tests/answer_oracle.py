"""A second reader of answers, which sees them whole: what the incremental one is held against.

It shares nothing with the package: `json` finds where values end, and regular expressions
find the markers.
"""

import json
import re
from dataclasses import dataclass, field
from typing import Any, NoReturn

SPACE = re.compile(r"[ \t\r\n]*")
TAG = re.compile(
    r"<tool_call>(?=[ \t\r\n]{0,64}(\Z|[\[{]))(?P<space>[ \t\r\n]{0,64})", re.IGNORECASE
)
FENCE = re.compile(r"(json|tool_calls?|tool_code|)[ \t\r\n]{0,64}(?=[\[{])", re.IGNORECASE)
SCALAR_TAIL = re.compile(r"[-0-9tfn][-+.0-9A-Za-z]*\Z")
ESCAPE_TAIL = re.compile(r"\\(u[0-9a-fA-F]{0,3})?\Z")
ARGUMENTS = ("arguments", "parameters", "args", "input")


DECODER = json.JSONDecoder(strict=False)


@dataclass
class FaultError(Exception):
    """The text is no JSON at `at`, or (`cut`) ends before the value does."""

    at: int
    cut: bool = False


@dataclass
class Oracle:
    """Reads `answer`; `found` holds ("text", …), ("call", name, arguments), ("broken", …)."""

    answer: str
    names: frozenset[str]
    found: list[tuple[Any, ...]] = field(default_factory=list)
    fence: bool = False
    gap: str | None = None
    bol: int = 0

    def read(self) -> list[tuple[Any, ...]]:
        """Read the whole answer."""
        at = self.space(0)
        self.say(self.answer[:at])
        if self.answer[at : at + 1] in ("{", "["):
            at = self.values(at, "", "")
        while at < len(self.answer):
            at = self.text(at)
        return self.found

    def space(self, at: int) -> int:
        """Skip the white space of JSON."""
        match = SPACE.match(self.answer, at)
        assert match
        return match.end()

    def say(self, text: str) -> None:
        """Note text; white space right after a call waits for more."""
        text = (self.gap or "") + text
        if self.gap is not None and (not text or text.isspace()):
            self.gap = text
            return
        self.gap = None
        if text and self.found and self.found[-1][0] == "text":
            self.found[-1] = ("text", self.found[-1][1] + text)
        elif text:
            self.found.append(("text", text))

    def tell(self, *what: Any) -> None:
        """Note a call."""
        self.found.append(what)
        self.gap = ""

    def text(self, at: int) -> int:
        """Read up to and with the next marker."""
        tag = TAG.search(self.answer, at)
        ticks = self.ticks(at)
        if not tag and not ticks:
            self.say(self.answer[at:])
            return len(self.answer)
        if tag and (not ticks or tag.start() < ticks.start()):
            self.say(self.answer[at : tag.start()])
            if tag.end() == len(self.answer):
                self.tell("broken", None, "")
                return tag.end()
            return self.values(tag.end(), tag[0], "</tool_call>")
        assert ticks
        self.say(self.answer[at : ticks.end() - 3])
        call = None if self.fence else FENCE.match(self.answer, ticks.end())
        if call:
            return self.values(call.end(), "```" + call[0], "```")
        self.say("```")
        self.fence = not self.fence
        return ticks.end()

    def values(self, at: int, opening: str, closer: str) -> int:
        """Read the values a marker opens, and what closes it."""
        while True:
            ended, at = self.value(at, opening, closer)
            if not ended:
                return at
            after = self.space(at)
            self.say(self.answer[at:after])
            at, opening = after, ""
            if self.answer[at : at + 1] not in ("{", "["):
                break
        if self.answer[at:].lower().startswith(closer):
            self.gap = "" if closer else self.gap
            return self.restart(at + len(closer))
        self.fence = closer == "```" and at < len(self.answer)
        return at

    def restart(self, at: int) -> int:
        """Take the place behind a call for the start of a line."""
        self.bol = at
        return at

    def starts_line(self, at: int) -> bool:
        """Whether at most three spaces stand before `at` on its line."""
        start = at
        while start > max(self.bol, at - 4) and self.answer[start - 1] == " ":
            start -= 1
        return at - start < 4 and (start == self.bol or self.answer[start - 1] == "\n")

    def ticks(self, at: int) -> re.Match[str] | None:
        """Find the next fence."""
        for match in re.compile("```").finditer(self.answer, at):
            if self.fence or self.starts_line(match.start()):
                return match
        return None

    def value(  # noqa: C901 (read top to bottom, as a grammar is)
        self, at: int, opening: str, closer: str
    ) -> tuple[bool, int]:
        """Read one value; the outcome says whether calls may follow it."""
        explicit = closer == "</tool_call>"
        start, called, position = at, False, at
        in_list = self.answer[at] == "["
        try:
            while True:
                if in_list:
                    position = self.separator(position, first=position == at)
                    if self.answer[position] == "]" and called:
                        return True, position + 1
                if self.answer[position] != "{":
                    return False, self.pass_by(start, at, opening, closer)
                if called:
                    start = position
                end = self.object(position, start, opening, closer, explicit=explicit)
                if end < 0:
                    return False, -end - 1 if end < -1 else self.pass_by(start, at, opening, closer)
                position = start = end
                called, opening = True, ""
                if not in_list:
                    return True, end
        except FaultError as fault:
            if fault.cut and (called or not explicit):
                if not called:
                    self.say(opening + self.answer[start:])
            elif fault.cut:
                self.tell("broken", None, self.answer[start:].strip())
            else:
                return False, self.pass_by(start, at, opening, closer)
            return False, len(self.answer)

    def separator(self, at: int, *, first: bool) -> int:
        """Find the list's next element, or its end."""
        at = self.space(at + 1 if first else at)
        self.need(at)
        if first or self.answer[at] == "]":
            return at
        if self.answer[at] != ",":
            self.stop(at)
        at = self.space(at + 1)
        self.need(at)
        if self.answer[at] == "]":
            self.stop(at)
        return at

    def stop(self, at: int, *, cut: bool = False) -> NoReturn:
        """Say where the JSON stops, and whether the answer ends there."""
        raise FaultError(at, cut)

    def need(self, at: int) -> None:
        """Insist that the answer goes on."""
        if at >= len(self.answer):
            self.stop(at, cut=True)

    def decode(self, at: int) -> tuple[Any, int]:
        """Decode the value that stands at `at`."""
        self.need(at)
        text = self.answer
        try:
            value, end = DECODER.raw_decode(text, at)
        except json.JSONDecodeError as error:
            where = error.pos
            escape = "escape" in error.msg and ESCAPE_TAIL.search(text, max(at, where - 2))
            cut = (
                escape
                or "Unterminated" in error.msg
                or where >= len(text)
                or self.scalar_tail(where)
            )
            self.stop(where, cut=bool(cut))
        if text[at] not in '"{[' and self.scalar_tail(at):
            self.stop(at, cut=True)
        return value, end

    def scalar_tail(self, at: int) -> bool:
        """Whether the answer ends inside the scalar that stands here."""
        while at > 0 and re.match(r"[-+.0-9A-Za-z]", self.answer[at - 1]):
            at -= 1
        return bool(SCALAR_TAIL.match(self.answer, at))

    def object(  # noqa: C901, PLR0911, PLR0912, PLR0915 (read top to bottom, as a grammar is)
        self, at: int, start: int, opening: str, closer: str, *, explicit: bool
    ) -> int:
        """Read what may be a call; the outcome is its end, -1 for text, or less: see `fail`."""
        name: str | None = None
        arguments: Any = None
        started, seen = False, set[str]()
        position = at + 1
        try:
            while True:
                position = self.space(position)
                self.need(position)
                if self.answer[position] == "}" and not seen:
                    return -1
                if self.answer[position] != '"':
                    self.stop(position)
                key, position = self.decode(position)
                role = "arguments" if key in ARGUMENTS else key
                if role in seen and role in ("name", "arguments"):
                    self.stop(position)
                seen.add(role)
                if role not in ("name", "arguments", "id", "type"):
                    if explicit or started:
                        return self.fail(position, start, opening, closer, name)
                    return -1
                position = self.space(position)
                self.need(position)
                if self.answer[position] != ":":
                    self.stop(position)
                position = self.space(position + 1)
                self.need(position)
                first = self.answer[position]
                if role == "name":
                    if first in "{[":
                        return -1
                    value, position = self.decode(position)
                    if not isinstance(value, str) or value not in self.names:
                        return -1
                    name, started = value, explicit or "arguments" in seen
                elif role == "arguments":
                    if first == "[":
                        self.stop(position + 1)
                    value, position = self.decode(position)
                    if isinstance(value, str):
                        text = value.strip(" \t\r\n")
                        try:
                            value = json.loads(text, strict=False) if text else {}
                        except json.JSONDecodeError:
                            self.stop(position)
                    arguments = {} if value is None else value
                    if not isinstance(arguments, dict):
                        self.stop(position)
                    started = name is not None
                else:
                    _, position = self.decode(position)
                position = self.space(position)
                self.need(position)
                if self.answer[position] == "}":
                    break
                if self.answer[position] != ",":
                    self.stop(position)
                position += 1
                after = self.space(position)
                self.need(after)
                if self.answer[after] == "}":
                    self.stop(after)
        except FaultError as fault:
            if name is None and not explicit:
                if fault.cut:
                    raise
                return self.text_from(fault.at, start, opening, closer)
            if fault.cut:
                self.tell("broken", name, self.answer[start:].strip())
                return -len(self.answer) - 1
            return self.fail(fault.at, start, opening, closer, name)
        if name is None:
            return -1
        self.tell("call", name, arguments or {})
        return self.restart(position + 1)

    def text_from(self, at: int, start: int, opening: str, closer: str) -> int:
        """Call it text up to a fault."""
        self.say(opening + self.answer[start:at])
        self.fence = closer == "```"
        return -at - 1

    def fail(self, at: int, start: int, opening: str, closer: str, name: str | None) -> int:
        """Note a broken call, which ends where its closing marker stands."""
        closing = re.compile(closer or "(?!)", re.IGNORECASE | re.ASCII)
        match = closing.search(self.answer, at) or re.compile(r"\Z").search(self.answer)
        assert match
        raw, after = self.answer[start : match.start()], match.end()
        if name is None and not any(known in raw for known in self.names):
            self.say(opening + self.answer[start:after])
            return -after - 1
        self.tell("broken", name, raw.strip())
        return -self.restart(after) - 1

    def pass_by(self, start: int, at: int, opening: str, closer: str) -> int:
        """Call the rest of the value text, to its end or to where it is no JSON."""
        try:
            _, end = self.decode(at)
        except FaultError as fault:
            end = len(self.answer) if fault.cut else fault.at
        self.say(opening + self.answer[start:end])
        self.fence = closer == "```"
        return end
