"""LangChain's expression language around the model: what a user of ChatOpenAI composes."""

import asyncio
import time
from typing import Any

import pytest
from langchain_core.caches import InMemoryCache
from langchain_core.callbacks import BaseCallbackHandler, UsageMetadataCallbackHandler
from langchain_core.chat_history import InMemoryChatMessageHistory
from langchain_core.messages import AIMessage, HumanMessage, SystemMessage, trim_messages
from langchain_core.output_parsers import StrOutputParser
from langchain_core.prompts import ChatPromptTemplate, MessagesPlaceholder
from langchain_core.rate_limiters import InMemoryRateLimiter
from langchain_core.runnables import (
    ConfigurableField,
    RunnableLambda,
    RunnableParallel,
    RunnablePassthrough,
)
from langchain_core.runnables.history import RunnableWithMessageHistory
from langchain_core.tools import tool

from langchain_minitoolai import ChatMiniToolAI, MiniToolAIError, sandbox
from langchain_minitoolai.errors import AuthenticationError, RateLimitError
from tests.integration_tests.parametrize import Caller, sync_and_async
from tests.integration_tests.sandbox_helpers import access, bodies

PROMPT = ChatPromptTemplate.from_messages([("system", "Answer briefly."), ("human", "{question}")])


@sync_and_async
def test_prompt_model_parser(caller: Caller, strict: sandbox.Service) -> None:
    chain = PROMPT | ChatMiniToolAI() | StrOutputParser()
    answer = caller.invoke(chain, {"question": "What is 6 * 7?"})
    assert answer == "6 * 7 = 42."
    pieces = caller.stream(chain, {"question": "What is 6 * 7?"})
    assert len(pieces) > 2
    assert "".join(pieces) == answer
    assert [m["role"] for m in bodies(strict)[0]["messages"]] == ["developer", "user"]


@sync_and_async
def test_runnables_in_parallel(caller: Caller, strict: sandbox.Service) -> None:
    model = ChatMiniToolAI() | StrOutputParser()
    both = RunnableParallel(short=PROMPT | model, given=RunnablePassthrough(), long=PROMPT | model)
    answer = caller.invoke(both, {"question": "What is 2 + 3?"})
    assert answer["short"] == answer["long"] == "2 + 3 = 5."
    assert answer["given"] == {"question": "What is 2 + 3?"}
    assert len(bodies(strict)) == 2


@sync_and_async
def test_a_batch_keeps_its_order_and_gives_errors_where_they_belong(
    caller: Caller, strict: sandbox.Service
) -> None:
    model = ChatMiniToolAI(max_retries=0)
    questions = [f"What is {n} + 1?" for n in range(8)]
    answers = caller.batch(model, questions, config={"max_concurrency": 4})
    assert [answer.text for answer in answers] == [f"{n} + 1 = {n + 1}." for n in range(8)]
    strict.fault(sandbox.faults.status(429))
    given = caller.batch(model, questions[:3], return_exceptions=True)
    assert [type(each) for each in given].count(RateLimitError) == 1
    assert [type(each) for each in given].count(AIMessage) == 2


@sync_and_async
def test_fields_can_be_configured_for_a_call(caller: Caller, strict: sandbox.Service) -> None:
    model = ChatMiniToolAI(temperature=0).configurable_fields(
        temperature=ConfigurableField(id="temperature"), model=ConfigurableField(id="model")
    )
    caller.invoke(model, "Hello")
    chosen: Any = {"configurable": {"temperature": 1.5, "model": "gpt-4.1-nano"}}
    answer = caller.invoke(model, "Hello", chosen)
    assert [body["temperature"] for body in bodies(strict)] == [0, 1.5]
    assert answer.response_metadata["model_name"] == "gpt-4.1-nano-2025-04-14"


@sync_and_async
def test_each_call_can_bring_its_own_key(caller: Caller) -> None:
    with sandbox.running() as one, sandbox.running() as other:
        model = ChatMiniToolAI(**access(one)).configurable_fields(
            minitoolai_api_key=ConfigurableField(id="api_key"),
            minitoolai_api_base=ConfigurableField(id="base_url"),
        )
        caller.invoke(model, "Hello")
        caller.invoke(model, "Hello", {"configurable": access(other)})
        caller.stream(model, "Hello", {"configurable": access(other)})
        assert [len(bodies(service)) for service in (one, other)] == [1, 2]
        with pytest.raises(AuthenticationError) as refused:
            caller.invoke(model, "Hello", {"configurable": {"api_key": other.api_key}})
        assert other.api_key not in repr(model) + str(refused.value)


