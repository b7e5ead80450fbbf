"""Middleware without a service: bad input, models and tools of others, costs that are unknown."""

import asyncio
import logging
import subprocess
import sys
import warnings
from collections.abc import Callable
from typing import Any

import pytest
from langchain.agents import create_agent
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, ToolMessage
from langchain_core.messages.ai import UsageMetadata
from langchain_core.outputs import ChatGeneration, ChatResult
from langchain_core.tools import tool
from langgraph.types import Command
from pydantic import Field
from typing_extensions import override

from langchain_minitoolai import ChatMiniToolAI, contract
from langchain_minitoolai.errors import InvalidInputError
from langchain_minitoolai.middleware import (
    ShowImagesMiddleware,
    SpendingLimitMiddleware,
    merge_costs,
)

CALL = {"name": "draw", "args": {}, "id": "call-1"}


class ScriptedModel(BaseChatModel):
    """A model of another provider that gives the answers it was made with."""

    answers: list[AIMessage]
    prompts: list[list[BaseMessage]] = Field(default_factory=list)

    @property
    def _llm_type(self) -> str:
        return "scripted"

    @override
    def _generate(self, messages: list[BaseMessage], *_: Any, **__: Any) -> ChatResult:
        self.prompts.append(messages)
        return ChatResult(generations=[ChatGeneration(message=self.answers.pop(0))])

    @override
    def bind_tools(self, tools: Any, **_: Any) -> Any:
        return self


def scripted(*answers: AIMessage, **options: Any) -> ScriptedModel:
    return ScriptedModel(answers=list(answers), **options)


def costing(usd: Any, text: str = "Hello!", **options: Any) -> AIMessage:
    return AIMessage(text, response_metadata={"cost": usd}, **options)


@tool(response_format="content_and_artifact")
def draw() -> tuple[str, dict[str, Any]]:
    """Draw something for a quarter of a dollar."""
    return "drawn", {"cost_usd": 0.25}


@tool("draw")
def draw_by_command(call_id: Any = "call-1") -> Command[Any]:
    """Draw something, and answer with a command."""
    message = ToolMessage("drawn", tool_call_id="call-1", artifact={"cost_usd": 0.25})
    return Command(update={"messages": [message]})


@tool("draw", response_format="content_and_artifact")
def draw_for_nothing() -> tuple[str, Any]:
    """Draw something; what it cost is not known."""
    return "drawn", None


@pytest.fixture(params=["sync", "async"])
def run(request: pytest.FixtureRequest) -> Callable[..., Any]:
    def sync(agent: Any, given: Any) -> Any:
        return agent.invoke(given)

    def asynchronous(agent: Any, given: Any) -> Any:
        return asyncio.run(agent.ainvoke(given))

    return sync if request.param == "sync" else asynchronous


# --- Bad input --------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["run_limit_usd", "thread_limit_usd"])
@pytest.mark.parametrize("limit", [-0.01, float("nan"), float("inf"), "1", True])
def test_a_limit_that_is_none_is_refused(name: str, limit: Any) -> None:
    given = {name: limit}
    with pytest.raises(ValueError, match=rf"{name} is {limit!r}; allowed: a number from 0"):
        SpendingLimitMiddleware(**given)


def test_a_limit_is_needed() -> None:
    with pytest.raises(InvalidInputError, match="run_limit_usd and thread_limit_usd are both None"):
        SpendingLimitMiddleware()


def test_an_unknown_exit_is_refused() -> None:
    unknown: Any = "stop"
    with pytest.raises(ValueError, match="exit_behavior is 'stop'; allowed: 'end', 'error'"):
        SpendingLimitMiddleware(run_limit_usd=1, exit_behavior=unknown)


def test_an_unknown_placement_is_refused() -> None:
    unknown: Any = "system"
    with pytest.raises(ValueError, match="placement is 'system'; allowed: 'auto', 'user', 'text'"):
        ShowImagesMiddleware(placement=unknown)


def test_without_the_extra_an_error_names_it() -> None:
    program = "import sys; sys.modules['langchain'] = None; import langchain_minitoolai.middleware"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.stderr.splitlines()[-1] == (
        "ImportError: langchain_minitoolai.middleware needs langchain, not installed here: "
        'pip install "langchain-minitoolai[agents]"'
    )


# --- Costs ------------------------------------------------------------------------------------


