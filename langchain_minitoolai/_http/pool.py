"""Client pools: shared httpx clients per process and per event loop, TLS contexts, forks.

Models and tools with the same `TransportConfig` share their connections, also one after the other.
"""

import asyncio
import os
import ssl
import threading
import time
import weakref
from collections.abc import AsyncGenerator
from functools import lru_cache
from http.cookiejar import CookieJar, DefaultCookiePolicy
from importlib.util import find_spec
from inspect import iscoroutinefunction
from itertools import chain
from pathlib import Path
from typing import Any, Final, NamedTuple, TypeAlias

import httpx

from langchain_minitoolai import errors
from langchain_minitoolai._http.transport import DeadlineTransport, Origin, environment_proxy

CALLS_PER_CLIENT: Final = 8
"""Calls in flight on one async client: httpcore scans all of a client's connections per call."""
KEEPALIVE_EXPIRY: Final = 30.0
"""Seconds that an idle connection is kept: an agent's tools take longer than httpx's 5."""
MAX_LOST: Final = 16
"""Connections that an async client may lose to cancellations before another takes its place."""
_FOREVER: Final = 365 * 24 * 3600.0
"""Seconds until a timer that only keeps its callback's owner alive as long as its loop."""
MAX_POOLS: Final = 64
"""Pools remembered; more are one program's per-user proxies."""


class TransportConfig(NamedTuple):
    """How to connect: all that decides which connections can be shared.

    Attributes:
        proxy: A proxy's URL; by default the environment's.
        verify: Whether to verify certificates, a path of those to trust, or a TLS context.
        aiohttp: Whether async calls go over aiohttp.
        http_client: The user's own `httpx.Client`, or a callable that makes one.
        http_async_client: The user's own `httpx.AsyncClient`, or a callable that makes one.
    """

    proxy: str | None = None
    verify: bool | str | ssl.SSLContext = True
    aiohttp: bool = False
    http_client: Any = None
    http_async_client: Any = None


# --- Our own clients ----------------------------------------------------------------


@lru_cache(maxsize=8)
def ssl_context(verify: bool | str | ssl.SSLContext) -> ssl.SSLContext:  # noqa: FBT001 - as httpx has it
    """Make a TLS context, once: reading the certificates is most of a client's cost.

    Raises:
        InvalidInputError: If the path holds no certificates.
    """
    if isinstance(verify, ssl.SSLContext):
        return verify
    if not isinstance(verify, str):
        return httpx.create_ssl_context(verify=verify)
    try:
        if Path(verify).is_dir():
            return ssl.create_default_context(capath=verify)
        return ssl.create_default_context(cafile=verify)
    except OSError:
        allowed = "True, False, the path of certificates in PEM form, or an ssl.SSLContext"
        raise errors.InvalidInputError(f"verify is {verify!r}; allowed: {allowed}") from None


def _make_client(config: TransportConfig, proxy: str | None, keep: int) -> httpx.Client:
    context = ssl_context(config.verify)
    transport = DeadlineTransport(
        context,
        _proxy(config, proxy),
        max_connections=None,
        max_keepalive_connections=keep,
        keepalive_expiry=KEEPALIVE_EXPIRY,
    )
    return httpx.Client(transport=transport, cookies=_no_cookies())


def _make_async_client(config: TransportConfig, proxy: str | None, keep: int) -> httpx.AsyncClient:
    if config.aiohttp:
        return _make_aiohttp_client(config, proxy, keep)
    limits = httpx.Limits(
        max_connections=None, max_keepalive_connections=keep, keepalive_expiry=KEEPALIVE_EXPIRY
    )
    return httpx.AsyncClient(
        verify=ssl_context(config.verify),
        proxy=_proxy(config, proxy),
        limits=limits,
        cookies=_no_cookies(),
        trust_env=False,  # `ClientPool.proxy_for` has read it
    )


def _make_aiohttp_client(
    config: TransportConfig, proxy: str | None, keep: int
) -> httpx.AsyncClient:
    from aiohttp import ClientSession, DummyCookieJar, TCPConnector  # noqa: PLC0415 - an extra
    from httpx_aiohttp import AiohttpTransport  # noqa: PLC0415 - an extra

    context = ssl_context(config.verify)

    def session() -> ClientSession:
        keepalive = KEEPALIVE_EXPIRY if keep else None  # aiohttp refuses one with `force_close`
        connector = TCPConnector(
            limit=0, ssl=context, keepalive_timeout=keepalive, force_close=not keep
        )
        return ClientSession(connector=connector, cookie_jar=DummyCookieJar())

    transport = AiohttpTransport(verify=context, proxy=_proxy(config, proxy), client=session)
    return httpx.AsyncClient(transport=transport, cookies=_no_cookies())


def _no_cookies() -> CookieJar:
    """Make a jar that accepts no cookie: it would tie one user's call to another's."""
    return CookieJar(DefaultCookiePolicy(allowed_domains=()))


