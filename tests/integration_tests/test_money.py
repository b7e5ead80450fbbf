"""One charge an image and one budget, over processes that share a store, whoever dies when.

Judged by the sandbox's own books. With `MONEY=full` in the environment, at full size.
"""

import asyncio
import logging
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import redis

from langchain_minitoolai import contract, sandbox
from langchain_minitoolai.stores import RedisJobStore, SQLiteJobStore
from langchain_minitoolai.tools import MiniToolAIImageTool
from tests.integration_tests.money_workers import CONTEXT, Job, race, run_to_the_end, start

_logger = logging.getLogger(__name__)

FULL = os.environ.get("MONEY") == "full"


def size(small: int, full: int) -> int:
    """Choose the size of a test."""
    return full if FULL else small


@pytest.fixture(scope="module")
def redis_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A Redis server on a free port."""
    server = shutil.which("redis-server")
    if server is None:
        pytest.skip("redis-server is not installed (Debian: apt-get install redis-server)")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    folder = tmp_path_factory.mktemp("redis")
    options = ["--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--dir", str(folder)]
    process = subprocess.Popen(
        [server, "--port", str(port), *options], stdout=subprocess.DEVNULL, text=True
    )
    url = f"redis://127.0.0.1:{port}/0"
    client = redis.Redis.from_url(url)
    for _ in range(200):
        with suppress(redis.ConnectionError):
            client.ping()
            break
        time.sleep(0.05)
    yield url
    client.close()
    process.terminate()
    process.wait()


@pytest.fixture(params=["sqlite", "redis"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The place of a store that processes share."""
    if request.param == "sqlite":
        return str(tmp_path / "jobs.db")
    url = str(request.getfixturevalue("redis_url"))
    client = redis.Redis.from_url(url)
    client.flushall()
    client.close()
    return url


@pytest.fixture
def service() -> Iterator[sandbox.Service]:
    with sandbox.running(job_seconds=0.01, balance=1000.0) as running:
        yield running


def orders(service: sandbox.Service) -> Counter[str]:
    """Count the charges by prompt."""
    return Counter(charge.facts["prompt"] for charge in service.charges)


# Processes.


def jobs_for(
    service: sandbox.Service, store: str, folder: Path, processes: int, rounds: int, **options: Any
) -> list[Job]:
    calls = tuple(f"call-{number}" for number in range(rounds))
    return [
        Job(
            store=store,
            base_url=service.base_url,
            api_key=service.api_key,
            calls=calls,
            log=folder / f"{number}.log",
            seed=number,
            **options,
        )
        for number in range(processes)
    ]


def test_processes_that_die_at_any_step_pay_once_for_each_call(
    service: sandbox.Service, store: str, tmp_path: Path
) -> None:
    processes, rounds = size(3, 8), size(4, 50)
    jobs = jobs_for(service, store, tmp_path, processes, rounds, death=0.05, kill_after=size(2, 20))
    killed, outcomes = run_to_the_end(jobs, lives=size(3, 20))
    ordered = orders(service)
    assert killed > 0
    assert max(ordered.values()) == 1
    got = {call for call, outcome in outcomes if outcome.isdecimal()}
    unknown = {call for call, outcome in outcomes if not outcome.isdecimal()}
    assert got <= set(ordered)
    assert got | unknown == set(jobs[0].calls)
    assert len(dict(each for each in outcomes if each[0] in got)) == len(got)
    uncertain = len(unknown - got)
    _logger.info("%d killed; %d calls with their image, %d uncertain", killed, len(got), uncertain)


@pytest.mark.parametrize("steps", [("after claim", "before reserve"), ("after reserve",)])
def test_a_process_that_dies_before_it_sends_costs_nobody_anything(
    service: sandbox.Service, store: str, tmp_path: Path, steps: tuple[str, ...]
) -> None:
    processes, rounds = size(2, 8), size(3, 50)
    death = 0.3 if FULL else 1.0
    jobs = jobs_for(service, store, tmp_path, processes, rounds, death=death, steps=steps)
    killed, outcomes = run_to_the_end(jobs, lives=size(1, 20))
    assert killed > 0
    assert orders(service) == Counter(jobs[0].calls)
    assert len(outcomes) == rounds  # one job for all processes, and nothing uncertain


def test_a_clock_that_is_set_back_an_hour_changes_nothing(
    service: sandbox.Service, store: str, tmp_path: Path
) -> None:
    processes, rounds = size(3, 8), size(6, 50)
    jobs = jobs_for(service, store, tmp_path, processes, rounds)
    jobs[1:] = jobs_for(service, store, tmp_path, processes, rounds, clock=-3600.0)[1:]
    _, outcomes = run_to_the_end(jobs)
    assert orders(service) == Counter(jobs[0].calls)
    assert len(outcomes) == rounds


def test_two_processes_that_race_for_one_call_pay_once(
    service: sandbox.Service, store: str, tmp_path: Path
) -> None:
    jobs = jobs_for(service, store, tmp_path, 2, size(20, 1000))
    barrier = CONTEXT.Barrier(2)
    racers = [start(race, job, barrier) for job in jobs]
    for racer in racers:
        racer.join()
    assert [racer.exitcode for racer in racers] == [0, 0]
    assert orders(service) == Counter(jobs[0].calls)


