import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from langchain_minitoolai.sandbox._chat import (
    DONE,
    Frame,
    ToolCall,
    call_tag,
    compose,
    events,
    pieces,
    prompt_tokens,
    prompted_text,
    usage_of,
)

FRAME = Frame("chatcmpl-1", 1740734359, "gpt-4o-mini-2024-07-18")
DRAW = ToolCall("draw", {"prompt": "en rød rev"})


def data(event: bytes) -> Any:
    return json.loads(event.removeprefix(b"data: "))


@given(st.text())
def test_the_pieces_of_a_text_are_the_text(text: str) -> None:
    assert "".join(pieces(text)) == text
    assert all(pieces(text))


def test_a_chunk_is_written_as_the_service_documents_it() -> None:
    first, *_ = events(FRAME, compose(["Ok."]), usage_of(17, 3))
    assert first == (
        b'data: {"id":"chatcmpl-1","object":"chat.completion.chunk","created":1740734359,'
        b'"model":"gpt-4o-mini-2024-07-18","service_tier":"default",'
        b'"system_fingerprint":"fp_06737a9306","choices":[{"index":0,"delta":{"content":"Ok"},'
        b'"logprobs":null,"finish_reason":null}],"usage":null}\n\n'
    )


def test_a_stream_ends_with_finish_usage_and_done() -> None:
    *tokens, finish, usage, done = events(FRAME, compose(["Ok."]), usage_of(17, 2))
    assert [data(token)["choices"][0]["delta"] for token in tokens] == [
        {"content": "Ok"},
        {"content": "."},
    ]
    assert data(finish)["choices"][0] == {
        "index": 0,
        "delta": {},
        "logprobs": None,
        "finish_reason": "stop",
    }
    assert data(usage)["choices"] == []
    assert data(usage)["usage"]["total_tokens"] == 19
    assert done == DONE


def test_calls_are_said_in_the_prompted_form() -> None:
    text = "".join(delta["content"] for delta in compose(["Yes.", DRAW]).deltas)
    assert text == (
        'Yes.\n<tool_call>\n{"name": "draw", "arguments": {"prompt": "en rød rev"}}\n</tool_call>'
    )


def test_arguments_may_be_sent_as_they_are_even_broken() -> None:
    text = "".join(d["content"] for d in compose([ToolCall("draw", '{"prompt": ')]).deltas)
    assert '"arguments": {"prompt": }' in text


def test_native_calls_go_beside_the_text() -> None:
    answer = compose(["Yes.", DRAW, ToolCall("look")], native=True, stamp="s")
    assert answer.finish_reason == "tool_calls"
    assert "".join(d.get("content", "") for d in answer.deltas) == "Yes."
    calls = [call for d in answer.deltas for call in d.get("tool_calls", ())]
    assert [call["id"] for call in calls if "id" in call] == ["call_s0", "call_s1"]
    for index, arguments in enumerate([DRAW.arguments, {}]):
        mine = [c["function"]["arguments"] for c in calls if c["index"] == index]
        assert json.loads("".join(mine)) == arguments


@pytest.mark.parametrize("native", [True, False])
def test_the_limit_cuts_the_answer(*, native: bool) -> None:
    answer = compose(["one two three", DRAW], native=native, limit=2)
    assert answer.deltas == [{"content": "one"}, {"content": " two"}]
    assert answer.finish_reason == "length"


def test_an_answer_as_long_as_the_limit_is_whole() -> None:
    assert compose(["one two"], limit=2).finish_reason == "stop"


def test_a_stop_text_ends_the_answer_before_it() -> None:
    assert compose(["one STOP two"], stop=["STOP", "x"]).deltas == [
        {"content": "one"},
        {"content": " "},
    ]


def test_the_finish_reason_can_be_scripted() -> None:
    assert compose(["x"], finish_reason="content_filter").finish_reason == "content_filter"


def test_a_prompt_s_tokens_count_texts_images_tools_and_calls() -> None:
    def image(**detail: str) -> dict[str, Any]:
        return {"type": "image_url", "image_url": {"url": "https://a/b.png", **detail}}

    def tokens(*messages: dict[str, Any], **more: Any) -> int:
        return prompt_tokens({"messages": messages, **more})

    hello = {"role": "user", "content": "Hello"}
    called = {"role": "assistant", "content": None, "tool_calls": [{"id": "1"}]}
    assert tokens(hello) == 5
    assert tokens({**hello, "content": [image()]}) == 769
    assert tokens({**hello, "content": [image(detail="low")]}) == 89
    assert tokens(called) > 4
    assert tokens(hello, tools=[{"name": "f"}]) > 5


CALLS = [ToolCall("add", {"a": 1}), ToolCall("now")]
ADD = '{"name": "add", "arguments": {"a": 1}}'
NOW = '{"name": "now", "arguments": {}}'


@pytest.mark.parametrize(
    ("form", "text"),
    [
        ("keyed", f"<t>\n{ADD}\n</tool_call>\n<t>\n{NOW}\n</tool_call>"),
        ("quoted", f"<t>\n{ADD}\n</tool_call>\n<t>\n{NOW}\n</tool_call>"),
        ("unkeyed", f"<tool_call>\n{ADD}\n</tool_call>\n<tool_call>\n{NOW}\n</tool_call>"),
        ("single_line", f"<t>{ADD}</tool_call>\n<t>{NOW}</tool_call>"),
        ("unclosed", f"<t>\n{ADD}\n<t>\n{NOW}"),
        ("bare", f"[{ADD}, {NOW}]"),
        ("fenced", f"```json\n[{ADD}, {NOW}]\n```"),
    ],
)
def test_calls_are_written_in_the_form_that_is_chosen(form: Any, text: str) -> None:
    assert prompted_text(["Yes.", *CALLS], "<t>", form) == f"Yes.\n{text}"


def test_a_wrong_key_and_arguments_as_text_are_slips() -> None:
    assert prompted_text(CALLS[:1], "<t>", "wrong_key").startswith('<tool_call key="000000">')
    assert '"arguments": "{\\"a\\": 1}"' in prompted_text(CALLS[:1], "<t>", "string_arguments")


def test_the_tag_is_the_last_that_the_developer_message_shows() -> None:
    rules = 'Not <tool_call>, but\n<tool_call key="k3f9ab">\n{}\n</tool_call>'
    asked = [{"role": "user", "content": "<tool_call key='x'>"}]
    assert call_tag({"messages": [{"role": "developer", "content": rules}, *asked]}) == (
        '<tool_call key="k3f9ab">'
    )
    assert call_tag({"messages": asked}) == "<tool_call>"
