import reprlib
import warnings
from collections.abc import Callable
from typing import Any, TypedDict

import pytest
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.runnables import RunnableLambda
from langchain_core.tools import Tool, tool
from pydantic import BaseModel, Field, SecretStr, ValidationError
from pydantic.v1 import BaseModel as BaseModelV1

from langchain_minitoolai import ChatMiniToolAI, contract
from langchain_minitoolai._chat import parameters as _parameters
from langchain_minitoolai._chat.parameters import (
    CallOptions,
    normalize_response_format,
    normalize_stop,
    normalize_tool_choice,
    to_openai_tools,
    validate_max_tokens,
    validate_model,
    validate_temperature,
)
from langchain_minitoolai.errors import InvalidInputError

OWN = CallOptions("gpt-4o", temperature=0.5, max_tokens=10, stop=["a"])


def refusal(call: Callable[[], Any]) -> str:
    with pytest.raises(InvalidInputError) as caught:
        call()
    return str(caught.value)


@pytest.fixture
def no_warning_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_parameters, "_warned", set())


# --- One call's parameters ----------------------------------------------------------------


def test_a_call_s_own_parameters_win_and_the_others_stay() -> None:
    changed = OWN.replace({"model": "gpt-4.1", "temperature": 0, "stop": None})
    assert changed == CallOptions("gpt-4.1", temperature=0, max_tokens=10)
    assert OWN.temperature == 0.5


@pytest.mark.parametrize(
    ("alias", "name", "value"),
    [
        ("model_name", "model", "gpt-4.1"),
        ("max_completion_tokens", "max_tokens", 5),
        ("stop_sequences", "stop", ["x"]),
    ],
)
def test_a_call_takes_the_aliases_too(alias: str, name: str, value: Any) -> None:
    assert getattr(OWN.replace({alias: value}), name) == value


def test_what_core_passes_for_itself_is_no_parameter_and_no_error() -> None:
    assert OWN.replace({"stream": True, "stream_usage": True}) == OWN


def test_an_unknown_parameter_is_refused_by_name_with_what_is_allowed() -> None:
    error = refusal(lambda: OWN.replace({"top_p": 1}))
    assert error.startswith("top_p is no parameter of a call; allowed: model, temperature, ")
    assert "model_kwargs" in error


def test_an_unknown_parameter_that_secrets_have_is_not_sent_to_model_kwargs() -> None:
    assert not refusal(lambda: OWN.replace({"openai_api_key": "hush"})).endswith("model_kwargs")


@pytest.mark.parametrize(
    "model_kwargs",
    [
        {"openai_api_key": "hush"},
        {"api-key": "hush"},
        {"token": "hush"},
        {"Authorization": "hush"},
        {"custom": "sk-hush"},
        {"custom": "Bearer hush"},
        {"custom": SecretStr("hush")},
        {"extra_headers": {"Authorization": "hush"}},
    ],
)
def test_model_kwargs_that_look_like_secrets_are_refused_without_their_value(
    model_kwargs: dict[str, Any],
) -> None:
    for call in (
        lambda: CallOptions("gpt-4o", model_kwargs=model_kwargs),
        lambda: OWN.replace({"model_kwargs": model_kwargs}),
    ):
        error = refusal(call)
        (name,) = model_kwargs
        assert error.startswith(f"model_kwargs holds {name!r}, which looks like a secret")
        assert "api_key" in error
        assert "hush" not in error
    with pytest.raises(ValidationError, match="looks like a secret") as raised:
        ChatMiniToolAI(api_key="k", model_kwargs=model_kwargs)
    assert "hush" not in str(raised.value)


