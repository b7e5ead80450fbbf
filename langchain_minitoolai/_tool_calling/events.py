"""What an answer says, piece by piece: text, calls, and calls that went wrong."""

import uuid
from dataclasses import dataclass
from typing import TypeAlias


@dataclass(frozen=True, slots=True)
class Text:
    """Words for the reader of the answer."""

    text: str


@dataclass(frozen=True, slots=True)
class CallStart:
    """A call begins; `index` counts the answer's calls from 0."""

    index: int
    id: str
    name: str


@dataclass(frozen=True, slots=True)
class CallArguments:
    """A piece of a call's arguments; joined, the pieces are a JSON object."""

    index: int
    text: str


@dataclass(frozen=True, slots=True)
class CallEnd:
    """A call is complete; `arguments` is the text of a JSON object."""

    index: int
    arguments: str


@dataclass(frozen=True, slots=True)
class BrokenCall:
    """A call that can't be made.

    Attributes:
        index: As in `CallStart`; the same one where the call had begun.
        id: As in `CallStart`.
        name: The tool's name, where it was read.
        raw: What the model wrote.
        reason: Why it is no call.
        started: Whether a `CallStart` came before.
        seal: What to send after the pieces (or after `raw`, where none were sent) so that
            core, which completes JSON that was cut, reads no call from it.
    """

    index: int
    id: str
    name: str | None
    raw: str
    reason: str
    started: bool
    seal: str


Event: TypeAlias = Text | CallStart | CallArguments | CallEnd | BrokenCall


def new_call_id() -> str:
    """Make an id for a call: `call_` and 24 letters or digits."""
    return "call_" + uuid.uuid4().hex[:24]


def cut_reason(finish_reason: str | None) -> str:
    """Say why an answer ended inside a call."""
    if finish_reason == "length":
        return "the answer reached its length limit inside the call"
    if finish_reason == "content_filter":
        return "the content filter ended the answer inside the call"
    return "the answer ended inside the call"


def seal(arguments: str) -> str:
    """Find what makes a JSON text that was cut unreadable, whatever is appended to it.

    `langchain_core` completes cut JSON, so half a call would come out as a whole one. A
    bracket that closes what was not opened is the one fault it does not mend.
    """
    closers: list[str] = []
    in_string = escaped = False
    for char in arguments:
        if in_string:
            in_string = escaped or char != '"'
            escaped = char == "\\" and not escaped
        elif char == '"':
            in_string = True
        elif char in "{[":
            closers.append("}" if char == "{" else "]")
        elif char in "}]" and closers and closers[-1] == char:
            closers.pop()
    unquote = ('""' if escaped else '"') if in_string else ""
    return unquote + ("]" if closers and closers[-1] == "}" else "}")
