"""Models without a price, and those that think before they answer."""

import pytest

from langchain_minitoolai import ChatMiniToolAI, sandbox
from tests.integration_tests.parametrize import Caller, sync_and_async
from tests.integration_tests.sandbox_helpers import access, bodies

MODEL = "gpt-5.4-nano"
pytestmark = pytest.mark.filterwarnings(f"ignore:model '{MODEL}' is not among those")


@sync_and_async
def test_a_reasoning_model_is_asked_without_temperature_and_answers_without_cost(
    caller: Caller,
) -> None:
    with sandbox.running(models=[MODEL], fields=["reasoning_effort"]) as service:
        model = ChatMiniToolAI(model=MODEL, reasoning_effort="low", **access(service))
        answer = caller.invoke(model, "What is 6 * 7?")
        chunks = caller.stream(model, "What is 6 * 7?")
        assert answer.text == "".join(chunk.text for chunk in chunks) == "6 * 7 = 42."
        assert answer.usage_metadata["output_token_details"]["reasoning"] == 64
        assert model.profile is None
        assert not [one for one in (answer, *chunks) if "cost" in one.response_metadata]
        for body in bodies(service):
            assert body["reasoning_effort"] == "low"
            assert "temperature" not in body


@sync_and_async
def test_an_answer_whose_tokens_all_went_into_thinking_is_warned_of(caller: Caller) -> None:
    with sandbox.running(models=[MODEL], fields=["reasoning_effort"]) as service:
        model = ChatMiniToolAI(model=MODEL, reasoning_effort="high", **access(service))
        with pytest.warns(UserWarning, match="empty: .* 1000 reasoning tokens; raise max_tokens"):
            assert caller.invoke(model, "Hello").text == ""
        with pytest.warns(UserWarning, match="empty: .* 1000 reasoning tokens; raise max_tokens"):
            assert "".join(chunk.text for chunk in caller.stream(model, "Hello")) == ""
        enough = caller.invoke(model, "What is 6 * 7?", max_tokens=2000)
        assert enough.text == "6 * 7 = 42."
