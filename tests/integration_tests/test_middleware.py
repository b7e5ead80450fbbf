"""LangChain's retries, fallbacks and middleware over each of this package's errors."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import pytest
from langchain.agents import create_agent
from langchain.agents.middleware import ModelFallbackMiddleware, ModelRetryMiddleware
from langchain_core import exceptions as core
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import HumanMessage
from langchain_core.runnables import Runnable

from langchain_minitoolai import errors
from tests.faults.server import Exchange, FaultServer, Script
from tests.faults.targets import TARGETS
from tests.faults.wire import GOOD, TEXT, answer, error, event, page, stream, tokens

SECOND = "Second to none"
ONCE = {"timeout": 0.5, "total_timeout": 5.0, "max_retries": 0}


def _reset(exchange: Exchange) -> None:
    exchange.reset()


def _stall(exchange: Exchange) -> None:
    exchange.pause(3.0)


_REPORTED = stream([event({"error": {"message": "fell over"}})])

# What the service does, what that is to us and to core, and whether it may be tried again.
FAILURES: dict[str, tuple[Script, type[errors.MiniToolAIError], type[core.ModelError], bool]] = {
    "400": (error("400 Bad"), errors.BadRequestError, core.ModelInvalidRequestError, False),
    "context": (
        error("400 Bad", code="context_length_exceeded"),
        errors.ContextLengthError,
        core.ContextOverflowError,
        False,
    ),
    "401": (error("401 No"), errors.AuthenticationError, core.ModelAuthenticationError, False),
    "402": (
        error("402 Pay"),
        errors.InsufficientCreditError,
        core.ModelPermissionDeniedError,
        False,
    ),
    "403": (page("403 No"), errors.PermissionDeniedError, core.ModelPermissionDeniedError, False),
    "404": (error("404 None"), errors.NotFoundError, core.ModelNotFoundError, False),
    "429": (error("429 Slow"), errors.RateLimitError, core.ModelRateLimitError, True),
    "503": (error("503 Busy"), errors.ServiceError, core.ModelAPIError, True),
    "reported in the stream": (_REPORTED, errors.ServiceError, core.ModelAPIError, True),
    "junk": (stream([event("junk")]), errors.MalformedStreamError, core.ModelAPIError, True),
    "reset": (_reset, errors.APIConnectionError, core.ModelConnectionError, True),
    "cut": (stream([]), errors.StreamInterruptedError, core.ModelConnectionError, True),
    "stall": (_stall, errors.APITimeoutError, core.ModelTimeoutError, False),
}
RETRYABLE = [name for name, (*_, again) in FAILURES.items() if again]
FINAL = [name for name, (*_, again) in FAILURES.items() if not again]

sync_and_async = pytest.mark.parametrize("mode", ["sync", "async"])
every = pytest.mark.parametrize("name", FAILURES)


@contextmanager
def _serving(*scripts: Script) -> Iterator[tuple[FaultServer, BaseChatModel]]:
    with FaultServer(scripts) as server:
        yield server, TARGETS["ours"].model(server.url, **ONCE)


@pytest.fixture
def second() -> Iterator[tuple[FaultServer, BaseChatModel]]:
    """A second model and its server, which always answers."""
    with FaultServer([stream(answer([SECOND]))]) as server:
        yield server, TARGETS["ours"].model(server.url, **ONCE)


async def _ask(model: Runnable[Any, Any], mode: str) -> str:
    question = [HumanMessage("Hi?")]
    message = await model.ainvoke(question) if mode == "async" else model.invoke(question)
    return str(message.text)


async def _ask_agent(agent: Any, mode: str) -> str:
    asked = {"messages": [HumanMessage("Hi?")]}
    found = await agent.ainvoke(asked) if mode == "async" else agent.invoke(asked)
    return str(found["messages"][-1].text)


# --- The classes ------------------------------------------------------------------------------


@sync_and_async
@every
async def test_each_failure_is_an_error_of_ours_and_of_core(name: str, mode: str) -> None:
    script, ours, cores, again = FAILURES[name]
    with _serving(script) as (_, model), pytest.raises(ours) as raised:
        await _ask(model, mode)
    assert type(raised.value) is ours
    assert isinstance(raised.value, cores)
    assert raised.value.is_retryable is again


# --- `with_retry` -----------------------------------------------------------------------------

_TRANSIENT = (core.ModelAPIError, core.ModelConnectionError, core.ModelRateLimitError)


@sync_and_async
@pytest.mark.parametrize("name", RETRYABLE)
async def test_with_retry_tries_again_what_may_be_tried_again(name: str, mode: str) -> None:
    with _serving(FAILURES[name][0], GOOD) as (server, model):
        patient = model.with_retry(
            retry_if_exception_type=_TRANSIENT, wait_exponential_jitter=False, stop_after_attempt=2
        )
        assert await _ask(patient, mode) == TEXT
        assert len(server.record.requests) == 2


@sync_and_async
@pytest.mark.parametrize("name", FINAL)
async def test_with_retry_leaves_the_rest_alone(name: str, mode: str) -> None:
    with _serving(FAILURES[name][0], GOOD) as (server, model):
        patient = model.with_retry(
            retry_if_exception_type=_TRANSIENT, wait_exponential_jitter=False, stop_after_attempt=2
        )
        with pytest.raises(FAILURES[name][1]):
            await _ask(patient, mode)
        assert len(server.record.requests) == 1


# --- `ModelRetryMiddleware` -------------------------------------------------------------------


@sync_and_async
@pytest.mark.parametrize("name", RETRYABLE)
async def test_retry_middleware_tries_again_what_may_be_tried_again(name: str, mode: str) -> None:
    with _serving(FAILURES[name][0], GOOD) as (server, model):
        retry = ModelRetryMiddleware(max_retries=1, initial_delay=0.0, on_failure="error")
        agent = create_agent(model, middleware=[retry])
        assert await _ask_agent(agent, mode) == TEXT
        assert len(server.record.requests) == 2


@sync_and_async
@pytest.mark.parametrize("name", FINAL)
async def test_retry_middleware_leaves_the_rest_alone(name: str, mode: str) -> None:
    with _serving(FAILURES[name][0], GOOD) as (server, model):
        retry = ModelRetryMiddleware(max_retries=1, initial_delay=0.0)
        agent = create_agent(model, middleware=[retry])
        with pytest.raises(FAILURES[name][1]):
            await _ask_agent(agent, mode)
        assert len(server.record.requests) == 1


# --- `ModelFallbackMiddleware` ----------------------------------------------------------------


@sync_and_async
@every
async def test_fallback_middleware_asks_the_second_model(
    name: str, mode: str, second: tuple[FaultServer, BaseChatModel]
) -> None:
    with _serving(FAILURES[name][0]) as (_, model):
        agent = create_agent(model, middleware=[ModelFallbackMiddleware(second[1])])
        assert await _ask_agent(agent, mode) == SECOND
        assert len(second[0].record.requests) == 1


# --- `with_fallbacks` -------------------------------------------------------------------------


@sync_and_async
@every
async def test_with_fallbacks_asks_the_second_model(
    name: str, mode: str, second: tuple[FaultServer, BaseChatModel]
) -> None:
    script, _, cores, _ = FAILURES[name]
    with _serving(script) as (_, model):
        safe = model.with_fallbacks([second[1]], exceptions_to_handle=(cores,))
        assert await _ask(safe, mode) == SECOND


async def test_another_packages_model_answers_too() -> None:
    openai = TARGETS["openai"]
    pytest.importorskip(openai.module)
    with (
        FaultServer([stream(answer([SECOND]))]) as server,
        _serving(FAILURES["503"][0]) as (_, model),
        httpx.Client() as client,
    ):
        async with httpx.AsyncClient() as async_client:
            own = {"http_client": client, "http_async_client": async_client}
            safe = model.with_fallbacks([openai.model(server.url, **ONCE, **own)])
            assert [await _ask(safe, mode) for mode in ("sync", "async")] == [SECOND, SECOND]


async def _stream(model: Runnable[Any, Any], mode: str, shown: list[str]) -> None:
    if mode == "sync":
        shown += [str(chunk.text) for chunk in model.stream("Hi?")]
        return
    async for chunk in model.astream("Hi?"):
        shown.append(str(chunk.text))


@sync_and_async
@every
async def test_with_fallbacks_asks_the_second_model_before_the_first_chunk(
    name: str, mode: str, second: tuple[FaultServer, BaseChatModel]
) -> None:
    with _serving(FAILURES[name][0]) as (_, model):
        shown: list[str] = []
        await _stream(model.with_fallbacks([second[1]]), mode, shown)
        assert "".join(shown) == SECOND


@sync_and_async
async def test_with_fallbacks_never_mixes_two_answers(
    mode: str, second: tuple[FaultServer, BaseChatModel]
) -> None:
    with _serving(stream(tokens())) as (_, model):
        shown: list[str] = []
        with pytest.raises(errors.StreamInterruptedError):
            await _stream(model.with_fallbacks([second[1]]), mode, shown)
        assert second[0].record.requests == []
