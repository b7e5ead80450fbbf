"""Job store: handles of paid jobs, calls being submitted, and the tool's budget.

Keys and values, all JSON:
    minitoolai-call-<hash>   by `tool_call_id`, address of the service and arguments: first
                             `{"state": "submitting"}`, once there is a job its `ImageJob`
    minitoolai-job-<id>      by job id: its `ImageJob`, for `resume`
An `ImageJob` holds its signature, so the store is to be kept as a secret.
"""

import hashlib
import json
import re
import threading
from collections.abc import Mapping
from typing import Any, Final, Literal, TypeAlias

from langchain_core.stores import ByteStore
from pydantic import ValidationError

from langchain_minitoolai import contract
from langchain_minitoolai._http.effects import Invoke
from langchain_minitoolai.errors import ImageBudgetError
from langchain_minitoolai.types import ImageJob

StoredCall: TypeAlias = ImageJob | Literal["submitting"] | None
"""A job; or that its submission began, with an unknown end; or nothing."""

_SUBMITTING: Final = json.dumps({"state": "submitting"}).encode()
_SAFE_ID: Final = re.compile(r"[A-Za-z0-9_-]{1,64}")


def call_key(tool_call_id: str, base_url: str, body: Mapping[str, Any]) -> str:
    """Derive a call's key: the same id, arguments and service make the same call."""
    text = json.dumps([tool_call_id, base_url, body], sort_keys=True)
    return f"minitoolai-call-{hashlib.sha256(text.encode()).hexdigest()[:40]}"


def job_key(job_id: str) -> str:
    """Derive a job's key."""
    safe = _SAFE_ID.fullmatch(job_id)
    return f"minitoolai-job-{job_id if safe else hashlib.sha256(job_id.encode()).hexdigest()[:40]}"


class JobStore:
    """Paid jobs in a `ByteStore`; each method returns the effect that acts on it."""

    def __init__(self, store: ByteStore) -> None:
        """Wrap a store."""
        self._store = store

    def load(self, key: str) -> Invoke:
        """Build the effect that loads a key; its outcome is a `StoredCall`."""

        async def arun() -> StoredCall:
            return _parse((await self._store.amget([key]))[0])

        return Invoke(lambda: _parse(self._store.mget([key])[0]), arun)

    def mark(self, call: str) -> Invoke:
        """Record that a call is about to be submitted."""
        return self._set([(call, _SUBMITTING)])

    def unmark(self, call: str) -> Invoke:
        """Forget a call that was not charged."""

        async def arun() -> None:
            await self._store.amdelete([call])

        return Invoke(lambda: self._store.mdelete([call]), arun)

    def save(self, job: ImageJob) -> Invoke:
        """Save a job under its own key and its call's."""
        value = job.model_dump_json().encode()
        keys = [job_key(job.id), *([job.call_key] if job.call_key else [])]
        return self._set([(key, value) for key in keys])

    def _set(self, pairs: list[tuple[str, bytes]]) -> Invoke:
        async def arun() -> None:
            await self._store.amset(pairs)

        return Invoke(lambda: self._store.mset(pairs), arun)


def _parse(value: bytes | None) -> StoredCall:
    if value is None:
        return None
    try:
        return ImageJob.model_validate_json(value)
    except ValidationError:
        return "submitting"  # what can't be read may have been paid for


class InFlightCalls:
    """The calls that this process is submitting, so that no two submit the same."""

    def __init__(self) -> None:
        """Start with none."""
        self._keys: set[str] = set()
        self._lock = threading.Lock()

    def claim(self, key: str) -> bool:
        """Claim a call; `False` if it is being submitted already."""
        with self._lock:
            free = key not in self._keys
            self._keys.add(key)
        return free

    def release(self, key: str) -> None:
        """Let others claim the call."""
        with self._lock:
            self._keys.discard(key)


class Quota:
    """The images that a tool has ordered, against its budget; safe to share by threads."""

    def __init__(self) -> None:
        """Start with none."""
        self._images = 0
        self._lock = threading.Lock()

    @property
    def images(self) -> int:
        """The number of images ordered, or perhaps ordered."""
        return self._images

    def reserve(self, max_images: int | None, max_cost_usd: float | None) -> None:
        """Count one image more.

        Raises:
            ImageBudgetError: If that exceeds the budget.
        """
        with self._lock:
            images = self._images + 1
            if max_images is not None and images > max_images:
                raise _budget_error(f"max_images={max_images}")
            cost = images * contract.IMAGE_PRICE
            if max_cost_usd is not None and cost > max_cost_usd * (1 + 1e-9):
                raise _budget_error(f"max_cost_usd={max_cost_usd:g}")
            self._images = images

    def release(self) -> None:
        """Count one image less: it was not charged."""
        with self._lock:
            self._images -= 1

    def __getstate__(self) -> dict[str, Any]:
        """Leave the lock out of pickles and copies."""
        return {"_images": self._images}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Restore the count, with a lock of its own."""
        self.__init__()  # type: ignore[misc]
        self.__dict__.update(state)


def _budget_error(limit: str) -> ImageBudgetError:
    return ImageBudgetError(
        f"The budget of this tool is spent ({limit}). Nothing was sent or charged.",
        hint="Go on without another image.",
    )
