import warnings
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, SystemMessage

from langchain_minitoolai._chat import parameters as _parameters
from langchain_minitoolai._chat.parameters import CallOptions
from langchain_minitoolai._chat.request import ChatRequest, chat_request
from langchain_minitoolai._chat.stream import ChatStreamParser
from langchain_minitoolai.errors import InvalidInputError
from tests.unit_tests.conversations import CONVERSATIONS
from tests.unit_tests.strict import check_body

HELLO = [HumanMessage("Hello")]
SCHEMA = {"title": "Point", "type": "object", "properties": {"x": {"type": "integer"}}}


def add(a: int, b: int) -> int:
    """Add numbers."""
    return a + b


def now() -> str:
    """Tell the time."""
    return "12:00"


def request(messages: list[BaseMessage] | None = None, **parameters: Any) -> ChatRequest:
    parameters.setdefault("model", "gpt-4o")
    return chat_request(CallOptions(**parameters), messages or HELLO)


def instructions(**parameters: Any) -> str:
    first = request(**parameters).body["messages"][0]
    assert first["role"] == "developer"
    content = first["content"]
    assert isinstance(content, str)
    return content


def read(made: ChatRequest, text: str) -> AIMessage:
    parser = ChatStreamParser()
    parser.finish_reason = "stop"
    (generation,) = made.response_builder.result([text], parser).generations
    assert isinstance(generation.message, AIMessage)
    return generation.message


def test_a_plain_request_holds_the_model_and_the_messages_alone() -> None:
    assert request().body == {
        "model": "gpt-4o",
        "messages": [{"role": "user", "content": "Hello"}],
    }


def test_what_is_set_is_sent_by_the_documented_names() -> None:
    body = request(temperature=0, max_tokens=5, stop=["x"]).body
    assert body["temperature"] == 0
    assert body["max_completion_tokens"] == 5
    assert set(body) == {"model", "messages", "temperature", "max_completion_tokens"}


@given(
    CONVERSATIONS,
    st.fixed_dictionaries(
        {},
        optional={
            "temperature": st.floats(0, 2),
            "max_tokens": st.integers(1, 9),
            "stop": st.just(["x"]),
            "tools": st.just([add, now]),
            "tool_choice": st.sampled_from(["auto", "any", "none"]),
            "parallel_tool_calls": st.booleans(),
            "strict": st.booleans(),
            "response_format": st.sampled_from([SCHEMA, {"type": "json_object"}]),
        },
    ),
)
def test_no_call_sends_what_is_not_documented(
    messages: list[BaseMessage], parameters: dict[str, Any]
) -> None:
    check_body(request(messages, **parameters).body)


def test_only_model_kwargs_sends_what_is_not_documented_and_it_wins() -> None:
    body = request(model_kwargs={"seed": 1, "temperature": 5}, temperature=1).body
    assert body["seed"] == 1
    assert body["temperature"] == 5


def test_the_user_s_own_system_text_comes_before_the_instructions() -> None:
    messages = [SystemMessage("Be kind."), *HELLO]
    (first, second) = request(messages, tools=[add]).body["messages"]
    assert first["content"].startswith("Be kind.\n\n")
    assert "<tools>" in first["content"]
    assert second == {"role": "user", "content": "Hello"}


def test_all_tools_stand_in_the_prompt_one_a_line() -> None:
    text = instructions(tools=[add, now])
    tools = text[text.index("<tools>\n") : text.index("\n</tools>")].splitlines()[1:]
    assert [line.split(",")[0] for line in tools] == ['{"name": "add"', '{"name": "now"']


def test_a_choice_of_a_tool_leaves_that_one_alone_to_show_and_to_call() -> None:
    made = request(tools=[add, now], tool_choice="add")
    assert '"now"' not in made.body["messages"][0]["content"]
    call = '<tool_call>{"name": "now", "arguments": {}}</tool_call>'
    assert read(made, call).tool_calls == []


def test_no_choice_sends_no_tools_and_reads_no_calls() -> None:
    made = request(tools=[add], tool_choice="none")
    assert [message["role"] for message in made.body["messages"]] == ["user"]
    call = '<tool_call>{"name": "add", "arguments": {}}</tool_call>'
    assert read(made, call).content == call


def test_one_call_at_most_is_asked_for_where_calls_must_not_be_parallel() -> None:
    assert instructions(tools=[add], parallel_tool_calls=False) != instructions(tools=[add])


def test_a_choice_of_a_tool_that_is_not_bound_is_refused() -> None:
    with pytest.raises(InvalidInputError, match=r"'sub'; allowed are .* 'add', 'now'"):
        request(tools=[add, now], tool_choice="sub")


def test_a_schema_stands_between_its_tags_with_tools_and_without() -> None:
    alone = instructions(response_format=SCHEMA)
    schema = alone[alone.index("<response_schema>") :]
    assert '"x": {"type": "integer"}' in schema
    both = instructions(response_format=SCHEMA, tools=[add])
    assert both.index("</tools>") < both.index("<response_schema>")
    assert "<response_schema>" not in instructions(response_format={"type": "json_object"})


def test_an_answer_in_json_loses_its_fence_and_free_text_keeps_it() -> None:
    fenced = '```json\n{"x": 1}\n```'
    assert read(request(response_format=SCHEMA), fenced).content == '{"x": 1}'
    assert read(request(), fenced).content == fenced


def test_a_stop_sequence_cuts_here() -> None:
    assert read(request(stop="lo"), "Hello").content == "Hel"


def test_native_mode_sends_openai_s_fields() -> None:
    body = request(
        tool_calling="native",
        tools=[add],
        tool_choice="any",
        parallel_tool_calls=False,
        response_format=SCHEMA,
        stop=["x"],
    ).body
    assert body["messages"] == [{"role": "user", "content": "Hello"}]
    assert body["tools"][0]["function"]["name"] == "add"
    assert body["tool_choice"] == "required"
    assert body["parallel_tool_calls"] is False
    assert body["response_format"]["json_schema"]["schema"] == SCHEMA
    assert body["stop"] == ["x"]


def test_native_mode_sends_no_field_that_is_not_needed() -> None:
    assert set(request(tool_calling="native").body) == {"model", "messages"}


def test_an_image_for_a_model_that_documents_none_is_warned_of_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(_parameters, "_warned", set())
    image: list[BaseMessage] = [
        HumanMessage([{"type": "image", "url": "https://example.com/a.png"}])
    ]
    with pytest.warns(UserWarning, match="images for gpt-4o-mini, gpt-4o, not for 'gpt-4.1'"):
        request(image, model="gpt-4.1")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        request(image, model="gpt-4.1")
        request(image, model="gpt-4o")
        request(model="gpt-4.1-mini")


def test_an_empty_conversation_is_refused() -> None:
    with pytest.raises(InvalidInputError, match="messages is empty"):
        chat_request(CallOptions("gpt-4o"), [])
