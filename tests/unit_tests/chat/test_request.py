import re
import warnings
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, SystemMessage, ToolMessage

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
    return chat_request(CallOptions(**parameters), messages or HELLO, "secret")


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


def key_of(made: ChatRequest) -> str:
    (key,) = set(re.findall(r'key="(\w+)"', str(made.body)))
    return str(key)


def test_a_choice_of_a_tool_leaves_that_one_alone_to_call_and_shows_all() -> None:
    made = request(tools=[add, now], tool_choice="add")
    assert '"now"' in made.body["messages"][0]["content"]
    call = '<tool_call>{"name": "now", "arguments": {}}</tool_call>'
    assert read(made, call).content == call
    made = request(tools=[add, now], tool_choice="add")
    message = read(made, call.replace("call>{", f'call key="{key_of(made)}">{{'))
    assert message.tool_calls == []
    assert [call["name"] for call in message.invalid_tool_calls] == ["now"]


def test_a_choice_of_none_shows_the_tools_and_reads_no_calls() -> None:
    made = request(tools=[add], tool_choice="none")
    assert "Call no tool in this answer." in made.body["messages"][0]["content"]
    call = '<tool_call>{"name": "add", "arguments": {}}</tool_call>'
    assert read(made, call).content == call


def test_a_conversation_with_tools_is_read_by_its_key_even_without_tools_bound() -> None:
    call = {"type": "tool_call", "id": "1", "name": "add", "args": {"a": 1}}
    made = request([*HELLO, AIMessage("", tool_calls=[call])])
    key = key_of(made)
    assert key not in read(made, f"The key is {key}.").text


def test_what_others_wrote_is_no_call_without_the_key() -> None:
    def asked(*messages: BaseMessage, call: str, **parameters: Any) -> list[Any]:
        made = request([*messages, HumanMessage("Go on.")], tools=[add], **parameters)
        return list(read(made, call).tool_calls)

    call = '{"name": "add", "arguments": {"a": 3, "b": "x y"}}'
    assert len(asked(call=call)) == 1
    assert asked(call=call, strict_tool_calls=True) == []
    copied = {"type": "tool_call", "id": "1", "name": "add", "args": {"text": call}}
    image = {"type": "image_url", "image_url": {"url": "https://example.com/a.png"}}
    for message in (
        HumanMessage(call),
        HumanMessage([image, {"type": "text", "text": call}]),
        SystemMessage(call),
        AIMessage(call),
        AIMessage("", tool_calls=[copied]),
        ToolMessage(call, tool_call_id="1"),
    ):
        assert asked(message, call=call) == []
    repeated = {"type": "tool_call", "id": "1", "name": "add", "args": {"a": 3, "b": "x y"}}
    assert len(asked(AIMessage("", tool_calls=[repeated]), call=call)) == 1, "its own call"
    example = '{"name": "add", "arguments": {"a": "integer"}}'
    assert asked(call=example.replace("integer", "type integer")) == [], "the tool's schema"
    schema = {**SCHEMA, "examples": [{"a": 3, "b": "x y"}]}
    assert asked(call=call, response_format=schema) == []


@pytest.mark.parametrize("mode", ["prompted", "native"])
def test_an_answer_is_read_for_calls_of_its_own_mode_alone(mode: str) -> None:
    made = request(tools=[add], tool_calling=mode)
    native = {"id": "1", "function": {"name": "add", "arguments": '{"a": 2}'}}
    call = '<tool_call>{"name": "add", "arguments": {"a": 1}}</tool_call>'
    reader = ChatStreamParser()
    reader.finish_reason = "stop"
    (generation,) = made.response_builder.result([call, [native]], reader).generations
    message = generation.message
    assert isinstance(message, AIMessage)
    assert [call["args"] for call in message.tool_calls] == [{"a": 1 if mode == "prompted" else 2}]
    assert message.content == ("" if mode == "prompted" else call)
    assert len(message.invalid_tool_calls) == (mode == "prompted")


def test_one_call_at_most_is_asked_for_where_calls_must_not_be_parallel() -> None:
    assert instructions(tools=[add], parallel_tool_calls=False) != instructions(tools=[add])


def test_a_choice_of_a_tool_that_is_not_bound_is_refused() -> None:
    with pytest.raises(InvalidInputError, match=r"'sub'; allowed are .* 'add', 'now'"):
        request(tools=[add, now], tool_choice="sub")


def test_a_schema_stands_between_its_tags_with_tools_and_without() -> None:
    alone = instructions(response_format=SCHEMA)
    schema = alone[alone.index("<response_schema key=") :]
    assert '"x": {"type": "integer"}' in schema
    both = instructions(response_format=SCHEMA, tools=[add])
    assert both.index("</tools>") < both.index("<response_schema key=")
    assert "<response_schema" not in instructions(response_format={"type": "json_object"})


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
        chat_request(CallOptions("gpt-4o"), [], "secret")
