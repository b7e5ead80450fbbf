"""Job stores: paid jobs, claims on calls and budgets, shared by all who share the store.

Keys and values, all JSON with a version:
    minitoolai-call-<hash>     a call: claimed, then being sent, then its job
    minitoolai-job-<id>        a job, for `resume`
    minitoolai-budget-<scope>  what was spent in a scope, and what is reserved

A job holds its signature, with which anybody can fetch the image: keep a store as a secret.
"""

from langchain_minitoolai.stores._base import (
    Budget,
    CallRecord,
    JobStore,
    Reservation,
    Spending,
    UnreadableRecordError,
)
from langchain_minitoolai.stores._byte_store import ByteStoreJobStore
from langchain_minitoolai.stores._memory import InMemoryJobStore
from langchain_minitoolai.stores._redis import RedisJobStore
from langchain_minitoolai.stores._sqlite import SQLiteJobStore

__all__ = [
    "Budget",
    "ByteStoreJobStore",
    "CallRecord",
    "InMemoryJobStore",
    "JobStore",
    "RedisJobStore",
    "Reservation",
    "SQLiteJobStore",
    "Spending",
    "UnreadableRecordError",
]
