"""The operations of job stores, over transactions of reads and writes."""

import time
from abc import abstractmethod
from collections.abc import Callable
from contextlib import suppress
from typing import Final, Literal, TypeVar

from pydantic import BaseModel, Field, ValidationError
from typing_extensions import override

from langchain_minitoolai.stores._base import (
    Budget,
    CallRecord,
    JobStore,
    Reservation,
    Spending,
    UnreadableRecordError,
    job_key,
)

T = TypeVar("T")

BUDGET_PREFIX: Final = "minitoolai-budget-"
_ROUNDING: Final = 1 + 1e-9


class _Reserved(BaseModel):
    key: str
    cost_usd: float = Field(allow_inf_nan=False)


class BudgetRecord(BaseModel):
    version: Literal[1]
    images: int = 0
    cost_usd: float = Field(default=0.0, allow_inf_nan=False)
    reserved: dict[str, _Reserved] = {}

    def spend(self, token: str, cost_usd: float) -> None:
        """End a reservation; without one nothing changes."""
        if self.reserved.pop(token, None) is not None and cost_usd:
            self.images += 1
            self.cost_usd += cost_usd

    def has_room(self, budget: Budget, cost_usd: float) -> bool:
        """Whether one image more is within the budget."""
        images = self.images + len(self.reserved) + 1
        cost = self.cost_usd + cost_usd + sum(each.cost_usd for each in self.reserved.values())
        limits = budget.max_images, budget.max_cost_usd
        return (limits[0] is None or images <= limits[0]) and (
            limits[1] is None or cost <= limits[1] * _ROUNDING
        )


class Transaction:
    """Reads of one transaction, and the writes to apply at its end."""

    def __init__(self, read: Callable[[str], str | bytes | None], now: float) -> None:
        self.writes: dict[str, str | None] = {}
        self._read = read
        self._now = now

    def call(self, key: str) -> CallRecord | None:
        return parse_record(key, self._read(key), self._now)

    def put_call(self, key: str, record: CallRecord) -> CallRecord:
        stamped = record.model_copy(update={"since": self._now})
        self.writes[key] = stamped.model_dump_json(exclude_none=True)
        return stamped

    def remove(self, key: str) -> None:
        self.writes[key] = None

    def budget(self, scope: str) -> BudgetRecord:
        key = BUDGET_PREFIX + scope
        value = self._read(key)
        try:
            return BudgetRecord.model_validate_json('{"version": 1}' if value is None else value)
        except ValidationError:
            raise UnreadableRecordError(key) from None

    def put_budget(self, scope: str, record: BudgetRecord) -> None:
        self.writes[BUDGET_PREFIX + scope] = record.model_dump_json()

    def reclaim(self, record: BudgetRecord) -> bool:
        """End the reservations whose outcome is known; return whether one may soon be."""
        unsent = False
        for token, reserved in list(record.reserved.items()):
            call = self.call(reserved.key)
            if call is not None and call.token == token and not call.is_abandoned:
                unsent |= call.state == "claimed"
                if call.job is not None:
                    record.spend(token, reserved.cost_usd)
                continue
            record.spend(token, 0.0)
            if call is not None and call.token == token:
                self.remove(reserved.key)  # so that its owner, should he live, can't send
        return unsent


def parse_record(key: str, value: str | bytes | None, now: float) -> CallRecord | None:
    """Parse the record of a call or a job.

    Raises:
        UnreadableRecordError: If it can't be read.
    """
    if value is None:
        return None
    try:
        record = CallRecord.model_validate_json(value)
    except ValidationError:
        raise UnreadableRecordError(key) from None
    if "version" not in record.model_fields_set:
        raise UnreadableRecordError(key)
    return record.model_copy(update={"age": now - record.since})


def machine_clock() -> float:
    """Return the seconds since this machine started, the same for all of its processes."""
    return time.monotonic()  # nobody can set it, as they can the time of day


class TransactionalStore(JobStore):
    """The operations, over transactions that see each other as a whole or not at all."""

    @abstractmethod
    def _transact(self, work: Callable[[Transaction], T]) -> T:
        """Run a function of reads, and apply its writes, as one."""

    @override
    def claim(self, key: str, token: str, *, replaces: str = "") -> CallRecord:
        def work(records: Transaction) -> CallRecord:
            found = records.call(key)
            if found is None or (found.state == "claimed" and found.token == replaces):
                return records.put_call(key, CallRecord(state="claimed", token=token))
            return found

        return self._transact(work)

    @override
    def save(self, key: str, record: CallRecord) -> bool:
        def work(records: Transaction) -> bool:
            found = None
            with suppress(UnreadableRecordError):
                found = records.call(key)
            owned = found is not None and found.token == record.token
            if record.job is not None:
                # A later copy of the job keeps the token, by which its reservation is known.
                token = record.token or (found.token if found else "")
                kept = record.model_copy(update={"token": token})
                records.put_call(key, kept)
                records.put_call(job_key(record.job.id), kept)
            elif owned:
                records.put_call(key, record)
            return owned

        return self._transact(work)

    @override
    def release(self, key: str, token: str) -> None:
        def work(records: Transaction) -> None:
            found = records.call(key)
            if found is not None and found.token == token and found.job is None:
                records.remove(key)

        self._transact(work)

    @override
    def load(self, key: str) -> CallRecord | None:
        return self._transact(lambda records: records.call(key))

    @override
    def reserve(self, budget: Budget, key: str, token: str, cost_usd: float) -> Reservation:
        def work(records: Transaction) -> Reservation:
            record, unsent = records.budget(budget.scope), False
            if token in record.reserved:
                return "granted"
            if not record.has_room(budget, cost_usd):
                unsent = records.reclaim(record)
            granted = record.has_room(budget, cost_usd)
            if granted:
                record.reserved[token] = _Reserved(key=key, cost_usd=cost_usd)
            records.put_budget(budget.scope, record)
            return "granted" if granted else "wait" if unsent else "refused"

        return self._transact(work)

    @override
    def settle(self, scope: str, token: str, cost_usd: float) -> None:
        def work(records: Transaction) -> None:
            record = records.budget(scope)
            record.spend(token, cost_usd)
            records.put_budget(scope, record)

        self._transact(work)

    @override
    def spending(self, scope: str) -> Spending:
        def work(records: Transaction) -> Spending:
            record = records.budget(scope)
            if record.reserved:
                records.reclaim(record)
                records.put_budget(scope, record)
            reserved = sum((each.cost_usd for each in record.reserved.values()), 0.0)
            count = len(record.reserved)
            return Spending(scope, record.images, record.cost_usd, count, reserved)

        return self._transact(work)
