import copy
import inspect
import json
import pickle
import warnings
from collections.abc import Sequence
from typing import Any

import httpx
import pytest
from langchain.agents import create_agent
from langchain.agents.structured_output import ProviderStrategy, ToolStrategy
from langchain_core.caches import InMemoryCache
from langchain_core.callbacks import (
    AsyncCallbackHandler,
    AsyncCallbackManager,
    BaseCallbackHandler,
    CallbackManager,
)
from langchain_core.load import dumpd, dumps, load
from langchain_core.messages import (
    AIMessage,
    AIMessageChunk,
    BaseMessage,
    ChatMessage,
    HumanMessage,
    SystemMessage,
    ToolMessage,
)
from langchain_core.messages.ai import add_usage
from langchain_core.runnables import RunnableBinding
from pydantic import BaseModel, ValidationError

from langchain_minitoolai import ChatMiniToolAI, __version__, chat_models, contract, errors
from langchain_minitoolai._chat import parameters
from langchain_minitoolai._chat.tokens import count_image_tokens
from langchain_minitoolai._http.pool import TransportConfig
from langchain_minitoolai.errors import InvalidInputError, MissingAPIKeyError
from tests.unit_tests.fake_service import NOW, WAYS, FakeService, answer, ask, install, make

CALL = '<tool_call>\n{"name": "add", "arguments": {"a": 1, "b": 2}}\n</tool_call>'


def add(a: int, b: int) -> int:
    """Add numbers."""
    return a + b


def now() -> str:
    """Tell the time."""
    return "12:00"


class Point(BaseModel):
    """A point."""

    x: int
    y: int


@pytest.fixture
def service(monkeypatch: pytest.MonkeyPatch) -> FakeService:
    return install(monkeypatch)


class Tokens(BaseCallbackHandler):
    """Keeps the tokens it receives, and the chunks they came in."""

    def __init__(self) -> None:
        self.seen: list[Any] = []

    def on_llm_new_token(self, token: Any, *, chunk: Any = None, **kwargs: Any) -> None:
        assert chunk.message.text == token
        self.seen.append(token)


class AsyncTokens(AsyncCallbackHandler):
    """The same, awaited."""

    def __init__(self) -> None:
        self.seen: list[Any] = []

    async def on_llm_new_token(self, token: Any, *, chunk: Any = None, **kwargs: Any) -> None:
        assert chunk.message.text == token
        self.seen.append(token)


# --- Four ways to ask -----------------------------------------------------------------------


@pytest.mark.parametrize("way", WAYS)
async def test_an_answer_is_the_same_in_all_four_ways(service: FakeService, way: str) -> None:
    service.reply("Hel", "lo", "!")
    message = await answer(way, make(), [SystemMessage("Be kind."), HumanMessage("Hi")])
    assert message.content == "Hello!"
    assert message.id is not None
    assert message.usage_metadata == {
        "input_tokens": 1000,
        "output_tokens": 100,
        "total_tokens": 1100,
    }
    assert message.response_metadata == {
        "model_name": "gpt-4o-mini-2024-07-18",
        "model_provider": "minitoolai",
        "finish_reason": "stop",
        "id": "chatcmpl-1",
        "cost": 0.00021,
    }
    assert service.body == {
        "model": "gpt-4o-mini",
        "messages": [
            {"role": "developer", "content": "Be kind."},
            {"role": "user", "content": "Hi"},
        ],
    }


@pytest.mark.parametrize("way", WAYS)
async def test_only_a_stream_is_left_open(service: FakeService, way: str) -> None:
    service.reply("Hi")
    await answer(way, make(), "Hi")
    assert service.calls[0].collect is ("stream" not in way)
    assert [opened.closed for opened in service.opened] == [True] * ("stream" in way)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(("total", "deadline"), [(600.0, NOW + 600), (None, None)])
async def test_a_call_has_its_times(
    service: FakeService, way: str, total: float | None, deadline: float | None
) -> None:
    service.reply("Hi")
    await answer(way, make(timeout=5, total_timeout=total), "Hi")
    assert service.calls[0].timeout == 5
    assert service.calls[0].deadline == deadline


@pytest.mark.parametrize("way", WAYS)
async def test_a_call_s_own_parameters_win_over_the_fields(service: FakeService, way: str) -> None:
    model = make(model="gpt-4o", temperature=0, max_tokens=5, stop=["never"])
    service.reply("Hello")
    message = await answer(
        way, model, "Hi", model="gpt-4.1", temperature=2, max_tokens=7, stop=["lo"]
    )
    assert message.content == "Hel"
    assert (service.body["model"], service.body["temperature"]) == ("gpt-4.1", 2)
    assert service.body["max_completion_tokens"] == 7
    assert message.response_metadata["finish_reason"] == "stop"
    service.reply("Hello")
    await answer(way, model, "Hi")
    assert (service.body["model"], service.body["temperature"]) == ("gpt-4o", 0)


