"""History rendering: calls and results in a conversation, whoever made them, to plain text.

LangChain's own messages, and the blocks of Anthropic, OpenAI and LangChain's v1 content. A
call needs no result here, nor a result a call: the service sees text, and roles it knows.
"""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any, Final, TypeAlias

from langchain_core.messages import AIMessage, BaseMessage, ToolMessage

from langchain_minitoolai._tool_calling.prompt import (
    ToolResult,
    mask_key,
    render_calls,
    render_results,
)

Part: TypeAlias = dict[str, Any]
ImageReader: TypeAlias = Callable[[Mapping[str, Any]], Part | None]
"""Turns a content block into an `image_url` part; `None` where it is no image."""

_CALLS: Final = ("tool_use", "tool_call", "function_call")
NON_CONTENT_BLOCKS: Final = (
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
"""Blocks that are calls, rendered elsewhere, or a model's thoughts, meant for that model."""
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


def assistant_text(message: AIMessage, key: str) -> str:
    """Render a model's text and calls; empty where there is neither."""
    text = mask_key(text_of(message), key).strip()
    return "\n".join(part for part in (text, render_calls(calls_of(message), key)) if part)


def text_of(message: AIMessage) -> str:
    """Render a model's text, in whatever blocks, without its calls and thoughts."""
    content = message.content
    blocks = [content] if isinstance(content, str) else content
    return "".join(_block_text(block) for block in blocks)


def results_content(
    messages: Sequence[ToolMessage], names: Mapping[str, str], read_image: ImageReader, key: str
) -> tuple[str, list[Part]]:
    """Render results that came in a row, for one `user` message.

    Returns:
        The text, and the parts of the images it names as `[image 1]` and so on.
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
    return render_results(results, key), parts


def result_text(content: Any, parts: list[Part], read_image: ImageReader) -> str:
    """Render a result's content as text, which names its images; those go to `parts`."""
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
            lines.append(json.dumps(block, ensure_ascii=False, default=str))
    return "\n".join(lines)


def foreign_texts(messages: Iterable[BaseMessage]) -> Iterator[str]:
    """List the texts in a model's messages that others may have written first.

    Its own arguments are not among them, but the strings in those are: it may have copied them.
    """
    for message in messages:
        if isinstance(message, AIMessage):
            yield text_of(message)
            for call in calls_of(message):
                yield from _strings(call["args"])


def _strings(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    for each in value.values() if isinstance(value, Mapping) else ():
        yield from _strings(each)
    for each in value if isinstance(value, list) else ():
        yield from _strings(each)


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
    written = message.response_metadata.get("invalid_tool_calls")
    for kept in written if isinstance(written, list) else ():
        if isinstance(kept, Mapping) and call["id"] and kept.get("id") == call["id"]:
            return {**call, "args": kept.get("args", call["args"])}
    return dict(call)


def _block_call(block: Mapping[str, Any]) -> dict[str, Any]:
    arguments: Any = {}
    for key in ("arguments", "args", "input"):
        arguments = block.get(key, arguments)
    with suppress(ValueError, RecursionError):
        arguments = json.loads(arguments) if isinstance(arguments, str) else arguments
    name = str(block.get("name") or "")
    return {"id": block.get("call_id") or block.get("id"), "name": name, "args": arguments}


def _block_text(block: str | Mapping[str, Any]) -> str:
    """Render a block as text; media only by name, since their data would drown the rest."""
    if isinstance(block, str):
        return block
    kind = str(block.get("type") or "")
    for key in ("text", "refusal"):
        if isinstance(block.get(key), str):
            return str(block[key])
    if kind in NON_CONTENT_BLOCKS:
        return ""
    if kind in _MEDIA:
        return f"[{kind}]"
    return json.dumps(dict(block), ensure_ascii=False, default=str)
