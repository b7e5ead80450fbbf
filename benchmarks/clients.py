"""Clients that are measured: the chat model, its peers, and httpx and langchain-core alone.

Libraries are imported when a client is made, so that each process loads only what it measures.
"""

import json
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Generator, Iterator
from functools import partial
from pkgutil import resolve_name
from typing import Any

from benchmarks.server import tokens

PROMPT = "How is the harbour tonight?"
MODEL = "gpt-4o-mini"
KEY = "benchmark"


class _ChatClient:
    """A LangChain chat model; whole texts are returned, so that they can be checked."""

    def __init__(self, model: Any) -> None:
        self._model = model

    def invoke(self) -> str:
        return str(self._model.invoke(PROMPT).content)

    async def ainvoke(self) -> str:
        return str((await self._model.ainvoke(PROMPT)).content)

    def stream(self) -> Generator[str]:
        for chunk in self._model.stream(PROMPT):
            yield chunk.content

    async def astream(self) -> AsyncGenerator[str]:
        async for chunk in self._model.astream(PROMPT):
            yield chunk.content


class _HttpxClient:
    """Client written by hand: `client.stream`, `iter_lines` and `json.loads`."""

    def __init__(self, base_url: str) -> None:
        import httpx

        limits = httpx.Limits(max_connections=None, max_keepalive_connections=None)
        body = {"model": MODEL, "messages": [{"role": "user", "content": PROMPT}]}
        self._request: Any = ("POST", f"{base_url}/chat-completions/")
        self._options: Any = {"json": body, "headers": {"Authorization": f"Bearer {KEY}"}}
        self._client = httpx.Client(limits=limits, timeout=120)
        self._async_client = httpx.AsyncClient(limits=limits, timeout=120)

    def invoke(self) -> str:
        return "".join(self.stream())

    async def ainvoke(self) -> str:
        return "".join([content async for content in self.astream()])

    def stream(self) -> Generator[str]:
        with self._client.stream(*self._request, **self._options) as response:
            for line in response.iter_lines():
                if content := self._content(line):
                    yield content

    async def astream(self) -> AsyncGenerator[str]:
        async with self._async_client.stream(*self._request, **self._options) as response:
            async for line in response.aiter_lines():
                if content := self._content(line):
                    yield content

    def _content(self, line: str) -> str:
        if not line.startswith("data: {"):
            return ""
        choices = json.loads(line[6:])["choices"]
        return choices[0]["delta"].get("content") or "" if choices else ""


Client = _ChatClient | _HttpxClient


def _chat(path: str, base_url: str, **options: Any) -> Client:
    options |= {"model": MODEL, "api_key": KEY, "base_url": base_url}
    return _ChatClient(resolve_name(path)(**options))


def _core(base_url: str) -> Client:
    """Return a model that yields chunks made beforehand: what LangChain itself costs."""
    from langchain_core.language_models import BaseChatModel
    from langchain_core.messages import AIMessage, AIMessageChunk
    from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult

    contents = tokens(int(base_url.split("/")[3].partition("-")[0]))
    chunks = [ChatGenerationChunk(message=AIMessageChunk(content=text)) for text in contents]

    class CoreModel(BaseChatModel):
        @property
        def _llm_type(self) -> str:
            return "core"

        def _generate(self, *_: Any, **__: Any) -> ChatResult:
            message = AIMessage(content="".join(contents))
            return ChatResult(generations=[ChatGeneration(message=message)])

        async def _agenerate(self, *_: Any, **__: Any) -> ChatResult:
            return self._generate()

        def _stream(self, *_: Any, **__: Any) -> Iterator[ChatGenerationChunk]:
            yield from chunks

        async def _astream(self, *_: Any, **__: Any) -> AsyncIterator[ChatGenerationChunk]:
            for chunk in chunks:
                yield chunk

    return _ChatClient(CoreModel())


_OURS = "langchain_minitoolai:ChatMiniToolAI"
CLIENTS: dict[str, Callable[[str], Client]] = {
    "minitoolai": partial(_chat, _OURS),
    "aiohttp": partial(_chat, _OURS, async_transport="aiohttp"),
    "openai": partial(_chat, "langchain_openai:ChatOpenAI", streaming=True, stream_usage=True),
    "mistral": partial(_chat, "langchain_mistralai:ChatMistralAI", streaming=True),
    "httpx": _HttpxClient,
    "core": _core,
}
"""Factories of the clients, from a base URL, by name."""