def test_model_kwargs_of_other_names_are_taken() -> None:
    taken = {
        "seed": 1,
        "prompt_cache_key": "x",
        "max_token": 5,
        "user": "me",
        "metadata": {"a": "b"},
        "logit_bias": {"1": 2},
    }
    assert CallOptions("gpt-4o", model_kwargs=taken).model_kwargs == taken


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"temperature": 3}, "temperature is 3; allowed: 0.0 to 2.0"),
        ({"max_tokens": 0}, "max_tokens is 0; allowed: 1 or more"),
        ({"model": ""}, "model is ''; allowed: gpt-4o-mini, "),
        ({"tool_calling": "magic"}, "tool_calling is 'magic'; allowed: prompted, native"),
        ({"model_kwargs": ["seed"]}, "model_kwargs is ['seed']; allowed: a dict"),
    ],
)
def test_a_value_out_of_its_range_is_refused_before_anything_is_sent(
    change: dict[str, Any], error: str
) -> None:
    assert refusal(lambda: OWN.replace(change)).startswith(error)


@pytest.mark.parametrize("temperature", [None, 0, 0.0, 1, 1.5, 2, 2.0])
def test_a_temperature_in_the_documented_range_passes(temperature: float | None) -> None:
    assert validate_temperature(temperature) == temperature


@pytest.mark.parametrize("temperature", [-0.1, 2.1, 3, float("nan"), float("inf"), "1", True, []])
def test_any_other_temperature_is_refused(temperature: Any) -> None:
    error = refusal(lambda: validate_temperature(temperature))
    assert error == f"temperature is {temperature!r}; allowed: 0.0 to 2.0"


@pytest.mark.parametrize("max_tokens", [0, -1, 1.5, "10", True])
def test_max_tokens_is_a_positive_whole_number(max_tokens: Any) -> None:
    error = refusal(lambda: validate_max_tokens(max_tokens))
    assert error == f"max_tokens is {max_tokens!r}; allowed: 1 or more"
    assert [validate_max_tokens(allowed) for allowed in (None, 1)] == [None, 1]


@pytest.mark.usefixtures("no_warning_given")
def test_an_unknown_model_is_warned_of_once_and_sent() -> None:
    with pytest.warns(UserWarning, match="'gpt-9' is not among those the service documents"):
        assert validate_model("gpt-9") == "gpt-9"
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert validate_model("gpt-9") == "gpt-9"
        assert [validate_model(model) for model in contract.CHAT_MODELS] == [*contract.CHAT_MODELS]


@pytest.mark.parametrize("model", [None, "", "  ", 5])
def test_a_model_without_a_name_is_refused(model: Any) -> None:
    error = refusal(lambda: validate_model(model))
    assert error == f"model is {model!r}; allowed: {', '.join(contract.CHAT_MODELS)}"


@pytest.mark.parametrize(
    ("stop", "expected"),
    [(None, ()), ([], ()), ("a", ("a",)), (["a", "b"], ("a", "b")), (("a",), ("a",))],
)
def test_stop_sequences_come_one_or_several(stop: Any, expected: tuple[str, ...]) -> None:
    assert normalize_stop(stop) == expected


@pytest.mark.parametrize(
    ("stop", "error"),
    [
        ("", "stop holds ''; allowed: text that is not empty"),
        (["a", ""], "stop holds ''; allowed: text that is not empty"),
        ([5], "stop holds 5; allowed: text that is not empty"),
        (5, "stop is 5; allowed: text, or a list of texts"),
    ],
)
def test_a_stop_sequence_that_is_no_text_is_refused(stop: Any, error: str) -> None:
    assert refusal(lambda: normalize_stop(stop)) == error


# --- Tools ------------------------------------------------------------------------------


def by_function(a: int, b: int = 2) -> int:
    """Add numbers.

    Args:
        a: One.
        b: Another.
    """
    return a + b


class ByModel(BaseModel):
    """Add numbers."""

    a: int = Field(description="One.")


class ByOldModel(BaseModelV1):
    """Add numbers."""

    a: int


class ByDict(TypedDict):
    """Add numbers."""

    a: int


@tool
def by_tool(a: int) -> int:
    """Add numbers."""
    return a


SCHEMA = {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]}


