"""A service without sockets: it drives the workflows of both clients and answers from a script."""

from collections.abc import AsyncIterator, Iterator, Sequence
from typing import Any

import pytest
from langchain_core.language_models import LanguageModelInput
from langchain_core.messages import AIMessage, AIMessageChunk
from langchain_core.messages.ai import add_ai_message_chunks
from langchain_core.runnables import Runnable

from langchain_minitoolai import ChatMiniToolAI
from langchain_minitoolai._chat.stream import ChatCompletion, ChatStreamParser, Delta
from langchain_minitoolai._http.effects import Request, Response, Sleep, Workflow
from tests.unit_tests.strict import check_body

WAYS = ("invoke", "ainvoke", "stream", "astream")
NOW = 1000.0
USAGE = {"prompt_tokens": 1000, "completion_tokens": 100, "total_tokens": 1100}


class OpenAnswer:
    """An answer that comes delta by delta, to either client."""

    def __init__(self, deltas: Sequence[Delta], reader: ChatStreamParser) -> None:
        self.reader = reader
        self.closed = False
        self._deltas = deltas

    def __iter__(self) -> Iterator[list[Delta]]:
        try:
            for delta in self._deltas:
                yield [delta]
        finally:
            self.closed = True

    async def __aiter__(self) -> AsyncIterator[list[Delta]]:
        for deltas in self:
            yield deltas


class FakeService:
    """Answers with what was scripted.

    Attributes:
        calls: What was sent.
        slept: The waits between attempts.
        opened: The answers that were streamed.
    """

    def __init__(self, *, native: bool = False) -> None:
        self.calls: list[Request] = []
        self.slept: list[float] = []
        self.opened: list[OpenAnswer] = []
        self._script: list[tuple[Sequence[Delta], str] | Exception] = []
        self._native = native

    def reply(self, *deltas: Delta, finish_reason: str = "stop") -> None:
        self._script.append((deltas, finish_reason))

    def fail(self, error: Exception) -> None:
        self._script.append(error)

    @property
    def body(self) -> dict[str, Any]:
        """What was sent last."""
        return dict(self.calls[-1].body)

    @staticmethod
    def clock() -> float:
        return NOW

    def drive(self, workflow: Workflow[Response]) -> Response:
        outcome: Any = None
        error: Exception | None = None
        while True:
            try:
                step = workflow.send(outcome) if error is None else workflow.throw(error)
            except StopIteration as stop:
                reply: Response = stop.value
                return reply
            outcome, error = None, None
            if isinstance(step, Sleep):
                self.slept.append(step.seconds)
                continue
            assert isinstance(step, Request)
            self.calls.append(step)
            if not self._native:
                check_body(step.body)
            scripted = self._script.pop(0)
            if isinstance(scripted, Exception):
                error = scripted
            else:
                outcome = self._answer(step, *scripted)

    def _answer(self, call: Request, deltas: Sequence[Delta], finish_reason: str) -> Response:
        parser = ChatStreamParser()
        parser.metadata = {"id": "chatcmpl-1", "model": f"{call.body['model']}-2024-07-18"}
        parser.finish_reason = finish_reason
        parser.usage = USAGE
        if call.response_mode == "answer":
            return Response(200, {}, answer=ChatCompletion(list(deltas), parser))
        self.opened.append(OpenAnswer(deltas, parser))
        return Response(200, {}, answer=self.opened[-1])


class FakeClient:
    """The client of the calling thread."""

    def __init__(self, service: FakeService) -> None:
        self.run = service.drive
        self.clock = service.clock


class FakeAsyncClient:
    """The client that is awaited."""

    def __init__(self, service: FakeService) -> None:
        self._service = service
        self.clock = service.clock

    async def run(self, workflow: Workflow[Response]) -> Response:
        return self._service.drive(workflow)


def install(monkeypatch: pytest.MonkeyPatch, *, native: bool = False) -> FakeService:
    """Put a fake service behind every model of this test."""
    service = FakeService(native=native)
    monkeypatch.setattr(ChatMiniToolAI, "_client", lambda self: FakeClient(service))
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
