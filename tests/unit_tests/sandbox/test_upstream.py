from typing import Any

import pytest

from langchain_minitoolai.sandbox._upstream import address, translated

BODY: dict[str, Any] = {
    "model": "gpt-4o",
    "messages": [{"role": "developer", "content": "Be brief."}, {"role": "user", "content": "Hi"}],
}


@pytest.mark.parametrize("url", ["http://h:1", "http://h:1/", "http://h:1/v1", "http://h:1/v1/"])
def test_an_address_may_end_in_v1_or_not(url: str) -> None:
    assert address(url, "models") == "http://h:1/v1/models"


def test_a_request_is_translated_into_openai_s_older_words() -> None:
    assert translated(BODY, "llama") == {
        "model": "llama",
        "messages": [
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": "Hi"},
        ],
        "max_tokens": 1000,
        "stream": True,
        "stream_options": {"include_usage": True},
    }


def test_what_both_know_is_kept() -> None:
    body = {**BODY, "temperature": 0.5, "max_completion_tokens": 7, "stop": ["x"], "tools": None}
    request = translated({**body, "reasoning_effort": "low"}, "llama")
    assert (request["temperature"], request["max_tokens"], request["stop"]) == (0.5, 7, ["x"])
    assert request["reasoning_effort"] == "low"
    assert "tools" not in request
