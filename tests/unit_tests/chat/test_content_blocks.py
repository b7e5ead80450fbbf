from typing import Any

import pytest
from langchain_core.messages import AIMessage, AIMessageChunk
from langchain_core.messages.block_translators import get_translator
from langchain_core.messages.tool import invalid_tool_call, tool_call, tool_call_chunk

from langchain_minitoolai import ChatMiniToolAI
from langchain_minitoolai._chat.content_blocks import translate, translate_chunk

TOLD = {"model_provider": "minitoolai"}
CALL = tool_call(name="add", args={"a": 1}, id="call_1")
BROKEN = invalid_tool_call(name="add", args='{"a"', id="call_2", error="cut")


def test_core_reads_our_messages_with_our_translator() -> None:
    assert ChatMiniToolAI.__name__ == "ChatMiniToolAI"
    found = get_translator("minitoolai")
    assert found == {"translate_content": translate, "translate_content_chunk": translate_chunk}


def test_a_message_is_its_text_its_calls_and_its_broken_calls() -> None:
    message = AIMessage(
        "Hi", tool_calls=[CALL], invalid_tool_calls=[BROKEN], response_metadata=TOLD
    )
    assert message.content_blocks == [
        {"type": "text", "text": "Hi"},
        {"type": "tool_call", "id": "call_1", "name": "add", "args": {"a": 1}},
        {
            "type": "invalid_tool_call",
            "id": "call_2",
            "name": "add",
            "args": '{"a"',
            "error": "cut",
        },
    ]
    assert AIMessage("", response_metadata=TOLD).content_blocks == []


@pytest.mark.parametrize(("index", "told"), [(0, {"index": "lc_tc_0"}), (None, {})])
def test_half_a_call_is_never_shown_as_a_call(index: int | None, told: dict[str, Any]) -> None:
    piece = tool_call_chunk(name="add", args='{"a"', id="call_1", index=index)
    chunk = AIMessageChunk(content="Hi", tool_call_chunks=[piece], response_metadata=TOLD)
    assert chunk.content_blocks == [
        {"type": "text", "text": "Hi"},
        {"type": "tool_call_chunk", "id": "call_1", "name": "add", "args": '{"a"', **told},
    ]


def test_the_sum_of_all_chunks_shows_the_call() -> None:
    piece = tool_call_chunk(name="add", args='{"a": 1}', id="call_1", index=0)
    chunk = AIMessageChunk(content="", tool_call_chunks=[piece], response_metadata=TOLD)
    last = AIMessageChunk(content="", chunk_position="last", response_metadata=TOLD)
    (block,) = (chunk + last).content_blocks
    assert block["type"] == "tool_call"


def test_content_in_blocks_is_left_to_core() -> None:
    content: list[str | dict[str, Any]] = [{"type": "text", "text": "Hi"}]
    message = AIMessage(content, response_metadata=TOLD)
    assert message.content_blocks == [{"type": "text", "text": "Hi"}]
    chunk = AIMessageChunk(content=content, response_metadata=TOLD)
    assert chunk.content_blocks == [{"type": "text", "text": "Hi"}]
