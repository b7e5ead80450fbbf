"""Native tool calling: OpenAI's own fields, for the day the service forwards them."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from langchain_minitoolai._tool_calling.events import (
    CallArguments,
    CallEnd,
    CallStart,
    Event,
    InvalidCall,
    invalidating_suffix,
    new_call_id,
    truncation_reason,
)
from langchain_minitoolai._tool_calling.prompt import MODES, OpenAITool, choose_tools


def native_fields(
    tools: Sequence[OpenAITool],
    tool_choice: str = "auto",
    parallel_tool_calls: bool | None = None,  # noqa: FBT001 (the API's own name and type)
    response_format: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Write the fields of a request, from what `tool_instructions` takes.

    Args:
        tools: The bound tools.
        tool_choice: `"auto"`, `"required"`, `"none"`, or a bound tool's name.
        parallel_tool_calls: Sent where it is given.
        response_format: OpenAI's, sent as it is.

    Raises:
        InvalidInputError: If the choice names a tool that is not bound.
    """
    fields: dict[str, Any] = {}
    if choose_tools(tools, tool_choice):
        fields["tools"] = [dict(tool) for tool in tools]
        if tool_choice not in MODES:
            fields["tool_choice"] = {"type": "function", "function": {"name": tool_choice}}
        elif tool_choice != "auto":
            fields["tool_choice"] = tool_choice
        if parallel_tool_calls is not None:
            fields["parallel_tool_calls"] = parallel_tool_calls
    if response_format is not None:
        fields["response_format"] = dict(response_format)
    return fields


@dataclass
class _Open:
    index: int
    id: str
    name: str = ""
    started: bool = False
    pieces: list[str] = field(default_factory=list)
    sent: int = 0


class NativeToolCallParser:
    """Parses `delta.tool_calls` (or a whole message's `tool_calls`) to events."""

    def __init__(self, *, refuse: bool = False, new_id: Callable[[], str] = new_call_id) -> None:
        """Begin with no call.

        Args:
            refuse: Whether such calls are invalid here, since the answer is read for others.
            new_id: Makes the ids that the service leaves out.
        """
        self._refuse = refuse
        self._new_id = new_id
        self._open: dict[int | str, _Open] = {}

    def feed(self, tool_calls: Any) -> list[Event]:
        """Parse the value of a `tool_calls` field; what is not in OpenAI's form is ignored."""
        events: list[Event] = []
        for place, delta in enumerate(tool_calls if isinstance(tool_calls, list) else ()):
            if isinstance(delta, Mapping):
                events += self._read(delta, place)
        return events

    def finish(self, finish_reason: str | None = None) -> list[Event]:
        """Parse the answer's end; `finish_reason` is the service's own."""
        calls, self._open = self._open, {}
        end = _refused if self._refuse else _end
        return [event for call in calls.values() for event in end(call, finish_reason)]

    def _read(self, delta: Mapping[str, Any], place: int) -> list[Event]:
        call = self._find(delta, place)
        function = delta.get("function")
        function = function if isinstance(function, Mapping) else {}
        name, arguments = function.get("name"), function.get("arguments")
        if isinstance(name, str):
            call.name = call.name or name
        if isinstance(arguments, str) and arguments:
            call.pieces.append(arguments)
        return [] if self._refuse else _progress(call)

    def _find(self, delta: Mapping[str, Any], place: int) -> _Open:
        index, call_id = delta.get("index"), delta.get("id")
        known = isinstance(call_id, str) and call_id != ""
        key: int | str = index if isinstance(index, int) else str(call_id) if known else place
        if key not in self._open:
            self._open[key] = _Open(len(self._open), str(call_id) if known else self._new_id())
        return self._open[key]


def _progress(call: _Open) -> list[Event]:
    events: list[Event] = []
    if call.name and not call.started:
        call.started = True
        events.append(CallStart(call.index, call.id, call.name))
    if call.started and call.sent < len(call.pieces):
        events.append(CallArguments(call.index, "".join(call.pieces[call.sent :])))
        call.sent = len(call.pieces)
    return events


def _end(call: _Open, finish_reason: str | None) -> list[Event]:
    raw = "".join(call.pieces)
    if reason := _fault(call.name, raw, finish_reason):
        suffix = invalidating_suffix(raw)
        name = call.name or None
        return [InvalidCall(call.index, call.id, name, raw, reason, call.started, suffix)]
    if not raw.strip():
        return [CallArguments(call.index, "{}"), CallEnd(call.index, "{}")]
    return [CallEnd(call.index, raw)]


def _refused(call: _Open, _: str | None) -> list[Event]:
    raw = "".join(call.pieces)
    reason = "the service sent a native call, and tool_calling is 'prompted'"
    suffix = invalidating_suffix(raw)
    return [InvalidCall(None, call.id, call.name or None, raw, reason, False, suffix)]  # noqa: FBT003


def _fault(name: str, raw: str, finish_reason: str | None) -> str:
    """Explain why a call can't be made, if so."""
    cut = finish_reason in ("length", "content_filter")
    if not name:
        return "the call names no tool"
    if not raw.strip():
        # Cut before its first argument, or a call that needs none.
        return truncation_reason(finish_reason) if cut else ""
    try:
        arguments = json.loads(raw)
    except (ValueError, RecursionError) as error:
        return truncation_reason(finish_reason) if cut else f"the arguments can't be read: {error}"
    return "" if isinstance(arguments, dict) else "the arguments are no JSON object"
