"""Job store in workflows: effects on it, the keys of calls, unfinished calls, shared budgets."""

import hashlib
import json
import threading
import weakref
from collections.abc import Iterable, Mapping
from typing import Any, Final, Protocol
from urllib.parse import urlsplit
from uuid import uuid4

from langchain_core.stores import ByteStore

from langchain_minitoolai import contract, errors
from langchain_minitoolai._http.effects import Invoke, Sleep, Workflow
from langchain_minitoolai._http.pool import reset_after_fork
from langchain_minitoolai._http.transport import is_loopback
from langchain_minitoolai._redaction import safe_warn, tidy
from langchain_minitoolai.stores import (
    Budget,
    CallRecord,
    JobStore,
    Spending,
    UnreadableRecordError,
)
from langchain_minitoolai.stores._base import job_key
from langchain_minitoolai.types import ImageJob

CLAIM_INTERVAL: Final = 0.05
"""Seconds between two reads of a store that another is writing."""
MAX_UNFINISHED: Final = 1000
"""The unfinished calls without an id that are remembered."""
_MAX_READS: Final = 3


def call_key(tool_call_id: str, base_url: str, said: Mapping[str, Any]) -> str:
    """Derive a call's key: the same id, service, and arguments as the call said them.

    The tool's defaults are not in it: after a change of theirs, a replayed call is still the same.
    """
    text = json.dumps([tool_call_id, _service(base_url), said], sort_keys=True)
    return f"minitoolai-call-{hashlib.sha256(text.encode()).hexdigest()[:40]}"


def _service(base_url: str) -> str:
    """Name a service; all names of this machine are one."""
    parts = urlsplit(base_url)
    host = "loopback" if is_loopback(parts.hostname) else parts.hostname
    return f"{parts.scheme}://{host}:{parts.port}{parts.path}"


class StoreEffects:
    """A job store; each method returns the effect of one operation."""

    def __init__(self, store: JobStore) -> None:
        """Wrap a store."""
        self.store = store

    def load(self, key: str) -> Invoke:
        """Build the effect that loads a key."""
        return Invoke(lambda: self.store.load(key), lambda: self.store.aload(key))

    def claim(self, key: str, token: str, replaces: str) -> Invoke:
        """Build the effect that claims a call."""
        return Invoke(
            lambda: self.store.claim(key, token, replaces=replaces),
            lambda: self.store.aclaim(key, token, replaces=replaces),
        )

    def mark_sending(self, key: str, token: str, limit: float) -> Invoke:
        """Build the effect that marks a claimed call as being sent, for so many seconds."""
        record = CallRecord(state="sending", token=token, limit=limit)
        return Invoke(lambda: self.store.save(key, record), lambda: self.store.asave(key, record))

    def release(self, key: str, token: str) -> Invoke:
        """Build the effect that forgets a call that was not charged."""
        return Invoke(
            lambda: self.store.release(key, token), lambda: self.store.arelease(key, token)
        )

    def save(self, job: ImageJob, key: str | None = None, token: str = "") -> Invoke:
        """Build the effect that saves a job, under its own key and its call's."""
        record = CallRecord(state="submitted", token=token, job=job)
        place = key or job.call_key or job_key(job.id)
        return Invoke(
            lambda: self.store.save(place, record), lambda: self.store.asave(place, record)
        )

    def reserve(self, budget: Budget, key: str, token: str) -> Invoke:
        """Build the effect that reserves an image's price."""
        order = budget, key, token, contract.IMAGE_PRICE
        return Invoke(lambda: self.store.reserve(*order), lambda: self.store.areserve(*order))

    def settle(self, scope: str, token: str, *, charged: bool) -> Invoke:
        """Build the effect that ends a reservation."""
        spent = scope, token, contract.IMAGE_PRICE if charged else 0.0
        return Invoke(lambda: self.store.settle(*spent), lambda: self.store.asettle(*spent))

    def spending(self, scope: str) -> Invoke:
        """Build the effect that reads what was spent."""
        return Invoke(lambda: self.store.spending(scope), lambda: self.store.aspending(scope))


def load_stored(key: str, store: StoreEffects) -> Workflow[CallRecord | None]:
    """Load a key from the job store.

    Raises:
        ImageRequestError: If the store fails.
    """
    for _ in range(_MAX_READS):
        try:
            found: CallRecord | None = yield store.load(key)
        except UnreadableRecordError as error:
            unreadable = error
            yield Sleep(CLAIM_INTERVAL)  # a store without transactions may be writing it
        except Exception as error:  # noqa: BLE001 - any store may be in use
            raise _store_error(store, error) from None
        else:
            return found
    raise _store_error(store, unreadable)


