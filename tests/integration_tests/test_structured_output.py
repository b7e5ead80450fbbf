"""Answers that fit a schema, however they are asked for, over a service that documents none."""

import asyncio
import json
import re
from typing import Annotated, Any

import pytest
from langchain.agents import create_agent
from langchain.agents.structured_output import ProviderStrategy, ToolStrategy
from langchain_core.exceptions import OutputParserException
from langchain_core.messages import AIMessage
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.tools import tool
from pydantic import BaseModel, Field
from typing_extensions import TypedDict

from langchain_minitoolai import ChatMiniToolAI, sandbox
from tests.integration_tests.parametrize import Async, Caller, Sync, sync_and_async
from tests.integration_tests.sandbox_helpers import access, bodies

METHODS = ["function_calling", "json_schema", "json_mode"]
QUESTION = 'Kari is 34 years old. Answer in JSON with the keys "name" and "age".'


class Person(BaseModel):
    """A person."""

    name: str = Field(description="The first name")
    age: int


class PersonDict(TypedDict):
    """A person."""

    name: Annotated[str, ..., "The first name"]
    age: int


SCHEMAS: dict[str, Any] = {
    "pydantic": Person,
    "typed_dict": PersonDict,
    "json": {**Person.model_json_schema(), "title": "Person"},
}
KARI = {"name": "Kari", "age": 34}


@tool
def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


class Sum(BaseModel):
    """What two numbers make."""

    total: int


def answer_in(method: str, data: str) -> Any:
    """Give what a model says that answers by this method."""
    return sandbox.ToolCall("Person", data) if method == "function_calling" else data


def plain(answer: Any) -> Any:
    return answer.model_dump() if isinstance(answer, BaseModel) else answer


def chain(schema: str, method: str, **kwargs: Any) -> Any:
    return ChatMiniToolAI().with_structured_output(
        SCHEMAS[schema],
        method=method,  # type: ignore[arg-type]
        **kwargs,
    )


@sync_and_async
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("schema", SCHEMAS)
def test_every_method_gives_an_answer_of_the_schemas_kind(
    caller: Caller, schema: str, method: str, strict: sandbox.Service
) -> None:
    if method == "json_mode":
        strict.reply(json.dumps(KARI))
    answer = caller.invoke(chain(schema, method), QUESTION)
    assert type(answer) is (Person if schema == "pydantic" else dict)
    assert set(plain(answer)) == {"name", "age"}
    assert plain(answer)["age"] == 34


@sync_and_async
@pytest.mark.parametrize("method", METHODS)
def test_include_raw_gives_the_message_beside_the_answer(
    caller: Caller, method: str, strict: sandbox.Service
) -> None:
    strict.reply(answer_in(method, json.dumps(KARI)))
    given = caller.invoke(chain("pydantic", method, include_raw=True), QUESTION)
    assert set(given) == {"raw", "parsed", "parsing_error"}
    assert isinstance(given["raw"], AIMessage)
    assert given["raw"].usage_metadata
    assert given["parsed"] == Person(name="Kari", age=34)
    assert given["parsing_error"] is None


@sync_and_async
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("data", ['{"name": "Kari", "age": "young"}', '{"name": "Kari"'])
def test_an_answer_that_does_not_fit_is_an_error_that_quotes_it(
    caller: Caller, method: str, data: str, strict: sandbox.Service
) -> None:
    strict.reply(answer_in(method, data), finish_reason="stop", times=2)
    with pytest.raises(OutputParserException, match="Kari"):
        caller.invoke(chain("pydantic", method), QUESTION)
    given = caller.invoke(chain("pydantic", method, include_raw=True), QUESTION)
    assert given["parsed"] is None
    assert isinstance(given["parsing_error"], OutputParserException)
    assert isinstance(given["raw"], AIMessage)


