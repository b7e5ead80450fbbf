"""The lives of connections: clients made late, shared, and let go at the right time.

One sync client per process, and one set of async clients per running event loop, for each
`Route`. Models and tools with the same route share them.
"""

import asyncio
import os
import threading
import weakref
from collections.abc import AsyncGenerator, Generator, Iterator, Mapping
from typing import Any, Final

import httpx
from pydantic_core import to_json

from langchain_minitoolai._budget import Budget
from langchain_minitoolai._network import Route, make_async_client, make_client, ssl_context
from langchain_minitoolai._version import __version__
from langchain_minitoolai._wire import Call, Reply
from langchain_minitoolai.errors import InvalidInputError

SHARD: Final = 16
"""Calls in flight on one async client; httpcore scans all of a client's connections per call."""

_SHOWN: Final = 60

_HEADERS: Final = {
    "Accept": "text/event-stream, application/json",
    "Accept-Encoding": "identity",
    "Content-Type": "application/json",
    "User-Agent": f"langchain-minitoolai/{__version__}",
}


class Endpoint:
    """Where calls go, and as whom: what both shells share."""

    def __init__(
        self, network: "Network", base: str, key: str, headers: Mapping[str, str] | None = None
    ) -> None:
        """Keep the facts; nothing is opened.

        Args:
            network: Lends the connections.
            base: The service's address, without a slash at its end.
            key: The API key.
            headers: Headers for every request.
        """
        self.network = network
        self.secret = key
        self._base = base
        self._auth = _KeyAuth(key)
        self._headers = httpx.Headers(_HEADERS)
        self._headers.update(headers)
        self._urls: dict[str, httpx.URL] = {}

    def request(self, call: Call, budget: Budget) -> httpx.Request:
        """Build the request; the key is not in it yet.

        Raises:
            InvalidInputError: If the body holds what JSON can't.
        """
        content = _json(call.body)
        url = self._urls.get(call.path)
        if url is None:
            url = self._urls[call.path] = httpx.URL(self._base + call.path)
        # A stream and whole headers spare httpx most of the work of building a request.
        headers = self._headers.copy()
        headers.setdefault("Host", url.netloc.decode("ascii"))
        headers["Content-Length"] = str(len(content))
        return httpx.Request(
            "POST",
            url,
            headers=headers,
            stream=httpx.ByteStream(content),
            extensions=budget.extensions(),
        )

    def auth(self, call: Call) -> httpx.Auth | None:
        """Give what sets the key, if the call takes it along."""
        return self._auth if call.authorized else None

    def reply(self, response: httpx.Response, body: bytes = b"", answer: Any = None) -> Reply:
        """Make a reply, its body without our key."""
        if body and self.secret:
            body = body.replace(self.secret.encode(), b"[key]")
        return Reply(response.status_code, response.headers, body, answer)


def _json(body: Mapping[str, Any]) -> bytes:
    try:
        return to_json(body)
    except ValueError:
        place, value = next(_unwritable(body, ""), ("the request", "something"))
    raise InvalidInputError(f"{place} is {value}; allowed: what JSON can hold, in valid Unicode")


def _unwritable(value: Any, place: str) -> Iterator[tuple[str, str]]:
    """Find what can't be written: where it stands, and what it is."""
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield from _unwritable(inner, f"{place}.{key}" if place else str(key))
    elif isinstance(value, list | tuple):
        for index, inner in enumerate(value):
            yield from _unwritable(inner, f"{place}[{index}]")
    else:
        try:
            to_json(value)
        except ValueError:
            text = ascii(value)
            yield place, text if len(text) <= _SHOWN else text[:_SHOWN] + "…"


class _KeyAuth(httpx.Auth):
    """Sets the API key when a request is sent, and not before."""

    def __init__(self, key: str) -> None:
        self._key = key

    def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        request.headers["Authorization"] = f"Bearer {self._key}"
        yield request


class Shard:
    """One async client and how many calls are on it."""

    def __init__(self, route: Route, *, keep: int) -> None:
        """Make the client."""
        self.client = make_async_client(route, keep=keep)
        self.busy = 0


class LoopClients:
    """The async clients of one event loop."""

    def __init__(self, route: Route) -> None:
        """Start without a client."""
        self._route = route
        self._fresh: Shard | None = None
        self._shards: list[Shard] = []
        self._closing: AsyncGenerator[None] | None = None

    async def shard(self, *, fresh: bool) -> Shard:
        """Give a client with room for one more call, making it if need be.

        Args:
            fresh: Whether the call must not go over a connection that was used before.
        """
        if self._fresh is None:
            await asyncio.to_thread(ssl_context, self._route.verify)
        if self._fresh is None:
            self._fresh = Shard(self._route, keep=0)
            # The loop ends its async generators when it shuts down, and collects those
            # that nobody holds: either way the clients are closed in their own loop.
            self._closing = _close_at_end(self._fresh, self._shards)
            await anext(self._closing)
        if fresh:
            return self._fresh
        for shard in self._shards:
            if shard.busy < SHARD:
                return shard
        self._shards.append(Shard(self._route, keep=SHARD))
        return self._shards[-1]


async def _close_at_end(fresh: Shard, shards: list[Shard]) -> AsyncGenerator[None]:
    try:
        yield
    finally:
        for shard in (fresh, *shards):
            await shard.client.aclose()


class Network:
    """All clients of one route in this process."""

    def __init__(self, route: Route) -> None:
        """Start without a client: no socket, no certificate is read."""
        self._route = route
        self._closers: list[weakref.finalize[..., Any]] = []
        self._begin()

    def forget(self) -> None:
        """Drop every client without closing it: in a forked child they are the parent's."""
        for closer in self._closers:
            closer.detach()
        self._closers.clear()
        _dropped.append((self._sync, self._loops))  # what nobody holds would be closed
        self._begin()

    def _begin(self) -> None:
        self._lock = threading.Lock()
        self._sync: dict[bool, httpx.Client] = {}
        self._loops: dict[asyncio.AbstractEventLoop, LoopClients] = {}

    def client(self, *, fresh: bool) -> httpx.Client:
        """Give the sync client, or the one that keeps no connection."""
        with self._lock:
            client = self._sync.get(fresh)
            if client is None:
                client = make_client(self._route, keep=0 if fresh else SHARD)
                self._closers.append(weakref.finalize(self, client.close))
                self._sync[fresh] = client
        return client

    def loop_clients(self) -> LoopClients:
        """Give the async clients of the running event loop."""
        loop = asyncio.get_running_loop()
        clients = self._loops.get(loop)
        if clients is None:
            with self._lock:
                for old in [old for old in self._loops if old.is_closed()]:
                    del self._loops[old]
                clients = self._loops[loop] = LoopClients(self._route)
        return clients


_networks: weakref.WeakValueDictionary[Route, Network] = weakref.WeakValueDictionary()
_networks_lock = threading.Lock()
_dropped: Final[list[object]] = []


def network(route: Route) -> Network:
    """Give the process's network for a route, shared by all who hold it."""
    with _networks_lock:
        found = _networks.get(route)
        if found is None:
            found = _networks[route] = Network(route)
    return found


def _after_fork() -> None:
    global _networks_lock  # noqa: PLW0603 - another thread may have held it
    _networks_lock = threading.Lock()
    for each in list(_networks.values()):
        each.forget()


getattr(os, "register_at_fork", lambda **_: None)(after_in_child=_after_fork)
