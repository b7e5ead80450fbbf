"""A shell without wire or clock: it runs flows on scripted answers, in either colour."""

import asyncio
import json
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from langchain_core.stores import InMemoryByteStore

from langchain_minitoolai._http.effects import Invoke, Request, Response, Sleep, Workflow
from langchain_minitoolai._images.job_store import JobStore
from langchain_minitoolai._images.result import ImageProgress
from langchain_minitoolai._images.schedule import Schedule
from langchain_minitoolai._images.spending import Spending
from langchain_minitoolai._images.submission import Desk
from langchain_minitoolai.errors import MiniToolAIError

T = TypeVar("T")


def answer(payload: Any, status: int = 200, **headers: str) -> Response:
    """Make a reply; `_` in a header's name stands for `-`."""
    body = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
    return Response(status, {name.replace("_", "-"): text for name, text in headers.items()}, body)


class Actor:
    """Runs flows; time passes only in sleeps and by `latency` in calls.

    Attributes:
        calls: Every call asked for.
        sleeps: Every wait asked for.
    """

    def __init__(
        self,
        answers: Sequence[Response | MiniToolAIError | Callable[[float], Response]] = (),
        *,
        latency: float = 0.0,
        asynchronous: bool = False,
    ) -> None:
        """Script the answers; the last one is given for ever."""
        self.calls: list[Request] = []
        self.sleeps: list[float] = []
        self.now = 1000.0
        self._answers = list(answers)
        self._latency = latency
        self._asynchronous = asynchronous

    def clock(self) -> float:
        """Tell the time."""
        return self.now

    def run(self, flow: Workflow[T], *, steps: int = 10_000) -> T:
        """Do what the flow asks for until it returns."""
        outcome: Any = None
        error: Exception | None = None
        for _ in range(steps):
            try:
                step = flow.send(outcome) if error is None else flow.throw(error)
            except StopIteration as stop:
                result: T = stop.value
                return result
            outcome, error = None, None
            try:
                outcome = self._do(step)
            except Exception as caught:  # noqa: BLE001 - the flow decides
                error = caught
        raise AssertionError("the flow does not end")

    def _do(self, step: Request | Sleep | Invoke) -> Any:
        if isinstance(step, Sleep):
            assert step.seconds >= 0
            self.sleeps.append(step.seconds)
            self.now += step.seconds
            return None
        if isinstance(step, Invoke):
            return asyncio.run(_awaited(step)) if self._asynchronous else step.run()
        self.calls.append(step)
        self.now += self._latency
        given = self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]
        if isinstance(given, MiniToolAIError):
            raise given
        return given(self.now) if callable(given) else given


async def _awaited(step: Invoke) -> Any:
    return await step.arun()


class Counter:
    """A counter in a shop: a store, a budget, what was told."""

    def __init__(self, actor: Actor, store: Any = None, **options: Any) -> None:
        """Set the surroundings up."""
        self.store = InMemoryByteStore() if store is None else store
        self.told: list[ImageProgress] = []
        self.spending = Spending()

        async def nothing() -> None:
            return None

        def report(progress: ImageProgress) -> Invoke:
            self.told.append(progress)
            return Invoke(lambda: None, nothing)

        self.desk = Desk(
            clock=actor.clock,
            wall=lambda: actor.now + 1e9,
            store=JobStore(self.store),
            report=report,
            spending=self.spending,
            **{"schedule": Schedule(), "jitter": lambda: 1.0, **options},
        )
