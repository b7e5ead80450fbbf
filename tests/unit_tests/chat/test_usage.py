from typing import Any

import pytest
from langchain_core.messages.ai import UsageMetadata, add_usage

from langchain_minitoolai import contract
from langchain_minitoolai._chat.usage import cost_of, image_tokens, to_usage


def test_counts_and_their_details_have_langchain_s_names() -> None:
    usage = to_usage(
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
    usage = to_usage({"prompt_tokens": odd, "completion_tokens": 5, "prompt_tokens_details": odd})
    assert usage["input_tokens"] == 0
    assert usage["output_tokens"] == usage["total_tokens"] == 5
    assert to_usage({})["total_tokens"] == 0


@pytest.mark.parametrize("model", contract.CHAT_MODELS)
def test_a_million_tokens_each_way_cost_what_the_price_table_says(model: str) -> None:
    usage = UsageMetadata(input_tokens=10**6, output_tokens=10**6, total_tokens=2 * 10**6)
    price = contract.CHAT_PRICES[model]
    assert cost_of(usage, model) == pytest.approx(price.input + price.output)


def test_a_dated_snapshot_costs_what_its_model_does() -> None:
    usage = UsageMetadata(input_tokens=1000, output_tokens=100, total_tokens=1100)
    assert cost_of(usage, "gpt-4o-mini-2024-07-18") == 0.00021
    assert cost_of(usage, "gpt-9-2030-01-01", None, "gpt-4o-mini") == 0.00021


def test_an_unknown_model_has_no_cost() -> None:
    usage = UsageMetadata(input_tokens=1, output_tokens=1, total_tokens=2)
    assert cost_of(usage, "gpt-9", None) is None
    assert cost_of(usage) is None


@pytest.mark.parametrize(
    ("size", "tiles"),
    [
        ((512, 512), 1),
        ((513, 512), 2),
        ((1024, 1024), 4),  # to 768 × 768
        ((2048, 4096), 6),  # to 1024 × 2048, then 768 × 1536
        ((4096, 512), 4),  # to 2048 × 256
        ((1, 1), 1),
        (None, 4),
    ],
)
def test_a_picture_counts_by_openai_s_published_tiles(
    size: tuple[int, int] | None, tiles: int
) -> None:
    for model, base, tile in (
        ("gpt-4o", 85, 170),
        ("gpt-4o-mini", 2833, 5667),
        ("gpt-4.1", 85, 170),
        ("gpt-9", 85, 170),
    ):
        for detail in ("high", "auto", None):
            assert image_tokens(model, detail, size) == base + tiles * tile
        assert image_tokens(model, "low", size) == base


def test_the_smaller_models_count_patches() -> None:
    assert image_tokens("gpt-4.1-mini", None, (1024, 1024)) == 1659  # 1024 × 1.62
    assert image_tokens("gpt-4.1-nano", "low", (320, 33)) == 50  # 20 × 2.46
    assert image_tokens("gpt-4.1-mini", None, (10_000, 10_000)) == 2489  # 1536 × 1.62
    assert image_tokens("gpt-4.1-mini-2025-04-14", None, (32, 32)) == 2