def _proxy(config: TransportConfig, proxy: str | None) -> httpx.Proxy | None:
    """Return the proxy; where it speaks TLS itself, it is verified as the service is."""
    if proxy is None:
        return None
    tls = proxy.lower().startswith("https:")
    return httpx.Proxy(proxy, ssl_context=ssl_context(config.verify) if tls else None)


# --- The user's clients -------------------------------------------------------------


def validate_client(field: str, given: Any, *, is_async: bool) -> None:
    """Check what a user passes as his own client; a callable is called at the first request.

    Raises:
        ValueError: If it is neither a client of the right kind that is open, nor a callable.
    """
    kind = "httpx.AsyncClient" if is_async else "httpx.Client"
    allowed = f"allowed: an open {kind} (or of a compatible library), or a callable that makes one"
    if not _is_client(given):
        if callable(given):
            return
        raise ValueError(f"{field} is a {type(given).__name__}; {allowed}")
    if iscoroutinefunction(given.send) is not is_async:
        other = "a sync client" if is_async else "an async client"
        raise ValueError(f"{field} is {other}; {allowed}")
    if given.is_closed:
        raise ValueError(f"{field} is closed; {allowed}")


def _is_client(given: Any) -> bool:
    return (
        hasattr(given, "build_request") and hasattr(given, "send") and not isinstance(given, type)
    )


def is_client_instance(given: Any) -> bool:
    """Whether a field holds a client itself, which can't be pickled."""
    return given is not None and _is_client(given)


def _open_client(field: str, given: Any, *, is_async: bool) -> Any:
    """Check a client before a request, and return it; a callable is called."""
    client = given if _is_client(given) else given()
    try:
        validate_client(field, client, is_async=is_async)
    except ValueError as refused:
        raise errors.InvalidInputError(str(refused)) from None
    if not _is_client(client):
        message = f"{field}() returned a {type(client).__name__}; allowed: a client"
        raise errors.InvalidInputError(message)
    return client


_client_loops: weakref.WeakKeyDictionary[Any, weakref.ref[asyncio.AbstractEventLoop]] = (
    weakref.WeakKeyDictionary()
)
"""The event loop in which a user's async client was first used."""


def _check_loop(client: Any) -> None:
    loop = asyncio.get_running_loop()
    if _client_loops.setdefault(client, weakref.ref(loop))() is not loop:
        raise errors.InvalidInputError(
            "http_async_client belongs to another event loop; allowed: one loop a client, or a "
            "callable that makes a client for each loop (http_async_client=make_client)"
        )


# --- Pools --------------------------------------------------------------------------

_Key: TypeAlias = tuple[str | None, bool]
"""The proxy, and whether the client keeps no connection."""


class PooledClient:
    """An async client and what it is busy with.

    Attributes:
        client: The client.
        in_flight: The calls on it.
        lost: The closed connections that its pool keeps and scans at each call.
        used: When a call on it last began or ended.
    """

    def __init__(self, client: Any) -> None:
        """Take the client."""
        self.client = client
        self.in_flight = 0
        self.lost = 0
        self.used = 0.0

    def end_call(self, *, lost: bool) -> None:
        """Count a call off, and its connection if the pool keeps that closed."""
        self.in_flight -= 1
        self.lost += lost
        self.used = time.monotonic()


class LoopPool:
    """The async clients of one event loop, which owns it; closed when the loop shuts down."""

    def __init__(self, owner: "ClientPool", loop: asyncio.AbstractEventLoop) -> None:
        """Start without a client."""
        self._config = owner.config
        self._clients: dict[_Key, list[PooledClient]] = {}
        self._retired: list[PooledClient] = []
        self._closer: AsyncGenerator[None] | None = None
        # The loop alone holds this pool, by a timer, so that both can be let go together.
        self._anchor = loop.call_later(_FOREVER, lambda: self)
        self._owner = weakref.ref(owner, lambda _: self._anchor.cancel())

    async def client(self, key: _Key) -> PooledClient:
        """Return a client that can take one more call."""
        if self._closer is None and self._config.http_async_client is None:
            await asyncio.to_thread(ssl_context, self._config.verify)
        if self._closer is None:
            self._closer = self._close_at_shutdown()
            await anext(self._closer)
        await self._retire()
        clients = self._clients.setdefault(key, [])
        for pooled in clients:
            if pooled.in_flight < CALLS_PER_CLIENT or key[1] or not self._is_scanned:
                break
        else:
            pooled = PooledClient(self._make(key))
            clients.append(pooled)
        pooled.used = time.monotonic()
        return pooled

    @property
    def _is_scanned(self) -> bool:
        """Whether each call scans all connections of its client, as httpcore's pool does."""
        return not self._config.aiohttp and self._config.http_async_client is None

    def _make(self, key: _Key) -> Any:
        if self._config.http_async_client is not None:
            return _open_client("http_async_client", self._config.http_async_client, is_async=True)
        proxy, is_single_use = key
        return _make_async_client(self._config, proxy, 0 if is_single_use else CALLS_PER_CLIENT)

    async def _retire(self) -> None:
        """Replace what is idle, worn or closed; it is closed once its calls are over."""
        idle_since = time.monotonic() - KEEPALIVE_EXPIRY
        is_ours = self._config.http_async_client is None
        for clients in self._clients.values():
            for pooled in clients.copy():
                is_idle = not pooled.in_flight and pooled.used < idle_since
                is_worn = is_ours and (is_idle or pooled.lost >= MAX_LOST)
                if is_worn or pooled.client.is_closed:
                    clients.remove(pooled)
                    self._retired.append(pooled)
        # Chosen anew after each wait, in which another call may have closed some.
        while unused := next((each for each in self._retired if not each.in_flight), None):
            self._retired.remove(unused)
            await unused.client.aclose()

    async def _close_at_shutdown(self) -> AsyncGenerator[None]:
        """Close the clients in their own loop: it finishes its async generators at shutdown."""
        try:
            yield
        finally:
            self._anchor.cancel()
            for pooled in (*chain.from_iterable(self._clients.values()), *self._retired):
                await pooled.client.aclose()


