"""LangChain's agents over a service that documents no tools."""

import asyncio
import json
import re
from pathlib import Path
from typing import Any

import pytest
from langchain.agents import create_agent
from langchain_core.messages import AIMessage, AIMessageChunk, HumanMessage
from langchain_core.tools import ToolException, tool
from langgraph.checkpoint.memory import InMemorySaver

from langchain_minitoolai import ChatMiniToolAI, sandbox
from langchain_minitoolai.errors import BadRequestError, ServiceError
from tests.integration_tests.parametrize import Caller, sync_and_async
from tests.integration_tests.sandbox_helpers import access, bodies, undocumented

ADD: Any = {"messages": [HumanMessage("Please add 2 and 3 for me")]}
BETA = pytest.mark.filterwarnings("ignore::langchain_core._api.LangChainBetaWarning")


@tool
def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


@tool
def shout(text: str) -> str:
    """Write a text in capitals."""
    return text.upper()


@tool
def price(share: str) -> str:
    """Look up the price of a share."""
    raise ToolException(f"the exchange is closed, {share} has no price")


price.handle_tool_error = True


def kinds(messages: list[Any]) -> list[str]:
    return [message.type for message in messages]


@sync_and_async
@pytest.mark.parametrize("answer", ["I can't add that.", "# Sums\n\n- a\n- b", "2 > 1 & é 😀"])
def test_text_streams_in_the_same_chunks_with_tools_bound_and_without(
    caller: Caller, answer: str
) -> None:
    # A letter that may begin the conversation's key waits for the next: the key is always the same.
    with sandbox.running(api_key="always the same") as service:
        service.reply(answer, times=2)
        model = ChatMiniToolAI(base_url=service.base_url, api_key=service.api_key)
        plain, bound = (
            [chunk.text for chunk in caller.stream(each, "Hello") if chunk.text]
            for each in (model, model.bind_tools([add, shout]))
        )
    assert "".join(plain) == answer
    assert len(plain) > 5
    assert bound == plain


@sync_and_async
def test_an_agent_calls_a_tool_and_answers_from_its_result(
    caller: Caller, strict: sandbox.Service
) -> None:
    messages = caller.invoke(create_agent(ChatMiniToolAI(), [add, shout]), ADD)["messages"]
    assert kinds(messages) == ["human", "ai", "tool", "ai"]
    (call,) = messages[1].tool_calls
    assert (call["name"], call["args"]) == ("add", {"a": 2, "b": 3})
    assert messages[1].response_metadata["finish_reason"] == "tool_calls"
    assert messages[2].tool_call_id == call["id"]
    assert messages[3].text == "add: 5"
    assert len(strict.charges) == 2


@sync_and_async
def test_an_agent_streams_its_call_and_its_words(caller: Caller, strict: sandbox.Service) -> None:
    agent = create_agent(ChatMiniToolAI(), [add])
    streamed = [message for message, _ in caller.stream(agent, ADD, stream_mode="messages")]
    chunks = [each for each in streamed if isinstance(each, AIMessageChunk)]
    pieces = [piece for chunk in chunks for piece in chunk.tool_call_chunks]
    assert [piece["name"] for piece in pieces if piece["name"]] == ["add"]
    assert len(pieces) > 3
    assert json.loads("".join(piece["args"] or "" for piece in pieces)) == {"a": 2, "b": 3}
    words = [chunk.text for chunk in chunks if chunk.text]
    assert len(words) > 1
    assert "".join(words) == "add: 5"
    assert [chunk.chunk_position for chunk in chunks if chunk.chunk_position] == ["last"] * 2


@sync_and_async
def test_several_calls_in_one_answer_run_and_all_results_go_back_in_one_message(
    caller: Caller, strict: sandbox.Service
) -> None:
    asked = {"messages": [HumanMessage("Please add 20 and 3, and shout 'hello' too")]}
    messages = caller.invoke(create_agent(ChatMiniToolAI(), [add, shout]), asked)["messages"]
    assert [call["name"] for call in messages[1].tool_calls] == ["add", "shout"]
    assert [message.text for message in messages[2:4]] == ["23", "HELLO"]
    roles = [message["role"] for message in bodies(strict)[-1]["messages"]]
    assert roles == ["developer", "user", "assistant", "user"]


async def test_astream_events_tell_of_the_model_and_the_tool(strict: sandbox.Service) -> None:
    agent = create_agent(ChatMiniToolAI(), [add])
    events = [event async for event in agent.astream_events(ADD, version="v2")]
    names = [event["event"] for event in events]
    for name in ("on_chat_model_start", "on_chat_model_end", "on_tool_start", "on_tool_end"):
        assert name in names
    chunks = [e["data"]["chunk"] for e in events if e["event"] == "on_chat_model_stream"]
    blocks = [block for chunk in chunks for block in chunk.content_blocks]
    assert {block["type"] for block in blocks} == {"tool_call_chunk", "text"}
    text = "".join(block["text"] for block in blocks if block["type"] == "text")
    assert text == "add: 5"


