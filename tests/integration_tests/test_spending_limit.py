"""`SpendingLimitMiddleware` in agents over the sandbox, whose books say what was spent."""

import subprocess
import sys
from pathlib import Path
from typing import Any, Final

import pytest
from langchain.agents import create_agent
from langchain.agents.middleware import AgentMiddleware, SummarizationMiddleware
from langchain_core.caches import InMemoryCache
from langchain_core.messages import AIMessage, HumanMessage, RemoveMessage, ToolMessage
from langchain_core.tools import tool
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.checkpoint.sqlite import SqliteSaver

from langchain_minitoolai import ChatMiniToolAI, MiniToolAIImageTool, sandbox
from langchain_minitoolai.contract import IMAGE_PRICE
from langchain_minitoolai.errors import SpendingLimitError
from langchain_minitoolai.middleware import SpendingLimitMiddleware
from tests.integration_tests.parametrize import Caller, sync_and_async

THREAD: Any = {"configurable": {"thread_id": "1"}}
FOREVER: Any = {"recursion_limit": 1000}
TALE = "A long tale of many words. " * 40
LONGEST: Final = 400
"""Tokens of an answer; the tale has fewer."""


@pytest.fixture
def quick() -> Any:
    with sandbox.running(job_seconds=0.0) as service:
        yield service


@tool
def look_up(word: str) -> str:
    """Look up a word."""
    return f"{word} is a word"


def asked(text: str = "Go on") -> Any:
    return {"messages": [HumanMessage(text)]}


def spent(service: sandbox.Service) -> float:
    return sum(charge.usd for charge in service.charges)


def images(service: sandbox.Service) -> int:
    return sum(charge.kind == "image" for charge in service.charges)


def access(service: sandbox.Service) -> Any:
    return {"api_key": service.api_key, "base_url": service.base_url}


def chat(service: sandbox.Service, **options: Any) -> ChatMiniToolAI:
    return ChatMiniToolAI(max_tokens=LONGEST, **access(service), **options)


def draw(service: sandbox.Service, **options: Any) -> MiniToolAIImageTool:
    return MiniToolAIImageTool(poll_interval=0.01, **access(service), **options)


def drawings(count: int) -> list[sandbox.ToolCall]:
    return [sandbox.ToolCall("generate_image", {"prompt": f"image {n}"}) for n in range(count)]


# --- Chats ------------------------------------------------------------------------------------


@sync_and_async
def test_a_run_ends_before_the_call_that_would_pass_its_limit(
    caller: Caller, quick: sandbox.Service
) -> None:
    quick.reply(TALE, sandbox.ToolCall("look_up", {"word": "fjord"}), times=None)
    limit = 0.005
    agent = create_agent(
        chat(quick),
        [look_up],
        middleware=[SpendingLimitMiddleware(run_limit_usd=limit)],
    )
    messages = caller.invoke(agent, asked(), FOREVER)["messages"]
    last = messages[-1].text
    assert last.startswith("Spending limit reached: this run has spent $")
    assert float(last.split("$")[1].split(";")[0]) == pytest.approx(spent(quick), abs=1e-6)
    assert last.endswith("and run_limit_usd is $0.005.")
    dearest = max(charge.usd for charge in quick.charges) + LONGEST * 0.6e-6
    assert limit - dearest < spent(quick) <= limit
    assert sum(message.type == "ai" for message in messages) == len(quick.charges) + 1


@sync_and_async
def test_a_streamed_run_ends_there_too(caller: Caller, quick: sandbox.Service) -> None:
    quick.reply(TALE, sandbox.ToolCall("look_up", {"word": "fjord"}), times=None)
    agent = create_agent(
        chat(quick), [look_up], middleware=[SpendingLimitMiddleware(run_limit_usd=0.001)]
    )
    streamed = caller.stream(agent, asked(), FOREVER, stream_mode="messages")
    assert streamed[-1][0].text.startswith("Spending limit reached: this run has spent $0.000")
    assert 0.0005 < spent(quick) <= 0.001


@sync_and_async
def test_an_error_is_raised_where_it_is_asked_for(caller: Caller, quick: sandbox.Service) -> None:
    limit = SpendingLimitMiddleware(run_limit_usd=1e-6, exit_behavior="error")
    agent = create_agent(chat(quick), middleware=[limit])
    with pytest.raises(SpendingLimitError, match=r"may cost \$0\.00024.*run_limit_usd"):
        caller.invoke(agent, asked())
    assert quick.requests == []


