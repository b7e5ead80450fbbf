"""Job store in memory."""

import os
import threading
import weakref
from collections.abc import Callable
from typing import Any, TypeVar
from uuid import uuid4

from typing_extensions import override

from langchain_minitoolai.stores._transactions import (
    BUDGET_PREFIX,
    Transaction,
    TransactionalStore,
    machine_clock,
)

T = TypeVar("T")


class InMemoryJobStore(TransactionalStore):
    """Jobs of one process; copies share it, as does a pickle that is loaded in this process.

    Args:
        max_records: The records kept; the oldest ones go first.
    """

    def __init__(self, max_records: int = 20_000) -> None:
        """Start with none."""
        self._start(uuid4().hex, max_records, {})

    def _start(self, identity: str, max_records: int, records: dict[str, str]) -> None:
        self._identity, self._max_records, self._records = identity, max_records, records
        self._lock = threading.Lock()
        _memories[identity] = self

    @override
    def _transact(self, work: Callable[[Transaction], T]) -> T:
        with self._lock:
            records = Transaction(self._records.get, machine_clock())
            result = work(records)
            for key, value in records.writes.items():
                self._records.pop(key, None)
                if value is not None:
                    self._records[key] = value
            self._evict()
        return result

    def _evict(self) -> None:
        surplus = len(self._records) - self._max_records
        if surplus > 0:
            oldest = [key for key in self._records if not key.startswith(BUDGET_PREFIX)]
            for key in oldest[: surplus + self._max_records // 10]:
                del self._records[key]

    @override
    async def _in_thread(self, operation: Callable[[], T]) -> T:
        return operation()

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle the records; this process knows its own store again."""
        with self._lock:
            return _memory, (type(self), self._identity, self._max_records, dict(self._records))


_memories: weakref.WeakValueDictionary[str, InMemoryJobStore] = weakref.WeakValueDictionary()


def _memory(
    kind: type[InMemoryJobStore], identity: str, max_records: int, records: dict[str, str]
) -> InMemoryJobStore:
    store = _memories.get(identity)
    if store is None:
        store = kind.__new__(kind)
        store._start(identity, max_records, records)  # noqa: SLF001 - its own constructor
    return store


def _after_fork() -> None:
    for store in list(_memories.values()):
        store._lock = threading.Lock()  # noqa: SLF001 - another thread may have held it


getattr(os, "register_at_fork", lambda **_: None)(after_in_child=_after_fork)
