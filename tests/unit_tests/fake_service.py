"""A service without sockets: it drives the flows of both shells and answers from a script."""

import re
from collections.abc import AsyncIterator, Iterator, Sequence
from typing import Any

import pytest
from langchain_core.language_models import LanguageModelInput
from langchain_core.messages import AIMessage, AIMessageChunk
from langchain_core.messages.ai import add_ai_message_chunks
from langchain_core.runnables import Runnable

from langchain_minitoolai import ChatMiniToolAI
from langchain_minitoolai._chat.stream import Answer, AnswerReader, Piece
from langchain_minitoolai._http.effects import Request, Response, Sleep, Workflow
from tests.unit_tests.strict import check_body

KEY = "\N{KEY}"
"""Stands in a script for the key of the conversation that is answered."""
WAYS = ("invoke", "ainvoke", "stream", "astream")
NOW = 1000.0
USAGE = {"prompt_tokens": 1000, "completion_tokens": 100, "total_tokens": 1100}


class OpenAnswer:
    """An answer that comes piece by piece, to either shell."""

    def __init__(self, pieces: Sequence[Piece], reader: AnswerReader) -> None:
        self.reader = reader
        self.closed = False
        self._pieces = pieces

    def __iter__(self) -> Iterator[list[Piece]]:
        try:
            for piece in self._pieces:
                yield [piece]
        finally:
            self.closed = True

    async def __aiter__(self) -> AsyncIterator[list[Piece]]:
        for pieces in self:
            yield pieces


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
        self._script: list[tuple[Sequence[Piece], str] | Exception] = []
        self._native = native

    def reply(self, *pieces: Piece, finish_reason: str = "stop") -> None:
        self._script.append((pieces, finish_reason))

    def fail(self, error: Exception) -> None:
        self._script.append(error)

    @property
    def body(self) -> dict[str, Any]:
        """What was sent last."""
        return dict(self.calls[-1].body)

    @staticmethod
    def clock() -> float:
        return NOW

    def drive(self, flow: Workflow[Response]) -> Response:
        outcome: Any = None
        error: Exception | None = None
        while True:
            try:
                step = flow.send(outcome) if error is None else flow.throw(error)
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

    def _answer(self, call: Request, pieces: Sequence[Piece], finish_reason: str) -> Response:
        reader = AnswerReader()
        reader.info = {"id": "chatcmpl-1", "model": f"{call.body['model']}-2024-07-18"}
        reader.finish_reason = finish_reason
        reader.usage = USAGE
        key = re.search(r'key="(\w+)"', str(call.body["messages"]))
        pieces = [
            piece.replace(KEY, key[1]) if key and isinstance(piece, str) else piece
            for piece in pieces
        ]
        if call.response_mode == "answer":
            return Response(200, {}, answer=Answer(list(pieces), reader))
        self.opened.append(OpenAnswer(pieces, reader))
        return Response(200, {}, answer=self.opened[-1])


class FakeClient:
    """The shell that acts in the calling thread."""

    def __init__(self, service: FakeService) -> None:
        self.run = service.drive
        self.clock = service.clock


class FakeAsyncClient:
    """The shell that awaits."""

    def __init__(self, service: FakeService) -> None:
        self._service = service
        self.clock = service.clock

    async def run(self, flow: Workflow[Response]) -> Response:
        return self._service.drive(flow)


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
    way: str, model: Runnable[LanguageModelInput, Any], said: LanguageModelInput, /, **call: Any
) -> Any:
    """Ask in one of the four ways; the pieces of a stream are added up."""
    if way == "invoke":
        return model.invoke(said, **call)
    if way == "ainvoke":
        return await model.ainvoke(said, **call)
    if way == "stream":
        chunks = list(model.stream(said, **call))
    else:
        chunks = [chunk async for chunk in model.astream(said, **call)]
    if all(isinstance(chunk, AIMessageChunk) for chunk in chunks):
        return add_ai_message_chunks(*chunks)
    return chunks[-1]


async def answer(
    way: str, model: Runnable[LanguageModelInput, Any], said: LanguageModelInput, /, **call: Any
) -> AIMessage:
    """Ask in one of the four ways, for a message."""
    message = await ask(way, model, said, **call)
    assert isinstance(message, AIMessage)
    return message
