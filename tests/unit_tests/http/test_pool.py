"""Client pools: made late, shared, and closed at the right time; the user's own clients."""

import asyncio
import gc
import ssl
import subprocess
import sys
import threading
import weakref
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import certifi
import httpx
import httpx2
import pytest
from httpx_aiohttp import AiohttpTransport

from langchain_minitoolai import errors
from langchain_minitoolai._http import pool as pool_module
from langchain_minitoolai._http.async_client import AsyncClient
from langchain_minitoolai._http.pool import (
    CALLS_PER_CLIENT,
    KEEPALIVE_EXPIRY,
    MAX_LOST,
    MAX_POOLS,
    ClientPool,
    TransportConfig,
    client_pool,
    has_aiohttp,
    is_client_instance,
    reset_after_fork,
    ssl_context,
    validate_client,
)
from langchain_minitoolai._http.transport import DeadlineTransport, Origin
from tests.unit_tests.fake_clients import chat_request, once

CONFIG = TransportConfig(verify=False)
ORIGIN = Origin.of("https://service.test")
AIOHTTP = CONFIG._replace(aiohttp=True)


@pytest.fixture(autouse=True)
def living(monkeypatch: pytest.MonkeyPatch) -> None:
    """See to it that what is forgotten here is not what other tests keep open."""
    monkeypatch.setattr(pool_module, "_fork_aware", weakref.WeakSet())


@pytest.fixture
def pools(monkeypatch: pytest.MonkeyPatch) -> None:
    """Begin without remembered pools, and leave those there were."""
    monkeypatch.setattr(pool_module, "_pools", {})


async def lent(pool: ClientPool, *, new_connection: bool = False) -> Any:
    return (await pool.async_client(ORIGIN, new_connection=new_connection)).client


# --- One process ----------------------------------------------------------------------


def test_nothing_is_made_before_it_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool_module, "ssl_context", lambda _: pytest.fail("read certificates"))
    monkeypatch.setattr(pool_module, "_make_client", lambda *_: pytest.fail("made a client"))
    client_pool(TransportConfig("http://nobody-else-s.test"))


def test_there_is_one_client_and_one_that_keeps_no_connection() -> None:
    pool = ClientPool(CONFIG)
    assert pool.client(ORIGIN, new_connection=False) is pool.client(ORIGIN, new_connection=False)
    assert pool.client(ORIGIN, new_connection=True) is pool.client(ORIGIN, new_connection=True)
    assert pool.client(ORIGIN, new_connection=True) is not pool.client(ORIGIN, new_connection=False)


def test_a_client_that_was_closed_is_made_anew() -> None:
    pool = ClientPool(CONFIG)
    first = pool.client(ORIGIN, new_connection=False)
    first.close()
    assert not pool.client(ORIGIN, new_connection=False).is_closed


def test_threads_share_a_client() -> None:
    pool = ClientPool(CONFIG)
    found: list[httpx.Client] = []
    threads = [
        threading.Thread(target=lambda: found.append(pool.client(ORIGIN, new_connection=False)))
        for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(map(id, found))) == 1


@pytest.mark.usefixtures("pools")
def test_those_with_the_same_configuration_share_a_pool_that_outlives_them() -> None:
    one = client_pool(TransportConfig("http://shared.test"))
    assert client_pool(TransportConfig("http://shared.test")) is one
    assert client_pool(TransportConfig("http://other.test")) is not one
    there = weakref.ref(one)
    del one
    gc.collect()
    assert there() is client_pool(TransportConfig("http://shared.test"))


class Unhashable:
    """A callable that is equal to others and has no hash."""

    __hash__ = None  # type: ignore[assignment]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Unhashable)

    def __call__(self) -> httpx.Client:
        return httpx.Client(transport=httpx.MockTransport(lambda _: httpx.Response(200)))


