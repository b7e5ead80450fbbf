"""What is known of paid jobs, kept where a later process finds it.

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
from typing import Any, Final, NamedTuple

from langchain_core.stores import ByteStore
from pydantic import ValidationError

from langchain_minitoolai._http.effects import Invoke, Sleep, Workflow
from langchain_minitoolai._images.result import ImageJob

_MARK: Final = json.dumps({"state": "submitting"}).encode()
_PLAIN: Final = re.compile(r"[A-Za-z0-9_-]{1,64}")
_TAKEN_GAP: Final = 0.05


class Found(NamedTuple):
    """What the store holds under a key.

    Attributes:
        job: The job, if there is one that can be read.
        known: Whether there is anything at all.
    """

    job: ImageJob | None
    known: bool


def call_key(tool_call_id: str, base: str, body: Mapping[str, Any]) -> str:
    """Name a call: the same id with the same arguments at the same service is the same call."""
    text = json.dumps([tool_call_id, base, body], sort_keys=True)
    return f"minitoolai-call-{hashlib.sha256(text.encode()).hexdigest()[:40]}"


def job_key(job: str) -> str:
    """Name a job."""
    plain = job if _PLAIN.fullmatch(job) else hashlib.sha256(job.encode()).hexdigest()[:40]
    return f"minitoolai-job-{plain}"


class JobStore:
    """Paid jobs in a `ByteStore`, as actions that a flow asks for."""

    def __init__(self, store: ByteStore) -> None:
        """Keep the store."""
        self._store = store

    def load(self, key: str) -> Invoke:
        """Look a key up; the outcome is a `Found`."""

        async def arun() -> Found:
            return _found((await self._store.amget([key]))[0])

        return Invoke(lambda: _found(self._store.mget([key])[0]), arun)

    def mark(self, call: str) -> Invoke:
        """Note that a call is about to be paid for."""
        return self._set([(call, _MARK)])

    def unmark(self, call: str) -> Invoke:
        """Note that a call was not paid for after all."""

        async def arun() -> None:
            await self._store.amdelete([call])

        return Invoke(lambda: self._store.mdelete([call]), arun)

    def save(self, job: ImageJob) -> Invoke:
        """Save a job under its own key and its call's."""
        value = job.model_dump_json().encode()
        keys = [job_key(job.id), *([job.call] if job.call else [])]
        return self._set([(key, value) for key in keys])

    def _set(self, pairs: list[tuple[str, bytes]]) -> Invoke:
        async def arun() -> None:
            await self._store.amset(pairs)

        return Invoke(lambda: self._store.mset(pairs), arun)


def _found(value: bytes | None) -> Found:
    if value is None:
        return Found(None, known=False)
    try:
        return Found(ImageJob.model_validate_json(value), known=True)
    except ValidationError:
        return Found(None, known=True)


class Claims:
    """Which calls are being submitted in this process, so that no two submit the same."""

    def __init__(self) -> None:
        """Start with none."""
        self._taken: set[str] = set()
        self._lock = threading.Lock()

    def claim(self, key: str) -> Workflow[None]:
        """Wait until nobody else submits this call, and take it."""
        while not self._take(key):
            yield Sleep(_TAKEN_GAP)

    def _take(self, key: str) -> bool:
        with self._lock:
            free = key not in self._taken
            self._taken.add(key)
        return free

    def release(self, key: str) -> None:
        """Let others have it."""
        with self._lock:
            self._taken.discard(key)
