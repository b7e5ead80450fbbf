"""Messages: LangChain's to the API's roles, documented or native.

What has no documented role is written in the forms of the tool prompt: calls in the
assistant's own text, results in a user message, in tags with the conversation's key. All other
text stays as it is, but for that key.
"""

from collections.abc import Mapping, Sequence
from functools import partial
from itertools import groupby
from typing import Any, Final

from langchain_core.messages import (
    AIMessage,
    BaseMessage,
    ChatMessage,
    FunctionMessage,
    HumanMessage,
    SystemMessage,
    ToolMessage,
)
from pydantic_core import to_json

from langchain_minitoolai._chat.content import (
    Part,
    block_parts,
    is_image,
    join_text,
    map_text,
    to_content,
    to_parts,
)
from langchain_minitoolai._tool_calling.history import (
    assistant_text,
    block_results,
    call_names,
    calls_of,
    result_text,
    results_content,
    text_of,
)
from langchain_minitoolai._tool_calling.prompt import mask_key
from langchain_minitoolai.errors import InvalidInputError

_ROLES: Final = {
    "system": "developer",
    "developer": "developer",
    "user": "user",
    "human": "user",
    "assistant": "assistant",
    "ai": "assistant",
}
_TOOL_RESULT: Final = "tool_result"


def to_api_messages(
    messages: Sequence[BaseMessage], key: str = "", instructions: str = ""
) -> list[dict[str, Any]]:
    """Build the `messages` field of a request.

    Args:
        messages: The conversation, in any provider's form.
        key: The conversation's key, where tools or a schema were mentioned.
        instructions: What the first developer message says about tools or a schema.

    Returns:
        `{"role", "content"}`, the role one of `developer`, `user`, `assistant`.

    Raises:
        InvalidInputError: If there is no message, or one that can't be sent.
    """
    _require_messages(messages)
    names = call_names(messages)
    api_messages: list[dict[str, Any]] = []
    for are_results, group in groupby(enumerate(messages), lambda pair: _is_result(pair[1])):
        if are_results:
            api_messages.append(_results(list(group), names, key))
        else:
            api_messages += [
                _api_message(message, _field(index), key, names) for index, message in group
            ]
    return _prepend_instructions(api_messages, instructions) if instructions else api_messages


def _require_messages(messages: Sequence[BaseMessage]) -> None:
    if not messages:
        raise InvalidInputError("messages is empty; allowed: one message or more")


def _field(index: int | str) -> str:
    return f"messages[{index}].content"


def mention_tools(messages: Sequence[BaseMessage]) -> bool:
    """Check whether a conversation holds calls or results."""
    return any(map(_mentions_tools, messages))


def _mentions_tools(message: BaseMessage) -> bool:
    blocks = message.content if isinstance(message.content, list) else ()
    calls = isinstance(message, AIMessage) and bool(calls_of(message))
    return _is_result(message) or calls or any(map(_is_result_block, blocks))


def _api_message(
    message: BaseMessage, field: str, key: str, names: Mapping[str, str]
) -> dict[str, Any]:
    role = _role(message, field)
    if role == "user":
        parts = _user_parts(message.content, field, key, names)
        return {"role": role, "content": to_content(parts)}
    if isinstance(message, AIMessage) and (key or not _is_text(message)):
        return {"role": role, "content": assistant_text(message, key)}
    text = _text_only(to_content(to_parts(message.content, field)), role, field)
    return {"role": role, "content": mask_key(text, key)}


def _role(message: BaseMessage, field: str) -> str:
    if isinstance(message, SystemMessage):
        return "developer"
    if isinstance(message, HumanMessage):
        return "user"
    if isinstance(message, AIMessage):
        return "assistant"
    role = message.role if isinstance(message, ChatMessage) else message.type
    if role not in _ROLES:
        raise InvalidInputError(f"{field}: the role is {role!r}; allowed: {', '.join(_ROLES)}")
    return _ROLES[role]


def _text_only(content: str | list[Part], role: str, field: str) -> str:
    if not isinstance(content, str):
        raise InvalidInputError(f"{field} holds an image; allowed for the role {role}: text")
    return content


def _is_text(message: BaseMessage) -> bool:
    return isinstance(message.content, str)


def _is_result(message: BaseMessage) -> bool:
    return isinstance(message, ToolMessage | FunctionMessage)


def _is_result_block(block: Any) -> bool:
    """Check for a tool's result in Anthropic's form."""
    return isinstance(block, Mapping) and block.get("type") == _TOOL_RESULT