@sync_and_async
@pytest.mark.parametrize("method", METHODS)
def test_words_in_place_of_an_answer_are_an_error_that_quotes_them(
    caller: Caller, method: str, strict: sandbox.Service
) -> None:
    strict.reply("I would rather not say.", times=2)
    with pytest.raises(OutputParserException, match="I would rather not say"):
        caller.invoke(chain("pydantic", method), QUESTION)
    given = caller.invoke(chain("pydantic", method, include_raw=True), QUESTION)
    assert given["parsed"] is None
    assert "I would rather not say" in str(given["parsing_error"])


@sync_and_async
@pytest.mark.parametrize("method", METHODS)
def test_streamed_words_in_place_of_an_answer_are_the_same_error(
    caller: Caller, method: str, strict: sandbox.Service
) -> None:
    strict.reply("I would rather not say.")
    with pytest.raises(OutputParserException, match="I would rather not say"):
        caller.stream(chain("pydantic", method), QUESTION)


@sync_and_async
@pytest.mark.parametrize("method", METHODS)
def test_dicts_stream_as_they_grow(caller: Caller, method: str, strict: sandbox.Service) -> None:
    strict.reply(answer_in(method, json.dumps({"name": "Kari Nordmann", "age": 34})))
    partial = caller.stream(chain("json", method), QUESTION)
    assert len(partial) > 2
    assert partial[-1] == {"name": "Kari Nordmann", "age": 34}
    grown = [len(json.dumps(each)) for each in partial]
    assert grown == sorted(grown)


@sync_and_async
@pytest.mark.parametrize("method", METHODS)
def test_pydantic_answers_stream_too(caller: Caller, method: str, strict: sandbox.Service) -> None:
    strict.reply(answer_in(method, json.dumps(KARI)))
    assert caller.stream(chain("pydantic", method), QUESTION)[-1] == Person(name="Kari", age=34)


@sync_and_async
@pytest.mark.parametrize("method", ["json_schema", "json_mode"])
def test_a_markdown_fence_around_the_json_is_taken_off(
    caller: Caller, method: str, strict: sandbox.Service
) -> None:
    strict.reply(f"```json\n{json.dumps(KARI)}\n```", times=2)
    assert caller.invoke(chain("pydantic", method), QUESTION) == Person(name="Kari", age=34)
    assert caller.stream(chain("json", method), QUESTION)[-1] == KARI


@sync_and_async
def test_a_prompt_before_it_makes_a_chain(caller: Caller, strict: sandbox.Service) -> None:
    prompt = ChatPromptTemplate.from_messages([("system", "You read."), ("human", "{text}")])
    whole = prompt | ChatMiniToolAI().with_structured_output(Person)
    answers = caller.batch(whole, [{"text": "Kari is 34."}, {"text": "Ola is 40."}])
    assert [answer.age for answer in answers] == [34, 40]


@sync_and_async
def test_response_format_works_in_bind_and_in_bind_tools(
    caller: Caller, strict: sandbox.Service
) -> None:
    strict.reply(json.dumps(KARI), times=2)
    model = ChatMiniToolAI()
    for bound in (
        model.bind(response_format=Person),
        model.bind_tools([add], response_format=Person),
    ):
        assert json.loads(caller.invoke(bound, QUESTION).text) == KARI
    for body in bodies(strict):
        assert "<response_schema key=" in body["messages"][0]["content"]


def test_the_schema_goes_into_the_developers_message_and_nowhere_else(
    strict: sandbox.Service,
) -> None:
    chain("pydantic", "json_schema").invoke(QUESTION)
    developer, user = bodies(strict)[0]["messages"]
    assert developer["role"] == "developer"
    (schema,) = re.findall(
        r"<response_schema key=\"\w+\">\n(.*)\n</response_schema>", developer["content"]
    )
    assert set(json.loads(schema)["properties"]) == {"name", "age"}
    assert user == {"role": "user", "content": QUESTION}


# --- In agents ------------------------------------------------------------------------------


STRATEGIES: dict[str, Any] = {
    "automatic": Sum,
    "tool": ToolStrategy(Sum),
    "provider": ProviderStrategy(Sum),
}
ADD: Any = {"messages": [("user", "Please add 2 and 3 for me")]}


