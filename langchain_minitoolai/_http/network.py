"""Below httpx's surface: how clients are made, how time reaches their sockets, what fails."""

import ssl
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any, Final, NamedTuple, TypeVar

import httpx

from langchain_minitoolai import errors
from langchain_minitoolai._aiohttp import aiohttp_failures, make_aiohttp_client
from langchain_minitoolai._cookieless import CookielessAsyncClient, CookielessClient
from langchain_minitoolai._http.deadline import Budget
from langchain_minitoolai._sockets import SocketBackend
from langchain_minitoolai._sync_sockets import Backend

KEEP_SECONDS: Final = 30.0
"""How long an idle connection is kept: an agent's tools take longer than httpx's 5 s."""

WIRE_FAILURES: Final = (httpx.TransportError, OSError)
"""What a request can die of; the built-in `TimeoutError` is an `OSError`."""


def wire_failures(budget: Budget) -> tuple[type[Exception], ...]:
    """Give what an exchange can die of, whichever network it has."""
    return (*WIRE_FAILURES, *aiohttp_failures()) if budget.foreign else WIRE_FAILURES


_C = TypeVar("_C", httpx.Client, httpx.AsyncClient)


class Route(NamedTuple):
    """A way of connecting: all that decides which connections can be shared."""

    proxy: str | None = None
    verify: bool | str = True
    aiohttp: bool = False
    """Whether async calls go over aiohttp's connections."""


def make_client(route: Route, *, keep: int) -> httpx.Client:
    """Make a sync client.

    Args:
        route: How to connect.
        keep: The most idle connections to keep.
    """
    return _take_over(CookielessClient(**_options(route, keep)), Backend)


def make_async_client(route: Route, *, keep: int) -> httpx.AsyncClient:
    """Make an async client; see `make_client`."""
    if route.aiohttp:
        return make_aiohttp_client(_options(route, keep), keep=keep)
    return _take_over(CookielessAsyncClient(**_options(route, keep)), lambda _: SocketBackend())


@lru_cache(maxsize=8)
def ssl_context(verify: bool | str) -> ssl.SSLContext:  # noqa: FBT001 - as httpx has it
    """Make the TLS context, once: reading the certificates is most of a client's cost.

    Raises:
        InvalidInputError: If the path holds no certificates.
    """
    if not isinstance(verify, str):
        return httpx.create_ssl_context(verify=verify)
    try:
        if Path(verify).is_dir():
            return ssl.create_default_context(capath=verify)
        return ssl.create_default_context(cafile=verify)
    except OSError:
        allowed = "True, False, or the path of certificates in PEM form"
        raise errors.InvalidInputError(f"verify is {verify!r}; allowed: {allowed}") from None


def failure_of(
    caught: Exception, budget: Budget, *, answering: bool = False, place: str = ""
) -> errors.MiniToolAIError:
    """Say in our terms what a request died of.

    Args:
        caught: One of `wire_failures`; nothing of it is kept.
        budget: The exchange's time.
        answering: Whether the reply's headers had come.
        place: The host and port that was asked, for the words where it was not reached.
    """
    # httpx-aiohttp calls every broken connection a failure to connect in time.
    late = TimeoutError if budget.foreign else (TimeoutError, httpx.TimeoutException)
    if answering:
        if isinstance(caught, late):
            return errors.APITimeoutError(budget.reason())
        return errors.StreamInterruptedError("the connection broke before the answer was complete")
    unsent = budget.connecting or (not budget.foreign and isinstance(caught, _UNSENT))
    if isinstance(caught, late) and not unsent:
        return errors.APITimeoutError(budget.reason())
    if not unsent:
        failure = errors.APIConnectionError("the connection broke before the service answered")
        failure.stale = not budget.fresh
        return failure
    words = errors.tidy(str(caught)) or "no connection in the time allowed"
    at = f" at {place}" if place else ""
    failure = errors.APIConnectionError(f"can't connect to the service{at}: {words}")
    failure.maybe_sent = failure.maybe_charged = False
    if "CERTIFICATE_VERIFY_FAILED" in words or isinstance(caught, httpx.LocalProtocolError):
        failure.is_retryable = False
    return failure


_UNSENT: Final = (
    httpx.ConnectError,
    httpx.ConnectTimeout,
    httpx.PoolTimeout,
    httpx.ProxyError,
    httpx.UnsupportedProtocol,
    httpx.LocalProtocolError,
)


def _options(route: Route, keep: int) -> dict[str, Any]:
    return {
        "verify": ssl_context(route.verify),
        "proxy": _proxy(route),
        "limits": httpx.Limits(
            max_connections=None, max_keepalive_connections=keep, keepalive_expiry=KEEP_SECONDS
        ),
    }


def _proxy(route: Route) -> httpx.Proxy | None:
    """Give the proxy, which is verified as the service is where it is spoken to by TLS."""
    if route.proxy is None:
        return None
    tls = route.proxy.lower().startswith("https:")
    return httpx.Proxy(route.proxy, ssl_context=ssl_context(route.verify) if tls else None)


def _take_over(client: _C, backend: Callable[[Any], Any]) -> _C:
    """Put our backend under a client; the one place that touches private attributes."""
    for transport in (client._transport, *client._mounts.values()):  # noqa: SLF001
        if transport is not None:
            pool = transport._pool  # noqa: SLF001
            pool._network_backend = backend(pool._network_backend)  # noqa: SLF001
    return client
