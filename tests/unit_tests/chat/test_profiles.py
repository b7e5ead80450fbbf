import pytest
from langchain_core.language_models.model_profile import ModelProfile

from langchain_minitoolai import ChatMiniToolAI, contract
from langchain_minitoolai._chat.profiles import profile_of


@pytest.mark.parametrize("model", contract.CHAT_MODELS)
def test_every_documented_model_has_a_profile_from_the_contract(model: str) -> None:
    profile = profile_of(model)
    assert profile is not None
    limits = contract.TOKEN_LIMITS[model]
    assert profile["max_input_tokens"] == limits.input
    assert profile["max_output_tokens"] == limits.output
    assert profile["tool_calling"]
    assert profile["structured_output"]
    sees = model in contract.VISION_MODELS
    pictures = ("image_inputs", "image_url_inputs", "image_tool_message")
    assert [profile.get(name) for name in pictures] == [sees, sees, sees]


def test_a_profile_claims_no_medium_that_the_service_does_not_document() -> None:
    profile = profile_of("gpt-4o")
    assert profile is not None
    media = ("audio", "video", "pdf")
    assert not any(profile.get(f"{medium}_inputs") for medium in media)
    assert not any(profile.get(f"{medium}_outputs") for medium in (*media, "image"))
    assert not profile.get("pdf_tool_message")


def test_a_profile_holds_only_fields_that_core_knows() -> None:
    assert set(profile_of("gpt-4o") or {}) <= set(ModelProfile.__annotations__)


def test_a_model_that_is_not_documented_has_no_profile() -> None:
    assert profile_of("gpt-9") is None


def test_a_profile_is_its_model_s_own() -> None:
    one, other = (ChatMiniToolAI(api_key="k", model="gpt-4o") for _ in range(2))
    assert one.profile is not None
    one.profile["max_input_tokens"] = 1
    assert other.profile == profile_of("gpt-4o") != one.profile