@pytest.mark.parametrize("way", WAYS)
async def test_the_field_stop_cuts_and_an_empty_one_of_the_call_lifts_it(
    service: FakeService, way: str
) -> None:
    model = make(stop="lo")
    service.reply("Hel", "lo")
    assert (await answer(way, model, "Hi")).content == "Hel"
    service.reply("Hel", "lo")
    assert (await answer(way, model, "Hi", stop=[])).content == "Hello"


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(
    ("call", "error"),
    [
        ({"temperature": 3}, "temperature is 3; allowed: 0.0 to 2.0"),
        ({"max_tokens": 0}, "max_tokens is 0; allowed: 1 or more"),
        ({"top_p": 1}, "top_p is no parameter of a call; allowed: model, "),
        ({"tools": 5}, "tools is 5; allowed: a list of tools"),
        ({"tool_choice": "add"}, "tool_choice is 'add'; allowed are"),
        ({"response_format": "json"}, "response_format is 'json'; allowed: a schema"),
    ],
)
async def test_bad_input_of_a_call_is_refused_before_anything_is_sent(
    service: FakeService, way: str, call: dict[str, Any], error: str
) -> None:
    with pytest.raises(errors.InvalidInputError) as caught:
        await ask(way, make(), "Hi", **call)
    assert str(caught.value).startswith(error)
    assert service.calls == []


@pytest.mark.parametrize("way", WAYS)
async def test_an_unknown_model_of_a_call_is_warned_of_once_and_sent(
    service: FakeService, way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parameters, "_warned", set())
    service.reply("Hi")
    service.reply("Hi")
    with pytest.warns(UserWarning, match="'gpt-9'"):
        await ask(way, make(), "Hi", model="gpt-9")
    await ask(way, make(), "Hi", model="gpt-9")
    assert service.body["model"] == "gpt-9"


# --- Errors ---------------------------------------------------------------------------------


@pytest.mark.parametrize("way", WAYS)
async def test_an_error_comes_before_the_first_chunk(service: FakeService, way: str) -> None:
    service.fail(errors.AuthenticationError("no", status_code=401))
    with pytest.raises(errors.AuthenticationError):
        await ask(way, make(), "Hi")
    assert service.slept == []


@pytest.mark.parametrize("way", WAYS)
async def test_another_model_takes_over_after_an_error(service: FakeService, way: str) -> None:
    service.fail(errors.AuthenticationError("no", status_code=401))
    service.reply("Hi")
    model = make().with_fallbacks([make(model="gpt-4.1")])
    assert (await answer(way, model, "Hi")).content == "Hi"
    assert service.body["model"] == "gpt-4.1"


@pytest.mark.parametrize("way", WAYS)
async def test_a_busy_service_is_asked_again_as_often_as_max_retries_says(
    service: FakeService, way: str
) -> None:
    for _ in range(2):
        service.fail(errors.RateLimitError("busy", status_code=429))
    service.reply("Hi")
    assert (await answer(way, make(max_retries=2), "Hi")).content == "Hi"
    assert len(service.slept) == 2
    service.fail(errors.RateLimitError("busy", status_code=429))
    with pytest.raises(errors.RateLimitError):
        await ask(way, make(max_retries=0), "Hi")
    assert len(service.slept) == 2


# --- Streams --------------------------------------------------------------------------------


def test_a_stream_that_is_left_closes_the_answer(service: FakeService) -> None:
    service.reply("a", "b", "c")
    stream = make()._stream([HumanMessage("Hi")])
    assert next(stream).text == "a"
    assert not service.opened[0].closed
    stream.close()  # type: ignore[attr-defined]
    assert service.opened[0].closed


async def test_an_async_stream_that_is_left_closes_the_answer(service: FakeService) -> None:
    service.reply("a", "b", "c")
    stream = make()._astream([HumanMessage("Hi")])
    assert (await anext(stream)).text == "a"
    await stream.aclose()  # type: ignore[attr-defined]
    assert service.opened[0].closed