@pytest.mark.usefixtures("pools")
def test_a_user_s_client_is_known_by_its_identity() -> None:
    one, two = Unhashable(), Unhashable()
    assert client_pool(TransportConfig(http_client=one)) is client_pool(
        TransportConfig(http_client=one)
    )
    assert client_pool(TransportConfig(http_client=one)) is not client_pool(
        TransportConfig(http_client=two)
    )
    assert client_pool(TransportConfig(http_async_client=one)) is not client_pool(
        TransportConfig(http_client=one)
    )


@pytest.mark.usefixtures("pools")
def test_only_so_many_pools_are_remembered_and_the_oldest_is_let_go() -> None:
    held = client_pool(TransportConfig("http://0.test", verify=False))
    client = held.client(ORIGIN, new_connection=False)
    other = weakref.ref(client_pool(TransportConfig("http://1.test")))
    for number in range(2, MAX_POOLS + 2):
        client_pool(TransportConfig(f"http://{number}.test"))
    gc.collect()
    assert other() is None
    assert not client.is_closed
    assert client_pool(TransportConfig("http://0.test", verify=False)) is not held
    assert len(pool_module._pools) == MAX_POOLS


def test_a_pool_that_nobody_holds_closes_its_clients() -> None:
    pool = ClientPool(CONFIG)
    clients = [pool.client(ORIGIN, new_connection=new) for new in (True, False)]
    del pool
    gc.collect()
    assert all(client.is_closed for client in clients)


# --- Our own clients ------------------------------------------------------------------


def stores_no_cookie(client: httpx.Client | httpx.AsyncClient) -> bool:
    headers = [("set-cookie", "a=b"), ("set-cookie", "c=d; Domain=service.test; Max-Age=99")]
    request = httpx.Request("GET", "https://service.test")
    client.cookies.extract_cookies(httpx.Response(200, headers=headers, request=request))
    return not list(client.cookies.jar)


@pytest.mark.parametrize("proxy", [None, "http://proxy.test:3128", "https://u:p@proxy.test"])
async def test_a_client_stores_no_cookie_and_follows_no_redirect(proxy: str | None) -> None:
    for config in (CONFIG._replace(proxy=proxy), AIOHTTP._replace(proxy=proxy)):
        pool = ClientPool(config)
        for client in (pool.client(ORIGIN, new_connection=False), await lent(pool)):
            assert stores_no_cookie(client)
            assert not client.follow_redirects


@pytest.mark.parametrize("config", [CONFIG, AIOHTTP])
@pytest.mark.parametrize("variable", ["HTTPS_PROXY", "ALL_PROXY"])
async def test_the_environment_s_proxy_is_used_unless_another_is_given(
    monkeypatch: pytest.MonkeyPatch, config: TransportConfig, variable: str
) -> None:
    made: list[tuple[str | None, int]] = []

    def note(make: Any) -> Any:
        def noting(config: TransportConfig, proxy: str | None, keep: int) -> Any:
            made.append((proxy, keep))
            return make(config, proxy, keep)

        return noting

    for name in ("_make_client", "_make_async_client"):
        monkeypatch.setattr(pool_module, name, note(getattr(pool_module, name)))
    monkeypatch.setenv(variable, "http://environment.test:8080")
    monkeypatch.setenv("NO_PROXY", "excluded.test")
    excluded = Origin.of("https://excluded.test")
    pool, given = ClientPool(config), ClientPool(config._replace(proxy="http://given.test"))
    for origin in (ORIGIN, excluded, Origin.of("https://other.test")):
        pool.client(origin, new_connection=False)
        await pool.async_client(origin, new_connection=True)
    proxied, direct = "http://environment.test:8080", None
    keep = CALLS_PER_CLIENT
    assert made == [(proxied, keep), (proxied, 0), (direct, keep), (direct, 0)]
    made.clear()
    for origin in (ORIGIN, excluded):
        given.client(origin, new_connection=True)
        await given.async_client(origin, new_connection=False)
    assert made == [("http://given.test", 0), ("http://given.test", keep)]


