"""A driver without network or clock: it runs workflows on scripted responses, sync or async."""

import asyncio
import json
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from langchain_minitoolai._http.effects import (
    Download,
    Invoke,
    Request,
    Resolve,
    Response,
    Sleep,
    Uninterrupted,
    Workflow,
)
from langchain_minitoolai._images.job_store import StoreEffects
from langchain_minitoolai._images.submission import JobContext
from langchain_minitoolai.errors import MiniToolAIError
from langchain_minitoolai.stores import InMemoryJobStore
from langchain_minitoolai.stores._byte_store import as_job_store
from langchain_minitoolai.stores._transactions import BUDGET_PREFIX
from langchain_minitoolai.types import ImageJob, ImageProgress

T = TypeVar("T")

START = 1000.0
WALL_OFFSET = 1e9


def response(payload: Any, status: int = 200, **headers: str) -> Response:
    """Make a response; `_` in a header's name stands for `-`."""
    body = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
    return Response(status, {name.replace("_", "-"): text for name, text in headers.items()}, body)


class FakeDriver:
    """Runs workflows; time passes only in sleeps and by `latency` in requests.

    Attributes:
        requests: Every request.
        downloads: Every download.
        resolved: Every URL whose host was looked up.
        addresses: What every host resolves to.
        sleeps: Every wait.
        on_sleep: Called in every wait.
    """

    def __init__(
        self,
        responses: Sequence[Response | MiniToolAIError | Callable[[float], Response]] = (),
        *,
        latency: float = 0.0,
        is_async: bool = False,
        downloads: Sequence[bytes | Response | Exception] = (),
        addresses: Sequence[str] | None = ("8.8.8.8",),
    ) -> None:
        """Script the responses, the last one given for ever, and the downloads, one by one."""
        self.requests: list[Request] = []
        self.downloads: list[Download] = []
        self.resolved: list[str] = []
        self.addresses = addresses
        self._files = list(downloads)
        self.sleeps: list[float] = []
        self.now = START
        self._responses = list(responses)
        self._latency = latency
        self._is_async = is_async
        self.on_sleep: Callable[[], object] | None = None

    def script(self, *responses: Response | MiniToolAIError | Callable[[float], Response]) -> None:
        """Script the responses anew."""
        self._responses = list(responses)

    def clock(self) -> float:
        """Return the time."""
        return self.now

    def run(self, workflow: Workflow[T], *, steps: int = 10_000) -> T:
        """Do what the workflow asks for until it returns."""
        outcome: Any = None
        error: Exception | None = None
        for _ in range(steps):
            try:
                effect = workflow.send(outcome) if error is None else workflow.throw(error)
            except StopIteration as stop:
                result: T = stop.value
                return result
            outcome, error = None, None
            try:
                outcome = self._perform(effect)
            except Exception as caught:  # noqa: BLE001 - the workflow decides
                error = caught
        raise AssertionError("the workflow does not end")

    def _perform(self, effect: Any) -> Any:
        if isinstance(effect, Sleep):
            assert effect.seconds >= 0
            self.sleeps.append(effect.seconds)
            self.now += effect.seconds
            if self.on_sleep is not None:
                self.on_sleep()
            return None
        if isinstance(effect, Invoke):
            return asyncio.run(_await(effect)) if self._is_async else effect.run()
        if isinstance(effect, Uninterrupted):
            return self.run(effect.start(lambda: effect.cancelled))
        if isinstance(effect, Resolve):
            self.resolved.append(effect.url)
            return self.addresses
        if isinstance(effect, Download):
            self.downloads.append(effect)
            return _file(self._files.pop(0))
        assert isinstance(effect, Request)
        self.requests.append(effect)
        self.now += self._latency
        scripted = self._responses.pop(0) if len(self._responses) > 1 else self._responses[0]
        if isinstance(scripted, MiniToolAIError):
            raise scripted
        return scripted(self.now) if callable(scripted) else scripted


def _file(scripted: bytes | Response | Exception) -> Response:
    if isinstance(scripted, Exception):
        raise scripted
    return Response(200, {}, scripted) if isinstance(scripted, bytes) else scripted


async def _await(effect: Invoke) -> Any:
    return await effect.arun()


class FakeJob:
    """The surroundings of one job: a store, the progress reported.

    Attributes:
        context: For the workflows.
    """

    def __init__(self, driver: FakeDriver, store: Any = None, **options: Any) -> None:
        """Set them up."""
        self.store: Any = InMemoryJobStore() if store is None else as_job_store(store)
        self.reported: list[ImageProgress] = []

        async def nothing() -> None:
            return None

        def on_progress(progress: ImageProgress) -> Invoke:
            self.reported.append(progress)
            return Invoke(lambda: None, nothing)

        defaults: dict[str, Any] = {
            "total_timeout": 120.0,
            "jitter": lambda: 1.0,
        }
        self.context = JobContext(
            clock=driver.clock,
            wall_clock=lambda: driver.now + WALL_OFFSET,
            store=StoreEffects(self.store),
            on_progress=on_progress,
            **{**defaults, **options},
        )

    def ordered(self) -> int:
        """Count the images spent, or reserved."""
        spending = self.store.spending("default")
        return int(spending.images + spending.reserved_images)

    def jobs(self, *keys: str) -> list[ImageJob | None]:
        """Return the jobs under these keys."""
        found = [self.store.load(key) for key in keys]
        return [record and record.job for record in found]

    def calls(self) -> list[str]:
        """Name what a store in memory has of calls and jobs."""
        return [key for key in self.store._records if not key.startswith(BUDGET_PREFIX)]