def test_of_two_costs_of_a_message_the_higher_counts() -> None:
    before = {"a": 0.5, "b": None, "c": 0.0, "d": None}
    new = {"a": 0.0, "b": 0.25, "c": 0.125, "d": None, "e": 1.0}
    merged = {"a": 0.5, "b": 0.25, "c": 0.125, "d": None, "e": 1.0}
    assert merge_costs(before, new) == merged
    assert before["b"] is None


@pytest.mark.parametrize(("tokens", "scale"), [(1, 1.0), (10**6, 1.5)])
def test_an_estimate_that_was_too_low_is_scaled_up(
    run: Callable[..., Any], tokens: int, scale: float
) -> None:
    model = ChatMiniToolAI(api_key="test-key", base_url="http://127.0.0.1:1/api", max_tokens=1)
    usage = UsageMetadata(input_tokens=tokens, output_tokens=1, total_tokens=tokens + 1)
    answer = AIMessage("Hello!", id="answer", usage_metadata=usage)
    history = [HumanMessage("fjord " * 4000), answer, HumanMessage("And now?")]
    read = model.get_num_tokens_from_messages(history) * scale
    price = contract.CHAT_PRICES[model.model]
    agent = create_agent(model, middleware=[SpendingLimitMiddleware(run_limit_usd=1e-6)])
    end = run(agent, {"messages": history})["messages"][-1]
    most = float(end.text.split("may cost $")[1].split(",")[0])
    assert most == pytest.approx((read * price.input + price.output) / 1e6, abs=1e-6)


def test_no_spending_is_a_limit(run: Callable[..., Any]) -> None:
    model = scripted(costing(0.5))
    agent = create_agent(model, middleware=[SpendingLimitMiddleware(run_limit_usd=0)])
    end = run(agent, {"messages": [HumanMessage("Hi")]})["messages"][-1]
    assert end.text.endswith("may cost $0.000000, and run_limit_usd is $0.")
    assert model.prompts == []


def test_another_provider_s_costs_count(run: Callable[..., Any]) -> None:
    model = scripted(costing(0.5, tool_calls=[CALL]), costing(0.5))
    limit = SpendingLimitMiddleware(run_limit_usd=0.75)
    messages = run(create_agent(model, [draw], middleware=[limit]), {"messages": [("user", "Hi")]})
    assert messages["messages"][-1].text.startswith(
        "Spending limit reached: this run has spent $0.750000; the next model call"
    )
    assert len(model.prompts) == 1


@pytest.mark.parametrize("drawing", [draw, draw_by_command])
def test_what_other_tools_cost_counts_by_their_artifact(
    run: Callable[..., Any], drawing: Any
) -> None:
    model = scripted(costing(0.0, tool_calls=[CALL]), costing(0.0), costing(0.0))
    limit = SpendingLimitMiddleware(thread_limit_usd=0.25)
    agent = create_agent(model, [drawing], middleware=[limit])
    done = run(agent, {"messages": [("user", "Hi")]})
    again = run(agent, {"messages": done["messages"]})
    assert "this thread has spent $0.250000" in again["messages"][-1].text


def test_unknown_costs_are_reported_once_and_named_at_the_end(run: Callable[..., Any]) -> None:
    model = scripted(
        AIMessage("", tool_calls=[CALL]),
        costing("dear", tool_calls=[{**CALL, "id": "call-2"}]),
        costing(1.0, tool_calls=[{**CALL, "id": "call-3"}]),
    )
    limit = SpendingLimitMiddleware(run_limit_usd=1.0)
    agent = create_agent(model, [draw_for_nothing], middleware=[limit])
    with pytest.warns(UserWarning, match="can't count what a model's answer cost") as caught:
        done = run(agent, {"messages": [("user", "Hi")]})
    assert len(caught) == 1
    assert done["messages"][-1].text.startswith(
        "Spending limit reached: this run has spent $1.000000, "
        "and 2 calls whose cost is unknown; the next model call may cost"
    )


def test_where_warnings_are_errors_no_answer_is_lost_to_one(
    run: Callable[..., Any], caplog: pytest.LogCaptureFixture
) -> None:
    agent = create_agent(
        scripted(AIMessage("Hello!")), middleware=[SpendingLimitMiddleware(run_limit_usd=1.0)]
    )
    with warnings.catch_warnings(), caplog.at_level(logging.WARNING):
        warnings.simplefilter("error")
        done = run(agent, {"messages": [("user", "Hi")]})
    assert done["messages"][-1].text == "Hello!"
    assert "can't count" in caplog.text


