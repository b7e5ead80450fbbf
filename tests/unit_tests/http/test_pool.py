"""The lives of connections: made late, shared, and let go at the right time."""

import asyncio
import gc
import subprocess
import sys
import threading
import weakref
from collections.abc import AsyncIterator

import httpx
import pytest
from langchain_minitoolai._http.network import Route

from langchain_minitoolai._http import pool
from langchain_minitoolai._http.pool import MOST_ROUTES, SHARD, Network, network

ROUTE = Route(verify=False)


@pytest.fixture(autouse=True)
def living(monkeypatch: pytest.MonkeyPatch) -> None:
    """See to it that what is forgotten here is not what other tests keep open."""
    monkeypatch.setattr(pool, "_living", weakref.WeakSet())


# --- One process ----------------------------------------------------------------------


def test_there_is_one_client_and_one_that_keeps_no_connection() -> None:
    lent = Network(ROUTE)
    assert lent.client(fresh=False) is lent.client(fresh=False)
    assert lent.client(fresh=True) is lent.client(fresh=True)
    assert lent.client(fresh=True) is not lent.client(fresh=False)


def test_threads_share_a_client() -> None:
    lent = Network(ROUTE)
    found: list[httpx.Client] = []
    threads = [
        threading.Thread(target=lambda: found.append(lent.client(fresh=False))) for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(map(id, found))) == 1


@pytest.fixture
def networks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Begin without networks, and leave those there were."""
    monkeypatch.setattr(pool, "_networks", {})


@pytest.mark.usefixtures("networks")
def test_those_with_the_same_route_share_a_network_that_outlives_them() -> None:
    one = network(Route("http://shared.test"))
    assert network(Route("http://shared.test")) is one
    assert network(Route("http://other.test")) is not one
    there = weakref.ref(one)
    del one
    gc.collect()
    assert there() is network(Route("http://shared.test"))


@pytest.mark.usefixtures("networks")
def test_only_so_many_routes_are_remembered_and_the_oldest_is_let_go() -> None:
    held = network(Route("http://0.test", verify=False))
    client = held.client(fresh=False)
    other = weakref.ref(network(Route("http://1.test")))
    for number in range(2, MOST_ROUTES + 2):
        network(Route(f"http://{number}.test"))
    gc.collect()
    assert other() is None
    assert not client.is_closed
    assert network(Route("http://0.test", verify=False)) is not held
    assert len(pool._networks) == MOST_ROUTES


def test_a_network_that_nobody_holds_closes_its_clients() -> None:
    lent = Network(ROUTE)
    clients = [lent.client(fresh=fresh) for fresh in (True, False)]
    del lent
    gc.collect()
    assert all(client.is_closed for client in clients)


# --- One event loop -------------------------------------------------------------------


async def test_a_loop_s_clients_are_its_own() -> None:
    lent = Network(ROUTE)
    here = lent.loop_clients()
    assert lent.loop_clients() is here

    async def there() -> bool:
        return lent.loop_clients() is here

    assert not await asyncio.to_thread(lambda: asyncio.run(there()))


def test_the_clients_of_a_loop_that_is_closed_are_forgotten() -> None:
    async def use() -> None:
        lent.loop_clients()

    lent = Network(ROUTE)
    for _ in range(5):
        asyncio.run(use())
    assert len(lent._loops) == 1


async def test_so_many_calls_share_a_client_and_the_next_one_gets_another() -> None:
    clients = Network(ROUTE).loop_clients()
    first = await clients.shard(fresh=False)
    first.busy = SHARD - 1
    assert await clients.shard(fresh=False) is first
    first.busy = SHARD
    second = await clients.shard(fresh=False)
    assert second is not first
    first.busy = 0
    assert await clients.shard(fresh=False) is first


async def test_a_fresh_connection_comes_from_a_client_that_keeps_none() -> None:
    clients = Network(ROUTE).loop_clients()
    fresh = await clients.shard(fresh=True)
    assert await clients.shard(fresh=True) is fresh
    assert await clients.shard(fresh=False) is not fresh


async def test_calls_at_the_same_time_make_one_client() -> None:
    clients = Network(ROUTE).loop_clients()
    shards = await asyncio.gather(*[clients.shard(fresh=True) for _ in range(5)])
    assert len(set(map(id, shards))) == 1


def test_a_loop_that_ends_closes_its_clients() -> None:
    async def use() -> list[httpx.AsyncClient]:
        return [(await lent.loop_clients().shard(fresh=fresh)).client for fresh in (True, False)]

    lent = Network(ROUTE)
    clients = asyncio.run(use())
    assert all(client.is_closed for client in clients)


async def test_a_network_that_nobody_holds_closes_its_loop_s_clients() -> None:
    lent = Network(ROUTE)
    shards = [await lent.loop_clients().shard(fresh=fresh) for fresh in (True, False)]
    del lent
    gc.collect()
    for _ in range(10):
        await asyncio.sleep(0)
    assert all(shard.client.is_closed for shard in shards)


# --- Forks ----------------------------------------------------------------------------


@pytest.fixture
async def used(networks: None) -> AsyncIterator[Network]:
    """A network with clients of both colours."""
    lent = network(Route("http://forked.test", verify=False))
    lent.client(fresh=False)
    await lent.loop_clients().shard(fresh=False)
    yield lent
    assert isinstance(lent, Network)


async def test_a_forked_child_drops_its_parent_s_clients_without_closing_them(
    used: Network,
) -> None:
    client, loop_clients = used.client(fresh=False), used.loop_clients()
    shard = await loop_clients.shard(fresh=False)
    pool._after_fork()
    assert used.client(fresh=False) is not client
    assert used.loop_clients() is not loop_clients
    pool._networks.clear()
    del used, loop_clients
    gc.collect()
    await asyncio.sleep(0)
    assert not client.is_closed
    assert not shard.client.is_closed


def test_a_child_drops_the_clients_of_a_route_that_was_let_go_but_is_still_held() -> None:
    lent = Network(ROUTE)
    client = lent.client(fresh=False)
    pool._after_fork()
    assert lent.client(fresh=False) is not client
    assert not client.is_closed


async def test_a_lock_that_was_held_when_the_process_forked_locks_nobody_out(
    used: Network,
) -> None:
    with pool._networks_lock, used._lock:
        pool._after_fork()
        assert used.client(fresh=False) is network(used.route).client(fresh=False)


FORK = """
import os
from langchain_minitoolai._http.pool import network
from langchain_minitoolai._http.network import Route

lent = network(Route(verify=False))
client = lent.client(fresh=False)
child = os.fork()
if child == 0:
    fresh = lent.client(fresh=False)
    os._exit(0 if fresh is not client and not client.is_closed else 1)
status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
raise SystemExit(status or (0 if lent.client(fresh=False) is client else 2))
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
