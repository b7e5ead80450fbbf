"""Job store over any LangChain `ByteStore`."""

import weakref
from collections.abc import Callable
from contextlib import suppress
from typing import Any, TypeVar

from langchain_core.runnables.config import run_in_executor
from langchain_core.stores import ByteStore
from typing_extensions import override

from langchain_minitoolai.stores._base import (
    CallRecord,
    JobStore,
    UnreadableRecordError,
    job_key,
)
from langchain_minitoolai.stores._memory import InMemoryJobStore
from langchain_minitoolai.stores._transactions import machine_clock, parse_record

T = TypeVar("T")


class ByteStoreJobStore(InMemoryJobStore):
    """Jobs in any LangChain `ByteStore`, which has no atomic operations.

    Claims and budgets hold in this process alone. What may have been paid for is in the store, so
    that restarts find it; no key is written twice, since other processes may be reading it.

    Args:
        store: The store.
    """

    def __init__(self, store: ByteStore) -> None:
        """Wrap the store."""
        super().__init__()
        self._store = store

    def __repr__(self) -> str:
        """Name the kind of store."""
        return f"ByteStoreJobStore({type(self._store).__name__})"

    @override
    def claim(self, key: str, token: str, *, replaces: str = "") -> CallRecord:
        found = super().claim(key, token, replaces=replaces)
        if found.token != token:
            return found
        try:
            kept = self._load(key)
        except BaseException:
            super().release(key, token)
            raise
        if kept is None:
            return found
        super().release(key, token)
        return kept

    @override
    def save(self, key: str, record: CallRecord) -> bool:
        owned = super().save(key, record)
        if record.job is not None:
            suffix = "-ready" if record.job.url else "-submitted"
            self._write({name + suffix: record for name in (key, job_key(record.job.id))})
        elif owned and record.limit:
            self._write({key: record})
        return owned

    def _write(self, records: dict[str, CallRecord]) -> None:
        missing = [
            key
            for key, value in zip(records, self._store.mget(list(records)), strict=True)
            if value is None
        ]
        now = {"since": machine_clock()}
        for key in missing:  # one by one, the call's key first
            value = records[key].model_copy(update=now).model_dump_json(exclude_none=True)
            self._store.mset([(key, value.encode())])

    @override
    def release(self, key: str, token: str) -> None:
        found = super().load(key)
        super().release(key, token)
        if found is not None and found.token == token:
            self._store.mdelete([key])

    @override
    def load(self, key: str) -> CallRecord | None:
        return super().load(key) or self._load(key)

    def _load(self, key: str) -> CallRecord | None:
        """Load the newest record that can be read: a newer one may just be being written."""
        values = self._store.mget([f"{key}-ready", f"{key}-submitted", key])
        for value in values:
            with suppress(UnreadableRecordError):
                if value is not None:
                    return parse_record(key, value, machine_clock())
        if any(value is not None for value in values):
            raise UnreadableRecordError(key)
        return None

    @override
    async def _in_thread(self, operation: Callable[[], T]) -> T:
        return await run_in_executor(None, operation)

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle the store that it wraps."""
        return as_job_store, (self._store,)


_adapters: weakref.WeakValueDictionary[int, ByteStoreJobStore] = weakref.WeakValueDictionary()


def as_job_store(store: JobStore | ByteStore) -> JobStore:
    """Adapt a `ByteStore`; the same one always gets the same adapter, which has its claims."""
    if isinstance(store, JobStore):
        return store
    adapter = _adapters.get(id(store))
    if adapter is None:
        adapter = _adapters.setdefault(id(store), ByteStoreJobStore(store))
    return adapter