@sync_and_async
def test_models_can_be_alternatives(caller: Caller, strict: sandbox.Service) -> None:
    model = ChatMiniToolAI().configurable_alternatives(
        ConfigurableField(id="llm"), default_key="small", large=ChatMiniToolAI(model="gpt-4.1")
    )
    chain = PROMPT | model
    caller.invoke(chain, {"question": "Hello"})
    caller.invoke(chain, {"question": "Hello"}, {"configurable": {"llm": "large"}})
    assert [body["model"] for body in bodies(strict)] == ["gpt-4o-mini", "gpt-4.1"]


@sync_and_async
def test_with_retry_tries_what_the_model_gave_up(caller: Caller, strict: sandbox.Service) -> None:
    strict.fault(sandbox.faults.status(429), times=2)
    model = ChatMiniToolAI(max_retries=0).with_retry(
        retry_if_exception_type=(RateLimitError,),
        stop_after_attempt=3,
        wait_exponential_jitter=False,
    )
    assert caller.invoke(model, "What is 1 + 1?").text == "1 + 1 = 2."
    assert len(bodies(strict)) == 3


@sync_and_async
def test_fallbacks_answer_also_in_a_stream(caller: Caller, strict: sandbox.Service) -> None:
    bad = ChatMiniToolAI(api_key="wrong", base_url=strict.base_url)
    model = bad.with_fallbacks([ChatMiniToolAI(model="gpt-4.1-mini")])
    assert caller.invoke(model, "What is 1 + 1?").text == "1 + 1 = 2."
    chunks = caller.stream(model, "What is 1 + 1?")
    assert "".join(chunk.text for chunk in chunks) == "1 + 1 = 2."
    narrow = bad.with_fallbacks([ChatMiniToolAI()], exceptions_to_handle=(RateLimitError,))
    with pytest.raises(AuthenticationError):
        caller.invoke(narrow, "What is 1 + 1?")


@sync_and_async
@pytest.mark.parametrize(
    "fault",
    [
        sandbox.faults.status(500),
        sandbox.faults.html_page(),
        sandbox.faults.drop(),
        sandbox.faults.error_event(0),
        sandbox.faults.garbled(0),
    ],
    ids=["status", "page", "dropped", "error_event", "garbled"],
)
def test_a_fallback_takes_over_a_stream_that_failed_before_its_first_word(
    caller: Caller, fault: sandbox.faults.Fault, strict: sandbox.Service
) -> None:
    strict.fault(fault)
    model = ChatMiniToolAI(max_retries=0).with_fallbacks([ChatMiniToolAI(model="gpt-4.1")])
    chunks = caller.stream(model, "What is 1 + 1?")
    assert "".join(chunk.text for chunk in chunks) == "1 + 1 = 2."
    assert [body["model"] for body in bodies(strict)] == ["gpt-4o-mini", "gpt-4.1"]


@pytest.mark.filterwarnings("ignore::langchain_core._api.LangChainDeprecationWarning")
@sync_and_async
def test_a_history_is_kept_between_calls(caller: Caller, strict: sandbox.Service) -> None:
    histories: dict[str, InMemoryChatMessageHistory] = {}
    prompt = ChatPromptTemplate.from_messages(
        [("system", "Be kind."), MessagesPlaceholder("past"), ("human", "{text}")]
    )
    chat = RunnableWithMessageHistory(
        prompt | ChatMiniToolAI(),
        lambda session_id: histories.setdefault(session_id, InMemoryChatMessageHistory()),
        input_messages_key="text",
        history_messages_key="past",
    )
    kari: Any = {"configurable": {"session_id": "kari"}}
    caller.invoke(chat, {"text": "I am Kari."}, kari)
    caller.stream(chat, {"text": "Who am I?"}, kari)
    kept = [isinstance(message, AIMessage) for message in histories["kari"].messages]
    assert kept == [False, True, False, True]
    sent = bodies(strict)[1]["messages"]
    assert [m["role"] for m in sent] == ["developer", "user", "assistant", "user"]
    assert sent[1]["content"] == "I am Kari."


@sync_and_async
def test_messages_are_trimmed_by_the_models_own_count(
    caller: Caller, strict: sandbox.Service
) -> None:
    model = ChatMiniToolAI()
    long = [SystemMessage("Be kind.")]
    long += [HumanMessage(f"{n}: " + "word " * 50) for n in range(10)]  # type: ignore[misc]
    trimmer = trim_messages(
        max_tokens=200, strategy="last", token_counter=model, include_system=True
    )
    caller.invoke(trimmer | model, long)
    sent = bodies(strict)[0]["messages"]
    assert sent[0]["role"] == "developer"
    assert 1 < len(sent) < 6
    assert sent[-1]["content"].startswith("9: ")