@BETA
def test_stream_events_v3_give_pieces_of_the_call_and_then_words(strict: sandbox.Service) -> None:
    run = create_agent(ChatMiniToolAI(), [add]).stream_events(ADD, version="v3")
    streamed = [
        ("".join(message.text), list(message.tool_calls), message.output)
        for message in run.messages
    ]
    check_v3([text for text, _, _ in streamed], streamed[0][1], streamed[0][2])
    output = run.output
    assert output is not None
    assert kinds(output["messages"]) == ["human", "ai", "tool", "ai"]


@BETA
async def test_astream_events_v3_give_pieces_of_the_call_and_then_words(
    strict: sandbox.Service,
) -> None:
    agent = create_agent(ChatMiniToolAI(), [add])
    run: Any = await agent.astream_events(ADD, version="v3")
    streamed = [
        (
            "".join([text async for text in message.text]),
            [piece async for piece in message.tool_calls],
            await message.output,
        )
        async for message in run.messages
    ]
    check_v3([text for text, _, _ in streamed], streamed[0][1], streamed[0][2])
    assert kinds((await run.output())["messages"]) == ["human", "ai", "tool", "ai"]


def check_v3(texts: list[str], pieces: list[Any], first: AIMessage) -> None:
    assert texts == ["", "add: 5"]
    assert len(pieces) > 3
    assert len({piece["id"] for piece in pieces}) == 1
    args = [piece["args"] for piece in pieces]
    # Early versions of core show one piece that grows, later ones each by itself.
    whole = args[-1] if args[-1].startswith("{") else "".join(args)
    assert json.loads(whole) == {"a": 2, "b": 3}
    assert [block["type"] for block in first.content_blocks] == ["tool_call"]
    assert first.tool_calls[0]["args"] == {"a": 2, "b": 3}


@sync_and_async
def test_a_failing_tool_is_reported_to_the_model_and_the_run_goes_on(
    caller: Caller, strict: sandbox.Service
) -> None:
    asked = {"messages": [HumanMessage("What is the price of the share 'EQNR'?")]}
    messages = caller.invoke(create_agent(ChatMiniToolAI(), [price]), asked)["messages"]
    assert messages[2].status == "error"
    assert messages[-1].text == "price failed: the exchange is closed, EQNR has no price"


@sync_and_async
@pytest.mark.parametrize("streamed", [False, True], ids=["invoked", "streamed"])
def test_a_broken_call_is_reported_and_the_agent_goes_on(
    caller: Caller,
    streamed: bool,  # noqa: FBT001 - pytest's
    strict: sandbox.Service,
) -> None:
    strict.reply("Let me see.", sandbox.ToolCall("add", '{"a": 2, "b": oops}'))
    agent = create_agent(ChatMiniToolAI(), [add], checkpointer=InMemorySaver())
    thread: Any = {"configurable": {"thread_id": "1"}}
    if streamed:
        caller.stream(agent, ADD, thread, stream_mode="messages")
    else:
        caller.invoke(agent, ADD, thread)
    broken = agent.get_state(thread).values["messages"][-1]
    assert broken.tool_calls == []
    (invalid,) = broken.response_metadata["invalid_tool_calls"]
    assert invalid["name"] == "add"
    assert "oops" in invalid["args"]
    assert invalid["error"]
    again = {"messages": [HumanMessage("That went wrong. Please add 2 and 3 again.")]}
    messages = caller.invoke(agent, again, thread)["messages"]
    assert messages[-1].text == "add: 5"
    history = [each["content"] for each in bodies(strict)[1]["messages"]]
    assert history[2].startswith("Let me see.\n<tool_call key=")
    assert "oops" in history[2]


@sync_and_async
def test_a_good_call_beside_a_broken_one_still_runs(
    caller: Caller, strict: sandbox.Service
) -> None:
    strict.reply(sandbox.ToolCall("add", {"a": 1, "b": 1}), sandbox.ToolCall("shout", '{"text": '))
    messages = caller.invoke(create_agent(ChatMiniToolAI(), [add, shout]), ADD)["messages"]
    assert [broken["name"] for broken in messages[1].invalid_tool_calls] == ["shout"]
    assert [each.text for each in messages if each.type == "tool" and each.name == "add"] == ["2"]
    assert "add: 2" in messages[-1].text