@pytest.mark.parametrize(
    ("given", "name"),
    [
        pytest.param(by_function, "by_function", id="function"),
        pytest.param(ByModel, "ByModel", id="pydantic"),
        pytest.param(ByOldModel, "ByOldModel", id="pydantic-v1"),
        pytest.param(ByDict, "ByDict", id="typeddict"),
        pytest.param(by_tool, "by_tool", id="tool"),
        pytest.param({"title": "add", "description": "Add numbers.", **SCHEMA}, "add", id="schema"),
        pytest.param(
            {"name": "add", "description": "Add numbers.", "parameters": SCHEMA},
            "add",
            id="openai-function",
        ),
        pytest.param(
            {
                "type": "function",
                "function": {"name": "add", "description": "Add numbers.", "parameters": SCHEMA},
            },
            "add",
            id="openai-tool",
        ),
        pytest.param(
            {"name": "add", "description": "Add numbers.", "input_schema": SCHEMA},
            "add",
            id="anthropic",
        ),
        pytest.param(
            {
                "type": "custom",
                "name": "add",
                "description": "Add numbers.",
                "input_schema": SCHEMA,
                "cache_control": {"type": "ephemeral"},
            },
            "add",
            id="anthropic-custom",
        ),
    ],
)
def test_a_tool_is_taken_in_every_form(given: Any, name: str) -> None:
    (converted,) = to_openai_tools([given])
    assert converted["type"] == "function"
    assert set(converted) == {"type", "function"}
    function = converted["function"]
    assert function["name"] == name
    assert function["description"].startswith("Add numbers.")
    assert function["parameters"]["properties"]["a"]["type"] == "integer"
    assert function["parameters"]["required"] == ["a"]


def test_a_runnable_is_taken_as_a_tool() -> None:
    prompt = ChatPromptTemplate.from_messages([("human", "Greet {name}.")])
    chain = prompt | RunnableLambda(str)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # core calls this beta
        greeter = chain.as_tool(name="greeter", description="Greet somebody.")
    (converted,) = to_openai_tools([greeter])
    assert converted["function"]["name"] == "greeter"
    assert "name" in converted["function"]["parameters"]["properties"]


def test_strict_goes_into_the_tools() -> None:
    (converted,) = to_openai_tools([by_function], strict=True)
    assert converted["function"]["strict"] is True
    assert converted["function"]["parameters"]["additionalProperties"] is False


def test_no_tools_are_no_tools() -> None:
    assert to_openai_tools(()) == []


@pytest.mark.parametrize(
    "given",
    [
        {"type": "web_search"},
        {"type": "web_search_20250305", "name": "web_search", "max_uses": 3},
        {"type": "bash_20250124", "name": "bash"},
        {"type": "code_interpreter", "container": {"type": "auto"}},
        {"type": "custom", "name": "code", "format": {"type": "text"}},
        {"type": "function"},
        {"type": "function", "function": {"description": "nameless"}},
        {"type": "function", "function": "add"},
    ],
)
def test_a_tool_that_is_no_function_is_refused_by_its_type(given: dict[str, Any]) -> None:
    error = refusal(lambda: to_openai_tools([by_function, given]))
    assert error.startswith("tools[1] ")
    assert repr(given["type"]) in error
    assert "allowed: functions with a name" in error


def test_a_tool_of_core_s_that_asks_for_a_type_of_the_provider_s_is_refused() -> None:
    metadata = {"type": "custom_tool"}
    run = Tool(name="run", func=str, description="Run.", metadata=metadata)
    error = refusal(lambda: to_openai_tools([run]))
    assert "'custom' and describes no function" in error


class NoSchema:
    pass


def of_no_schema(a: NoSchema) -> None:
    """Fail."""


def of_nobody_knows(a: "Nobody") -> None:  # type: ignore[name-defined]  # noqa: F821
    """Fail."""


@pytest.mark.parametrize("given", [5, "add", None, {}, SCHEMA, int, of_no_schema, of_nobody_knows])
def test_a_tool_that_can_t_be_described_is_refused_by_its_place(given: Any) -> None:
    error = refusal(lambda: to_openai_tools([by_function, given]))
    assert error.startswith("tools[1] can't be described: ")


@pytest.mark.parametrize("given", [5, "add", {"name": "add"}])
def test_tools_that_are_no_list_are_refused(given: Any) -> None:
    assert (
        refusal(lambda: to_openai_tools(given)) == f"tools is {given!r}; allowed: a list of tools"
    )


