"""The chat models that go through the faults: ours, and what a user would pick instead."""

import importlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from langchain_core.language_models import BaseChatModel

KEY = "sk-test-5ecre7-never-show-this-0123456789"
MODEL = "gpt-4o-mini"


@dataclass(frozen=True)
class Settings:
    """What a fault asks of the model, in seconds and attempts after the first."""

    timeout: float = 3.0
    total_timeout: float | None = 20.0
    max_retries: int = 1
    more: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Target:
    """A chat model class and what counts as an error of its own.

    Attributes:
        name: As given to `--target`.
        module: Where the class is.
        class_name: The class.
        errors: Prefixes of the qualified names that its typed errors have.
        ours: Whether the strict reading of each expectation applies.
        swallows: Whether a break may swallow what came just before it, unseen.
        more: Options of its own.
        clients: HTTP clients of its own: an option's name, and where the class is.
        title: What the documentation calls its HTTP client.
        known: Faults that it does not hold, or not always, each with the reason.
        modes: The modes that go over clients of its own.
    """

    name: str
    module: str
    class_name: str
    errors: tuple[str, ...]
    ours: bool = False
    swallows: bool = False
    more: Mapping[str, Any] = field(default_factory=dict)
    clients: Mapping[str, str] = field(default_factory=dict)
    title: str = "the package's own clients"
    known: Mapping[str, str] = field(default_factory=dict)
    modes: tuple[str, ...] = ("invoke", "stream", "ainvoke", "astream")

    def model(
        self, origin: str, settings: Settings, *, plain: bool = False, key: str = KEY
    ) -> BaseChatModel:
        """Return a model that talks to the server at `origin`.

        The peers ask for a stream in `invoke` too, since the service sends nothing else;
        `plain` leaves that out.
        """
        options: dict[str, Any] = {"model": MODEL, "api_key": key}
        options |= {"max_retries": settings.max_retries}
        base = f"{origin}/api"
        if self.name == "openai":
            options |= {"base_url": base, "timeout": settings.timeout, "stream_usage": True}
            options |= {} if plain else {"streaming": True}
        elif self.name == "mistral":
            options |= {"base_url": base, "timeout": max(1, round(settings.timeout))}
            options |= {} if plain else {"streaming": True}
        else:
            options |= {"base_url": base, "timeout": settings.timeout}
            options |= {"total_timeout": settings.total_timeout}
        chat_class = getattr(importlib.import_module(self.module), self.class_name)
        options |= {name: _class_at(place) for name, place in self.clients.items()}
        made: BaseChatModel = chat_class(**options | {**self.more, **settings.more})
        return made


_BEYOND = (
    "httpcore hands bytes that follow an answer in the same packet to the next call; in sync calls "
    "over our own transport that answer is dropped and asked for again"
)
_BEYOND_THE_END = {"bytes beyond the end": _BEYOND, "bytes beyond a document": _BEYOND}
_BEYOND_AIOHTTP = dict.fromkeys(
    _BEYOND_THE_END, "aiohttp drops such a connection only if it has seen the bytes by then"
)
_MALFORMED = {
    "malformed chunk": "aiohttp may wait for more after a malformed chunk, until the time is up"
}
_ASYNC = ("ainvoke", "astream")
_COOKIES = {"cookies of an earlier answer": "the user's client keeps cookies as it is made to"}
_VERIFY = {"self-signed TLS": "verify is the user's client's own, and refused beside it"}
_SYNC_READS = "a sync client of the user's bounds each read, not all of them together"
_STALE = (
    "httpx-aiohttp does not say whether a connection was new, so the retry waits as any other does"
)


def _class_at(place: str) -> Any:
    module, _, name = place.partition(":")
    return getattr(importlib.import_module(module), name)


TARGETS: dict[str, Target] = {
    target.name: target
    for target in (
        Target(
            "ours",
            "langchain_minitoolai",
            "ChatMiniToolAI",
            ("langchain_minitoolai.errors.MiniToolAIError",),
            ours=True,
            known=_BEYOND_THE_END,
        ),
        Target(
            "ours-aiohttp",
            "langchain_minitoolai",
            "ChatMiniToolAI",
            ("langchain_minitoolai.errors.MiniToolAIError",),
            ours=True,
            swallows=True,
            more={"async_transport": "aiohttp"},
            title='`async_transport="aiohttp"`',
            known={**_BEYOND_AIOHTTP, **_MALFORMED, "racing keep-alive": _STALE},
            modes=_ASYNC,
        ),
        Target(
            "ours-aiohttp-client",
            "langchain_minitoolai",
            "ChatMiniToolAI",
            ("langchain_minitoolai.errors.MiniToolAIError",),
            ours=True,
            swallows=True,
            clients={"http_async_client": "httpx_aiohttp:HttpxAiohttpClient"},
            title="your `HttpxAiohttpClient`",
            known={
                **_BEYOND_AIOHTTP,
                **_MALFORMED,
                **_COOKIES,
                **_VERIFY,
                "racing keep-alive": _STALE,
            },
            modes=_ASYNC,
        ),
        Target(
            "ours-httpx2",
            "langchain_minitoolai",
            "ChatMiniToolAI",
            ("langchain_minitoolai.errors.MiniToolAIError",),
            ours=True,
            clients={"http_client": "httpx2:Client", "http_async_client": "httpx2:AsyncClient"},
            title="your `httpx` or `httpx2` clients",
            known={
                **_BEYOND_THE_END,
                **_COOKIES,
                **_VERIFY,
                "endless informational answers": _SYNC_READS,
                "headers dripped slowly": _SYNC_READS,
                "server lingers after [DONE]": _SYNC_READS,
            },
        ),
        Target(
            "openai",
            "langchain_openai",
            "ChatOpenAI",
            ("openai.", "langchain_core.exceptions.ModelError", "langchain_openai."),
        ),
        Target(
            "mistral",
            "langchain_mistralai",
            "ChatMistralAI",
            ("httpx.", "langchain_core.exceptions.ModelError", "langchain_mistralai."),
        ),
    )
}
