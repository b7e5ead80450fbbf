"""The core floor: `BaseChatModel` over chunks made beforehand, without any I/O."""

from collections.abc import AsyncIterator, Iterator
from typing import Any

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult
from pydantic import PrivateAttr

from benchmarks import payload


class CoreFloor(BaseChatModel):
    """What LangChain itself costs."""

    count: int
    _chunks: list[ChatGenerationChunk] = PrivateAttr(default_factory=list)

    def model_post_init(self, context: Any, /) -> None:
        """Make the chunks beforehand."""
        super().model_post_init(context)
        self._chunks = [
            ChatGenerationChunk(message=AIMessageChunk(content=token))
            for token in payload.tokens(self.count)
        ]

    @property
    def _llm_type(self) -> str:
        return "core-floor"

    def _generate(self, messages: list[BaseMessage], *_: Any, **__: Any) -> ChatResult:
        text = "".join([chunk.text for chunk in self._chunks])
        return ChatResult(generations=[ChatGeneration(message=AIMessage(content=text))])

    async def _agenerate(self, messages: list[BaseMessage], *_: Any, **__: Any) -> ChatResult:
        return self._generate(messages)

    def _stream(
        self, messages: list[BaseMessage], *_: Any, **__: Any
    ) -> Iterator[ChatGenerationChunk]:
        yield from self._chunks

    async def _astream(
        self, messages: list[BaseMessage], *_: Any, **__: Any
    ) -> AsyncIterator[ChatGenerationChunk]:
        for chunk in self._chunks:
            yield chunk