@sync_and_async
def test_a_call_cut_by_the_token_limit_is_a_broken_call(
    caller: Caller, strict: sandbox.Service
) -> None:
    messages = caller.invoke(create_agent(ChatMiniToolAI(max_tokens=20), [add]), ADD)["messages"]
    assert kinds(messages) == ["human", "ai"]
    assert messages[-1].tool_calls == []
    assert messages[-1].invalid_tool_calls
    assert messages[-1].response_metadata["finish_reason"] == "length"


def test_the_page_on_tools_shows_the_conversation_as_it_is_sent(strict: sandbox.Service) -> None:
    page = (Path(__file__).parents[2] / "docs" / "tools-and-agents.md").read_text(encoding="utf-8")

    @tool
    def population(city: str) -> int:
        """Look up how many people live in a city."""
        return 294_029

    asked: Any = {"messages": [HumanMessage("What is the population of Bergen?")]}
    create_agent(ChatMiniToolAI(), [population]).invoke(asked)
    texts = [each["content"] for each in bodies(strict)[-1]["messages"]]
    (key,) = set(re.findall(r'key="(\w+)"', "".join(texts)))
    rules, _, call, result = (text.replace(key, "k3f9ab") for text in texts)
    assert f"```text\n{rules}\n```" in page
    assert f"```text\n{call}\n```" in page
    form = re.sub(r"call_\w+", r"call_\\w+", re.escape(result))
    assert re.search(f"```text\n{form}\n```", page)


# --- Errors and other modes -----------------------------------------------------------------


@sync_and_async
def test_an_error_of_the_service_ends_the_run_as_itself_and_the_thread_goes_on(
    caller: Caller, strict: sandbox.Service
) -> None:
    strict.reply(sandbox.ToolCall("add", {"a": 2, "b": 3}))
    agent = create_agent(ChatMiniToolAI(max_retries=0), [add], checkpointer=InMemorySaver())
    thread: Any = {"configurable": {"thread_id": "1"}}
    caller.invoke(agent, ADD, thread, interrupt_after=["tools"])
    strict.fault(sandbox.faults.status(500))
    with pytest.raises(ServiceError):
        caller.invoke(agent, None, thread)
    messages = caller.invoke(agent, None, thread)["messages"]
    assert kinds(messages) == ["human", "ai", "tool", "ai"]
    assert messages[-1].text == "add: 5"


@sync_and_async
def test_native_agents_send_openais_fields_and_read_native_calls(caller: Caller) -> None:
    with sandbox.running(native_tools=True) as service:
        model = ChatMiniToolAI(tool_calling="native", **access(service))
        agent = create_agent(model, [add, price])
        chunks = [message for message, _ in caller.stream(agent, ADD, stream_mode="messages")]
        messages = caller.invoke(agent, ADD)["messages"]
        sent = bodies(service)
    assert any(isinstance(each, AIMessageChunk) and each.tool_call_chunks for each in chunks)
    assert kinds(messages) == ["human", "ai", "tool", "ai"]
    assert messages[-1].text == "add: 5"
    assert [tool["function"]["name"] for tool in sent[0]["tools"]] == ["add", "price"]
    assert [message["role"] for message in sent[-1]["messages"]] == ["user", "assistant", "tool"]
    assert "tool_call>" not in json.dumps(sent)


def test_a_strict_service_refuses_native_tools_by_name(service: sandbox.Service) -> None:
    with pytest.raises(BadRequestError, match="tools"):
        create_agent(ChatMiniToolAI(tool_calling="native"), [add]).invoke(ADD)
    assert undocumented(service) == ["request 0: tools"]


@pytest.mark.parametrize("asynchronous", [False, True], ids=["sync", "async"])
@pytest.mark.parametrize(
    ("native_tools", "reply", "outcome", "mode"),
    [
        (True, None, "calls", "native"),
        (True, "pong", "ignored", "prompted"),
        (False, None, "refused", "prompted"),
    ],
    ids=["calls", "ignored", "refused"],
)
def test_the_probe_tells_what_the_service_makes_of_native_tools(
    asynchronous: bool,  # noqa: FBT001 - pytest's
    native_tools: bool,  # noqa: FBT001 - pytest's
    reply: str | None,
    outcome: str,
    mode: str,
) -> None:
    with sandbox.running(native_tools=native_tools) as service:
        if reply:
            service.reply(reply)
        model = ChatMiniToolAI(**access(service))
        found = (
            asyncio.run(model.aprobe_native_tools()) if asynchronous else model.probe_native_tools()
        )
        charged = sum(charge.usd for charge in service.charges)
        assert len(service.requests) == 1
    assert (found.outcome, found.tool_calling) == (outcome, mode)
    assert found.cost == pytest.approx(charged)
    assert charged < 0.00003
