"""The targets: the chat model, its peers and the floors, all behind `Client`.

Nothing is imported before a target is made: what an import costs is itself measured.
"""

from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from benchmarks.spec import MODEL, PROMPT, Client, Spec, tool_schemas

if TYPE_CHECKING:
    from langchain_core.language_models import BaseChatModel


class ChatClient:
    """Any LangChain chat model as a `Client`."""

    def __init__(self, model: "BaseChatModel", tools: int = 0) -> None:
        """Bind `tools` tools, where there are any."""
        self._model: Any = model.bind_tools(tool_schemas(tools)) if tools else model

    def invoke(self) -> str:
        """Ask and give the whole text."""
        return cast("str", self._model.invoke(PROMPT).content)

    async def ainvoke(self) -> str:
        """Ask and give the whole text."""
        return cast("str", (await self._model.ainvoke(PROMPT)).content)

    def stream(self) -> Iterator[str]:
        """Ask and give the pieces."""
        for chunk in self._model.stream(PROMPT):
            yield chunk.content

    async def astream(self) -> AsyncIterator[str]:
        """Ask and give the pieces."""
        async for chunk in self._model.astream(PROMPT):
            yield chunk.content

    def batch(self, size: int, workers: int) -> list[str]:
        """Ask `size` times in core's own threads."""
        config = {"max_concurrency": workers}
        return [m.content for m in self._model.batch([PROMPT] * size, config=config)]


def _ours(spec: Spec, **options: Any) -> Client:
    from langchain_minitoolai import ChatMiniToolAI

    options |= {"api_key": "benchmark", "base_url": spec.minitoolai_url}
    model = ChatMiniToolAI(model=MODEL, **options)
    return ChatClient(model, spec.tools)


def _ours_aiohttp(spec: Spec) -> Client:
    return _ours(spec, async_transport="aiohttp")


def _openai(spec: Spec) -> Client:
    from langchain_openai import ChatOpenAI
    from pydantic import SecretStr

    model = ChatOpenAI(
        model=MODEL,
        api_key=SecretStr("benchmark"),
        base_url=spec.openai_url,
        streaming=spec.streaming,
        stream_usage=True,
    )
    return ChatClient(model, spec.tools)


def _mistral(spec: Spec) -> Client:
    from langchain_mistralai import ChatMistralAI
    from pydantic import SecretStr

    model = ChatMistralAI(
        model_name=MODEL,
        api_key=SecretStr("benchmark"),
        base_url=spec.openai_url,
        streaming=spec.streaming,
    )
    return ChatClient(model, spec.tools)


def _httpx(spec: Spec) -> Client:
    from benchmarks.httpx_floor import HttpxFloor

    return HttpxFloor(spec)


def _core(spec: Spec) -> Client:
    from benchmarks.core_floor import CoreFloor

    return ChatClient(CoreFloor(count=spec.chunks))


def _raw(spec: Spec) -> Client:
    from benchmarks.raw_floor import RawFloor

    return RawFloor(spec)


@dataclass(frozen=True, slots=True)
class Target:
    """Something measured.

    Attributes:
        title: What the tables call it.
        imported: What a user imports to have it.
        make: Gives a client.
        module: Where a floor's own code is, so that it isn't counted as a cost of making.
    """

    title: str
    imported: str
    make: Callable[[Spec], Client]
    module: str = "json"


_OURS = "from langchain_minitoolai import ChatMiniToolAI"
_BASE = "from langchain_core.language_models import BaseChatModel"

TARGETS = {
    "ours": Target("ChatMiniToolAI", _OURS, _ours),
    "ours_aiohttp": Target("with `aiohttp`", _OURS, _ours_aiohttp),
    "openai": Target("ChatOpenAI", "from langchain_openai import ChatOpenAI", _openai),
    "mistral": Target("ChatMistralAI", "from langchain_mistralai import ChatMistralAI", _mistral),
    "httpx": Target("httpx floor", "import httpx, json", _httpx, "benchmarks.httpx_floor"),
    "core": Target("core floor", _BASE, _core, "benchmarks.core_floor"),
    "raw": Target("raw floor", "import asyncio, socket", _raw, "benchmarks.raw_floor"),
}
