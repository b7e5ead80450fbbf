"""LangChain messages to the three roles the service documents.

What has no role there is rendered in the tool prompt's forms: calls in the assistant's own
text, results in a user message, in tags with the conversation's key. All other text stays as it
is, but for that key.
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

from langchain_minitoolai._chat.content import (
    Part,
    block_parts,
    is_picture,
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
    results_content,
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
_RESULT: Final = "tool_result"


def to_wire(
    messages: Sequence[BaseMessage], key: str = "", rules: str = ""
) -> list[dict[str, Any]]:
    """Make the `messages` field of a request.

    Args:
        messages: The conversation, in any provider's form.
        key: The conversation's key, where tools or the answer's form have been mentioned.
        rules: What the first developer message says about tools or the answer's form.

    Returns:
        `{"role", "content"}`, the role one of `developer`, `user`, `assistant`.

    Raises:
        InvalidInputError: If there is no message, or one that can't be sent.
    """
    if not messages:
        raise InvalidInputError("messages is empty; allowed: one message or more")
    names = call_names(messages)
    wire: list[dict[str, Any]] = []
    for results, group in groupby(enumerate(messages), lambda pair: is_result(pair[1])):
        if results:
            wire.append(_results(list(group), names, key))
        else:
            wire += [_one(message, _field(index), key, names) for index, message in group]
    return _with_rules(wire, rules) if rules else wire


def role_of(message: BaseMessage, field: str) -> str:
    """Name the service's role for a message.

    Raises:
        InvalidInputError: If it has none.
    """
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


def is_result(message: BaseMessage) -> bool:
    """Say whether a message holds a tool's result."""
    return isinstance(message, ToolMessage | FunctionMessage)


def is_result_block(block: Any) -> bool:
    """Say whether a block holds a tool's result, in Anthropic's form."""
    return isinstance(block, Mapping) and block.get("type") == _RESULT


def picture(field: str, block: Mapping[str, Any]) -> Part | None:
    """Make the part of a block that holds a picture; `None` says that it holds none."""
    return block_parts(block, field)[0] if is_picture(block) else None


def _field(index: int | str) -> str:
    return f"messages[{index}].content"


def mention_tools(messages: Sequence[BaseMessage]) -> bool:
    """Say whether a conversation holds calls or results."""
    return any(map(_mentions_tools, messages))


def _mentions_tools(message: BaseMessage) -> bool:
    blocks = message.content if isinstance(message.content, list) else ()
    calls = isinstance(message, AIMessage) and bool(calls_of(message))
    return is_result(message) or calls or any(map(is_result_block, blocks))


def _one(message: BaseMessage, field: str, key: str, names: Mapping[str, str]) -> dict[str, Any]:
    role = role_of(message, field)
    if role == "user":
        parts = _user_parts(message.content, field, key, names)
        return {"role": role, "content": to_content(parts)}
    if isinstance(message, AIMessage) and (key or not _is_text(message)):
        return {"role": role, "content": assistant_text(message, key)}
    text = to_content(to_parts(message.content, field))
    if not isinstance(text, str):
        raise InvalidInputError(f"{field} holds a picture; allowed for the role {role}: text")
    return {"role": role, "content": mask_key(text, key)}


def _is_text(message: BaseMessage) -> bool:
    return isinstance(message.content, str)


def _user_parts(
    content: str | list[Any], field: str, key: str, names: Mapping[str, str]
) -> list[Part]:
    if isinstance(content, str):
        return [{"type": "text", "text": mask_key(content, key)}]
    parts: list[Part] = []
    for results, group in groupby(enumerate(content), lambda pair: is_result_block(pair[1])):
        if results:
            blocks = [block for _, block in group]
            text, pictures = block_results(blocks, names, partial(picture, field), key)
            parts += [{"type": "text", "text": text}, *pictures]
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
    text, pictures = results_content(results, names, partial(picture, field), key)
    return {"role": "user", "content": to_content([{"type": "text", "text": text}, *pictures])}


def _as_tool_message(message: BaseMessage) -> ToolMessage:
    if isinstance(message, ToolMessage):
        return message
    return ToolMessage(content=message.content, name=message.name, tool_call_id="")


def _with_rules(wire: list[dict[str, Any]], rules: str) -> list[dict[str, Any]]:
    if wire[0]["role"] == "developer":
        first = {**wire[0], "content": f"{wire[0]['content']}\n\n{rules}".lstrip()}
        return [first, *wire[1:]]
    return [{"role": "developer", "content": rules}, *wire]
