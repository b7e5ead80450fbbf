"""The chat models that go through the faults, as data: ours, and what a user would pick instead."""

import importlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

from langchain_core.language_models import BaseChatModel
from langchain_core.tools import BaseTool

KEY = "sk-test-5ecre7-never-show-this-0123456789"

Mode = Literal["invoke", "stream", "ainvoke", "astream"]
MODES: tuple[Mode, ...] = get_args(Mode)


@dataclass(frozen=True)
class Target:
    """A chat model class and what counts as an error of its own.

    Attributes:
        name: As given to `--target`.
        module: Where the class is.
        class_name: The class.
        errors: Prefixes of the qualified names that its typed errors have.
        ours: Whether the strict reading of each expectation applies.
        has_tool: Whether the image tool goes over its clients too.
        options: Options of its own; a text with a colon is the place of a class, `module:Class`.
        modes: The modes that go over clients of its own.
        swallows: Whether a break may swallow what came just before it, unseen.
        title: What the documentation calls its HTTP client.
        known: Faults that it does not hold, or not always, each with the reason.
    """

    name: str
    module: str
    class_name: str
    errors: tuple[str, ...]
    ours: bool = False
    has_tool: bool = False
    options: Mapping[str, Any] = field(default_factory=dict)
    modes: tuple[Mode, ...] = MODES
    swallows: bool = False
    title: str = ""
    known: Mapping[str, str] = field(default_factory=dict)

    def model(self, origin: str, **settings: Any) -> BaseChatModel:
        """Return a model that talks to the server at `origin`."""
        times = {"timeout": 3.0, "total_timeout": 20.0, "max_retries": 1} | settings
        if not self.ours:
            del times["total_timeout"]
        if self.name == "mistral":
            times["timeout"] = max(1, round(times["timeout"]))
        options = {"model": "gpt-4o-mini", "api_key": KEY, "base_url": f"{origin}/api"}
        chat_class = getattr(importlib.import_module(self.module), self.class_name)
        made: BaseChatModel = chat_class(**options | self._options() | times)
        return made

    def tool(self, origin: str, **options: Any) -> BaseTool:
        """Return this package's image tool, over the target's HTTP clients."""
        tool_class = importlib.import_module(self.module).MiniToolAIImageTool
        base = {"api_key": KEY, "base_url": f"{origin}/api", "handle_tool_error": False}
        times = {"timeout": 2.0, "total_timeout": 8.0, "poll_interval": 0.1}
        made: BaseTool = tool_class(**base | times | self._options() | options)
        return made

    def _options(self) -> dict[str, Any]:
        return {name: _resolve(value) for name, value in self.options.items()}


def _resolve(value: Any) -> Any:
    if not isinstance(value, str) or ":" not in value:
        return value
    module, _, name = value.partition(":")
    return getattr(importlib.import_module(module), name)


def _ours(name: str, title: str, known: Mapping[str, str], **more: Any) -> Target:
    errors = ("langchain_minitoolai.errors.MiniToolAIError",)
    places = {"module": "langchain_minitoolai", "class_name": "ChatMiniToolAI", "errors": errors}
    has_tool = "async_transport" not in more.get("options", {})
    fixed = {"ours": True, "has_tool": has_tool}
    return Target(name=name, title=title, known=known, **places | fixed | more)


_BEYOND = dict.fromkeys(
    ("bytes beyond the end", "bytes beyond a document"),
    "httpcore hands bytes that follow an answer in the same packet to the next call; in sync calls "
    "over our own transport that answer is dropped and asked for again",
)
_AIOHTTP = {
    **dict.fromkeys(
        _BEYOND, "aiohttp drops such a connection only if it has seen the bytes by then"
    ),
    "malformed chunk": "aiohttp may wait for more after a malformed chunk, until the time is up",
    "racing keep-alive": (
        "httpx-aiohttp does not say whether a connection was new, so the retry waits as any other "
        "does"
    ),
}
_FOREIGN = {
    "cookies of an earlier answer": "the user's client keeps cookies as it is made to",
    "self-signed TLS": "verify is the user's client's own, and refused beside it",
}
_FOREIGN_SYNC = dict.fromkeys(
    ("endless informational answers", "headers dripped slowly", "server lingers after [DONE]"),
    "a sync client of the user's bounds each read, not all of them together",
)
_ASYNC: tuple[Mode, ...] = ("ainvoke", "astream")

TARGETS: dict[str, Target] = {
    target.name: target
    for target in (
        _ours("ours", "the package's own clients", _BEYOND),
        _ours(
            "ours-aiohttp",
            '`async_transport="aiohttp"`',
            _AIOHTTP,
            options={"async_transport": "aiohttp"},
            modes=_ASYNC,
            swallows=True,
        ),
        _ours(
            "ours-aiohttp-client",
            "your `HttpxAiohttpClient`",
            _AIOHTTP | _FOREIGN,
            options={"http_async_client": "httpx_aiohttp:HttpxAiohttpClient"},
            modes=_ASYNC,
            swallows=True,
        ),
        _ours(
            "ours-httpx2",
            "your `httpx` or `httpx2` clients",
            _BEYOND | _FOREIGN | _FOREIGN_SYNC,
            options={"http_client": "httpx2:Client", "http_async_client": "httpx2:AsyncClient"},
        ),
        # The service always streams: what users must ask their client for, so that it can read it.
        Target(
            "openai",
            "langchain_openai",
            "ChatOpenAI",
            ("openai.", "langchain_core.exceptions.ModelError", "langchain_openai."),
            options={"stream_usage": True, "streaming": True},
        ),
        Target(
            "mistral",
            "langchain_mistralai",
            "ChatMistralAI",
            ("httpx.", "langchain_core.exceptions.ModelError", "langchain_mistralai."),
            options={"streaming": True},
        ),
    )
}