@sync_and_async
def test_an_answer_is_cached_with_its_parameters(caller: Caller, strict: sandbox.Service) -> None:
    model = ChatMiniToolAI(cache=InMemoryCache())
    first = caller.invoke(model, "What is 1 + 1?")
    again = caller.invoke(model, "What is 1 + 1?")
    assert again.text == first.text == "1 + 1 = 2."
    assert len(bodies(strict)) == 1
    caller.invoke(model, "What is 1 + 1?", temperature=0.5)
    caller.invoke(model.bind_tools([add]), "What is 1 + 1?")
    assert len(bodies(strict)) == 3


@tool
def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


@sync_and_async
def test_a_rate_limiter_spaces_calls(caller: Caller, strict: sandbox.Service) -> None:
    limiter = InMemoryRateLimiter(
        requests_per_second=20, check_every_n_seconds=0.005, max_bucket_size=1
    )
    model = ChatMiniToolAI(rate_limiter=limiter)
    start = time.monotonic()
    for _ in range(4):
        caller.stream(model, "Hello")
    assert time.monotonic() - start >= 3 / 20
    assert len(bodies(strict)) == 4


class Tokens(BaseCallbackHandler):
    """Records what a handler receives."""

    def __init__(self) -> None:
        self.tokens: list[str] = []
        self.events: list[str] = []

    def on_chat_model_start(self, *args: Any, **kwargs: Any) -> None:
        self.events.append("start")

    def on_llm_new_token(self, token: Any, **kwargs: Any) -> None:
        self.tokens.append(token)

    def on_llm_end(self, response: Any, **kwargs: Any) -> None:
        self.events.append("end")

    def on_llm_error(self, error: BaseException, **kwargs: Any) -> None:
        self.events.append(type(error).__name__)


@sync_and_async
def test_handlers_receive_tokens_ends_and_errors(caller: Caller, strict: sandbox.Service) -> None:
    handler = Tokens()
    model = ChatMiniToolAI(max_retries=0, callbacks=[handler])
    caller.stream(model, "What is 1 + 1?")
    assert "".join(handler.tokens) == "1 + 1 = 2."
    strict.fault(sandbox.faults.status(429))
    with pytest.raises(MiniToolAIError):
        caller.invoke(model, "What is 1 + 1?")
    assert handler.events == ["start", "end", "start", "RateLimitError"]


@sync_and_async
def test_the_usage_handler_adds_up_what_each_model_used(
    caller: Caller, strict: sandbox.Service
) -> None:
    usage = UsageMetadataCallbackHandler()
    how: Any = {"callbacks": [usage]}
    answers = [
        caller.invoke(ChatMiniToolAI(), "What is 1 + 1?", how),
        caller.invoke(ChatMiniToolAI(), "What is 2 + 2?", how),
    ]
    caller.stream(ChatMiniToolAI(model="gpt-4.1"), "What is 1 + 1?", how)
    small, large = "gpt-4o-mini-2024-07-18", "gpt-4.1-2025-04-14"
    assert set(usage.usage_metadata) == {small, large}
    total = sum(answer.usage_metadata["total_tokens"] for answer in answers)
    assert usage.usage_metadata[small]["total_tokens"] == total > 0
    assert usage.usage_metadata[large]["output_tokens"] > 0


async def test_a_stream_left_early_is_closed_and_the_next_call_works(
    strict: sandbox.Service,
) -> None:
    model = ChatMiniToolAI() | RunnableLambda(lambda message: message)
    async for _ in ChatMiniToolAI().astream("What is 1 + 1?"):
        break
    assert (await model.ainvoke("What is 1 + 1?")).text == "1 + 1 = 2."
    answers = await asyncio.gather(
        *(ChatMiniToolAI().ainvoke(f"What is {n} + 1?") for n in range(9))
    )
    assert [answer.text for answer in answers] == [f"{n} + 1 = {n + 1}." for n in range(9)]


def test_bound_stops_cut_a_chain(strict: sandbox.Service) -> None:
    strict.reply("one, two, three", times=None)
    model = ChatMiniToolAI(**access(strict))
    chain = PROMPT | model.bind(stop=[" three"]) | StrOutputParser()
    assert chain.invoke({"question": "Count."}) == "one, two,"
    assert "".join(chain.stream({"question": "Count."})) == "one, two,"