@sync_and_async
def test_each_run_has_the_limit_for_itself_and_the_thread_has_its_own(
    caller: Caller, quick: sandbox.Service
) -> None:
    quick.reply(TALE, times=None)
    agent = create_agent(
        chat(quick),
        middleware=[SpendingLimitMiddleware(run_limit_usd=0.0006, thread_limit_usd=0.001)],
        checkpointer=InMemorySaver(),
    )
    ends = [caller.invoke(agent, asked(), THREAD)["messages"][-1].text for _ in range(12)]
    assert ends[0] == TALE
    refused = [end for end in ends if end.startswith("Spending limit reached")]
    assert len(quick.charges) == len(ends) - len(refused)
    assert 0.0006 < spent(quick) <= 0.001
    assert refused[-1].endswith("and thread_limit_usd is $0.001.")


def test_a_run_that_was_interrupted_and_resumed_is_one_run(quick: sandbox.Service) -> None:
    quick.reply(TALE, sandbox.ToolCall("look_up", {"word": "fjord"}), times=None)
    agent = create_agent(
        chat(quick),
        [look_up],
        middleware=[SpendingLimitMiddleware(run_limit_usd=0.002)],
        checkpointer=InMemorySaver(),
    )
    given = asked()
    for _ in range(30):
        done = agent.invoke(given, THREAD, interrupt_before=["tools"])
        given = None
    assert done["messages"][-1].text.startswith("Spending limit reached: this run")
    assert spent(quick) <= 0.002


@sync_and_async
def test_a_cached_answer_costs_nothing(caller: Caller, quick: sandbox.Service) -> None:
    quick.reply(TALE, times=None)
    agent = create_agent(
        chat(quick, cache=InMemoryCache()),
        middleware=[SpendingLimitMiddleware(thread_limit_usd=0.0003)],
    )
    history: list[Any] = [HumanMessage("Go on")]
    for _ in range(5):
        done = caller.invoke(agent, {"messages": history})
        assert done["messages"][-1].text == TALE
    assert len(quick.charges) == 1


@sync_and_async
def test_what_messages_given_at_the_start_cost_counts_to_the_thread(
    caller: Caller, quick: sandbox.Service
) -> None:
    history = [
        HumanMessage("Hello?"),
        AIMessage("By hand"),
        AIMessage("Hello!", response_metadata={"cost": 0.5}),
        *asked()["messages"],
    ]
    model = chat(quick)
    run = create_agent(model, middleware=[SpendingLimitMiddleware(run_limit_usd=0.4)])
    assert "You said" in caller.invoke(run, {"messages": history})["messages"][-1].text
    thread = create_agent(model, middleware=[SpendingLimitMiddleware(thread_limit_usd=0.4)])
    end = caller.invoke(thread, {"messages": history})["messages"][-1].text
    assert "this thread has spent $0.500000; " in end
    assert len(quick.charges) == 1


# --- Images -----------------------------------------------------------------------------------


@sync_and_async
def test_images_count_with_chats_and_side_by_side(caller: Caller, quick: sandbox.Service) -> None:
    quick.reply(*drawings(5))
    quick.reply("Here they are.")
    agent = create_agent(
        chat(quick),
        [draw(quick)],
        middleware=[SpendingLimitMiddleware(run_limit_usd=3 * IMAGE_PRICE + 0.001)],
    )
    messages = caller.invoke(agent, asked())["messages"]
    results = [message for message in messages if isinstance(message, ToolMessage)]
    assert [each.status for each in results] == ["success"] * 3 + ["error"] * 2
    assert results[-1].text.startswith("Spending limit reached: this run has spent $0.0002")
    assert results[-1].text.endswith("Nothing was sent or charged. Go on without another image.")
    assert images(quick) == 3
    assert messages[-1].text == "Here they are."


@sync_and_async
def test_a_failed_image_counts_unless_nothing_was_charged(
    caller: Caller, quick: sandbox.Service
) -> None:
    quick.fault(sandbox.faults.status(500), on="image")
    quick.fault(sandbox.faults.status(400), on="image")
    agent = create_agent(
        chat(quick),
        [draw(quick, max_retries=0)],
        middleware=[SpendingLimitMiddleware(run_limit_usd=2 * IMAGE_PRICE + 0.0013)],
    )
    for number in range(4):
        quick.reply(sandbox.ToolCall("generate_image", {"prompt": f"image {number}"}))
    quick.reply("That is all.")
    messages = caller.invoke(agent, asked())["messages"]
    texts = [message.text for message in messages if isinstance(message, ToolMessage)]
    assert "charged" in texts[0]
    assert "Nothing was charged" in texts[1]
    assert texts[2].startswith("Image 1")
    assert texts[3].startswith("Spending limit reached")


