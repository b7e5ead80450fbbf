"""Processes that order images over a shared job store, and stop dead at any step."""

import multiprocessing
import os
import random
import signal
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta, tzinfo
from multiprocessing import connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any, ClassVar

from langchain_minitoolai import errors, tools
from langchain_minitoolai._images import submission
from langchain_minitoolai.stores import (
    Budget,
    CallRecord,
    JobStore,
    RedisJobStore,
    Reservation,
    Spending,
    SQLiteJobStore,
    _base,
)
from langchain_minitoolai.tools import MiniToolAIImageTool

CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload([__name__])


@dataclass(frozen=True)
class Job:
    """What a process is to do.

    Attributes:
        store: A file, or a URL of Redis.
        base_url: The service.
        api_key: Its key.
        calls: The ids to order with, in this order.
        log: Where it notes what became of each.
        seed: Of its random numbers.
        death: The probability to be killed at each step, before it and after it.
        steps: The only steps to be killed at; by default all.
        kill_after: The most seconds until it is killed wherever it is.
        clock: Seconds by which its clock is wrong from the middle on.
        max_cost_usd: The budget.
    """

    store: str
    base_url: str
    api_key: str
    calls: tuple[str, ...]
    log: Path = Path(os.devnull)
    seed: int = 0
    death: float = 0.0
    steps: tuple[str, ...] = ()
    kill_after: float | None = None
    clock: float = 0.0
    max_cost_usd: float | None = None

    def open(self) -> JobStore:
        """Open the store."""
        if self.store.startswith("redis:"):
            return RedisJobStore(self.store)
        return SQLiteJobStore(self.store)

    def tool(self, store: JobStore) -> MiniToolAIImageTool:
        """Make the tool."""
        return MiniToolAIImageTool(
            api_key=self.api_key,
            base_url=self.base_url,
            job_store=store,
            max_cost_usd=self.max_cost_usd,
            handle_tool_error=False,
            timeout=5.0,
        )


class Mortal(JobStore):
    """A store whose process may be killed before and after each operation."""

    def __init__(self, job: Job) -> None:
        self._job = job
        self._store = job.open()
        self._random = random.Random(job.seed)

    def _step(self, name: str, operation: Callable[[], Any]) -> Any:
        self._maybe_die(f"before {name}")
        result = operation()
        self._maybe_die(f"after {name}")
        return result

    def _maybe_die(self, name: str) -> None:
        if self._job.steps and name not in self._job.steps:
            return
        if self._random.random() < self._job.death:
            os.kill(os.getpid(), signal.SIGKILL)

    def claim(self, key: str, token: str, *, replaces: str = "") -> CallRecord:
        return self._step("claim", lambda: self._store.claim(key, token, replaces=replaces))  # type: ignore[no-any-return]

    def save(self, key: str, record: CallRecord) -> bool:
        return self._step(record.state, lambda: self._store.save(key, record))  # type: ignore[no-any-return]

    def release(self, key: str, token: str) -> None:
        self._step("release", lambda: self._store.release(key, token))

    def load(self, key: str) -> CallRecord | None:
        return self._step("load", lambda: self._store.load(key))  # type: ignore[no-any-return]

    def reserve(self, budget: Budget, key: str, token: str, cost_usd: float) -> Reservation:
        return self._step(  # type: ignore[no-any-return]
            "reserve", lambda: self._store.reserve(budget, key, token, cost_usd)
        )

    def settle(self, scope: str, token: str, cost_usd: float) -> None:
        self._step("settle", lambda: self._store.settle(scope, token, cost_usd))

    def spending(self, scope: str) -> Spending:
        return self._store.spending(scope)


def work(job: Job) -> None:
    """Order an image for each call, and note what became of it."""
    shorten_waits()
    if job.kill_after is not None:
        delay = random.Random(job.seed).uniform(0.0, job.kill_after)
        killer = threading.Timer(delay, os.kill, (os.getpid(), signal.SIGKILL))
        killer.daemon = True
        killer.start()
    tool = job.tool(Mortal(job))
    with job.log.open("a") as log:
        for place, call in enumerate(job.calls):
            if place == len(job.calls) // 2:
                set_clock(job.clock)
            try:
                outcome = tool.submit(call, call_id=call).id
            except (errors.SubmissionUnknownError, errors.ImageBudgetError) as error:
                outcome = error.kind
            log.write(f"{call} {outcome}\n")
            log.flush()


def race(job: Job, barrier: Any) -> None:
    """Order each call at the same moment as another process."""
    tool = job.tool(job.open())
    for call in job.calls:
        barrier.wait()
        tool.submit(call, call_id=call)


def shorten_waits() -> None:
    """Give the dead up sooner: an order of 3 s is lost, and an unsent claim of 0.5 s."""
    for module, name, seconds in (
        (_base, "CLAIM_SECONDS", 0.5),
        (submission, "_SAVE_SECONDS", 5.0),
        (submission, "_IDLE_MARGIN", -2.0),
    ):
        setattr(module, name, seconds)


class WrongDatetime(datetime):
    """The time of day, set by some seconds."""

    by: ClassVar[float] = 0.0

    @classmethod
    def now(cls, tz: tzinfo | None = None) -> "WrongDatetime":
        return super().now(tz) + timedelta(seconds=cls.by)


def set_clock(seconds: float) -> None:
    """Set this process's time of day."""
    WrongDatetime.by = seconds
    right = time.time
    time.time = lambda: right() + seconds
    setattr(tools, "datetime", WrongDatetime)  # noqa: B010 - it is no name of theirs to give away


def start(target: Callable[..., None], *arguments: Any) -> BaseProcess:
    """Start a process."""
    process = CONTEXT.Process(target=target, args=arguments)
    process.start()
    return process


def run_to_the_end(jobs: list[Job], *, lives: int = 20) -> tuple[int, set[tuple[str, str]]]:
    """Run a process for each job; one that is killed is started again, at last unharmed.

    Returns:
        How many were killed, and what became of each call.
    """
    killed = 0
    running = {start(work, job): (job, lives) for job in jobs}
    while running:
        connection.wait([process.sentinel for process in running])
        for process in [each for each in running if not each.is_alive()]:
            job, left = running.pop(process)
            if process.exitcode == 0:
                continue
            assert process.exitcode == -signal.SIGKILL, f"exit code {process.exitcode}"
            killed += 1
            again = replace(job, seed=job.seed + 1000)
            if left == 1:
                again = replace(again, death=0.0, kill_after=None)
            running[start(work, again)] = (again, left - 1)
    logs = {job.log for job in jobs}
    lines = [line.split() for log in logs for line in log.read_text().splitlines()]
    return killed, {(call, outcome) for call, outcome in lines}
