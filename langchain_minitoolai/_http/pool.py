"""The lives of connections: clients made late, shared, and let go at the right time.

One sync client per process, and one set of async clients per running event loop, for each
`Route`. Models and tools with the same route share them.
"""

import asyncio
import os
import threading
import weakref
from collections.abc import AsyncGenerator
from typing import Any, Final

import httpx

from langchain_minitoolai._http.network import Route, make_async_client, make_client, ssl_context

SHARD: Final = 8
"""Calls in flight on one async client; httpcore scans all of a client's connections per call."""

MOST_ROUTES: Final = 64
"""Routes remembered; more are one program's per-user proxies."""


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
            # A loop that shuts down ends its async generators: so the clients are closed in
            # the loop they live in.
            self._closing = _close_at_end(self._fresh, self._shards)
            await anext(self._closing)
        if fresh:
            return self._fresh
        for shard in self._shards:
            if shard.busy < SHARD or self._route.aiohttp:
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
        self.route = route
        self._closers: list[weakref.finalize[..., Any]] = []
        self._begin()
        _living.add(self)

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
                client = make_client(self.route, keep=0 if fresh else SHARD)
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
                clients = self._loops[loop] = LoopClients(self.route)
        return clients


_networks: dict[Route, Network] = {}
_living: weakref.WeakSet[Network] = weakref.WeakSet()  # also those no longer remembered
_networks_lock = threading.Lock()
_dropped: Final[list[object]] = []


def network(route: Route) -> Network:
    """Give the process's network for a route, shared by all who ask for it.

    It outlives them: a model made for one request finds the connections of the last one.
    """
    with _networks_lock:
        found = _networks.get(route)
        if found is None:
            if len(_networks) >= MOST_ROUTES:
                del _networks[next(iter(_networks))]
            found = _networks[route] = Network(route)
    return found


def _after_fork() -> None:
    global _networks_lock  # noqa: PLW0603 - another thread may have held it
    _networks_lock = threading.Lock()
    for each in list(_living):
        each.forget()


getattr(os, "register_at_fork", lambda **_: None)(after_in_child=_after_fork)
