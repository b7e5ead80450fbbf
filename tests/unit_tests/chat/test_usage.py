from typing import Any

import pytest
from langchain_core.language_models.model_profile import ModelProfile
from langchain_core.messages.ai import UsageMetadata, add_usage

from langchain_minitoolai import ChatMiniToolAI, contract
from langchain_minitoolai._chat.usage import (
    estimate_cost,
    model_profile,
    to_usage_metadata,
)


def test_counts_and_their_details_have_langchain_s_names() -> None:
    usage = to_usage_metadata(
        {
            "prompt_tokens": 10,
            "completion_tokens": 5,
            "total_tokens": 15,
            "prompt_tokens_details": {"cached_tokens": 4, "audio_tokens": 1},
            "completion_tokens_details": {
                "reasoning_tokens": 3,
                "audio_tokens": 2,
                "accepted_prediction_tokens": 0,
                "rejected_prediction_tokens": 0,
            },
        }
    )
    assert usage == {
        "input_tokens": 10,
        "output_tokens": 5,
        "total_tokens": 15,
        "input_token_details": {"audio": 1, "cache_read": 4},
        "output_token_details": {"audio": 2, "reasoning": 3},
    }
    assert add_usage(usage, usage)["total_tokens"] == 30


@pytest.mark.parametrize("odd", [None, "ten", -3, 1.5, [], {}])
def test_counts_that_are_missing_or_odd_become_zero(odd: Any) -> None:
    usage = to_usage_metadata(
        {"prompt_tokens": odd, "completion_tokens": 5, "prompt_tokens_details": odd}
    )
    assert usage["input_tokens"] == 0
    assert usage["output_tokens"] == usage["total_tokens"] == 5
    assert to_usage_metadata({})["total_tokens"] == 0


@pytest.mark.parametrize("model", contract.CHAT_MODELS)
def test_a_million_tokens_each_way_cost_what_the_price_table_says(model: str) -> None:
    usage = UsageMetadata(input_tokens=10**6, output_tokens=10**6, total_tokens=2 * 10**6)
    price = contract.CHAT_PRICES[model]
    assert estimate_cost(usage, model) == pytest.approx(price.input + price.output)


def test_a_dated_snapshot_costs_what_its_model_does() -> None:
    usage = UsageMetadata(input_tokens=1000, output_tokens=100, total_tokens=1100)
    assert estimate_cost(usage, "gpt-4o-mini-2024-07-18") == 0.00021
    assert estimate_cost(usage, "gpt-9-2030-01-01", None, "gpt-4o-mini") == 0.00021


def test_an_unknown_model_has_no_cost() -> None:
    usage = UsageMetadata(input_tokens=1, output_tokens=1, total_tokens=2)
    assert estimate_cost(usage, "gpt-9", None) is None
    assert estimate_cost(usage) is None


# --- Model profiles ------------------------------------------------------------------


@pytest.mark.parametrize("model", contract.CHAT_MODELS)
def test_every_documented_model_has_a_profile_from_the_contract(model: str) -> None:
    profile = model_profile(model)
    assert profile is not None
    limits = contract.TOKEN_LIMITS[model]
    assert profile["max_input_tokens"] == limits.input
    assert profile["max_output_tokens"] == limits.output
    assert profile["tool_calling"]
    assert profile["structured_output"]
    sees = model in contract.VISION_MODELS
    images = ("image_inputs", "image_url_inputs", "image_tool_message")
    assert [profile.get(name) for name in images] == [sees, sees, sees]


def test_a_profile_claims_no_medium_that_the_service_does_not_document() -> None:
    profile = model_profile("gpt-4o")
    assert profile is not None
    media = ("audio", "video", "pdf")
    assert not any(profile.get(f"{medium}_inputs") for medium in media)
    assert not any(profile.get(f"{medium}_outputs") for medium in (*media, "image"))
    assert not profile.get("pdf_tool_message")


def test_a_profile_holds_only_fields_that_core_knows() -> None:
    assert set(model_profile("gpt-4o") or {}) <= set(ModelProfile.__annotations__)


def test_a_profile_has_what_core_asks_of_conversations_where_core_asks_it() -> None:
    profile = dict(model_profile("gpt-4o") or {})
    asked = {
        "tool_call_streaming": True,
        "temperature": True,
        "mid_conversation_system_messages": True,  # they are sent where they stand
        "mid_conversation_tools": False,
    }
    known = {name: asked[name] for name in asked if name in ModelProfile.__annotations__}
    assert known
    assert {name: profile.get(name) for name in known} == known


def test_a_model_that_is_not_documented_has_no_profile() -> None:
    assert model_profile("gpt-9") is None


def test_a_profile_is_its_model_s_own() -> None:
    one, other = (ChatMiniToolAI(api_key="k", model="gpt-4o") for _ in range(2))
    assert one.profile is not None
    one.profile["max_input_tokens"] = 1
    assert other.profile == model_profile("gpt-4o") != one.profile
