"""Parser events: text, tool calls, and tool calls that are invalid; decoding of arguments."""

import json
import uuid
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

MAX_DEPTH: Final = 100
"""Deeper nesting of arguments is an error: parsers further on recurse."""


@dataclass(frozen=True, slots=True)
class Text:
    """Text for the reader of the answer."""

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
class InvalidCall:
    """A call that can't be made."""

    index: int | None  # `None` for a call in the form that this answer is not read for
    id: str
    name: str | None  # where it was read
    raw: str  # what the model wrote
    reason: str  # why it is no call
    started: bool  # whether a `CallStart` came before
    suffix: str
    """What to send after the pieces (or after `raw`, where none were sent) so that core, which
    completes JSON that was cut, reads no call from it."""


Event: TypeAlias = Text | CallStart | CallArguments | CallEnd | InvalidCall


def new_call_id() -> str:
    """Make an id for a call: `call_` and 24 letters or digits."""
    return "call_" + uuid.uuid4().hex[:24]


def truncation_reason(finish_reason: str | None) -> str:
    """Explain why an answer ended inside a call."""
    causes = {
        "length": "the answer reached its length limit",
        "content_filter": "the content filter ended the answer",
    }
    return f"{causes.get(finish_reason or '', 'the answer ended')} inside the call"


def invalidating_suffix(arguments: str) -> str:
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


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is no value of JSON")


# Models write line ends inside strings, which the grammar forbids.
DECODER: Final = json.JSONDecoder(strict=False, parse_constant=_refuse)


def decode_arguments(arguments: Any) -> dict[str, Any]:
    """Decode a call's arguments, or check those that are decoded already.

    Raises:
        ValueError: If they are no JSON object, or one that is nested too deep.
    """
    try:
        decoded = DECODER.decode(arguments) if isinstance(arguments, str) else arguments
    except RecursionError:
        raise ValueError("they are nested too deep") from None
    if not isinstance(decoded, dict):
        raise ValueError("they are no JSON object")  # noqa: TRY004 - as the decoder's own errors
    if _is_deep(decoded, MAX_DEPTH):
        raise ValueError(f"they are nested deeper than {MAX_DEPTH} levels")
    return decoded


def _is_deep(value: Any, levels: int) -> bool:
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return levels == 0 or any(_is_deep(each, levels - 1) for each in inner)
