"""The httpx floor: `client.stream(json=…)`, `iter_lines` and `json.loads`, without LangChain."""

import json
from collections.abc import AsyncIterator, Iterator
from functools import cached_property

import httpx

from benchmarks.spec import BODY, Spec

_LIMITS = httpx.Limits(max_connections=None, max_keepalive_connections=None)
_HEADERS = {"Authorization": "Bearer benchmark"}


def _content(line: str) -> str:
    """Give the content that a line brings, if it brings any."""
    if not line.startswith("data: {"):
        return ""
    choices = json.loads(line[6:])["choices"]
    return choices[0]["delta"].get("content") or "" if choices else ""


class HttpxFloor:
    """What one would write by hand."""

    def __init__(self, spec: Spec) -> None:
        """Make the client for blocking calls; the other is made at its first use."""
        self._url = spec.minitoolai_url + "/chat-completions/"
        self._client = httpx.Client(limits=_LIMITS, headers=_HEADERS, timeout=120)

    @cached_property
    def _async_client(self) -> httpx.AsyncClient:
        return httpx.AsyncClient(limits=_LIMITS, headers=_HEADERS, timeout=120)

    def stream(self) -> Iterator[str]:
        """Give the contents as they arrive."""
        with self._client.stream("POST", self._url, json=BODY) as response:
            for line in response.iter_lines():
                if content := _content(line):
                    yield content

    async def astream(self) -> AsyncIterator[str]:
        """Give the contents as they arrive."""
        async with self._async_client.stream("POST", self._url, json=BODY) as response:
            async for line in response.aiter_lines():
                if content := _content(line):
                    yield content

    def invoke(self) -> str:
        """Give the whole text."""
        return "".join(self.stream())

    async def ainvoke(self) -> str:
        """Give the whole text."""
        return "".join([content async for content in self.astream()])