def test_another_provider_s_cached_answer_costs_nothing(run: Callable[..., Any]) -> None:
    usage: Any = {"input_tokens": 1, "output_tokens": 1, "total_tokens": 2, "total_cost": 0}
    agent = create_agent(
        scripted(AIMessage("Hello!", usage_metadata=usage)),
        middleware=[SpendingLimitMiddleware(run_limit_usd=1.0)],
    )
    assert run(agent, {"messages": [("user", "Hi")]})["messages"][-1].text == "Hello!"


# --- Images -----------------------------------------------------------------------------------

SEES = {"image_inputs": True, "image_tool_message": False}
PNG = {"type": "image", "base64": "iVBORw0KGgo=", "mime_type": "image/png"}
LINK = {"type": "image", "url": "https://example.com/1.png"}


class MistralLike(ScriptedModel):
    """A model that says of itself that it is Mistral's."""

    @classmethod
    @override
    def get_lc_namespace(cls) -> list[str]:
        return ["langchain", "chat_models", "mistralai"]


def conversation(*contents: Any) -> list[BaseMessage]:
    calls = [{"name": "draw", "args": {}, "id": f"call-{n}"} for n, _ in enumerate(contents)]
    results = [
        ToolMessage(content, name="draw", tool_call_id=f"call-{n}")
        for n, content in enumerate(contents)
    ]
    return [HumanMessage("Draw."), costing(0.0, "", tool_calls=calls), *results]


def prompt_of(run: Callable[..., Any], model: ScriptedModel, given: Any, **options: Any) -> Any:
    agent = create_agent(model, [draw], middleware=[ShowImagesMiddleware(**options)])
    done = run(agent, {"messages": given})
    assert [each.content for each in done["messages"][: len(given)]] == [e.content for e in given]
    return model.prompts[-1]


def test_images_of_results_stand_in_a_user_message_after_them(run: Callable[..., Any]) -> None:
    given = [
        *conversation([{"type": "text", "text": "One:"}, PNG], "none", ["Two:", LINK]),
        AIMessage("Fine."),
        HumanMessage("More."),
    ]
    prompt = prompt_of(run, scripted(costing(0.0), profile=SEES), given)
    assert [each.type for each in prompt] == [
        *["human", "ai", "tool", "tool", "tool", "human"],
        "ai",
        "human",
    ]
    assert [each.content for each in prompt[2:5]] == [
        "One:\n[The image is in the next user message.]",
        "none",
        "Two:\n[The image is in the next user message.]",
    ]
    assert prompt[5].content == [
        {"type": "text", "text": "Images in the result of draw (call-0):"},
        PNG,
        {"type": "text", "text": "Images in the result of draw (call-2):"},
        LINK,
    ]


def test_what_is_neither_text_nor_image_stays_in_the_result(run: Callable[..., Any]) -> None:
    file = {"type": "file", "url": "https://example.com/a.pdf", "mime_type": "application/pdf"}
    prompt = prompt_of(run, scripted(costing(0.0), profile=SEES), conversation([file, LINK]))
    assert prompt[2].content == [
        file,
        {"type": "text", "text": "[The image is in the next user message.]"},
    ]
    assert prompt[3].content[1] == LINK


@pytest.mark.parametrize(
    ("model", "placement"),
    [
        (MistralLike(answers=[costing(0.0)], profile=SEES), "auto"),
        (scripted(costing(0.0), profile={"image_inputs": False}), "auto"),
        (scripted(costing(0.0), profile=SEES), "text"),
    ],
    ids=["Mistral's", "sees nothing", "asked for"],
)
def test_elsewhere_the_address_stands_in_words(
    run: Callable[..., Any], model: ScriptedModel, placement: str
) -> None:
    model = model.model_copy(update={"answers": [costing(0.0)], "prompts": []})
    unknown = {"type": "image", "file_id": "file-1"}
    prompt = prompt_of(run, model, conversation([LINK, PNG, unknown]), placement=placement)
    assert len(prompt) == 3
    assert prompt[2].content == (
        "[Image: https://example.com/1.png]\n"
        "[An image that is not shown here.]\n[An image that is not shown here.]"
    )


@pytest.mark.parametrize("profile", [None, {}, {"image_tool_message": True}])
def test_a_model_that_takes_images_there_or_is_unknown_gets_them_as_they_are(
    run: Callable[..., Any], profile: Any
) -> None:
    given = conversation([PNG])
    prompt = prompt_of(run, scripted(costing(0.0), profile=profile), given)
    assert [each.content for each in prompt] == [each.content for each in given]
