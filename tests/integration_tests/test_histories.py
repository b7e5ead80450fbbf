"""Conversations that were begun with other providers go on, without a refusal."""

import json
from typing import Any

import pytest
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, SystemMessage, ToolMessage
from langchain_core.tools import tool

from langchain_minitoolai import ChatMiniToolAI, sandbox
from tests.integration_tests.parametrize import Caller, sync_and_async
from tests.integration_tests.sandbox_helpers import bodies

PIXEL = (
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mP8z8BQDwAEhQGAhKmMIQAAAABJRU5E"
    "rkJggg=="
)
CALL: Any = {"name": "look_up", "args": {"word": "fjord"}, "id": "toolu_1", "type": "tool_call"}


@tool
def look_up(word: str) -> str:
    """Look up a word."""
    return word


HISTORIES: dict[str, tuple[list[BaseMessage], list[str]]] = {
    "anthropic_blocks": (
        [
            AIMessage(
                [
                    {"type": "thinking", "thinking": "secret thoughts", "signature": "x"},
                    {"type": "text", "text": "I look it up."},
                    {"type": "tool_use", "id": "toolu_1", "name": "look_up", "input": CALL["args"]},
                ],
                tool_calls=[CALL],
            ),
            HumanMessage(
                [
                    {"type": "tool_result", "tool_use_id": "toolu_1", "content": "a long inlet"},
                    {"type": "text", "text": "Thanks. And?"},
                ]
            ),
        ],
        ["I look it up.", '"arguments": {"word": "fjord"}', "a long inlet", "Thanks. And?"],
    ),
    "anthropic_errors_and_images": (
        [
            AIMessage("", tool_calls=[CALL]),
            HumanMessage(
                [
                    {
                        "type": "tool_result",
                        "tool_use_id": "toolu_1",
                        "is_error": True,
                        "content": [
                            {"type": "text", "text": "half an image"},
                            {
                                "type": "image",
                                "source": {
                                    "type": "base64",
                                    "media_type": "image/png",
                                    "data": PIXEL,
                                },
                            },
                        ],
                    }
                ]
            ),
        ],
        ["half an image", "[image 1]", '"status": "error"'],
    ),
    "openai_responses_blocks": (
        [
            AIMessage(
                [
                    {"type": "reasoning", "summary": [{"type": "summary_text", "text": "secret"}]},
                    {"type": "output_text", "text": "One moment."},
                    {
                        "type": "function_call",
                        "call_id": "toolu_1",
                        "name": "look_up",
                        "arguments": json.dumps(CALL["args"]),
                    },
                ],
                tool_calls=[CALL],
            ),
            ToolMessage("a long inlet", tool_call_id="toolu_1"),
        ],
        ["One moment.", '"name": "look_up"', "a long inlet"],
    ),
    "v1_blocks": (
        [
            AIMessage(
                content_blocks=[
                    {"type": "reasoning", "reasoning": "secret"},
                    {"type": "text", "text": "I see."},
                    {"type": "tool_call", "id": "toolu_1", "name": "look_up", "args": {}},
                ]
            ),
            ToolMessage(
                content_blocks=[
                    {"type": "text", "text": "a long inlet"},
                    {"type": "image", "base64": PIXEL, "mime_type": "image/png"},
                ],
                tool_call_id="toolu_1",
            ),
        ],
        ["I see.", "a long inlet", "[image 1]"],
    ),
    "several_results_in_a_row": (
        [
            AIMessage("", tool_calls=[CALL, {**CALL, "id": "toolu_2"}]),
            ToolMessage("one", tool_call_id="toolu_1"),
            ToolMessage("two", tool_call_id="toolu_2", status="error"),
            ToolMessage(
                [{"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PIXEL}"}}],
                tool_call_id="toolu_3",
                name="draw",
            ),
        ],
        ['"content": "one"', '"status": "error"', '"name": "draw"', "[image 1]"],
    ),
    "calls_without_results": (
        [AIMessage("Soon.", tool_calls=[CALL]), HumanMessage("Never mind.")],
        ["Soon.", '"name": "look_up"', "Never mind."],
    ),
    "results_without_calls": ([ToolMessage("lost", tool_call_id="x")], ["lost"]),
    "broken_calls": (
        [
            AIMessage(
                "",
                invalid_tool_calls=[
                    {
                        "name": "look_up",
                        "args": '{"word',
                        "id": "1",
                        "error": "cut",
                        "type": "invalid_tool_call",
                    }
                ],
            ),
            HumanMessage("Again?"),
        ],
        ["look_up", "Again?"],
    ),
    "empty_messages_and_names": (
        [
            AIMessage(""),
            AIMessage([]),
            HumanMessage("Hello", name="Kari"),
            SystemMessage("Be kind."),
            HumanMessage([{"type": "text", "text": "Are you there?"}]),
        ],
        ["Hello", "Be kind.", "Are you there?"],
    ),
}


@sync_and_async
@pytest.mark.parametrize("with_tools", [False, True], ids=["alone", "with_tools"])
@pytest.mark.parametrize("history", HISTORIES)
def test_a_history_reaches_the_service_in_its_documented_form(
    caller: Caller,
    history: str,
    with_tools: bool,  # noqa: FBT001 - pytest's
    strict: sandbox.Service,
) -> None:
    strict.reply("Understood.", times=2)
    messages, words = HISTORIES[history]
    model: Any = ChatMiniToolAI()
    model = model.bind_tools([look_up]) if with_tools else model
    asked = [HumanMessage("What is a fjord?"), *messages]
    assert caller.invoke(model, asked).text == "Understood."
    assert "".join(chunk.text for chunk in caller.stream(model, asked)) == "Understood."
    sent = text_of(bodies(strict)[0])
    for each in words:
        assert each in sent
    assert "secret" not in sent
    assert bodies(strict)[0] == bodies(strict)[1]


@pytest.mark.parametrize(
    "history", ["anthropic_errors_and_images", "v1_blocks", "several_results_in_a_row"]
)
def test_images_in_results_reach_the_model_as_images(history: str, strict: sandbox.Service) -> None:
    strict.reply("Understood.")
    ChatMiniToolAI().invoke([HumanMessage("Look!"), *HISTORIES[history][0]])
    (message,) = [m for m in bodies(strict)[0]["messages"] if isinstance(m["content"], list)]
    assert message["role"] == "user"
    (image,) = [part for part in message["content"] if part["type"] == "image_url"]
    assert image["image_url"]["url"] == f"data:image/png;base64,{PIXEL}"


def test_results_in_a_row_share_one_message(strict: sandbox.Service) -> None:
    strict.reply("Understood.")
    ChatMiniToolAI().invoke([HumanMessage("Go."), *HISTORIES["several_results_in_a_row"][0]])
    roles = [message["role"] for message in bodies(strict)[0]["messages"]]
    assert roles == ["user", "assistant", "user"]


def text_of(body: dict[str, Any]) -> str:
    parts = [
        message["content"]
        if isinstance(message["content"], str)
        else "".join(part.get("text", "") for part in message["content"])
        for message in body["messages"]
    ]
    return "\n".join(parts)
