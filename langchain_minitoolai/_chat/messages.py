"""Messages: LangChain's to the API's roles, documented or native.

What has no documented role is written in the forms of the tool prompt: calls in the
assistant's own text, results in a user message, in tags with the conversation's key. All other
text stays as it is, but for that key.
"""

from collections.abc import Iterable, Mapping, Sequence
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
    image_part,
    is_image,
    to_content,
    to_part,
    to_parts,
)
from langchain_minitoolai._tool_calling.history import (
    assistant_text,
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
    names = call_names(messages) if mention_tools(messages) else {}
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


def mention_tools(messages: Iterable[BaseMessage]) -> bool:
    """Check whether a conversation holds calls or results."""
    return any(map(_mentions_tools, messages))


def _mentions_tools(message: BaseMessage) -> bool:
    if _is_result(message):
        return True
    blocks = message.content if isinstance(message.content, list) else ()
    if isinstance(message, AIMessage) and (
        blocks or message.tool_calls or message.invalid_tool_calls
    ):
        return bool(calls_of(message))
    return any(map(_is_result, blocks))


def _is_result(message_or_block: Any) -> bool:
    """Check for a tool's result: a message, or a block in Anthropic's form."""
    if isinstance(message_or_block, Mapping):
        return message_or_block.get("type") == "tool_result"
    return isinstance(message_or_block, ToolMessage | FunctionMessage)


def _api_message(
    message: BaseMessage, field: str, key: str, names: Mapping[str, str]
) -> dict[str, Any]:
    role, content = _role(message, field), message.content
    if isinstance(message, AIMessage) and (key or not isinstance(content, str)):
        return {"role": role, "content": assistant_text(message, key)}
    if role == "user" and not isinstance(content, str):
        return {"role": role, "content": to_content(_user_parts(content, field, key, names))}
    text = content if isinstance(content, str) else _text_only(content, role, field)
    return {"role": role, "content": mask_key(text, key) if key else text}


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


def _text_only(content: str | list[Any], role: str, field: str) -> str:
    text = to_content(to_parts(content, field))
    if not isinstance(text, str):
        raise InvalidInputError(f"{field} holds an image; allowed for the role {role}: text")
    return text


def _user_parts(content: list[Any], field: str, key: str, names: Mapping[str, str]) -> list[Part]:
    parts: list[Part] = []
    for are_results, group in groupby(enumerate(content), lambda pair: _is_result(pair[1])):
        if are_results:
            parts += _result_parts([block for _, block in group], field, key, names)
        else:
            own = [to_part(block, f"{field}[{index}]") for index, block in group]
            parts += _masked([part for part in own if part is not None], key)
    return parts


def _masked(parts: list[Part], key: str) -> list[Part]:
    """Break up the key in the text, whose parts are joined first: it may stand in two."""
    masked: list[Part] = []
    for is_text, group in groupby(parts, lambda part: part["type"] == "text"):
        if is_text:
            text = "".join(part["text"] for part in group)
            masked.append({"type": "text", "text": mask_key(text, key)})
        else:
            masked += group
    return masked


def _results(
    group: Sequence[tuple[int, BaseMessage]], names: Mapping[str, str], key: str
) -> dict[str, Any]:
    first, last = group[0][0], group[-1][0]
    field = _field(first if first == last else f"{first}:{last + 1}")
    parts = _result_parts([message for _, message in group], field, key, names)
    return {"role": "user", "content": to_content(parts)}


def _result_parts(
    results: Iterable[Any], field: str, key: str, names: Mapping[str, str]
) -> list[Part]:
    messages = [_as_tool_message(result) for result in results]
    text, images = results_content(messages, names, partial(_image_part, field), key)
    return [{"type": "text", "text": text}, *images]


def _as_tool_message(result: Any) -> ToolMessage:
    if isinstance(result, ToolMessage):
        return result
    if isinstance(result, FunctionMessage):
        return ToolMessage(content=result.content, name=result.name, tool_call_id="")
    content = result.get("content") or ""
    return ToolMessage(
        content=content if isinstance(content, str | list) else [content],
        tool_call_id=str(result.get("tool_use_id") or ""),
        status="error" if result.get("is_error") else "success",
    )


def _image_part(field: str, block: Mapping[str, Any]) -> Part | None:
    return image_part(block, field) if is_image(block) else None


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
    if isinstance(message, AIMessage):
        return [_native_assistant(message)]
    if _is_result(message):
        return [_native_result(message, field, images)]
    blocks = [message.content] if isinstance(message.content, str) else message.content
    shown: list[Part] = []
    results = [_native_result(block, field, shown) for block in blocks if _is_result(block)]
    parts = [
        part
        for index, block in enumerate(blocks)
        if not _is_result(block) and (part := to_part(block, f"{field}[{index}]"))
    ]
    role, content = _role(message, field), to_content([*shown, *parts])
    if role != "user" and not isinstance(content, str):
        content = _text_only(message.content, role, field)
    return [*results, {"role": role, "content": content}] if content or not results else results


def _native_result(result: Any, field: str, images: list[Part]) -> dict[str, Any]:
    message = _as_tool_message(result)
    text = result_text(message.content, images, partial(_image_part, field))
    return {"role": "tool", "tool_call_id": message.tool_call_id, "content": text}


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