TOOLS = to_openai_tools([by_function, ByModel])


@pytest.mark.parametrize(
    ("choice", "expected"),
    [
        (None, "auto"),
        (False, "auto"),
        ("", "auto"),
        ("auto", "auto"),
        ({"type": "auto"}, "auto"),
        ({}, "auto"),
        ({"function": 5}, "auto"),
        ("any", "required"),
        ("required", "required"),
        (True, "required"),
        ({"type": "any"}, "required"),
        ("none", "none"),
        ({"type": "none"}, "none"),
        ("ByModel", "ByModel"),
        ({"type": "function", "function": {"name": "ByModel"}}, "ByModel"),
        ({"type": "function", "name": "ByModel"}, "ByModel"),
        ({"type": "tool", "name": "ByModel"}, "ByModel"),
    ],
)
def test_a_tool_choice_has_one_meaning_in_every_form(choice: Any, expected: str) -> None:
    assert normalize_tool_choice(choice, TOOLS) == expected


@pytest.mark.parametrize("choice", ["add", {"type": "function", "function": {"name": "add"}}])
def test_a_choice_of_a_tool_that_is_not_bound_lists_those_that_are(choice: Any) -> None:
    error = refusal(lambda: normalize_tool_choice(choice, TOOLS))
    assert "'add'" in error
    assert "'by_function', 'ByModel'" in error
    assert "no tools" in refusal(lambda: normalize_tool_choice(choice, []))


def test_a_mode_needs_no_tools() -> None:
    assert [normalize_tool_choice(mode, []) for mode in ("auto", "any", "none")] == [
        "auto",
        "required",
        "none",
    ]


@pytest.mark.parametrize("choice", [5, ["ByModel"], 1.5])
def test_a_choice_of_no_known_form_is_refused(choice: Any) -> None:
    error = refusal(lambda: normalize_tool_choice(choice, TOOLS))
    assert error.startswith(f"tool_choice is {choice!r}; allowed: auto, required, none, any, True")


# --- The answer's form --------------------------------------------------------------------


@pytest.mark.parametrize("given", [None, {"type": "text"}])
def test_free_text_asks_for_no_form(given: Any) -> None:
    assert normalize_response_format(given) is None


@pytest.mark.parametrize(
    "given",
    [
        {"type": "json_object"},
        {"type": "json_schema", "json_schema": {"name": "x", "schema": SCHEMA, "strict": True}},
        {"type": "json_schema", "json_schema": {"name": "x"}},
    ],
)
def test_openai_s_form_passes_as_it_is(given: dict[str, Any]) -> None:
    assert normalize_response_format(given) == given


@pytest.mark.parametrize("given", [ByModel, ByOldModel, ByDict, {"title": "X", **SCHEMA}])
def test_a_schema_in_any_form_becomes_openai_s(given: Any) -> None:
    converted = normalize_response_format(given)
    assert converted is not None
    assert converted["type"] == "json_schema"
    assert converted["json_schema"]["name"] == getattr(given, "__name__", "X")
    assert converted["json_schema"]["schema"]["properties"]["a"]["type"] == "integer"


@pytest.mark.parametrize(
    "given",
    [
        5,
        "json",
        [],
        int,
        of_nobody_knows,
        SCHEMA,
        {"type": "json_schema"},
        {"type": "json_schema", "json_schema": None},
        {"type": "json_schema", "json_schema": {"schema": "X"}},
    ],
)
def test_a_form_that_is_none_is_refused(given: Any) -> None:
    error = refusal(lambda: normalize_response_format(given))
    assert error.startswith(
        f"response_format is {reprlib.repr(given)}; allowed: a schema, or OpenAI's"
    )


@pytest.mark.parametrize("name", ["timeout", "total_timeout", "max_retries"])
def test_what_belongs_to_the_model_is_not_taken_by_a_call(name: str) -> None:
    with pytest.raises(InvalidInputError, match=f"{name} belongs to the model"):
        CallOptions("gpt-4o").replace({name: 1})
