"""LangChain messages to OpenAI's roles and calls, for `tool_calling="native"`."""

from collections.abc import Sequence
from functools import partial
from typing import Any

from langchain_core.messages import AIMessage, BaseMessage, ToolMessage
from pydantic_core import to_json

from langchain_minitoolai._chat.content import Part, block_parts, to_content
from langchain_minitoolai._chat.messages import is_result, is_result_block, picture, role_of
from langchain_minitoolai._tool_calling.history import calls_of, result_text, text_of
from langchain_minitoolai.errors import InvalidInputError


def to_native(messages: Sequence[BaseMessage]) -> list[dict[str, Any]]:
    """Make the `messages` field of a request in OpenAI's form.

    Args:
        messages: The conversation, in any provider's form.

    Returns:
        Roles `developer`, `user`, `assistant` (with `tool_calls`) and `tool`. A result's
        pictures, named `[image 1]` and so on there, follow the results in a `user` message,
        since role `tool` takes text alone.

    Raises:
        InvalidInputError: If there is no message, or one that can't be sent.
    """
    if not messages:
        raise InvalidInputError("messages is empty; allowed: one message or more")
    wire: list[dict[str, Any]] = []
    pictures: list[Part] = []
    for index, message in enumerate(messages):
        if pictures and not is_result(message):
            wire.append({"role": "user", "content": pictures})
            pictures = []
        wire += _one(message, f"messages[{index}].content", pictures)
    return [*wire, {"role": "user", "content": pictures}] if pictures else wire


def _one(message: BaseMessage, field: str, pictures: list[Part]) -> list[dict[str, Any]]:
    """Write a message; the pictures of a result go to `pictures`."""
    if is_result(message):
        call_id = message.tool_call_id if isinstance(message, ToolMessage) else ""
        return [_result(call_id, message.content, field, pictures)]
    if isinstance(message, AIMessage):
        return [_assistant(message)]
    shown: list[Part] = []
    blocks = [message.content] if isinstance(message.content, str) else message.content
    wire = [
        _result(str(block.get("tool_use_id") or ""), block.get("content") or "", field, shown)
        for block in blocks
        if isinstance(block, dict) and is_result_block(block)
    ]
    parts = [
        part
        for index, block in enumerate(blocks)
        if not is_result_block(block)
        for part in block_parts(block, f"{field}[{index}]")
    ]
    role, content = role_of(message, field), to_content([*shown, *parts])
    if role != "user" and not isinstance(content, str):
        raise InvalidInputError(f"{field} holds a picture; allowed for the role {role}: text")
    return [*wire, {"role": role, "content": content}] if content or not wire else wire


def _result(call_id: str, content: Any, field: str, pictures: list[Part]) -> dict[str, Any]:
    text = result_text(content, pictures, partial(picture, field))
    return {"role": "tool", "tool_call_id": call_id, "content": text}


def _assistant(message: AIMessage) -> dict[str, Any]:
    text = text_of(message)
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
