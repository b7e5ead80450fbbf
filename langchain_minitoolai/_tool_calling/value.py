"""One JSON value that may hold tool calls: text -> its calls, or that it is none."""

from collections.abc import Callable
from collections.abc import Set as AbstractSet

from langchain_minitoolai._tool_calling.events import (
    BrokenCall,
    CallArguments,
    CallEnd,
    CallStart,
    Event,
    seal,
)
from langchain_minitoolai._tool_calling.json_scan import JsonScanner, Kind, Token
from langchain_minitoolai._tool_calling.object import CallObject


class CallLog:
    """The events of one answer; its calls are numbered, and each has an id.

    Attributes:
        events: What nobody has taken yet.
        calls: How many calls are over, the broken ones included.
    """

    def __init__(self, new_id: Callable[[], str]) -> None:
        """Begin with none; `new_id` makes ids."""
        self.events: list[Event] = []
        self._new_id = new_id
        self.calls = 0
        self._id = ""

    def pieces(self, call: CallObject) -> None:
        """Tell what is new of a call that is one for certain."""
        if not call.started or call.name is None:
            return
        if not self._id:
            self._id = self._new_id()
            self.events.append(CallStart(self.calls, self._id, call.name))
        if pieces := call.take_pieces():
            self.events.append(CallArguments(self.calls, pieces))

    def end(self, call: CallObject) -> None:
        """Tell that a call is complete."""
        self.pieces(call)
        self.events.append(CallEnd(self.calls, call.arguments))
        self._next()

    def broken(self, call: CallObject | None, raw: str, reason: str) -> None:
        """Tell that a call can't be made."""
        if call is not None:
            self.pieces(call)
        started, raw = bool(self._id), raw.strip()
        sent = call.arguments if call is not None and started else raw
        name = call.name if call is not None else None
        call_id = self._id or self._new_id()
        self.events.append(BrokenCall(self.calls, call_id, name, raw, reason, started, seal(sent)))
        self._next()

    def _next(self) -> None:
        self.calls += 1
        self._id = ""


class ValueReader:
    """Reads a value: an object that is a call, or a list of such objects.

    Attributes:
        over: Whether the value has ended, or stopped being JSON.
        foreign: Whether (the rest of) it is no call, so text: see `take_text`.
        broken: Whether a call in it is broken, so that its end must be looked for.
    """

    def __init__(
        self, names: AbstractSet[str], log: CallLog, opening: str, *, explicit: bool
    ) -> None:
        """Look for calls of `names`.

        Args:
            names: The bound tools.
            log: Where the events go.
            opening: The marker before the value: text, should the value hold no call.
            explicit: Whether that marker announced a call.
        """
        self.over = False
        self.foreign = False
        self.broken = False
        self._called = False
        self._names = names
        self._log = log
        self._opening = opening
        self._explicit = explicit
        self._scanner = JsonScanner()
        self._call: CallObject | None = None
        self._raw: list[str] = []
        self._mark = 0
        self._reason = ""

    def read(self, text: str, position: int) -> int:
        """Read on from `position`; the outcome is where the reading stopped."""
        scanner = self._scanner
        self._mark = position
        for token in scanner.scan(text, position):
            if not self.foreign:
                self._token(token)
            if self.broken:
                break
        if scanner.error and not self.foreign:
            self._stumble(scanner.error)
        elif self._call is not None:
            self._log.pieces(self._call)
        self._raw.append(text[self._mark : scanner.position])
        self.over = scanner.done or bool(scanner.error)
        return scanner.position

    def take_text(self) -> str:
        """Hand over what was read and is in no event."""
        text = "".join((self._opening, *self._raw))
        self._opening = ""
        self._raw.clear()
        return text

    def add(self, text: str) -> None:
        """Take what stands between a fault and the end of the broken call."""
        self._raw.append(text)

    def end_broken(self) -> bool:
        """Tell of the broken call, unless it names no tool of ours and so is text."""
        raw = "".join(self._raw)
        named = self._call is not None and self._call.name is not None
        if not named and not any(name in raw for name in self._names):
            return False
        self._log.broken(self._call, raw, self._reason)
        return True

    def cut(self, reason: str) -> str:
        """End where the answer ends; the outcome is what turned out to be text."""
        call = self._call
        if self.foreign or (call is None and self._called):
            return ""
        raw = "".join(self._raw)
        named = call is not None and call.name is not None
        begun = call is not None or raw.strip() in ("", "[")
        if named or (self._explicit and begun):
            self._log.broken(call, raw, reason)
            return ""
        return self.take_text()

    def _token(self, token: Token) -> None:
        call = self._call
        if call is None:
            self._between(*token)
            return
        call.take(*token)
        if call.done:
            self._log.end(call)
            self._call, self._called, self._opening = None, True, ""
            self._drop(0)
        else:
            self._judge(call)

    def _between(self, kind: Kind, depth: int, text: str) -> None:
        """Read what stands around the calls: brackets and commas, or what makes it text."""
        if text == "{":
            self._call = CallObject(self._names, depth, explicit=self._explicit)
            if self._called:
                self._drop(1)
        elif text == "[" and depth == 0:
            return
        else:
            separator = kind in ("space", "comma") or (kind == "close" and self._called)
            self.foreign = not separator

    def _judge(self, call: CallObject) -> None:
        if call.foreign:
            self.foreign, self._call = True, None
        elif call.problem:
            self.broken, self._reason = True, call.problem

    def _stumble(self, error: str) -> None:
        if self._call is None:
            self.foreign = True
        else:
            self._call.fail(error)
            self._judge(self._call)

    def _drop(self, back: int) -> None:
        """Forget the text up to `back` characters before here: it is told of, or empty."""
        self._raw.clear()
        self._mark = self._scanner.position - back