def checked(effect: Invoke, store: StoreEffects) -> Workflow[Any]:
    """Perform an operation of the job store before anything is sent.

    Raises:
        ImageRequestError: If the store fails.
    """
    try:
        return (yield effect)
    except Exception as error:  # noqa: BLE001 - any store may be in use
        raise _store_error(store, error) from None


def read_spending(scope: str, store: StoreEffects) -> Workflow[Spending]:
    """Read what was spent in a scope.

    Raises:
        ImageRequestError: If the store fails.
    """
    spending: Spending = yield from checked(store.spending(scope), store)
    return spending


def best_effort(effect: Invoke, lost: str = "the state of a job") -> Workflow[None]:
    """Write to the job store; a failure is only a warning, for what was paid for goes on.

    Args:
        effect: The operation.
        lost: What is not recorded if it fails.
    """
    try:
        yield effect
    except Exception as error:  # noqa: BLE001 - any store may be in use
        reason = tidy(f"{type(error).__name__}: {error}")
        safe_warn(f"the job store can't be written ({reason}); not recorded: {lost}")


def _store_error(store: StoreEffects, error: Exception) -> errors.ImageRequestError:
    reason = tidy(f"{type(error).__name__}: {error}")
    return errors.ImageRequestError(
        f"The job store {store.store!r} can't be used ({reason}), so nothing was sent or charged.",
        retry_safe=True,
        hint="Without the store a second charge could not be ruled out.",
    )


class UnfinishedCalls:
    """Calls without an id that ended without their image: the next equal call takes them up.

    A call under way is never taken up: asking twice draws twice.
    """

    def __init__(self) -> None:
        """Start with none."""
        self.reset_after_fork()
        reset_after_fork(self)

    def reset_after_fork(self) -> None:
        """Forget all calls: in a forked child they are the parent's, which may take them up."""
        self._ended: dict[Any, list[tuple[str, float]]] = {}
        self._lock = threading.Lock()

    def take(self, same: Any, now: float, total_timeout: float) -> tuple[str, float | None]:
        """Return the key of an equal call that ended in the last `total_timeout` seconds.

        Args:
            same: What equal calls have in common.
            now: The time, on any scale.
            total_timeout: The time limit of a call, in seconds.

        Returns:
            The key and when it ended; where there is none, a new key and `None`.
        """
        with self._lock:
            calls = self._ended.pop(same, [])
            recent = [call for call in calls if now - call[1] <= total_timeout]
            if recent[1:]:
                self._ended[same] = recent[1:]
        if recent:
            return recent[0]
        return f"minitoolai-call-{uuid4().hex}", None

    def put(self, same: Any, key: str, now: float) -> None:
        """Remember a call that ended without its image."""
        with self._lock:
            self._ended.setdefault(same, []).append((key, now))
            while len(self._ended) > MAX_UNFINISHED:
                del self._ended[next(iter(self._ended))]


class _Spender(Protocol):
    """A tool, as far as its budget goes."""

    job_store: JobStore | ByteStore
    budget_scope: str
    max_images: int | None
    max_cost_usd: float | None


class SharedBudgets:
    """The tools of this process, to find the tightest limits of a scope in a store."""

    def __init__(self) -> None:
        """Start with none."""
        self._tools: weakref.WeakValueDictionary[int, _Spender] = weakref.WeakValueDictionary()
        self._warned: weakref.WeakKeyDictionary[Any, set[Budget]] = weakref.WeakKeyDictionary()

    def add(self, tool: _Spender) -> None:
        """Let a tool's limits count, as long as it lives."""
        self._tools[id(tool)] = tool

    def of(self, tool: _Spender) -> Budget:
        """Return a tool's budget; of tools with different limits the tightest hold."""
        self.add(tool)
        scope, store = tool.budget_scope, tool.job_store
        sharing = [
            each
            for each in list(self._tools.values())
            if each.budget_scope == scope and each.job_store == store
        ]
        images, usd = {each.max_images for each in sharing}, {each.max_cost_usd for each in sharing}
        budget = Budget(scope, _least(images), _least(usd))
        if len(images) > 1 or len(usd) > 1:
            self._warn(store, budget)
        return budget

    def _warn(self, store: JobStore | ByteStore, budget: Budget) -> None:
        warned = self._warned.setdefault(store, set())
        if budget not in warned:
            warned.add(budget)
            safe_warn(
                f"tools that share the budget scope {budget.scope!r} have different limits; the "
                f"tighter hold: max_images={budget.max_images}, max_cost_usd={budget.max_cost_usd}"
            )


def _least(limits: Iterable[Any]) -> Any:
    return min((limit for limit in limits if limit is not None), default=None)