def _image_part(field: str, block: Mapping[str, Any]) -> Part | None:
    """Convert a block to an `image_url` part; `None` if it is no image."""
    return block_parts(block, field)[0] if is_image(block) else None


def _user_parts(
    content: str | list[Any], field: str, key: str, names: Mapping[str, str]
) -> list[Part]:
    if isinstance(content, str):
        return [{"type": "text", "text": mask_key(content, key)}]
    parts: list[Part] = []
    for are_results, group in groupby(enumerate(content), lambda pair: _is_result_block(pair[1])):
        if are_results:
            blocks = [block for _, block in group]
            text, images = block_results(blocks, names, partial(_image_part, field), key)
            parts += [{"type": "text", "text": text}, *images]
        else:
            own = [part for at, block in group for part in block_parts(block, f"{field}[{at}]")]
            parts += map_text(join_text(own), lambda text: mask_key(text, key))
    return parts


def _results(
    group: Sequence[tuple[int, BaseMessage]], names: Mapping[str, str], key: str
) -> dict[str, Any]:
    results = [_as_tool_message(message) for _, message in group]
    first, last = group[0][0], group[-1][0]
    field = _field(first if first == last else f"{first}:{last + 1}")
    text, images = results_content(results, names, partial(_image_part, field), key)
    return {"role": "user", "content": to_content([{"type": "text", "text": text}, *images])}


def _as_tool_message(message: BaseMessage) -> ToolMessage:
    if isinstance(message, ToolMessage):
        return message
    return ToolMessage(content=message.content, name=message.name, tool_call_id="")


def _prepend_instructions(
    api_messages: list[dict[str, Any]], instructions: str
) -> list[dict[str, Any]]:
    if api_messages[0]["role"] == "developer":
        text = f"{api_messages[0]['content']}\n\n{instructions}".lstrip()
        return [{**api_messages[0], "content": text}, *api_messages[1:]]
    return [{"role": "developer", "content": instructions}, *api_messages]


# --- OpenAI's roles and calls, for `tool_calling="native"` --------------------------


def to_native_messages(messages: Sequence[BaseMessage]) -> list[dict[str, Any]]:
    """Build the `messages` field of a request in OpenAI's form.

    Args:
        messages: The conversation, in any provider's form.

    Returns:
        Roles `developer`, `user`, `assistant` (with `tool_calls`) and `tool`. The images of
        results, named `[image 1]` and so on there, follow the results in a `user` message,
        since role `tool` takes text alone.

    Raises:
        InvalidInputError: If there is no message, or one that can't be sent.
    """
    _require_messages(messages)
    api_messages: list[dict[str, Any]] = []
    images: list[Part] = []
    for index, message in enumerate(messages):
        if images and not _is_result(message):
            api_messages.append({"role": "user", "content": images})
            images = []
        api_messages += _native_messages(message, _field(index), images)
    return [*api_messages, {"role": "user", "content": images}] if images else api_messages


def _native_messages(message: BaseMessage, field: str, images: list[Part]) -> list[dict[str, Any]]:
    """Convert one message; the images of a result are appended to `images`."""
    if _is_result(message):
        call_id = message.tool_call_id if isinstance(message, ToolMessage) else ""
        return [_native_result(call_id, message.content, field, images)]
    if isinstance(message, AIMessage):
        return [_native_assistant(message)]
    shown: list[Part] = []
    blocks = [message.content] if isinstance(message.content, str) else message.content
    results = [
        _native_result(
            str(block.get("tool_use_id") or ""), block.get("content") or "", field, shown
        )
        for block in blocks
        if isinstance(block, dict) and _is_result_block(block)
    ]
    parts = [
        part
        for index, block in enumerate(blocks)
        if not _is_result_block(block)
        for part in block_parts(block, f"{field}[{index}]")
    ]
    role, content = _role(message, field), to_content([*shown, *parts])
    if role != "user":
        content = _text_only(content, role, field)
    return [*results, {"role": role, "content": content}] if content or not results else results


def _native_result(call_id: str, content: Any, field: str, images: list[Part]) -> dict[str, Any]:
    text = result_text(content, images, partial(_image_part, field))
    return {"role": "tool", "tool_call_id": call_id, "content": text}


def _native_assistant(message: AIMessage) -> dict[str, Any]:
    text = text_of(message)
    calls = [
        {
            "id": call["id"] or "",
            "type": "function",
            "function": {"name": call["name"], "arguments": to_json(call["args"]).decode()},
        }
        for call in calls_of(message)
    ]
    native: dict[str, Any] = {"role": "assistant", "content": text if text or not calls else None}
    return {**native, "tool_calls": calls} if calls else native