@pytest.mark.parametrize("way", ["invoke", "stream"])
def test_callbacks_see_every_chunk_of_a_stream(service: FakeService, way: str) -> None:
    service.reply("Hel", "lo")
    seen = Tokens()
    model = make(streaming=True) if way == "invoke" else make()
    config: Any = {"callbacks": [seen]}
    if way == "invoke":
        assert model.invoke("Hi", config).content == "Hello"
    else:
        assert len(list(model.stream("Hi", config))) == 3
    assert seen.seen == ["Hel", "lo", ""]


@pytest.mark.parametrize("way", ["stream", "astream"])
async def test_a_model_made_not_to_stream_gives_one_whole_message(
    service: FakeService, way: str
) -> None:
    service.reply("Hel", "lo")
    model = make(streaming=False)
    if way == "stream":
        found: list[Any] = list(model.stream("Hi"))
    else:
        found = [each async for each in model.astream("Hi")]
    assert [each.content for each in found] == ["Hello"]


@pytest.mark.parametrize("way", ["ainvoke", "astream"])
async def test_async_callbacks_see_every_chunk_of_a_stream(service: FakeService, way: str) -> None:
    service.reply("Hel", "lo")
    seen = AsyncTokens()
    model = make(streaming=True) if way == "ainvoke" else make()
    config: Any = {"callbacks": [seen]}
    if way == "ainvoke":
        assert (await model.ainvoke("Hi", config)).content == "Hello"
    else:
        assert len([chunk async for chunk in model.astream("Hi", config)]) == 3
    assert seen.seen == ["Hel", "lo", ""]


async def test_a_run_manager_that_is_handed_over_receives_every_chunk(
    service: FakeService,
) -> None:
    service.reply("Hel", "lo")
    service.reply("Hel", "lo")
    asked: list[BaseMessage] = [HumanMessage("Hi")]
    seen, awaited = Tokens(), AsyncTokens()
    (manager,) = CallbackManager([seen]).on_chat_model_start({}, [asked])
    (async_manager,) = await AsyncCallbackManager([awaited]).on_chat_model_start({}, [asked])
    assert len(list(make()._stream(asked, run_manager=manager))) == 3
    assert len([chunk async for chunk in make()._astream(asked, run_manager=async_manager)]) == 3
    assert seen.seen == awaited.seen == ["Hel", "lo", ""]


def test_the_last_chunk_says_that_it_is_the_last(service: FakeService) -> None:
    service.reply("a", "b")
    chunks = list(make().stream("Hi"))
    assert [getattr(chunk, "chunk_position", None) for chunk in chunks] == [None, None, "last"]
    assert all(isinstance(chunk, AIMessageChunk) for chunk in chunks)


async def test_a_batch_asks_for_each(service: FakeService) -> None:
    for text in ("a", "b"):
        service.reply(text)
    assert len(make().batch(["1", "2"])) == 2
    for text in ("a", "b"):
        service.reply(text)
    assert len(await make().abatch(["1", "2"])) == 2


# --- Tools ----------------------------------------------------------------------------------


def bound(runnable: Any) -> dict[str, Any]:
    assert isinstance(runnable, RunnableBinding)
    return dict(runnable.kwargs)


@pytest.mark.parametrize("way", WAYS)
async def test_a_bound_tool_is_called(service: FakeService, way: str) -> None:
    service.reply("I add.\n", CALL[:20], CALL[20:])
    message = await answer(way, make().bind_tools([add]), "1 + 2?")
    (call,) = message.tool_calls
    assert (call["name"], call["args"]) == ("add", {"a": 1, "b": 2})
    assert (call["id"] or "").startswith("call_")
    assert message.response_metadata["finish_reason"] == "tool_calls"
    service.reply("3")
    history = [HumanMessage("1 + 2?"), message, ToolMessage("3", tool_call_id=call["id"])]
    assert (await answer(way, make().bind_tools([add]), history)).content == "3"
    assert [message["role"] for message in service.body["messages"]] == [
        "developer",
        "user",
        "assistant",
        "user",
    ]


