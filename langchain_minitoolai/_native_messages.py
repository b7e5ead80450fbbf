"""LangChain messages to OpenAI's roles and calls, for `tool_calling="native"`."""

from collections.abc import Sequence
from typing import Any

from langchain_core.messages import AIMessage, BaseMessage, FunctionMessage, ToolMessage
from pydantic_core import to_json

from langchain_minitoolai._content import to_content, to_parts
from langchain_minitoolai._messages import is_result_block, role_of, text_of
from langchain_minitoolai._tool_history import calls_of
from langchain_minitoolai.errors import InvalidInputError


def to_native(messages: Sequence[BaseMessage]) -> list[dict[str, Any]]:
    """Make the `messages` field of a request in OpenAI's form.

    Args:
        messages: The conversation, in any provider's form.

    Returns:
        Roles `developer`, `user`, `assistant` (with `tool_calls`) and `tool`. A result's
        pictures follow the results in a `user` message, since role `tool` takes text alone.

    Raises:
        InvalidInputError: If there is no message, or one that can't be sent.
    """
    if not messages:
        raise InvalidInputError("messages is empty; allowed: one message or more")
    wire: list[dict[str, Any]] = []
    pictures: list[dict[str, Any]] = []
    for index, message in enumerate(messages):
        field = f"messages[{index}].content"
        if not isinstance(message, ToolMessage | FunctionMessage) and pictures:
            wire.append({"role": "user", "content": pictures})
            pictures = []
        made, shown = _one(message, field)
        wire += made
        pictures += shown
    return [*wire, {"role": "user", "content": pictures}] if pictures else wire


def _one(message: BaseMessage, field: str) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    if isinstance(message, ToolMessage | FunctionMessage):
        return _result(getattr(message, "tool_call_id", ""), message.content, field)
    if isinstance(message, AIMessage):
        return [_assistant(message, field)], []
    wire: list[dict[str, Any]] = []
    pictures: list[dict[str, Any]] = []
    blocks = [message.content] if isinstance(message.content, str) else message.content
    for block in blocks:
        if isinstance(block, str) or not is_result_block(block):
            continue
        made, shown = _result(str(block.get("tool_use_id") or ""), block.get("content"), field)
        wire += made
        pictures += shown
    parts = to_parts([block for block in blocks if not is_result_block(block)], field)
    if pictures or parts or not wire:
        content = to_content([*pictures, *parts])
        wire.append({"role": role_of(message, field), "content": content})
    return wire, []


def _result(
    call_id: str, content: Any, field: str
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    parts = to_parts(content or "", field)
    result = {"role": "tool", "tool_call_id": call_id, "content": text_of(parts)}
    return [result], [part for part in parts if part["type"] != "text"]


def _assistant(message: AIMessage, field: str) -> dict[str, Any]:
    text = text_of(to_parts(message.content, field))
    calls = [
        {
            "id": call["id"] or "",
            "type": "function",
            "function": {"name": call["name"], "arguments": to_json(call["args"]).decode()},
        }
        for call in calls_of(message)
    ]
    wire: dict[str, Any] = {"role": "assistant", "content": text if text or not calls else None}
    return {**wire, "tool_calls": calls} if calls else wire