@pytest.mark.parametrize("tools", [[], [add]], ids=["no_tools", "a_tool"])
@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize(("caller", "model"), [(Sync(), "gpt-4o-mini"), (Async(), "gpt-4.1")])
def test_an_agent_gives_a_structured_response(
    caller: Caller, model: str, strategy: str, tools: list[Any], strict: sandbox.Service
) -> None:
    agent = create_agent(ChatMiniToolAI(model=model), tools, response_format=STRATEGIES[strategy])
    done = caller.invoke(agent, ADD)
    assert isinstance(done["structured_response"], Sum)
    called = [call["name"] for each in done["messages"] for call in getattr(each, "tool_calls", ())]
    assert ("add" in called) == bool(tools)
    if tools:
        assert done["structured_response"] in (Sum(total=2), Sum(total=5))


@sync_and_async
@pytest.mark.parametrize("strategy", STRATEGIES)
def test_an_agent_whose_answer_is_scripted_gives_just_that(
    caller: Caller, strategy: str, strict: sandbox.Service
) -> None:
    strict.reply(sandbox.ToolCall("add", {"a": 2, "b": 3}))
    data = {"total": 5}
    by_call = strategy == "tool"
    strict.reply(sandbox.ToolCall("Sum", data) if by_call else json.dumps(data))
    agent = create_agent(ChatMiniToolAI(), [add], response_format=STRATEGIES[strategy])
    states = caller.stream(agent, ADD, stream_mode="values")
    assert states[-1]["structured_response"] == Sum(total=5)


@sync_and_async
def test_the_tool_strategy_asks_again_after_an_answer_that_does_not_fit(
    caller: Caller, strict: sandbox.Service
) -> None:
    strict.reply(sandbox.ToolCall("Sum", {"total": "many"}))
    strict.reply(sandbox.ToolCall("Sum", {"total": 5}))
    agent = create_agent(ChatMiniToolAI(), [], response_format=ToolStrategy(Sum))
    assert caller.invoke(agent, ADD)["structured_response"] == Sum(total=5)


@sync_and_async
@pytest.mark.parametrize("method", ["function_calling", "json_schema"])
def test_native_mode_sends_the_schema_in_openais_fields(caller: Caller, method: str) -> None:
    with sandbox.running(native_tools=True) as service:
        model = ChatMiniToolAI(tool_calling="native", **access(service))
        answer = caller.invoke(
            model.with_structured_output(Person, method=method),  # type: ignore[arg-type]
            QUESTION,
        )
        (body,) = bodies(service)
    assert answer.age == 34
    assert ("response_format" in body) == (method == "json_schema")
    assert ("tools" in body) == (method == "function_calling")
    assert "<response_schema" not in json.dumps(body)


# --- LangChain's v1 content -------------------------------------------------------------------


@sync_and_async
def test_output_version_v1_gives_standard_blocks(caller: Caller, strict: sandbox.Service) -> None:
    strict.reply("Let me add.", sandbox.ToolCall("add", {"a": 2, "b": 3}), times=2)
    model = ChatMiniToolAI(output_version="v1").bind_tools([add])
    message = caller.invoke(model, "Please add 2 and 3")
    assert [block["type"] for block in message.content] == ["text", "tool_call"]
    assert message.content[1]["args"] == {"a": 2, "b": 3}
    chunks = caller.stream(model, "Please add 2 and 3")
    assert all(isinstance(chunk.content, list) for chunk in chunks)
    whole = chunks[0]
    for chunk in chunks[1:]:
        whole += chunk
    assert [block["type"] for block in whole.content] == ["text", "tool_call"]
    assert whole.content[0]["text"].strip() == "Let me add."
    assert whole.tool_calls[0]["args"] == {"a": 2, "b": 3}


def test_v1_messages_go_back_as_history(strict: sandbox.Service) -> None:
    model = ChatMiniToolAI(output_version="v1")
    agent = create_agent(model, [add])
    messages = asyncio.run(agent.ainvoke(ADD))["messages"]
    assert messages[-1].text == "add: 5"
    assert "<tool_call key=" in bodies(strict)[-1]["messages"][2]["content"]
