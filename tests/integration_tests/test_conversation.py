"""A long conversation with an agent, each turn of which a fresh process could have had.

Ten turns, three tools, two images that the model is shown, one tool that fails; streamed,
interrupted after a call and after a result, and resumed from the checkpoint on disk.
"""

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import pytest
from langchain.agents import create_agent
from langchain_core.messages import AIMessageChunk, BaseMessage
from langchain_core.tools import ToolException, tool
from langgraph.checkpoint.sqlite import SqliteSaver
from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver

from langchain_minitoolai import ChatMiniToolAI, MiniToolAIImageTool, contract, sandbox
from tests.integration_tests.sandbox_helpers import access, bodies, undocumented

THREAD: Any = {"configurable": {"thread_id": "long"}}
FACT = "This is the sandbox, which gives the same answer every time."


class Step(NamedTuple):
    """Outcome of one run of the graph."""

    streamed: list[Any]
    messages: list[BaseMessage]
    next: tuple[str, ...]


Run: TypeAlias = Callable[[sandbox.Service, Path, Any, dict[str, Any]], Step]


@tool
def multiply(a: int, b: int) -> int:
    """Multiply two numbers."""
    return a * b


@tool
def share_price(share: str) -> str:
    """Look up the price of a share."""
    raise ToolException(f"the exchange is closed, {share} has no price")


share_price.handle_tool_error = True


def fresh_agent(service: sandbox.Service, folder: Path, checkpointer: Any) -> Any:
    """Make everything anew, as a process that has just started does."""
    draw = MiniToolAIImageTool(
        save_to=folder,
        show_to_model="data",
        width=256,
        height=256,
        poll_interval=0.02,
        **access(service),
    )
    tools = [multiply, share_price, draw]
    return create_agent(ChatMiniToolAI(**access(service)), tools, checkpointer=checkpointer)


def run(service: sandbox.Service, folder: Path, given: Any, how: dict[str, Any]) -> Step:
    with SqliteSaver.from_conn_string(str(folder / "threads.sqlite")) as saver:
        agent = fresh_agent(service, folder, saver)
        streamed = [each for each, _ in agent.stream(given, THREAD, stream_mode="messages", **how)]
        state = agent.get_state(THREAD)
    return Step(streamed, state.values["messages"], state.next)


async def arun(service: sandbox.Service, folder: Path, given: Any, how: dict[str, Any]) -> Step:
    async with AsyncSqliteSaver.from_conn_string(str(folder / "threads.sqlite")) as saver:
        agent = fresh_agent(service, folder, saver)
        stream = agent.astream(given, THREAD, stream_mode="messages", **how)
        streamed = [each async for each, _ in stream]
        state = await agent.aget_state(THREAD)
    return Step(streamed, state.values["messages"], state.next)


def run_in_a_loop(service: sandbox.Service, folder: Path, given: Any, how: dict[str, Any]) -> Step:
    return asyncio.run(arun(service, folder, given, how))


@pytest.fixture
def quick() -> Iterator[sandbox.Service]:
    """A sandbox whose images take no time."""
    with sandbox.running(job_seconds=0.02) as service:
        yield service


@pytest.mark.parametrize("run", [run, run_in_a_loop], ids=["sync", "async"])
def test_a_long_conversation_that_is_interrupted_and_resumed_ends_right(
    run: Run, quick: sandbox.Service, tmp_path: Path
) -> None:
    def say(text: str, **how: Any) -> Step:
        step = run(quick, tmp_path, {"messages": [("user", text)]}, how)
        assert words_of(step) or step.next, "an answer comes in chunks"
        return step

    def resume() -> Step:
        return run(quick, tmp_path, None, {})

    say("Hello, I am Kari.")
    assert last(say("Please multiply 6 by 7.")) == "multiply: 42"

    # The image is drawn and paid for, and then the process ends.
    cut = say("Use generate_image to draw 'a red lighthouse'.", interrupt_after=["tools"])
    assert (cut.next, cut.messages[-1].type) == (("model",), "tool")
    assert last(resume()).startswith("generate_image: Image")
    assert last(say("What does it show?")).endswith(f"I was shown 1 image. {FACT}")

    failed = say("What is the share_price of 'EQNR'?")
    assert last(failed) == "share_price failed: the exchange is closed, EQNR has no price"
    assert last(say("Please multiply 12 by 12.")) == "multiply: 144"

    # The call is made but nothing has run when the process ends.
    cut = say("Use generate_image to draw 'a green boat'.", interrupt_before=["tools"])
    assert (cut.next, cut.messages[-1].type) == (("tools",), "ai")
    assert len(images_paid(quick)) == 1
    assert last(resume()).startswith("generate_image: Image")
    assert last(say("How do the two differ?")).endswith(f"I was shown 2 images. {FACT}")

    assert last(say("Please multiply 3 by 5.")) == "multiply: 15"
    end = say("What did we do today?")
    assert last(end) == f"You said: “What did we do today?” I was shown 2 images. {FACT}"
    check_end(end.messages)
    check_books(quick, tmp_path)


def check_end(messages: list[BaseMessage]) -> None:
    """Every call has its result, in the right order, once."""
    kinds = [message.type for message in messages]
    assert (kinds.count("human"), kinds.count("ai"), kinds.count("tool")) == (10, 16, 6)
    calls = [call for each in messages for call in getattr(each, "tool_calls", ())]
    results: list[Any] = [message for message in messages if message.type == "tool"]
    assert [call["name"] for call in calls] == [
        "multiply",
        "generate_image",
        "share_price",
        "multiply",
        "generate_image",
        "multiply",
    ]
    assert [call["id"] for call in calls] == [result.tool_call_id for result in results]
    assert len({call["id"] for call in calls}) == 6
    assert [result.status for result in results].count("error") == 1


def check_books(service: sandbox.Service, folder: Path) -> None:
    """Nothing was paid for twice, nothing undocumented was sent, both images were shown."""
    assert undocumented(service) == []
    assert len(images_paid(service)) == 2
    assert len(list(folder.glob("*.png"))) == 2
    sent = bodies(service)
    assert len(sent) == 16
    shown = [
        (message["role"], part["image_url"]["url"][:22])
        for message in sent[-1]["messages"]
        if isinstance(message["content"], list)
        for part in message["content"]
        if part["type"] == "image_url"
    ]
    assert shown == [("user", "data:image/png;base64,")] * 2


def images_paid(service: sandbox.Service) -> list[sandbox.Charge]:
    return [charge for charge in service.charges if charge.usd == contract.IMAGE_PRICE]


def words_of(step: Step) -> list[str]:
    pieces = [
        str(each.text) for each in step.streamed if isinstance(each, AIMessageChunk) and each.text
    ]
    if pieces:
        assert len(pieces) > 1
        assert "".join(pieces) == step.messages[-1].text
    return pieces


def last(step: Step) -> str:
    """Give the last answer, which must be the end of the run."""
    assert step.next == ()
    assert step.messages[-1].type == "ai"
    words_of(step)
    return str(step.messages[-1].text)