@pytest.mark.parametrize("is_async", [True, False])
def test_a_user_s_client_keeps_its_proxies_to_itself(
    monkeypatch: pytest.MonkeyPatch, *, is_async: bool
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://environment.test:8080")
    users = TransportConfig(http_client=httpx.Client, http_async_client=httpx.AsyncClient)
    assert ClientPool(users).proxy_for(ORIGIN, is_async=is_async) is None
    assert ClientPool(CONFIG).proxy_for(ORIGIN, is_async=is_async) == "http://environment.test:8080"


async def test_clients_go_over_the_transports_they_are_meant_to() -> None:
    assert isinstance(
        ClientPool(CONFIG).client(ORIGIN, new_connection=False)._transport, DeadlineTransport
    )
    assert isinstance((await lent(ClientPool(CONFIG)))._transport, httpx.AsyncHTTPTransport)
    assert isinstance((await lent(ClientPool(AIOHTTP)))._transport, AiohttpTransport)


def test_the_extra_is_known_to_be_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    assert has_aiohttp()
    monkeypatch.setattr(pool_module, "find_spec", lambda _: None)
    assert not has_aiohttp()


RESPONSE = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nSet-Cookie: a=b\r\n\r\n{}"


@pytest.mark.usefixtures("loopback")
@pytest.mark.parametrize("config", [CONFIG, AIOHTTP])
async def test_connections_are_used_again_unless_a_new_one_is_wanted(
    config: TransportConfig,
) -> None:
    received: list[bytes] = []
    connections: list[asyncio.StreamWriter] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connections.append(writer)
        while head := await reader.readuntil(b"\r\n\r\n"):
            await reader.readexactly(len(b'{"model":"gpt-4o-mini"}'))
            received.append(head)
            writer.write(RESPONSE)

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await serve(reader, writer)
        except asyncio.IncompleteReadError:
            writer.close()

    server = await asyncio.start_server(talk, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    pool = ClientPool(config)
    client = AsyncClient(pool, f"http://127.0.0.1:{port}", "a-key")
    for new_connection, count in ((False, 1), (False, 1), (True, 2), (True, 3), (False, 3)):
        request = chat_request(new_connection=new_connection)
        assert (await client.execute(once(request))).body == b"{}"
        assert len(connections) == count
    assert len(received) == 5
    assert not any(b"cookie" in head.lower() for head in received)
    for new_connection in (True, False):
        await (await lent(pool, new_connection=new_connection)).aclose()
    server.close()
    await server.wait_closed()
    await asyncio.sleep(0.01)


# --- Certificates ---------------------------------------------------------------------


def test_certificates_are_read_once() -> None:
    assert ssl_context(verify=False) is ssl_context(verify=False)


def test_certificates_are_verified_unless_that_is_switched_off() -> None:
    assert ssl_context(verify=True).verify_mode is ssl.CERT_REQUIRED
    assert ssl_context(verify=False).verify_mode is ssl.CERT_NONE


def test_a_user_s_context_is_taken_as_it_is() -> None:
    context = ssl.create_default_context()
    assert ssl_context(context) is context


def test_certificates_may_come_from_a_file_or_a_folder(tmp_path: Path) -> None:
    for path in (certifi.where(), str(tmp_path)):
        context = ssl_context(path)
        assert context.verify_mode is ssl.CERT_REQUIRED
        assert context.check_hostname


def test_a_path_without_certificates_is_an_input_error_that_says_what_is_allowed(
    tmp_path: Path,
) -> None:
    junk = tmp_path / "junk.pem"
    junk.write_text("no certificate")
    for path in (str(junk), str(tmp_path / "nowhere")):
        with pytest.raises(errors.InvalidInputError, match=r"verify is .*; allowed: True, False"):
            ssl_context(path)


# --- One event loop -------------------------------------------------------------------


async def test_a_loop_s_clients_are_its_own() -> None:
    pool = ClientPool(CONFIG)
    here = await lent(pool)
    assert await lent(pool) is here
    there = await asyncio.to_thread(lambda: asyncio.run(lent(pool)))
    assert there is not here


def test_the_clients_of_a_loop_that_is_closed_are_forgotten() -> None:
    pool = ClientPool(CONFIG)
    for _ in range(5):
        asyncio.run(lent(pool))
    gc.collect()
    assert len(pool._loops) == 0


async def test_so_many_calls_share_a_client_and_the_next_one_gets_another() -> None:
    pool = ClientPool(CONFIG)
    first = await pool.async_client(ORIGIN, new_connection=False)
    first.in_flight = CALLS_PER_CLIENT - 1
    assert await pool.async_client(ORIGIN, new_connection=False) is first
    first.in_flight = CALLS_PER_CLIENT
    second = await pool.async_client(ORIGIN, new_connection=False)
    assert second is not first
    first.in_flight = 0
    assert await pool.async_client(ORIGIN, new_connection=False) is first


async def test_any_number_of_calls_share_a_client_over_aiohttp() -> None:
    pool = ClientPool(AIOHTTP)
    first = await pool.async_client(ORIGIN, new_connection=False)
    first.in_flight = 1000
    assert await pool.async_client(ORIGIN, new_connection=False) is first


async def test_a_new_connection_comes_from_a_client_that_keeps_none() -> None:
    pool = ClientPool(CONFIG)
    single_use = await lent(pool, new_connection=True)
    assert await lent(pool, new_connection=True) is single_use
    assert await lent(pool) is not single_use


async def test_calls_at_the_same_time_make_one_client() -> None:
    for new_connection in (True, False):
        pool = ClientPool(CONFIG)
        found = [lent(pool, new_connection=new_connection) for _ in range(5)]
        assert len(set(map(id, await asyncio.gather(*found)))) == 1


@pytest.mark.parametrize("new_connection", [False, True])
async def test_a_client_that_lost_many_connections_is_replaced_and_closed_after_its_calls(
    *, new_connection: bool
) -> None:
    pool = ClientPool(CONFIG)
    worn = await pool.async_client(ORIGIN, new_connection=new_connection)
    worn.in_flight, worn.lost = 1, MAX_LOST - 1
    assert await pool.async_client(ORIGIN, new_connection=new_connection) is worn
    worn.lost = MAX_LOST
    fresh = await pool.async_client(ORIGIN, new_connection=new_connection)
    assert fresh is not worn
    assert not worn.client.is_closed
    worn.in_flight = 0
    assert await pool.async_client(ORIGIN, new_connection=new_connection) is fresh
    assert worn.client.is_closed
    assert not fresh.client.is_closed


def test_a_loop_that_ends_closes_its_clients() -> None:
    pool = ClientPool(CONFIG)

    async def use() -> list[httpx.AsyncClient]:
        return [await lent(pool, new_connection=new) for new in (True, False)]

    assert all(client.is_closed for client in asyncio.run(use()))


async def test_a_pool_that_nobody_holds_closes_its_loop_s_clients() -> None:
    pool = ClientPool(CONFIG)
    clients = [await lent(pool, new_connection=new) for new in (True, False)]
    del pool
    gc.collect()
    for _ in range(10):
        await asyncio.sleep(0)
    assert all(client.is_closed for client in clients)


# --- The user's clients ---------------------------------------------------------------


def answering(_: Any) -> httpx.Response:
    return httpx.Response(200)


def make_client() -> httpx.Client:
    return httpx.Client(transport=httpx.MockTransport(answering))


def make_async_client() -> httpx.AsyncClient:
    return httpx.AsyncClient(transport=httpx.MockTransport(answering))


def closed_client() -> httpx.Client:
    client = make_client()
    client.close()
    return client


def closed_async_client() -> httpx.AsyncClient:
    client = make_async_client()
    asyncio.run(client.aclose())
    return client


@pytest.mark.parametrize(
    ("field", "make", "message"),
    [
        ("http_client", make_async_client, "http_client is an async client; allowed: an open"),
        ("http_client", closed_client, "http_client is closed; allowed: an open httpx.Client"),
        ("http_client", lambda: "x", "http_client is a str; allowed: an open httpx.Client"),
        ("http_async_client", make_client, "http_async_client is a sync client; allowed: an open"),
        ("http_async_client", closed_async_client, "http_async_client is closed; allowed: an open"),
        ("http_async_client", lambda: 7, "is a int; allowed: an open httpx.AsyncClient"),
    ],
)
def test_what_is_no_open_client_of_the_right_kind_is_refused(
    field: str, make: Callable[[], Any], message: str
) -> None:
    given = make()
    with pytest.raises(ValueError, match=message):
        validate_client(field, given, is_async=field == "http_async_client")


@pytest.mark.parametrize("library", [httpx, httpx2])
def test_clients_and_what_makes_them_are_accepted(library: Any) -> None:
    for given in (library.Client(), library.Client, make_client):
        validate_client("http_client", given, is_async=False)
    for given in (library.AsyncClient(), library.AsyncClient, make_async_client):
        validate_client("http_async_client", given, is_async=True)


def test_a_client_is_distinguished_from_what_makes_one() -> None:
    assert is_client_instance(make_client())
    assert not any(map(is_client_instance, (None, make_client, httpx.Client)))


def test_a_user_s_client_serves_every_call_and_is_never_closed() -> None:
    client = make_client()
    pool = ClientPool(TransportConfig(http_client=client))
    assert all(pool.client(ORIGIN, new_connection=new) is client for new in (True, False))
    del pool
    gc.collect()
    assert not client.is_closed


def test_a_user_s_async_client_serves_every_call_and_is_never_closed() -> None:
    async def use(pool: ClientPool) -> None:
        for new_connection in (True, False):
            assert await lent(pool, new_connection=new_connection) is client

    client = make_async_client()
    asyncio.run(use(ClientPool(TransportConfig(http_async_client=client))))
    gc.collect()
    assert not client.is_closed


def test_a_callable_is_called_once_a_process_and_its_client_closed_with_the_pool() -> None:
    made: list[httpx.Client] = []

    def make() -> httpx.Client:
        made.append(make_client())
        return made[-1]

    pool = ClientPool(TransportConfig(http_client=make))
    assert made == []
    assert all(pool.client(ORIGIN, new_connection=new) is made[0] for new in (True, False, True))
    assert len(made) == 1
    made[0].close()
    assert pool.client(ORIGIN, new_connection=False) is made[1]
    del pool
    gc.collect()
    assert made[1].is_closed


def test_a_callable_is_called_once_a_loop_and_its_client_closed_with_the_loop() -> None:
    made: list[httpx.AsyncClient] = []

    def make() -> httpx.AsyncClient:
        made.append(make_async_client())
        return made[-1]

    async def use() -> None:
        for new_connection in (True, False):
            assert await lent(pool, new_connection=new_connection) is made[-1]
        assert not made[-1].is_closed

    pool = ClientPool(TransportConfig(http_async_client=make))
    for count in (1, 2):
        asyncio.run(use())
        assert len(made) == count
        assert made[-1].is_closed


async def test_a_callable_s_client_that_was_closed_is_made_anew() -> None:
    pool = ClientPool(TransportConfig(http_async_client=make_async_client))
    first = await lent(pool)
    await first.aclose()
    second = await lent(pool)
    assert second is not first
    assert not second.is_closed


def test_an_async_client_of_another_loop_is_refused() -> None:
    client = make_async_client()
    one, two = (
        ClientPool(TransportConfig(http_async_client=client, aiohttp=aiohttp))
        for aiohttp in (True, False)
    )
    asyncio.run(lent(one))
    for pool in (one, two):
        with pytest.raises(errors.InvalidInputError, match="belongs to another event loop"):
            asyncio.run(lent(pool))


async def test_an_async_client_that_was_closed_after_its_first_call_is_refused() -> None:
    client = make_async_client()
    pool = ClientPool(TransportConfig(http_async_client=client))
    assert await lent(pool) is client
    await client.aclose()
    with pytest.raises(errors.InvalidInputError, match="http_async_client is closed"):
        await lent(pool)


def test_a_client_that_was_closed_after_its_first_call_is_refused() -> None:
    client = make_client()
    pool = ClientPool(TransportConfig(http_client=client))
    assert pool.client(ORIGIN, new_connection=False) is client
    client.close()
    with pytest.raises(errors.InvalidInputError, match="http_client is closed"):
        pool.client(ORIGIN, new_connection=False)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: None, r"http_client is a NoneType; allowed"),
        (lambda: make_client, r"http_client\(\) returned a function; allowed: a client"),
        (make_async_client, "http_client is an async client; allowed"),
        (closed_client, "http_client is closed; allowed"),
    ],
)
def test_a_callable_that_makes_no_client_is_refused(make: Any, message: str) -> None:
    with pytest.raises(errors.InvalidInputError, match=message):
        ClientPool(TransportConfig(http_client=make)).client(ORIGIN, new_connection=False)


