"""Calls and results in the history of a conversation, whoever made them -> plain text.

LangChain's own messages, and the blocks of Anthropic, OpenAI and LangChain's v1 content. A
call needs no result here, nor a result a call: the service sees words, and roles it knows.
"""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final, TypeAlias

from langchain_core.messages import AIMessage, BaseMessage, ToolMessage

from langchain_minitoolai._tool_calling.prompt import (
    ToolResult,
    neutral_json,
    neutralise,
    render_calls,
    render_results,
)

Part: TypeAlias = dict[str, Any]
ImageReader: TypeAlias = Callable[[Mapping[str, Any]], Part | None]
"""Turns a content block into an `image_url` part; `None` says that it is no picture."""

_CALLS: Final = ("tool_use", "tool_call", "function_call")
_UNSAID: Final = (
    *_CALLS,
    "tool_call_chunk",
    "invalid_tool_call",
    "input_json_delta",
    "thinking",
    "redacted_thinking",
    "reasoning",
    "reasoning_content",
    "non_standard",
)
"""Blocks that are calls, told of elsewhere, or a model's thoughts, meant for that model."""
_MEDIA: Final = ("image", "image_url", "input_image", "audio", "input_audio", "video", "file")


def call_names(messages: Iterable[BaseMessage]) -> dict[str, str]:
    """Find the names of the tools called in a conversation, by the calls' ids."""
    return {
        call["id"]: call["name"]
        for message in messages
        if isinstance(message, AIMessage)
        for call in calls_of(message)
        if call["id"]
    }


def assistant_text(message: AIMessage) -> str:
    """Write what the model said and called; empty where it said nothing."""
    said = neutralise(words_of(message)).strip()
    return "\n".join(text for text in (said, render_calls(calls_of(message))) if text)


def words_of(message: AIMessage) -> str:
    """Write what the model said, in whatever blocks, without its calls and thoughts."""
    content = message.content
    blocks = [content] if isinstance(content, str) else content
    return "".join(_block_text(block) for block in blocks)


def results_content(
    messages: Sequence[ToolMessage], names: Mapping[str, str], read_image: ImageReader
) -> tuple[str, list[Part]]:
    """Write results that came in a row, for one `user` message.

    Args:
        messages: The results.
        names: The tools' names by call id, as from `call_names`.
        read_image: Makes the parts of pictures.

    Returns:
        The text, and the parts of the pictures it names as `[image 1]` and so on.
    """
    parts: list[Part] = []
    results = [
        ToolResult(
            id=message.tool_call_id,
            name=message.name or names.get(message.tool_call_id, ""),
            status=message.status,
            content=result_text(message.content, parts, read_image),
        )
        for message in messages
    ]
    return render_results(results), parts


def result_text(content: Any, parts: list[Part], read_image: ImageReader) -> str:
    """Write a result's content as words, which name its pictures; those go to `parts`."""
    if isinstance(content, str):
        return content
    lines: list[str] = []
    for block in content if isinstance(content, list) else [content]:
        part = read_image(block) if isinstance(block, Mapping) else None
        if part is not None:
            parts.append(part)
            lines.append(f"[image {len(parts)}]")
        elif isinstance(block, str | Mapping):
            lines.append(_block_text(block))
        else:
            lines.append(neutral_json(block))
    return "\n".join(lines)


def block_results(
    blocks: Iterable[Mapping[str, Any]], names: Mapping[str, str], read_image: ImageReader
) -> tuple[str, list[Part]]:
    """Write the results in Anthropic's `tool_result` blocks, as `results_content` does."""
    parts: list[Part] = []
    results = [_block_result(block, names, parts, read_image) for block in blocks]
    return render_results(results), parts


def _block_result(
    block: Mapping[str, Any],
    names: Mapping[str, str],
    parts: list[Part],
    read_image: ImageReader,
) -> ToolResult:
    call_id = str(block.get("tool_use_id") or "")
    status = "error" if block.get("is_error") else "success"
    content = result_text(block.get("content") or "", parts, read_image)
    return ToolResult(call_id, names.get(call_id, ""), status, content)


def calls_of(message: AIMessage) -> list[dict[str, Any]]:
    """List the calls of a message, each once, the broken ones last."""
    calls: list[dict[str, Any]] = [dict(call) for call in message.tool_calls]
    broken = [_as_written(call, message) for call in message.invalid_tool_calls]
    known = {call["id"] for call in (*calls, *broken)}
    for block in message.content if isinstance(message.content, list) else ():
        if isinstance(block, dict) and block.get("type") in _CALLS:
            call = _block_call(block)
            if call["id"] not in known:
                calls.append(call)
    return calls + [{**call, "name": call["name"] or ""} for call in broken]


def _as_written(call: Mapping[str, Any], message: AIMessage) -> dict[str, Any]:
    """Give a broken call as the model wrote it; added up from a stream it holds less."""
    told = message.response_metadata.get("invalid_tool_calls")
    for kept in told if isinstance(told, list) else ():
        if isinstance(kept, Mapping) and call["id"] and kept.get("id") == call["id"]:
            return {**call, "args": kept.get("args", call["args"])}
    return dict(call)


def _block_call(block: Mapping[str, Any]) -> dict[str, Any]:
    arguments: Any = next(
        (block[key] for key in ("input", "args", "arguments") if key in block), {}
    )
    return {
        "id": block.get("call_id") or block.get("id"),
        "name": str(block.get("name") or ""),
        "args": _decoded(arguments),
    }


def _decoded(arguments: Any) -> Any:
    if not isinstance(arguments, str):
        return arguments
    try:
        return json.loads(arguments)
    except (ValueError, RecursionError):
        return arguments


def _block_text(block: str | Mapping[str, Any]) -> str:
    """Write a block as words; media only by name, since their data would drown the rest."""
    if isinstance(block, str):
        return block
    kind = str(block.get("type") or "")
    for key in ("text", "refusal"):
        if isinstance(block.get(key), str):
            return str(block[key])
    if kind in _UNSAID:
        return ""
    return f"[{kind}]" if kind in _MEDIA else json.dumps(dict(block), default=str)
