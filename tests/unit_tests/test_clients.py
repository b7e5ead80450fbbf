"""The lives of connections: made late, shared, and let go at the right time."""

import asyncio
import gc
import json
import subprocess
import sys
import threading
import weakref
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from langchain_minitoolai import _clients
from langchain_minitoolai._budget import Budget
from langchain_minitoolai._clients import SHARD, Endpoint, Network, network
from langchain_minitoolai._network import Route
from langchain_minitoolai._version import __version__
from langchain_minitoolai.errors import InvalidInputError
from tests.unit_tests.shells import BASE, KEY, Clock, call

ROUTE = Route(verify=False)


def endpoint(**headers: str) -> Endpoint:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Endpoint(Network(ROUTE), BASE, KEY, named)


def request(**headers: str) -> httpx.Request:
    return endpoint(**headers).request(call(body={"a": "ø"}), Budget(Clock(), 9.0, None))


# --- Endpoints ------------------------------------------------------------------------


def test_a_request_is_a_post_of_json() -> None:
    made = request(x_mine="1")
    assert (made.method, str(made.url)) == ("POST", f"{BASE}/chat-completions/")
    assert json.loads(made.read()) == {"a": "ø"}
    assert made.headers["content-length"] == str(len(made.read()))
    assert made.headers["host"] == "service.test"
    assert made.headers["accept-encoding"] == "identity"
    assert made.headers["user-agent"] == f"langchain-minitoolai/{__version__}"
    assert made.headers["x-mine"] == "1"
    assert made.extensions["timeout"]["pool"] == 9.0


def test_requests_are_made_anew_each_time() -> None:
    asking = endpoint(Host="mine.test", Content_Length="7", x_mine="1")
    one, two = (asking.request(call(body={"n": n}), Budget(Clock(), 9.0, None)) for n in (1, 22))
    assert (one.read(), two.read()) == (b'{"n":1}', b'{"n":22}')
    assert (one.headers["content-length"], two.headers["content-length"]) == ("7", "8")
    assert one.headers["host"] == "mine.test"
    one.headers["x-mine"] = "2"
    assert two.headers["x-mine"] == "1"


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({"fine": [1, "two"], "x": object}, "x is <class 'object'>; allowed: what JSON can hold"),
        ({"a": [{"b": (1, "\ud800")}]}, r"a[0].b[1] is '\ud800'; allowed"),
        ({"a": {"b": "\ud800" + "x" * 99}}, r"a.b is '\ud800" + "x" * 53 + "…; allowed"),
        ({"\ud800": 1}, "the request is something; allowed"),
    ],
)
def test_what_json_can_t_hold_is_refused_by_its_place(body: dict[str, Any], words: str) -> None:
    with pytest.raises(InvalidInputError) as raised:
        endpoint().request(call(body=body), Budget(Clock(), 9.0, None))
    assert words in str(raised.value)
    assert raised.value.__context__ is None


@pytest.mark.parametrize("name", ["user_agent", "User_Agent", "USER_AGENT"])
def test_a_user_s_header_replaces_ours_in_any_case(name: str) -> None:
    assert request(**{name: "mine"}).headers.get_list("user-agent") == ["mine"]


def test_the_key_is_set_when_a_request_is_sent_and_not_before() -> None:
    made = request()
    assert KEY not in repr(made.headers.raw)
    auth = endpoint().auth(call())
    assert auth is not None
    sent = next(auth.auth_flow(made))
    assert sent.headers["authorization"] == f"Bearer {KEY}"
    assert endpoint().auth(call(authorized=False)) is None


def test_the_key_is_in_no_repr() -> None:
    shown = endpoint(x_secret="s3cr3t")
    texts = [repr(thing) for thing in (shown, shown.auth(call()), shown.network, request())]
    assert not any(KEY in text or "s3cr3t" in text for text in texts)


def test_a_reply_is_without_the_key() -> None:
    response = httpx.Response(201, headers={"X-Request-ID": "r"})
    reply = endpoint().reply(response, f"{KEY} {KEY}".encode(), answer=7)
    assert (reply.status, reply.headers, reply.body) == (201, {"x-request-id": "r"}, b"[key] [key]")
    assert reply.answer == 7
    assert Endpoint(Network(ROUTE), BASE, "").reply(response, b"abc").body == b"abc"
    assert endpoint().reply(response).body == b""


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


def test_those_with_the_same_route_share_a_network_as_long_as_one_of_them_lives() -> None:
    one = network(Route("http://shared.test"))
    assert network(Route("http://shared.test")) is one
    assert network(Route("http://other.test")) is not one
    gone = weakref.ref(one)
    del one
    gc.collect()
    assert gone() is None


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
async def used() -> AsyncIterator[Network]:
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
    _clients._after_fork()
    assert used.client(fresh=False) is not client
    assert used.loop_clients() is not loop_clients
    del used, loop_clients
    gc.collect()
    await asyncio.sleep(0)
    assert not client.is_closed
    assert not shard.client.is_closed


async def test_a_lock_that_was_held_when_the_process_forked_locks_nobody_out(
    used: Network,
) -> None:
    with _clients._networks_lock, used._lock:
        _clients._after_fork()
        assert used.client(fresh=False) is network(used._route).client(fresh=False)


FORK = """
import os
from langchain_minitoolai._clients import network
from langchain_minitoolai._network import Route

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