# Budgets.


def test_processes_share_a_budget_and_all_of_it_is_used(
    service: sandbox.Service, store: str, tmp_path: Path
) -> None:
    processes, images = size(5, 20), size(7, 20)
    usd = images * contract.IMAGE_PRICE
    jobs = [
        Job(
            store=store,
            base_url=service.base_url,
            api_key=service.api_key,
            calls=tuple(f"{number}-{image}" for image in range(3)),
            log=tmp_path / f"{number}.log",
            seed=number,
            death=0.25,
            steps=("after claim", "after reserve", "before sending"),
            max_cost_usd=usd,
        )
        for number in range(processes)
    ]
    killed, outcomes = run_to_the_end(jobs)
    assert killed > 0
    assert len(service.charges) == images
    assert sum(outcome.isdecimal() for _, outcome in outcomes) == images
    opened = jobs[0].open()
    spending = jobs[0].tool(opened).spending()
    assert (spending.images, spending.reserved_images) == (images, 0)
    assert spending.cost_usd == pytest.approx(usd)


# Cancellations.


def tool_on(service: sandbox.Service, store: str) -> MiniToolAIImageTool:
    return MiniToolAIImageTool(
        api_key=service.api_key,
        base_url=service.base_url,
        job_store=RedisJobStore(store) if store.startswith("redis:") else SQLiteJobStore(store),
        poll_interval=0.05,
    )


def call(number: int) -> dict[str, Any]:
    args = {"prompt": f"image {number}"}
    return {"name": "generate_image", "args": args, "id": f"id-{number}", "type": "tool_call"}


async def cancelled(tool: MiniToolAIImageTool, given: Any, delay: float, way: int) -> None:
    """Cancel a call after a while, in one of three ways."""
    task = asyncio.create_task(tool.ainvoke(given))
    await asyncio.sleep(delay)
    if way == 0:
        return  # the end of the loop cancels it
    for each in [task] if way == 1 else asyncio.all_tasks() - {asyncio.current_task()}:
        each.cancel()
    with suppress(asyncio.CancelledError):
        await task


class Interrupted(BaseException):
    """Raised by a signal handler."""


def interrupted(tool: MiniToolAIImageTool, given: Any, delay: float) -> None:
    """Interrupt a call after a while by a signal handler."""
    armed = True

    def handle(*_: object) -> None:
        if armed:
            raise Interrupted

    before, trace = signal.signal(signal.SIGALRM, handle), sys.gettrace()
    sys.settrace(None)  # coverage takes a lock of its own, which such an exception leaves held
    try:
        with suppress(Interrupted):
            signal.setitimer(signal.ITIMER_REAL, max(delay, 1e-6))
            tool.invoke(given)
    finally:
        armed = False
        signal.setitimer(signal.ITIMER_REAL, 0.0)
        signal.signal(signal.SIGALRM, before)
        sys.settrace(trace)


def stop(tool: MiniToolAIImageTool, given: Any, delay: float, way: int, mode: str) -> None:
    """Stop a call after a while."""
    if mode == "sync":
        interrupted(tool, given, delay)
    else:
        asyncio.run(cancelled(tool, given, delay, way))


def seconds_of(tool: MiniToolAIImageTool) -> float:
    """Measure how long a call takes."""
    began = time.monotonic()
    tool.invoke("to measure")
    return time.monotonic() - began


@pytest.mark.parametrize("mode", ["sync", "async"])
def test_a_call_that_is_stopped_at_any_moment_is_taken_up_and_paid_once(
    service: sandbox.Service, store: str, mode: str
) -> None:
    tool, moments = tool_on(service, store), random.Random(7)
    took, count = seconds_of(tool), size(12, 300)
    for number in range(count):
        stop(tool, call(number), moments.uniform(0.0, took), number % 3, mode)
        message = tool.invoke(call(number))
        assert message.status == "success", message.content
        assert tool.resume(message.artifact["id"]).url == message.artifact["url"]
    assert set(orders(service).values()) == {1}
    spending = tool.spending()
    assert (spending.images, spending.reserved_images) == (count + 1, 0)


@pytest.mark.parametrize("mode", ["sync", "async"])
def test_a_call_without_an_id_that_is_stopped_is_taken_up_by_the_next_equal_one(
    service: sandbox.Service, tmp_path: Path, mode: str
) -> None:
    tool, moments = tool_on(service, str(tmp_path / "jobs.db")), random.Random(3)
    took, count = seconds_of(tool), size(12, 300)
    ready: list[str] = []
    tool.on_progress = lambda progress: ready.append(progress["stage"])
    for number in range(count):
        ready.clear()
        prompt, delay = f"image {number}", moments.uniform(0.0, took)
        stop(tool, prompt, delay, number % 3, mode)
        # An image that was there when the call was stopped may be drawn anew.
        most = 2 if "ready" in ready else 1
        assert tool.invoke(prompt).startswith("Image")
        assert 1 <= orders(service)[prompt] <= most
