import json
from typing import Any

import pytest
from hypothesis import given
from langchain_core.messages import (
    AIMessage,
    BaseMessage,
    ChatMessage,
    FunctionMessage,
    HumanMessage,
    SystemMessage,
    ToolMessage,
)

from langchain_minitoolai._chat.native_messages import to_native
from langchain_minitoolai.errors import InvalidInputError
from tests.unit_tests.conversations import CONVERSATIONS, WEB
from tests.unit_tests.strict import check_messages

CALL = {"type": "tool_call", "id": "call_1", "name": "add", "args": {"a": 1}}
SHOWN = {"type": "image_url", "image_url": {"url": WEB}}
PICTURE = {"type": "image", "url": WEB}


def check(wire: list[dict[str, Any]]) -> None:
    """Refuse what OpenAI's form does not have."""
    for message in wire:
        if message["role"] == "tool":
            assert set(message) == {"role", "tool_call_id", "content"}
            assert isinstance(message["tool_call_id"], str)
            assert isinstance(message["content"], str)
        elif "tool_calls" in message:
            assert set(message) == {"role", "content", "tool_calls"}
            assert message["role"] == "assistant"
            assert message["content"] is None or isinstance(message["content"], str)
            for call in message["tool_calls"]:
                assert set(call) == {"id", "type", "function"}
                assert call["type"] == "function"
                assert isinstance(call["function"]["name"], str)
                json.loads(call["function"]["arguments"])
        else:
            check_messages([message])


@given(CONVERSATIONS)
def test_every_conversation_comes_out_in_openai_s_form(messages: list[BaseMessage]) -> None:
    check(to_native(messages))


def test_calls_and_results_have_their_own_fields() -> None:
    wire = to_native(
        [
            SystemMessage("Be kind."),
            HumanMessage("Add.", name="Ola"),
            AIMessage("", tool_calls=[CALL]),
            ToolMessage("3", tool_call_id="call_1"),
            AIMessage("It is 3."),
        ]
    )
    assert wire == [
        {"role": "developer", "content": "Be kind."},
        {"role": "user", "content": "Add."},
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [
                {
                    "id": "call_1",
                    "type": "function",
                    "function": {"name": "add", "arguments": '{"a":1}'},
                }
            ],
        },
        {"role": "tool", "tool_call_id": "call_1", "content": "3"},
        {"role": "assistant", "content": "It is 3."},
    ]


def test_words_and_calls_of_one_answer_stay_together() -> None:
    content: list[str | dict[str, Any]] = [
        {"type": "thinking", "thinking": "secret", "signature": "x"},
        {"type": "text", "text": "I add."},
        {"type": "tool_use", "id": "call_1", "name": "add", "input": {"a": 1}},
    ]
    (message,) = to_native([AIMessage(content, tool_calls=[CALL])])
    assert message["content"] == "I add."
    assert [call["id"] for call in message["tool_calls"]] == ["call_1"]


def test_pictures_of_results_follow_the_results_in_a_user_message() -> None:
    wire = to_native(
        [
            AIMessage("", tool_calls=[CALL, {**CALL, "id": "call_2"}]),
            ToolMessage(["See", PICTURE], tool_call_id="call_1"),
            ToolMessage([PICTURE], tool_call_id="call_2"),
            HumanMessage("So?"),
        ]
    )
    assert wire[1:] == [
        {"role": "tool", "tool_call_id": "call_1", "content": "See\n[image 1]"},
        {"role": "tool", "tool_call_id": "call_2", "content": "[image 2]"},
        {"role": "user", "content": [SHOWN, SHOWN]},
        {"role": "user", "content": "So?"},
    ]


def test_pictures_of_the_last_result_are_shown_too() -> None:
    wire = to_native([ToolMessage([PICTURE], tool_call_id="1")])
    assert wire[-1] == {"role": "user", "content": [SHOWN]}


def test_results_in_anthropic_s_form_become_messages_of_their_own() -> None:
    wire = to_native(
        [
            HumanMessage(
                [
                    {"type": "tool_result", "tool_use_id": "1", "content": "3"},
                    {"type": "tool_result", "tool_use_id": "2", "content": [PICTURE]},
                    "Go on.",
                ]
            ),
            HumanMessage([{"type": "tool_result", "tool_use_id": "3"}]),
        ]
    )
    assert wire == [
        {"role": "tool", "tool_call_id": "1", "content": "3"},
        {"role": "tool", "tool_call_id": "2", "content": "[image 1]"},
        {"role": "user", "content": [SHOWN, {"type": "text", "text": "Go on."}]},
        {"role": "tool", "tool_call_id": "3", "content": ""},
    ]


def test_what_other_providers_say_in_a_result_or_an_answer_is_no_reason_to_fail() -> None:
    searched = {"type": "web_search_call", "id": "ws_1"}
    wire = to_native(
        [
            AIMessage([searched, "Yes"]),
            ToolMessage([{"type": "json", "value": 1}], tool_call_id="1"),
            FunctionMessage(content="5", name="old"),
        ]
    )
    assert "Yes" in wire[0]["content"]
    assert json.loads(wire[1]["content"]) == {"type": "json", "value": 1}
    assert wire[2] == {"role": "tool", "tool_call_id": "", "content": "5"}


def test_an_empty_conversation_is_refused() -> None:
    with pytest.raises(InvalidInputError, match="messages is empty; allowed: one message or more"):
        to_native([])


@pytest.mark.parametrize(
    "message", [SystemMessage([PICTURE]), ChatMessage(content=[PICTURE], role="assistant")]
)
def test_only_users_and_tools_show_pictures(message: BaseMessage) -> None:
    with pytest.raises(InvalidInputError, match=r"messages\[1\]\.content holds a picture; allowed"):
        to_native([HumanMessage("a"), message])


def test_a_block_that_can_t_be_sent_is_named_by_its_place() -> None:
    content: list[str | dict[str, Any]] = [
        {"type": "tool_result", "tool_use_id": "1"},
        {"type": "audio"},
    ]
    with pytest.raises(InvalidInputError, match=r"messages\[0\]\.content\[1\] is a block"):
        to_native([HumanMessage(content)])


def test_a_role_that_the_service_does_not_know_is_refused() -> None:
    with pytest.raises(InvalidInputError, match=r"messages\[0\]\.content: the role is 'critic'"):
        to_native([ChatMessage(content="x", role="critic")])
