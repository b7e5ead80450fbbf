"""The interface of job stores, and the records that they keep."""

import re
from abc import ABC, abstractmethod
from collections.abc import Callable
from hashlib import sha256
from typing import Any, Final, Literal, NamedTuple, Self, TypeAlias, TypeVar

from langchain_core.runnables.config import run_in_executor
from pydantic import BaseModel, ConfigDict, Field, model_validator

from langchain_minitoolai.types import ImageJob

T = TypeVar("T")

CLAIM_SECONDS: Final = 3.0
"""The age of a claim at which its owner, who had only to write to the store, counts as dead."""

_SAFE_ID: Final = re.compile(r"[A-Za-z0-9_-]{1,64}")


class UnreadableRecordError(ValueError):
    """A key of the store holds what is no record of this version."""

    def __init__(self, key: str) -> None:
        """Name the key."""
        super().__init__(f"what it holds under {key} is no record of this version")


class CallRecord(BaseModel):
    """What a store knows of a call.

    Before a job there is a claim, whose owner is known by its token.
    """

    model_config = ConfigDict(frozen=True)

    version: Literal[1] = 1
    state: Literal["claimed", "sending", "submitted"]
    token: str = ""
    since: float = Field(default=0.0, allow_inf_nan=False)
    """When the state began, in seconds on the store's clock; the store sets it."""
    limit: float = Field(default=0.0, allow_inf_nan=False)
    """Seconds of `sending` after which no answer can come any more."""
    job: ImageJob | None = None
    age: float = Field(default=0.0, exclude=True)
    """Seconds since `since`; the store sets it when it reads. After a restart it may be wrong."""

    @model_validator(mode="after")
    def _check_job(self) -> Self:
        if (self.job is not None) != (self.state == "submitted"):
            raise ValueError("a job, and nothing else, is submitted")
        return self

    @property
    def is_abandoned(self) -> bool:
        """Whether another may take the claim over: nothing was sent, and its owner is gone."""
        return self.state == "claimed" and abs(self.age) > CLAIM_SECONDS


class Budget(NamedTuple):
    """A budget: its scope in the store, and its limits."""

    scope: str = "default"
    max_images: int | None = None
    max_cost_usd: float | None = None


class Spending(NamedTuple):
    """What was spent in a scope, and what is reserved for orders under way or uncertain."""

    scope: str
    images: int = 0
    cost_usd: float = 0.0
    reserved_images: int = 0
    reserved_usd: float = 0.0


Reservation: TypeAlias = Literal["granted", "refused", "wait"]
"""`"wait"` where claims that have sent nothing hold what is missing."""


class JobStore(ABC):
    """A store of jobs; every operation is atomic for all who share the store.

    A store of your own implements the sync operations; the async ones call them in a thread.
    """

    @abstractmethod
    def claim(self, key: str, token: str, *, replaces: str = "") -> CallRecord:
        """Claim a call, if it has no record or an unsent claim with the token `replaces`.

        Returns:
            The call's record; it has `token` if the claim succeeded.

        Raises:
            UnreadableRecordError: If there is a record that can't be read.
        """

    @abstractmethod
    def save(self, key: str, record: CallRecord) -> bool:
        """Replace a call's claim by a record of the same token; a job replaces anything.

        A job is also kept under its own key.

        Returns:
            Whether the claim was there.
        """

    @abstractmethod
    def release(self, key: str, token: str) -> None:
        """Remove a call's claim, if it has this token."""

    @abstractmethod
    def load(self, key: str) -> CallRecord | None:
        """Load the record of a call's or a job's key.

        Raises:
            UnreadableRecordError: If it can't be read.
        """

    @abstractmethod
    def reserve(self, budget: Budget, key: str, token: str, cost_usd: float) -> Reservation:
        """Reserve the cost of one image for a claimed call.

        What claims that are gone reserved, with nothing sent, is given back first.
        """

    @abstractmethod
    def settle(self, scope: str, token: str, cost_usd: float) -> None:
        """End a reservation: spend this much, or give it back where that is 0."""

    @abstractmethod
    def spending(self, scope: str) -> Spending:
        """Return what was spent and what is reserved in a scope."""

    async def aclaim(self, key: str, token: str, *, replaces: str = "") -> CallRecord:
        """Claim a call: `claim`, with `await`."""
        return await self._in_thread(lambda: self.claim(key, token, replaces=replaces))

    async def asave(self, key: str, record: CallRecord) -> bool:
        """Replace a call's claim: `save`, with `await`."""
        return await self._in_thread(lambda: self.save(key, record))

    async def arelease(self, key: str, token: str) -> None:
        """Remove a call's claim: `release`, with `await`."""
        await self._in_thread(lambda: self.release(key, token))

    async def aload(self, key: str) -> CallRecord | None:
        """Load a record: `load`, with `await`."""
        return await self._in_thread(lambda: self.load(key))

    async def areserve(self, budget: Budget, key: str, token: str, cost_usd: float) -> Reservation:
        """Reserve the cost of one image: `reserve`, with `await`."""
        return await self._in_thread(lambda: self.reserve(budget, key, token, cost_usd))

    async def asettle(self, scope: str, token: str, cost_usd: float) -> None:
        """End a reservation: `settle`, with `await`."""
        await self._in_thread(lambda: self.settle(scope, token, cost_usd))

    async def aspending(self, scope: str) -> Spending:
        """Return what was spent: `spending`, with `await`."""
        return await self._in_thread(lambda: self.spending(scope))

    async def _in_thread(self, operation: Callable[[], T]) -> T:
        return await run_in_executor(None, operation)

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        """Return the store itself: copies of a tool share claims and budgets."""
        return self


def job_key(job_id: str) -> str:
    """Derive a job's key."""
    safe = _SAFE_ID.fullmatch(job_id)
    return f"minitoolai-job-{job_id if safe else sha256(job_id.encode()).hexdigest()[:40]}"
