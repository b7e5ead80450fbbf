"""Native tool calling: OpenAI's own fields, for the day the service forwards them."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from langchain_minitoolai._tool_calling.events import (
    CallArguments,
    CallEnd,
    CallStart,
    Event,
    InvalidCall,
    decode_arguments,
    invalidating_suffix,
    new_call_id,
    truncation_reason,
)
from langchain_minitoolai._tool_calling.prompt import MODES, OpenAITool, choose_tools

_REFUSED: Final = "the service sent a native call, and tool_calling is 'prompted'"


def native_fields(
    tools: Sequence[OpenAITool],
    tool_choice: str = "auto",
    parallel_tool_calls: bool | None = None,  # noqa: FBT001 (the API's own name and type)
    response_format: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Write the fields of a request, from what `tool_instructions` takes.

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


@dataclass(slots=True)
class _Call:
    index: int
    id: str
    name: str = ""
    started: bool = False
    pieces: list[str] = field(default_factory=list)
    sent: int = 0  # how many of the pieces


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
        self._calls: dict[int | str, _Call] = {}

    def feed(self, tool_calls: Any) -> list[Event]:
        """Parse the value of a `tool_calls` field; what is not in OpenAI's form is ignored."""
        events: list[Event] = []
        for place, delta in enumerate(tool_calls if isinstance(tool_calls, list) else ()):
            if isinstance(delta, Mapping):
                call = self._find(delta, place)
                _add(call, delta.get("function"))
                events += [] if self._refuse else _progress(call)
        return events

    def finish(self, finish_reason: str | None = None) -> list[Event]:
        """Parse the answer's end; `finish_reason` is the service's own."""
        calls, self._calls = self._calls, {}
        return [event for call in calls.values() for event in self._end(call, finish_reason)]

    def _find(self, delta: Mapping[str, Any], place: int) -> _Call:
        index, call_id = delta.get("index"), delta.get("id")
        known = call_id if isinstance(call_id, str) else ""
        key = index if isinstance(index, int) else known or place
        if key not in self._calls:
            self._calls[key] = _Call(len(self._calls), known or self._new_id())
        return self._calls[key]

    def _end(self, call: _Call, finish_reason: str | None) -> list[Event]:
        raw, index = "".join(call.pieces), None if self._refuse else call.index
        if reason := _REFUSED if self._refuse else _fault(call.name, raw, finish_reason):
            suffix, name = invalidating_suffix(raw), call.name or None
            return [InvalidCall(index, call.id, name, raw, reason, call.started, suffix)]
        if not raw.strip():
            return [CallArguments(call.index, "{}"), CallEnd(call.index, "{}")]
        return [CallEnd(call.index, raw)]


def _add(call: _Call, function: Any) -> None:
    if isinstance(function, Mapping):
        name, arguments = function.get("name"), function.get("arguments")
        call.name = call.name or (name if isinstance(name, str) else "")
        call.pieces += [arguments] if isinstance(arguments, str) and arguments else []


def _progress(call: _Call) -> list[Event]:
    events: list[Event] = []
    if call.name and not call.started:
        call.started = True
        events.append(CallStart(call.index, call.id, call.name))
    if call.started and call.sent < len(call.pieces):
        events.append(CallArguments(call.index, "".join(call.pieces[call.sent :])))
        call.sent = len(call.pieces)
    return events


def _fault(name: str, raw: str, finish_reason: str | None) -> str:
    """Explain why a call can't be made, if so."""
    cut = truncation_reason(finish_reason) if finish_reason in ("length", "content_filter") else ""
    if not name:
        return "the call names no tool"
    if not raw.strip():
        return cut  # before its first argument; else it is a call that needs none
    try:
        decode_arguments(raw)
    except ValueError as error:
        return cut or f"the arguments can't be read: {error}"
    return ""