async def test_an_async_callable_that_makes_no_client_is_refused() -> None:
    pool = ClientPool(TransportConfig(http_async_client=make_client))
    with pytest.raises(errors.InvalidInputError, match="http_async_client is a sync client"):
        await lent(pool)


# --- Forks ----------------------------------------------------------------------------


@pytest.fixture
async def used(pools: None) -> AsyncIterator[ClientPool]:
    """A pool with clients of both kinds."""
    pool = client_pool(TransportConfig("http://forked.test", verify=False))
    pool.client(ORIGIN, new_connection=False)
    await lent(pool)
    yield pool
    assert isinstance(pool, ClientPool)


async def test_a_forked_child_drops_its_parent_s_clients_without_closing_them(
    used: ClientPool,
) -> None:
    client, async_client = used.client(ORIGIN, new_connection=False), await lent(used)
    pool_module._after_fork()
    assert used.client(ORIGIN, new_connection=False) is not client
    assert await lent(used) is not async_client
    pool_module._pools.clear()
    del used
    gc.collect()
    await asyncio.sleep(0)
    assert not client.is_closed
    assert not async_client.is_closed


def test_a_child_drops_the_clients_of_a_pool_that_was_let_go_but_is_still_held() -> None:
    pool = ClientPool(CONFIG)
    client = pool.client(ORIGIN, new_connection=False)
    pool_module._after_fork()
    assert pool.client(ORIGIN, new_connection=False) is not client
    assert not client.is_closed