class ClientPool:
    """All clients of one configuration in this process."""

    def __init__(self, config: TransportConfig) -> None:
        """Start without a client: no socket, no certificate is read."""
        self.config = config
        self._closers: list[weakref.finalize[..., Any]] = []
        self._start()
        reset_after_fork(self)

    def reset_after_fork(self) -> None:
        """Drop every client without closing it: in a forked child they are the parent's."""
        for closer in self._closers:
            closer.detach()
        self._closers.clear()
        # An unreferenced client would be closed.
        _dropped.append((self._sync, list(self._loops.values())))
        self._start()

    def _start(self) -> None:
        self._lock = threading.Lock()
        self._sync: dict[_Key, Any] = {}
        self._loops: weakref.WeakValueDictionary[int, LoopPool] = weakref.WeakValueDictionary()
        self._environment_proxy = lru_cache(maxsize=MAX_POOLS)(environment_proxy)

    def proxy_for(self, origin: Origin, *, is_async: bool) -> str | None:
        """Return the proxy that is asked for an origin; a user's client does not tell its own."""
        users = self.config.http_async_client if is_async else self.config.http_client
        if users is not None:
            return None
        return self.config.proxy or self._environment_proxy(origin)

    def client(self, origin: Origin, *, new_connection: bool) -> Any:
        """Return the sync client for an origin.

        Args:
            origin: Where the call goes.
            new_connection: Whether the call must not go over a connection used before; a user's
                client decides that by itself.
        """
        given = self.config.http_client
        if _is_client(given):
            return _open_client("http_client", given, is_async=False)
        key = (self.proxy_for(origin, is_async=False), new_connection and given is None)
        with self._lock:
            client = self._sync.get(key)
            if client is None or client.is_closed:
                client = self._sync[key] = self._make(key)
                self._closers.append(weakref.finalize(self, client.close))
        return client

    def _make(self, key: _Key) -> Any:
        if self.config.http_client is not None:
            return _open_client("http_client", self.config.http_client, is_async=False)
        proxy, is_single_use = key
        return _make_client(self.config, proxy, 0 if is_single_use else CALLS_PER_CLIENT)

    async def async_client(self, origin: Origin, *, new_connection: bool) -> PooledClient:
        """Return an async client of the running event loop; see `client`."""
        given = self.config.http_async_client
        if _is_client(given):
            client = _open_client("http_async_client", given, is_async=True)
            _check_loop(client)
            return PooledClient(client)
        loop = asyncio.get_running_loop()
        pool = self._loops.get(id(loop))
        if pool is None:
            pool = self._loops[id(loop)] = LoopPool(self, loop)
        key = (self.proxy_for(origin, is_async=True), new_connection and given is None)
        return await pool.client(key)


_pools: dict[Any, ClientPool] = {}
_pools_lock = threading.Lock()
_dropped: Final[list[object]] = []


def client_pool(config: TransportConfig) -> ClientPool:
    """Return the process's pool for a configuration; a later model finds its connections."""
    users = config.http_client, config.http_async_client
    key = config._replace(http_client=id(users[0]), http_async_client=id(users[1]))
    with _pools_lock:
        pool = _pools.get(key)
        if pool is None:
            if len(_pools) >= MAX_POOLS:
                del _pools[next(iter(_pools))]
            pool = _pools[key] = ClientPool(config)
    return pool


def has_aiohttp() -> bool:
    """Whether the extra `aiohttp` is installed."""
    return find_spec("httpx_aiohttp") is not None


# --- Forks --------------------------------------------------------------------------


_fork_aware: Final[weakref.WeakSet[Any]] = weakref.WeakSet()


def reset_after_fork(owner: Any) -> None:
    """Have an object's `reset_after_fork` called in each forked child, as long as it is in use."""
    _fork_aware.add(owner)


def _after_fork() -> None:
    global _pools_lock  # noqa: PLW0603 - another thread may have held it
    _pools_lock = threading.Lock()
    for owner in list(_fork_aware):
        owner.reset_after_fork()


getattr(os, "register_at_fork", lambda **_: None)(after_in_child=_after_fork)
