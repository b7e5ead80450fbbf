"""When the async clients of an event loop are closed; none of them ever connects."""

import asyncio
import gc
import weakref

import pytest

from langchain_minitoolai import _clients
from langchain_minitoolai._clients import LoopClients, Shard
from langchain_minitoolai._network import Route


async def opened() -> tuple[LoopClients, Shard, Shard]:
    clients = LoopClients(Route())
    kept = await clients.shard(fresh=False)
    return clients, kept, await clients.shard(fresh=True)


async def test_clients_whose_owner_is_gone_are_closed_while_the_loop_runs() -> None:
    clients, *shards = await opened()
    gone = weakref.ref(clients)
    assert [shard.client.is_closed for shard in shards] == [False, False]
    del clients
    gc.collect()
    assert gone() is None
    for _ in range(20):
        await asyncio.sleep(0)
    assert [shard.client.is_closed for shard in shards] == [True, True]


def test_clients_are_closed_when_their_loop_ends() -> None:
    clients, *shards = asyncio.run(opened())
    assert [shard.client.is_closed for shard in shards] == [True, True]
    del clients
    gc.collect()


def test_clients_whose_owner_goes_as_the_loop_ends_are_closed() -> None:
    async def short_life() -> list[Shard]:
        clients, *shards = await opened()
        del clients
        gc.collect()  # the task that closes them is cancelled before it begins
        return shards

    assert [shard.client.is_closed for shard in asyncio.run(short_life())] == [True, True]


def test_clients_of_a_loop_that_was_closed_without_a_shutdown_are_let_go(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    held: dict[object, object] = {}
    monkeypatch.setattr(_clients, "_open", held)
    loop = asyncio.new_event_loop()
    clients, *_ = loop.run_until_complete(opened())
    loop.run_until_complete(loop.shutdown_default_executor())
    loop.close()
    assert len(held) == 1
    del clients
    gc.collect()
    assert held == {}


def test_an_end_that_was_told_twice_is_no_error() -> None:
    async def twice() -> None:
        clients, *_ = await opened()
        (token,) = list(_clients._open)[-1:]
        await _clients._close_now(token)
        await _clients._close_now(token)
        _clients._close_soon(asyncio.get_running_loop(), token)
        del clients

    asyncio.run(twice())


def test_nothing_is_held_for_what_is_closed() -> None:
    before = set(_clients._open)
    asyncio.run(opened())
    gc.collect()
    assert set(_clients._open) <= before
