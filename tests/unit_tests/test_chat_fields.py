import copy
import pickle
import warnings
from typing import Any

import pytest
from langchain_core.load import dumpd, dumps, load
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, SystemMessage
from pydantic import ValidationError

from langchain_minitoolai import ChatMiniToolAI, __version__, _chat_fields, contract
from langchain_minitoolai._chat import parameters
from langchain_minitoolai._chat.usage import image_tokens
from langchain_minitoolai.errors import InvalidInputError, MissingAPIKeyError
from tests.unit_tests.fake_service import make

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
    ("given", "told"),
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
def test_bad_input_is_refused_when_the_model_is_made(given: dict[str, Any], told: str) -> None:
    with pytest.raises(ValidationError) as caught:
        make(api_key=SECRETS[0], **given)
    assert told in str(caught.value)
    assert SECRETS[0] not in str(caught.value)


def test_an_unknown_model_is_taken_with_one_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parameters, "_warned", set())
    with pytest.warns(UserWarning, match="gpt-9"):
        made = make(model="gpt-9")
    assert made.model == "gpt-9"
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        make(model="gpt-9")


def test_a_transport_that_is_not_installed_is_refused_with_the_way_to_get_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(_chat_fields, "find_spec", lambda name: None)
    with pytest.raises(ValidationError, match=r'pip install "langchain-minitoolai\[aiohttp\]"'):
        make(async_transport="aiohttp")
    assert not make()._route().aiohttp
    assert not make(async_transport="httpx")._route().aiohttp


def test_the_transport_is_a_part_of_the_route() -> None:
    model = make(async_transport="aiohttp", proxy="http://localhost:1", verify=False)
    assert model._route() == ("http://localhost:1", False, True)


# --- What LangChain asks ---------------------------------------------------------------------


def test_tracing_learns_the_provider_and_what_is_set() -> None:
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


def test_tracing_learns_a_call_s_own_parameters() -> None:
    params = make(temperature=0)._get_ls_params(
        stop=["y"], model="gpt-4o", temperature=1.5, max_tokens=7
    )
    assert params["ls_model_name"] == "gpt-4o"
    assert (params["ls_temperature"], params["ls_max_tokens"]) == (1.5, 7)
    assert params["ls_stop"] == ["y"]


def test_tracing_learns_the_versions() -> None:
    assert (make().metadata or {})["lc_versions"]["langchain-minitoolai"] == __version__


def test_the_type_and_the_identity_name_what_changes_an_answer() -> None:
    model = make(temperature=0, model_kwargs={"seed": 1})
    assert model._llm_type == "minitoolai-chat"
    assert model._identifying_params == {
        "model": "gpt-4o-mini",
        "temperature": 0,
        "max_tokens": None,
        "stop": None,
        "tool_calling": "prompted",
        "strict_tool_calls": False,
        "base_url": contract.API_BASE,
        "model_kwargs": {"seed": 1},
    }


def test_a_cache_tells_models_apart_that_answer_differently() -> None:
    keys = {
        make(**fields)._get_llm_string()
        for fields in ({}, {"temperature": 0}, {"model": "gpt-4o"}, {"stop": "x"})
    }
    assert len(keys) == 4
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
def test_a_picture_counts_by_the_published_rule_and_is_not_fetched(model: str) -> None:
    picture = {"type": "image_url", "image_url": {"url": "https://example.com/a.png"}}
    made = make(model=model)
    without = made.get_num_tokens_from_messages([HumanMessage([""])])
    count = made.get_num_tokens_from_messages([HumanMessage(["", picture])])
    assert count == without + image_tokens(model, None, None)


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