async def test_a_lock_that_was_held_when_the_process_forked_locks_nobody_out(
    used: ClientPool,
) -> None:
    with pool_module._pools_lock, used._lock:
        pool_module._after_fork()
        client = client_pool(used.config).client(ORIGIN, new_connection=False)
        assert used.client(ORIGIN, new_connection=False) is client


FORK = """
import os
from langchain_minitoolai._http.pool import TransportConfig, client_pool
from langchain_minitoolai._http.transport import Origin

ORIGIN = Origin.of("https://service.test")
pool = client_pool(TransportConfig(verify=False))
client = pool.client(ORIGIN, new_connection=False)
child = os.fork()
if child == 0:
    own = pool.client(ORIGIN, new_connection=False)
    os._exit(0 if own is not client and not client.is_closed else 1)
status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
raise SystemExit(status or (0 if pool.client(ORIGIN, new_connection=False) is client else 2))
"""


@pytest.mark.skipif(sys.platform == "win32", reason="Windows does not fork")
def test_a_child_makes_clients_of_its_own_and_the_parent_keeps_its() -> None:
    run = subprocess.run(
        [sys.executable, "-W", "error", "-c", FORK],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert (run.returncode, run.stderr) == (0, "")


class Guarded:
    """Something that a forked child resets."""

    def __init__(self) -> None:
        self.resets = 0
        reset_after_fork(self)

    def reset_after_fork(self) -> None:
        self.resets += 1


def test_what_is_registered_is_reset_in_a_child_as_long_as_it_is_in_use() -> None:
    guarded, other = Guarded(), Guarded()
    let_go = weakref.ref(other)
    del other
    pool_module._after_fork()
    assert (guarded.resets, let_go()) == (1, None)


# --- Idle clients, dropped loops, signals ---------------------------------------------


async def test_a_client_that_is_idle_for_half_a_minute_closes_though_calls_go_on() -> None:
    pool = ClientPool(CONFIG)
    first = await pool.async_client(ORIGIN, new_connection=False)
    first.in_flight = CALLS_PER_CLIENT
    second = await pool.async_client(ORIGIN, new_connection=False)
    single_use = await pool.async_client(ORIGIN, new_connection=True)
    second.used = single_use.used = first.used = first.used - KEEPALIVE_EXPIRY - 1
    first.in_flight = 1
    assert await pool.async_client(ORIGIN, new_connection=False) is first
    assert second.client.is_closed
    assert single_use.client.is_closed
    assert not first.client.is_closed
    second = await pool.async_client(ORIGIN, new_connection=True)
    assert await pool.async_client(ORIGIN, new_connection=True) is second


async def test_calls_at_once_may_find_the_same_idle_clients() -> None:
    pool = ClientPool(CONFIG)
    idle = [await pool.async_client(ORIGIN, new_connection=single) for single in (False, True)]
    for pooled in idle:
        pooled.used -= 10 * KEEPALIVE_EXPIRY
        close = pooled.client.aclose

        async def wait_and_close(close: Any = close) -> None:
            await asyncio.sleep(0)
            await close()

        pooled.client.aclose = wait_and_close
    calls = [pool.async_client(ORIGIN, new_connection=False) for _ in range(5)]
    assert len(set(map(id, await asyncio.gather(*calls)))) == 1
    assert [pooled.client.is_closed for pooled in idle] == [True, True]


async def test_a_client_is_not_idle_when_a_long_call_has_just_ended() -> None:
    pool = ClientPool(CONFIG)
    pooled = await pool.async_client(ORIGIN, new_connection=False)
    pooled.in_flight += 1
    pooled.used -= 10 * KEEPALIVE_EXPIRY
    pooled.end_call(lost=False)
    assert await pool.async_client(ORIGIN, new_connection=False) is pooled


async def test_a_callable_is_not_called_again_for_a_client_that_was_idle() -> None:
    pool = ClientPool(TransportConfig(http_async_client=make_async_client))
    first = await pool.async_client(ORIGIN, new_connection=False)
    first.used -= 10 * KEEPALIVE_EXPIRY
    assert await lent(pool) is first.client


@pytest.mark.filterwarnings("ignore:unclosed event loop")
@pytest.mark.filterwarnings("ignore:coroutine method 'aclose':RuntimeWarning")
def test_a_loop_that_is_dropped_without_closing_is_let_go_with_its_clients() -> None:
    pool = ClientPool(CONFIG)
    let_go: list[weakref.ref[Any]] = []
    for _ in range(5):
        loop = asyncio.new_event_loop()
        client = loop.run_until_complete(lent(pool))
        let_go += [weakref.ref(loop), weakref.ref(client)]
        del loop, client
    for _ in range(3):
        gc.collect()
    assert [each() for each in let_go] == [None] * 10
    assert len(pool._loops) == 0


class SoftTimeLimitError(Exception):
    """What Celery's signal handler raises, wherever the call is."""


def test_an_exception_of_a_signal_handler_leaves_no_lock_held(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    struck = left = 0

    def strike(frame: Any, event: str, _: Any) -> None:
        # The interpreter runs signal handlers as functions begin, and after calls of C functions.
        nonlocal left
        if frame.f_code.co_filename == pool_module.__file__ and event in ("call", "c_return"):
            left -= 1
            if left < 0:
                raise SoftTimeLimitError

    for turn in range(200):
        monkeypatch.setattr(pool_module, "_pools", {})
        left = turn
        sys.setprofile(strike)
        try:
            pool = client_pool(CONFIG)
            pool.client(ORIGIN, new_connection=False)
            pool.client(ORIGIN, new_connection=True)
        except SoftTimeLimitError:
            struck += 1
        finally:
            sys.setprofile(None)
        assert not pool_module._pools_lock.locked()
        assert not client_pool(CONFIG)._lock.locked()
        if left >= 0:
            break
    assert 20 < struck < 200