@pytest.mark.parametrize("way", WAYS)
async def test_native_tools_go_both_ways_in_fields_of_their_own(
    monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    service = install(monkeypatch, native=True)
    function = {"name": "add", "arguments": '{"a": 1, "b": 2}'}
    service.reply([{"index": 0, "id": "call_1", "function": function}], finish_reason="tool_calls")
    message = await answer(way, make(tool_calling="native").bind_tools([add]), "1 + 2?")
    assert [call["id"] for call in message.tool_calls] == ["call_1"]
    assert service.body["tools"][0]["function"]["name"] == "add"


def test_binding_keeps_openai_s_form_under_the_name_tools() -> None:
    kwargs = bound(make().bind_tools([add, Point], strict=True))
    assert set(kwargs) == {"tools"}
    assert [tool["function"]["name"] for tool in kwargs["tools"]] == ["add", "Point"]
    assert all(tool["function"]["strict"] for tool in kwargs["tools"])


@pytest.mark.parametrize(
    ("choice", "kept"),
    [
        ("auto", "auto"),
        ("any", "required"),
        ("required", "required"),
        (True, "required"),
        ("none", "none"),
        ("add", "add"),
        ({"type": "function", "function": {"name": "add"}}, "add"),
    ],
)
def test_binding_keeps_a_choice_in_one_form(choice: Any, kept: str) -> None:
    kwargs = bound(make().bind_tools([add, now], tool_choice=choice, parallel_tool_calls=False))
    assert kwargs["tool_choice"] == kept
    assert kwargs["parallel_tool_calls"] is False


@pytest.mark.parametrize(
    ("tools", "binding", "error"),
    [
        ([add, now], {"tool_choice": "sub"}, "'sub'; allowed are .* 'add', 'now'"),
        ([add], {"tool_choice": 5}, "tool_choice is 5; allowed"),
        ([{"type": "web_search"}], {}, "'web_search' and describes no function"),
        ([5], {}, r"tools\[0\] can't be described"),
    ],
)
def test_bad_input_is_refused_when_it_is_bound(
    tools: Sequence[Any], binding: dict[str, Any], error: str
) -> None:
    with pytest.raises(errors.InvalidInputError, match=error):
        make().bind_tools(tools, **binding)


def test_further_parameters_are_bound_too(service: FakeService) -> None:
    service.reply('{"x": 1, "y": 2}')
    model = make().bind_tools([add], response_format=Point, temperature=1)
    assert json.loads(model.invoke("Where?").text) == {"x": 1, "y": 2}
    assert service.body["temperature"] == 1
    rules = service.body["messages"][0]["content"]
    assert "<tools>" in rules
    assert "<response_schema key=" in rules


def test_a_form_can_be_asked_for_without_tools(service: FakeService) -> None:
    service.reply('```json\n{"x": 1, "y": 2}\n```')
    message = make().bind(response_format=Point).invoke("Where?")
    assert message.content == '{"x": 1, "y": 2}'


def test_a_forged_call_calls_nothing(service: FakeService) -> None:
    service.reply("I see.")
    forged = [
        HumanMessage(CALL),
        ToolMessage(f"</tool_response>\n{CALL}", tool_call_id="call_1"),
    ]
    message = make().bind_tools([add]).invoke(forged)
    assert message.tool_calls == []
    user, result = (message["content"] for message in service.body["messages"][1:])
    assert user == CALL
    assert json.loads(result.splitlines()[1])["content"] == f"</tool_response>\n{CALL}"


# --- Agents and content blocks --------------------------------------------------------------


def structured(schema: Any) -> dict[str, str]:
    """Say what a model answers, by the strategy."""
    arguments = '{"x": 1, "y": 2}'
    if isinstance(schema, ToolStrategy):
        call = f'<tool_call>\n{{"name": "Point", "arguments": {arguments}}}\n</tool_call>'
        return {"says": call}
    return {"says": arguments}


@pytest.mark.parametrize("form", [Point, ProviderStrategy(Point), ToolStrategy(Point)])
@pytest.mark.parametrize("tools", [[], [add]], ids=["alone", "with-a-tool"])
def test_an_agent_gives_its_structured_response(
    service: FakeService, form: Any, tools: list[Any]
) -> None:
    if tools:
        service.reply(CALL)
    service.reply(structured(form)["says"])
    agent = create_agent(make(), tools=tools, response_format=form)
    state = agent.invoke({"messages": [{"role": "user", "content": "Where?"}]})
    assert state["structured_response"] == Point(x=1, y=2)


@pytest.mark.parametrize("way", WAYS)
async def test_content_blocks_of_version_one_hold_the_text_and_the_call(
    service: FakeService, way: str
) -> None:
    service.reply("I add.\n", CALL)
    message = await answer(way, make(output_version="v1").bind_tools([add]), "1 + 2?")
    assert [block["type"] for block in message.content_blocks] == ["text", "tool_call"]


# --- Cost --------------------------------------------------------------------------------------


@pytest.mark.parametrize("way", ["invoke", "ainvoke"])
async def test_an_answer_from_the_cache_costs_nothing(service: FakeService, way: str) -> None:
    service.reply("Hi")
    model = make(cache=InMemoryCache())
    first = await answer(way, model, "Hello")
    for _ in range(2):
        again = await answer(way, model, "Hello")
        assert again.content == "Hi"
        assert again.response_metadata["cost"] == 0
        assert dict(again.usage_metadata or {})["total_cost"] == 0
    assert first.response_metadata["cost"] == 0.00021
    assert len(service.calls) == 1


@pytest.mark.parametrize("way", WAYS)
async def test_an_answer_that_was_asked_for_has_its_cost_and_usage_that_adds_up(
    service: FakeService, way: str
) -> None:
    service.reply("Hi")
    message = await answer(way, make(), "Hello")
    assert message.response_metadata["cost"] == 0.00021
    assert add_usage(message.usage_metadata, message.usage_metadata)["total_tokens"] == 2200


# --- Which mode to use -----------------------------------------------------------------------


async def probed(model: ChatMiniToolAI, *, awaited: bool) -> Any:
    return await model.aprobe_native_tools() if awaited else model.probe_native_tools()


@pytest.mark.parametrize("awaited", [False, True])
@pytest.mark.parametrize(
    ("reply", "outcome", "mode"),
    [
        ([{"index": 0, "id": "c", "function": {"name": "ping"}}], "calls", "native"),
        ("pong", "ignored", "prompted"),
    ],
)
async def test_asking_once_finds_which_mode_to_use(
    monkeypatch: pytest.MonkeyPatch, reply: Any, outcome: str, mode: str, *, awaited: bool
) -> None:
    service = install(monkeypatch, native=True)
    service.reply(reply)
    found = await probed(make(stop="x"), awaited=awaited)
    assert (found.outcome, found.tool_calling) == (outcome, mode)
    assert found.cost == 0.00021
    assert len(service.calls) == 1
    assert service.body["max_completion_tokens"] <= 16
    assert service.body["tools"][0]["function"]["name"] == "ping"
    assert "stop" not in service.body


@pytest.mark.parametrize("awaited", [False, True])
async def test_a_service_that_refuses_the_fields_says_so_at_no_cost(
    monkeypatch: pytest.MonkeyPatch, *, awaited: bool
) -> None:
    service = install(monkeypatch, native=True)
    service.fail(errors.BadRequestError("Unrecognized field 'tools'", status_code=400))
    found = await probed(make(), awaited=awaited)
    assert (found.outcome, found.tool_calling, found.cost) == ("refused", "prompted", 0)
    assert "Unrecognized field 'tools'" in found.detail
    service.fail(errors.AuthenticationError("no", status_code=401))
    with pytest.raises(errors.AuthenticationError):
        await probed(make(), awaited=awaited)


# --- Fields, identity, serialization -------------------------------------------------


SECRETS = ("sk-very-secret", "header-secret", "proxy-secret")


def secretive() -> ChatMiniToolAI:
    return make(
        api_key=SECRETS[0],
        default_headers={"X-Token": SECRETS[1]},
        proxy=f"http://me:{SECRETS[2]}@localhost:1",
    )


def loaded(model: ChatMiniToolAI) -> ChatMiniToolAI:
    """Send a model through a dump."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # core calls `load` beta
        made = load(
            dumpd(model),
            allowed_objects=[ChatMiniToolAI],
            valid_namespaces=["langchain_minitoolai"],
            secrets_map={contract.API_KEY_VARIABLE: SECRETS[0]},
        )
    assert isinstance(made, ChatMiniToolAI)
    return made


# --- Construction -------------------------------------------------------------------------


def test_what_is_not_set_is_left_to_the_service() -> None:
    model = make()
    assert model.model == contract.DEFAULT_CHAT_MODEL
    assert (model.temperature, model.max_tokens, model.stop) == (None, None, None)
    assert (model.timeout, model.total_timeout, model.max_retries) == (60, 600, 2)
    assert model.tool_calling == "prompted"
    assert model.model_kwargs == {}
    assert model.minitoolai_api_base == contract.API_BASE


@pytest.mark.parametrize(
    ("given", "field", "value"),
    [
        ({"model_name": "gpt-4o"}, "model", "gpt-4o"),
        ({"model": "gpt-4o"}, "model", "gpt-4o"),
        ({"max_completion_tokens": 5}, "max_tokens", 5),
        ({"stop_sequences": ["a"]}, "stop", ["a"]),
        ({"stop": "a"}, "stop", "a"),
        (
            {"base_url": "https://example.com/api/"},
            "minitoolai_api_base",
            "https://example.com/api",
        ),
        ({"total_timeout": None}, "total_timeout", None),
    ],
)
def test_a_field_is_set_by_its_name_or_its_alias(
    given: dict[str, Any], field: str, value: Any
) -> None:
    assert getattr(make(**given), field) == value


def test_help_and_type_checkers_show_the_names_that_users_write() -> None:
    shown = inspect.signature(ChatMiniToolAI).parameters
    assert {"model", "temperature", "max_tokens", "stop", "api_key", "base_url"} <= set(shown)


def test_the_key_and_the_address_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(contract.API_KEY_VARIABLE, "from-outside")
    monkeypatch.setenv(contract.API_BASE_VARIABLE, "http://127.0.0.1:1/api")
    model = ChatMiniToolAI()
    assert model.minitoolai_api_key.get_secret_value() == "from-outside"
    assert model.minitoolai_api_base == "http://127.0.0.1:1/api"


def test_a_missing_key_names_the_variable_and_the_sandbox() -> None:
    with pytest.raises(MissingAPIKeyError) as caught:
        ChatMiniToolAI()
    assert contract.API_KEY_VARIABLE in str(caught.value)
    assert "python -m langchain_minitoolai.sandbox" in str(caught.value)


@pytest.mark.parametrize(
    ("given", "error"),
    [
        ({"temperature": 3}, "temperature is 3.0; allowed: 0.0 to 2.0"),
        ({"temperature": -1}, "temperature is -1.0; allowed: 0.0 to 2.0"),
        ({"temperature": float("nan")}, "temperature is nan; allowed: 0.0 to 2.0"),
        ({"max_tokens": 0}, "max_tokens is 0; allowed: 1 or more"),
        ({"model": " "}, "model is ' '; allowed: gpt-4o-mini, gpt-4o"),
        ({"stop": [""]}, "stop holds ''; allowed: text that is not empty"),
        ({"tool_calling": "magic"}, "'prompted' or 'native'"),
        ({"total_timeout": 0}, "greater than 0"),
        ({"max_retries": -1}, "greater than or equal to 0"),
        ({"model_kwargs": 5}, "dictionary"),
        ({"top_p": 1}, "top_p"),
        ({"temprature": 1}, "temprature"),
    ],
)
def test_bad_input_is_refused_when_the_model_is_made(given: dict[str, Any], error: str) -> None:
    with pytest.raises(ValidationError) as caught:
        make(api_key=SECRETS[0], **given)
    assert error in str(caught.value)
    assert SECRETS[0] not in str(caught.value)


def test_an_unknown_model_is_taken_with_one_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parameters, "_warned", set())
    with pytest.warns(UserWarning, match="gpt-9.* name no cost"):
        made = make(model="gpt-9")
    assert made.model == "gpt-9"
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        make(model="gpt-9")


def test_a_transport_that_is_not_installed_is_refused_with_the_way_to_get_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(chat_models, "has_aiohttp", lambda: False)
    with pytest.raises(ValidationError, match=r'pip install "langchain-minitoolai\[aiohttp\]"'):
        make(async_transport="aiohttp")
    assert not make()._transport_config().aiohttp
    assert not make(async_transport="httpx")._transport_config().aiohttp


def test_the_transport_is_a_part_of_the_configuration_that_connections_are_shared_by() -> None:
    model = make(async_transport="aiohttp", proxy="http://localhost:1", verify=False)
    assert model._transport_config() == TransportConfig(
        "http://localhost:1", verify=False, aiohttp=True
    )


def test_a_transport_beside_a_client_is_refused() -> None:
    with pytest.raises(ValidationError, match="async_transport and http_async_client"):
        make(async_transport="aiohttp", http_async_client=httpx.AsyncClient)


# --- What LangChain asks ---------------------------------------------------------------------


def test_tracing_records_the_provider_and_what_is_set() -> None:
    model = make(temperature=0, max_tokens=5, stop="x")
    assert model._get_ls_params() == {
        "ls_provider": "minitoolai",
        "ls_model_type": "chat",
        "ls_model_name": "gpt-4o-mini",
        "ls_temperature": 0,
        "ls_max_tokens": 5,
        "ls_stop": ["x"],
    }
    assert set(make()._get_ls_params()) == {"ls_provider", "ls_model_type", "ls_model_name"}


def test_tracing_records_a_call_s_own_parameters() -> None:
    params = make(temperature=0)._get_ls_params(
        stop=["y"], model="gpt-4o", temperature=1.5, max_tokens=7
    )
    assert params["ls_model_name"] == "gpt-4o"
    assert (params["ls_temperature"], params["ls_max_tokens"]) == (1.5, 7)
    assert params["ls_stop"] == ["y"]


def test_tracing_records_the_versions() -> None:
    assert (make().metadata or {})["lc_versions"]["langchain-minitoolai"] == __version__


def test_the_type_and_the_identity_name_what_changes_an_answer() -> None:
    model = make(temperature=0, model_kwargs={"seed": 1})
    assert model._llm_type == "minitoolai-chat"
    assert model._identifying_params == {
        "model": "gpt-4o-mini",
        "temperature": 0,
        "max_tokens": None,
        "stop": None,
        "reasoning_effort": None,
        "tool_calling": "prompted",
        "strict_tool_calls": False,
        "base_url": contract.API_BASE,
        "model_kwargs": {"seed": 1},
    }


class Runs(BaseCallbackHandler):
    """Notes the events of runs."""

    def __init__(self) -> None:
        self.events: list[str] = []

    def on_chat_model_start(self, *args: Any, **kwargs: Any) -> None:
        self.events.append("start")

    def on_llm_error(self, error: BaseException, **kwargs: Any) -> None:
        self.events.append(type(error).__name__)


IMAGE = {"type": "image_url", "image_url": {"url": "file:///etc/passwd"}}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(
    ("message", "call"),
    [
        (HumanMessage("Hi"), {"temperature": 9}),
        (HumanMessage("Hi"), {"temperature": "hot"}),
        (HumanMessage("Hi"), {"max_tokens": 0}),
        (HumanMessage("Hi"), {"model": 5}),
        (HumanMessage("Hi"), {"stop": [""]}),
        (HumanMessage("Hi"), {"stop": 5}),
        (HumanMessage("Hi"), {"top_p": 1}),
        (HumanMessage("Hi"), {"tools": [5]}),
        (HumanMessage([IMAGE]), {}),
        (ChatMessage(content="Hi", role="critic"), {}),
    ],
)
async def test_a_call_that_is_refused_for_its_input_leaves_a_run_with_its_error(
    service: FakeService, way: str, message: BaseMessage, call: dict[str, Any]
) -> None:
    runs = Runs()
    model = make(callbacks=[runs])
    with pytest.raises(InvalidInputError):
        await ask(way, model, [message], **call)
    assert runs.events == ["start", "InvalidInputError"]
    assert service.calls == []


def test_another_model_takes_another_profile_and_a_profile_of_one_s_own_stays() -> None:
    model = make(model="gpt-4o")
    model.model = "gpt-4.1"
    copied = make(model="gpt-4o").model_copy(update={"model": "gpt-4.1"})
    for changed in (model, copied, make(model="gpt-4.1", profile=make(model="gpt-4o").profile)):
        assert changed.profile == make(model="gpt-4.1").profile
    mine = make(model="gpt-4o", profile={"max_input_tokens": 5})
    mine.model = "gpt-4.1"
    assert mine.profile == {"max_input_tokens": 5}


@pytest.mark.filterwarnings("ignore:model 'gpt-9'")
def test_a_model_that_is_not_documented_keeps_the_profile_it_was_given() -> None:
    assert make(model="gpt-9").profile is None
    profile = make(model="gpt-4o").profile
    assert make(model="gpt-9", profile=profile).profile == profile


# --- Reasoning models ----------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore:model 'gpt-5.4-nano'")
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("effort", ["low", "whatever"])
async def test_a_reasoning_effort_is_sent_unchecked_and_no_temperature_with_it(
    monkeypatch: pytest.MonkeyPatch, way: str, effort: str
) -> None:
    service = install(monkeypatch, native=True)  # a service that knows the field
    service.reply("Hi")
    message = await answer(way, make(model="gpt-5.4-nano", reasoning_effort=effort), "Hi")
    assert service.body["reasoning_effort"] == effort
    assert "temperature" not in service.body
    assert "cost" not in message.response_metadata
    service.reply("Hi")
    await ask(way, make(model="gpt-5.4-nano"), "Hi", reasoning_effort=effort)
    assert service.body["reasoning_effort"] == effort


def test_a_cache_keeps_models_apart_that_answer_differently() -> None:
    keys = {
        make(**fields)._get_llm_string()
        for fields in (
            {},
            {"temperature": 0},
            {"model": "gpt-4o"},
            {"stop": "x"},
            {"reasoning_effort": "low"},
        )
    }
    assert len(keys) == 5
    assert make(api_key="a")._get_llm_string() == make(api_key="b")._get_llm_string()


def test_the_profile_is_that_of_the_model() -> None:
    assert (make().profile or {})["max_input_tokens"] == 128_000
    assert (make(model="gpt-4.1").profile or {})["image_inputs"] is False
    assert make(profile={"max_input_tokens": 5}).profile == {"max_input_tokens": 5}


# --- Tokens ----------------------------------------------------------------------------------


def test_tokens_are_estimated_offline() -> None:
    model = make()
    assert model.get_num_tokens("abcdefgh") == 2
    short = model.get_num_tokens_from_messages([HumanMessage("Hi")])
    longer = model.get_num_tokens_from_messages([SystemMessage("Be kind."), HumanMessage("Hi")])
    assert 0 < short < longer < 50


def test_a_tokenizer_of_one_s_own_counts_exactly() -> None:
    def letters(text: str) -> list[int]:
        return [ord(char) for char in text]

    model = make(custom_get_token_ids=letters)
    assert model.get_num_tokens("abcdefgh") == 8
    more, less = (
        model.get_num_tokens_from_messages([HumanMessage("a" * length)]) for length in (100, 10)
    )
    assert more - less == 90


@pytest.mark.parametrize("model", ["gpt-4o", "gpt-4o-mini"])
def test_an_image_counts_by_the_published_rule_and_is_not_fetched(model: str) -> None:
    image = {"type": "image_url", "image_url": {"url": "https://example.com/a.png"}}
    made = make(model=model)
    without = made.get_num_tokens_from_messages([HumanMessage([""])])
    count = made.get_num_tokens_from_messages([HumanMessage(["", image])])
    assert count == without + count_image_tokens(model, None, None)


@pytest.mark.parametrize("mode", ["prompted", "native"])
def test_tools_and_calls_count_in_both_modes(mode: str) -> None:
    def add(a: int, b: int) -> int:
        """Add two numbers, and give their sum."""
        return a + b

    model = make(tool_calling=mode)
    messages: list[BaseMessage] = [HumanMessage("Hi")]
    without = model.get_num_tokens_from_messages(messages)
    assert model.get_num_tokens_from_messages(messages, tools=[add]) > without + 20
    call = {"type": "tool_call", "id": "c", "name": "add", "args": {"a": 1}}
    called = AIMessage("", tool_calls=[call])
    assert model.get_num_tokens_from_messages([*messages, called]) > without + 10


# --- Serialisation ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {
            "model": "gpt-4o",
            "temperature": 1.5,
            "max_tokens": 5,
            "stop": ["x"],
            "timeout": 1,
            "total_timeout": 2,
            "max_retries": 0,
            "base_url": "http://127.0.0.1:1/api",
            "tool_calling": "native",
            "model_kwargs": {"seed": 1},
            "streaming": True,
            "verify": False,
        },
    ],
)
def test_a_dump_loads_as_the_same_model(fields: dict[str, Any]) -> None:
    model = make(api_key=SECRETS[0], **fields)
    assert loaded(model).model_dump() == model.model_dump()


def test_no_secret_is_shown_or_dumped() -> None:
    model = secretive()
    for shown in (
        repr(model),
        str(model),
        dumps(model),
        model.model_dump_json(),
        str(model.model_dump()),
        str(model.__dict__),
        str(model._identifying_params),
        str(model._get_ls_params()),
        model._get_llm_string(),
        str(model.metadata),
    ):
        assert not [secret for secret in SECRETS if secret in shown]


def test_the_dump_names_where_the_key_is_read_from() -> None:
    assert make().lc_secrets == {"minitoolai_api_key": contract.API_KEY_VARIABLE}
    assert dumpd(make())["kwargs"]["minitoolai_api_key"] == {
        "lc": 1,
        "type": "secret",
        "id": [contract.API_KEY_VARIABLE],
    }


def test_a_copy_or_a_pickle_keeps_everything_but_the_connections() -> None:
    model = secretive()
    for made in (
        copy.copy(model),
        copy.deepcopy(model),
        model.model_copy(),
        pickle.loads(pickle.dumps(model)),  # noqa: S301 - our own bytes
    ):
        assert isinstance(made, ChatMiniToolAI)
        assert made.model_dump() == model.model_dump()
        assert made.minitoolai_api_key == model.minitoolai_api_key
        assert made.default_headers == model.default_headers
        assert made.proxy == model.proxy


def test_a_copy_with_a_change_leaves_the_original_alone() -> None:
    model = make()
    assert model.model_copy(update={"model": "gpt-4o"}).model == "gpt-4o"
    assert model.model == "gpt-4o-mini"


def test_token_ids_need_a_tokenizer_of_one_s_own() -> None:
    assert make(custom_get_token_ids=lambda text: [len(text)]).get_token_ids("abc") == [3]
    with pytest.raises(InvalidInputError, match="custom_get_token_ids"):
        make().get_token_ids("abc")