def test_an_image_that_is_counted_already_is_not_refused_again(quick: sandbox.Service) -> None:
    draw_one = draw(quick)
    quick.reply(*drawings(1))
    memory = InMemorySaver()
    options: Any = {
        "middleware": [SpendingLimitMiddleware(run_limit_usd=IMAGE_PRICE + 0.001)],
        "checkpointer": memory,
    }
    agent = create_agent(chat(quick), [draw_one], **options)
    agent.invoke(asked(), THREAD, interrupt_after=["tools"])
    before = next(each for each in agent.get_state_history(THREAD) if each.next == ("tools",))
    replayed = agent.invoke(None, before.config)
    (result,) = [each for each in replayed["messages"] if isinstance(each, ToolMessage)]
    assert result.status == "success"
    assert images(quick) == 1


# --- State ------------------------------------------------------------------------------------


class Forgetful(AgentMiddleware[Any, Any, Any]):
    """Removes all but the question before each model call."""

    def before_model(self, state: Any, runtime: Any) -> Any:
        return {"messages": [RemoveMessage(each.id) for each in state["messages"][1:]]}


@pytest.mark.parametrize("forgetful_first", [True, False])
def test_removed_messages_lower_no_sum(
    forgetful_first: bool,  # noqa: FBT001 - pytest's
    quick: sandbox.Service,
) -> None:
    for number in range(6):
        quick.reply(sandbox.ToolCall("generate_image", {"prompt": f"image {number}"}))
    quick.reply("That is all.")
    limit = 4 * IMAGE_PRICE + 0.001
    middleware: list[Any] = [Forgetful(), SpendingLimitMiddleware(run_limit_usd=limit)]
    agent = create_agent(
        chat(quick),
        [draw(quick)],
        middleware=middleware if forgetful_first else middleware[::-1],
    )
    agent.invoke(asked(), FOREVER)
    assert images(quick) == 4
    assert spent(quick) <= limit


def test_a_summary_lowers_no_sum(quick: sandbox.Service) -> None:
    quick.reply(TALE, times=None)
    model = chat(quick)
    with sandbox.running() as other:
        summary = SummarizationMiddleware(
            chat(other), trigger=("messages", 3), keep=("messages", 1)
        )
        limit: Any = SpendingLimitMiddleware(thread_limit_usd=0.001)
        agent = create_agent(
            model,
            middleware=[summary, limit],
            checkpointer=InMemorySaver(),
        )
        for _ in range(12):
            done = agent.invoke(asked(), THREAD)
    assert done["messages"][-1].text.startswith("Spending limit reached: this thread")
    assert 0.0007 < spent(quick) <= 0.001


LIMIT: Final = 0.001
RESTARTED = """
import sys
from langchain.agents import create_agent
from langgraph.checkpoint.sqlite import SqliteSaver
from langchain_minitoolai import ChatMiniToolAI
from langchain_minitoolai.middleware import SpendingLimitMiddleware

path, key, url, limit = sys.argv[1:]
with SqliteSaver.from_conn_string(path) as saver:
    agent = create_agent(
        ChatMiniToolAI(api_key=key, base_url=url, max_tokens=400),
        middleware=[SpendingLimitMiddleware(thread_limit_usd=float(limit))],
        checkpointer=saver,
    )
    for _ in range(2):
        done = agent.invoke({"messages": [("user", "Go on")]}, {"configurable": {"thread_id": "1"}})
print(done["messages"][-1].text)
"""


def test_the_limit_of_a_thread_holds_over_restarts(quick: sandbox.Service, tmp_path: Path) -> None:
    quick.reply(TALE, times=None)
    path = str(tmp_path / "checkpoints.sqlite")
    command = [sys.executable, "-c", RESTARTED, path, quick.api_key, quick.base_url, str(LIMIT)]
    with SqliteSaver.from_conn_string(path) as saver:
        agent = create_agent(
            chat(quick),
            middleware=[SpendingLimitMiddleware(thread_limit_usd=LIMIT)],
            checkpointer=saver,
        )
        while spent(quick) < LIMIT / 2:
            agent.invoke(asked(), THREAD)
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.startswith("Spending limit reached: this thread has spent $0.000")
    assert LIMIT / 2 < spent(quick) <= LIMIT
    with SqliteSaver.from_conn_string(path) as saver:
        kept = saver.get_tuple(THREAD).checkpoint["channel_values"]  # type: ignore[union-attr]
    assert sum(kept["minitoolai_costs"].values()) == pytest.approx(spent(quick))
