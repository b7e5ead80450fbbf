"""A service without sockets: it drives the workflows of both clients and answers from a script."""

import re
from collections.abc import AsyncGenerator, Generator, Sequence
from contextlib import closing
from dataclasses import replace
from typing import Any, TypeVar

import pytest
from langchain_core.language_models import LanguageModelInput
from langchain_core.messages import AIMessage, AIMessageChunk
from langchain_core.messages.ai import add_ai_message_chunks
from langchain_core.runnables import Runnable

from langchain_minitoolai import ChatMiniToolAI
from langchain_minitoolai._chat.stream import ChatStreamParser, Delta
from langchain_minitoolai._http.effects import (
    Sleep,
    StreamRequest,
    StreamResponse,
    Workflow,
)
from tests.unit_tests.strict import check_body

KEY = "\N{KEY}"
"""Stands in a script for the key of the conversation that is answered."""
T = TypeVar("T")

WAYS = ("invoke", "ainvoke", "stream", "astream")
NOW = 1000.0
USAGE = {"prompt_tokens": 1000, "completion_tokens": 100, "total_tokens": 1100}


class OpenStream:
    """A body that comes delta by delta, to either client."""

    def __init__(self, deltas: Sequence[Delta]) -> None:
        self.closed = False
        self._deltas = deltas

    def read(self) -> Generator[list[Delta]]:
        try:
            for delta in self._deltas:
                yield [delta]
        finally:
            self.closed = True

    async def aread(self) -> AsyncGenerator[list[Delta]]:
        with closing(self.read()) as batches:
            for deltas in batches:
                yield deltas


class FakeService:
    """Answers with what was scripted.

    Attributes:
        calls: What was sent.
        slept: The waits between attempts.
        opened: The streams that were left open.
    """

    def __init__(self, *, native: bool = False) -> None:
        self.calls: list[StreamRequest[ChatStreamParser]] = []
        self.slept: list[float] = []
        self.opened: list[OpenStream] = []
        self._script: list[tuple[Sequence[Delta], str] | Exception] = []
        self._native = native

    def reply(self, *deltas: Delta, finish_reason: str = "stop") -> None:
        self._script.append((deltas, finish_reason))

    def fail(self, error: Exception) -> None:
        self._script.append(error)

    @property
    def body(self) -> dict[str, Any]:
        """The last request."""
        return dict(self.calls[-1].body)

    @staticmethod
    def clock() -> float:
        return NOW

    def drive(self, workflow: Workflow[T]) -> T:
        outcome: Any = None
        error: Exception | None = None
        while True:
            try:
                step = workflow.send(outcome) if error is None else workflow.throw(error)
            except StopIteration as stop:
                result: T = stop.value
                return result
            outcome, error = None, None
            if isinstance(step, Sleep):
                self.slept.append(step.seconds)
                continue
            assert isinstance(step, StreamRequest)
            self.calls.append(step)
            if not self._native:
                check_body(step.body)
            scripted = self._script.pop(0)
            if isinstance(scripted, Exception):
                error = scripted
            else:
                outcome = self._answer(step, *scripted)

    def _answer(
        self,
        call: StreamRequest[ChatStreamParser],
        deltas: Sequence[Delta],
        finish_reason: str,
    ) -> StreamResponse[ChatStreamParser]:
        parser = call.reader("")
        parser.metadata = {"id": "chatcmpl-1", "model": f"{call.body['model']}-2024-07-18"}
        parser.finish_reason = finish_reason
        parser.usage = USAGE
        key = re.search(r'key="(\w+)"', str(call.body["messages"]))
        deltas = [
            delta.replace(KEY, key[1]) if key and isinstance(delta, str) else delta
            for delta in deltas
        ]
        if call.collect:
            return StreamResponse(200, {}, reader=parser, items=list(deltas))
        self.opened.append(OpenStream(deltas))
        return StreamResponse(200, {}, reader=parser, stream=self.opened[-1])


class FakeClient:
    """The client of the calling thread."""

    def __init__(self, service: FakeService) -> None:
        self._service = service
        self.clock = service.clock

    def execute(self, workflow: Workflow[Any]) -> Any:
        outcome = self._service.drive(workflow)
        if stream := getattr(outcome, "stream", None):
            return replace(outcome, stream=stream.read())
        return outcome


class FakeAsyncClient:
    """The client that is awaited."""

    def __init__(self, service: FakeService) -> None:
        self._service = service
        self.clock = service.clock

    async def execute(self, workflow: Workflow[Any]) -> Any:
        outcome = self._service.drive(workflow)
        if stream := getattr(outcome, "stream", None):
            return replace(outcome, stream=stream.aread())
        return outcome


def install(monkeypatch: pytest.MonkeyPatch, *, native: bool = False) -> FakeService:
    """Put a fake service behind every model of this test."""
    service = FakeService(native=native)
    monkeypatch.setattr(ChatMiniToolAI, "_sync_client", lambda self: FakeClient(service))
    monkeypatch.setattr(ChatMiniToolAI, "_async_client", lambda self: FakeAsyncClient(service))
    return service


def make(**fields: Any) -> ChatMiniToolAI:
    """Make a model with a key."""
    return ChatMiniToolAI(**{"api_key": "test", **fields})


async def ask(
    way: str, model: Runnable[LanguageModelInput, Any], input_: LanguageModelInput, /, **call: Any
) -> Any:
    """Ask in one of the four ways; the chunks of a stream are added up."""
    if way == "invoke":
        return model.invoke(input_, **call)
    if way == "ainvoke":
        return await model.ainvoke(input_, **call)
    if way == "stream":
        chunks = list(model.stream(input_, **call))
    else:
        chunks = [chunk async for chunk in model.astream(input_, **call)]
    if all(isinstance(chunk, AIMessageChunk) for chunk in chunks):
        return add_ai_message_chunks(*chunks)
    return chunks[-1]


async def answer(
    way: str, model: Runnable[LanguageModelInput, Any], input_: LanguageModelInput, /, **call: Any
) -> AIMessage:
    """Ask in one of the four ways, for a message."""
    message = await ask(way, model, input_, **call)
    assert isinstance(message, AIMessage)
    return message
