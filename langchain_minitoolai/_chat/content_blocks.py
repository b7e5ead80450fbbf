"""Our answers as LangChain's standard content blocks."""

from typing import Any

from langchain_core.messages import AIMessage, AIMessageChunk
from langchain_core.messages import content as blocks
from langchain_core.messages.block_translators import register_translator

from langchain_minitoolai._chat.chunk_forms import PROVIDER


def register() -> None:
    """Tell core how to read messages whose `model_provider` is ours."""
    register_translator(PROVIDER, translate, translate_chunk)


def translate(message: AIMessage) -> list[blocks.ContentBlock]:
    """Give a whole message's blocks: its text, its calls, its broken calls.

    Raises:
        NotImplementedError: If the content is no text; core then reads it as it can.
    """
    found = _text(message)
    for call in message.tool_calls:
        found.append(
            blocks.ToolCall(type="tool_call", id=call["id"], name=call["name"], args=call["args"])
        )
    for broken in message.invalid_tool_calls:
        found.append(
            blocks.InvalidToolCall(
                type="invalid_tool_call",
                id=broken["id"],
                name=broken["name"],
                args=broken["args"],
                error=broken["error"],
            )
        )
    return found


def translate_chunk(chunk: AIMessageChunk) -> list[blocks.ContentBlock]:
    """Give a chunk's blocks; calls are pieces of calls until the last chunk.

    A call's pieces share an index of their own kind: as a bare number it would be taken for
    the text block of that number.

    Raises:
        NotImplementedError: As `translate`.
    """
    if chunk.chunk_position == "last":
        return translate(chunk)
    found = _text(chunk)
    for piece in chunk.tool_call_chunks:
        block: dict[str, Any] = {
            "type": "tool_call_chunk",
            "id": piece["id"],
            "name": piece["name"],
            "args": piece["args"],
        }
        if piece["index"] is not None:
            block["index"] = f"lc_tc_{piece['index']}"
        found.append(block)  # type: ignore[arg-type]
    return found


def _text(message: AIMessage) -> list[blocks.ContentBlock]:
    if not isinstance(message.content, str):
        raise NotImplementedError
    return [blocks.TextContentBlock(type="text", text=message.content)] if message.content else []
