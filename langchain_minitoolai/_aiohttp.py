"""Async clients over aiohttp's connections, which know nothing of budgets."""

from contextvars import ContextVar
from functools import lru_cache, partial
from typing import Any, Final

import httpx

from langchain_minitoolai._cookieless import Cookieless
from langchain_minitoolai._http.deadline import Budget

_BUDGET: Final[ContextVar[Budget]] = ContextVar("_BUDGET")
"""The budget of the exchange that the running task makes."""


def make_aiohttp_client(options: dict[str, Any], *, keep: int) -> httpx.AsyncClient:
    """Make a client.

    Args:
        options: What httpx's own client takes.
        keep: The most idle connections to keep; here any number, or none.
    """
    # A connection is kept by time there, not by number.
    seconds = options["limits"].keepalive_expiry if keep else 0.0
    limits = httpx.Limits(max_connections=None, keepalive_expiry=seconds)
    client: httpx.AsyncClient = _client_class()(**{**options, "limits": limits})
    for transport in (client._transport, *client._mounts.values()):  # noqa: SLF001
        if isinstance(transport, httpx.AsyncBaseTransport):
            transport.client = partial(_session, transport)  # type: ignore[attr-defined]
    return client


@lru_cache(maxsize=1)
def _client_class() -> type[httpx.AsyncClient]:
    from httpx_aiohttp import HttpxAiohttpClient  # noqa: PLC0415 - an extra

    return type("CookielessAiohttpClient", (Cookieless, HttpxAiohttpClient), {})


def lend(request: httpx.Request, budget: Budget) -> None:
    """Make a request ready for aiohttp; for a task of its own."""
    request.extensions.update(budget.numbers())
    request.read()
    _BUDGET.set(budget)


def aiohttp_failures() -> tuple[type[Exception], ...]:
    """Give what aiohttp raises and httpx-aiohttp lets pass."""
    from aiohttp import ClientError  # noqa: PLC0415 - an extra

    return (ClientError, RuntimeError)  # the latter where it reads on after a broken frame


def _session(transport: Any) -> Any:
    """Make the session that a transport asks for at its first request."""
    from aiohttp import (  # noqa: PLC0415 - an extra
        ClientSession,
        DummyCookieJar,
        TraceConfig,
    )

    trace = TraceConfig()
    trace.on_connection_create_start.append(_connecting)
    trace.on_connection_create_end.append(_connected)
    trace.on_request_end.append(_answering)
    connector = _connector_class()(
        limit=0, keepalive_timeout=transport.limits.keepalive_expiry, ssl=transport.ssl_context
    )
    return ClientSession(
        connector=connector, cookie_jar=DummyCookieJar(), trace_configs=[trace], trust_env=False
    )


@lru_cache(maxsize=1)
def _connector_class() -> type[Any]:
    from aiohttp import TCPConnector  # noqa: PLC0415 - an extra

    class Connector(TCPConnector):
        """Gives no connection on which something came that nobody asked for.

        aiohttp would take it for the next answer.
        """

        async def connect(self, *request: Any, **options: Any) -> Any:
            connection: Any = await super().connect(*request, **options)
            while connection.protocol.should_close and not _BUDGET.get().fresh:
                connection.close()
                connection = await super().connect(*request, **options)
            return connection

    return Connector


async def _connecting(*_: Any) -> None:
    _BUDGET.get().to_connect()


async def _connected(*_: Any) -> None:
    _BUDGET.get().connected()


async def _answering(_session: Any, _context: Any, facts: Any) -> None:
    """See to it that an answer ends with its connection: not so after a broken frame of HTTP."""
    connection, body = facts.response.connection, facts.response.content
    gone = getattr(connection and connection.protocol, "closed", None)
    if gone is not None:
        cut = partial(_cut, body)
        gone.remove_done_callback(_hear)
        gone.add_done_callback(_hear)  # it outlives the answer
        gone.add_done_callback(cut)
        body.on_eof(lambda: gone.remove_done_callback(cut))


def _hear(gone: Any) -> None:
    """Keep a connection's end that nobody asks for off stderr."""
    gone.exception()


def _cut(body: Any, _gone: Any) -> None:
    if not body.is_eof() and body.exception() is None:
        body.set_exception(httpx.ReadError("the connection is gone"))
