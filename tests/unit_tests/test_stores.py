"""Job stores: the same contract for all, and what each does besides."""

import asyncio
import copy
import gc
import multiprocessing
import pickle
import sqlite3
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import fakeredis
import pytest
from langchain_core.stores import InMemoryByteStore

from langchain_minitoolai.stores import (
    Budget,
    ByteStoreJobStore,
    CallRecord,
    InMemoryJobStore,
    JobStore,
    RedisJobStore,
    Spending,
    SQLiteJobStore,
    UnreadableRecordError,
    _memory,
    _sqlite,
    _transactions,
)
from langchain_minitoolai.stores._base import job_key
from langchain_minitoolai.stores._byte_store import as_job_store
from langchain_minitoolai.types import ImageJob

PRICE = 0.0015
JOB = ImageJob(id="77", signature="s3cr3t", arguments={"prompt": "a fox"}, submitted_at=1e9)
READY = JOB.model_copy(update={"url": "https://cdn.example.com/a.png"})
KINDS = ["memory", "sqlite", "redis", "bytes"]


def make(kind: str, folder: Path) -> JobStore:
    if kind == "memory":
        return InMemoryJobStore()
    if kind == "sqlite":
        return SQLiteJobStore(folder / "jobs.db")
    if kind == "redis":
        return RedisJobStore(fakeredis.FakeRedis())
    return ByteStoreJobStore(InMemoryByteStore())


def overwrite(store: Any, key: str, value: str) -> None:
    """Put something under a key, past the store."""
    if isinstance(store, SQLiteJobStore):
        with _sqlite._immediate(store._database()):
            store._database().execute("INSERT OR REPLACE INTO records VALUES (?, ?)", (key, value))
    elif isinstance(store, RedisJobStore):
        store._client.set(key, value)
    elif isinstance(store, ByteStoreJobStore) and "budget" not in key:
        store._store.mset([(key, value.encode())])
    else:
        store._records[key] = value


class Sync:
    """A store's async operations, run one by one."""

    def __init__(self, store: JobStore) -> None:
        self.store = store

    def __getattr__(self, name: str) -> Any:
        return lambda *args, **options: asyncio.run(
            getattr(self.store, f"a{name}")(*args, **options)
        )


@pytest.fixture(params=[f"{kind}-{mode}" for kind in KINDS for mode in ("sync", "async")])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    kind, mode = request.param.split("-")
    made = make(kind, tmp_path)
    return made if mode == "sync" else Sync(made)


def set_clock(monkeypatch: pytest.MonkeyPatch, store: Any, seconds: float) -> None:
    """Let so many seconds pass on the store's clock."""
    now = _transactions.machine_clock() + seconds
    for module in (_memory, _sqlite, _transactions):
        monkeypatch.setattr(module, "machine_clock", lambda: now)
    store = getattr(store, "store", store)
    if isinstance(store, RedisJobStore):
        monkeypatch.setattr(store._client, "time", lambda: (int(now), 0))


# Claims.


def test_one_of_many_gets_a_claim_and_the_others_learn_whose_it_is(store: Any) -> None:
    assert store.load("call") is None
    first = store.claim("call", "one")
    assert (first.state, first.token) == ("claimed", "one")
    assert store.claim("call", "two").token == "one"
    assert store.load("call").token == "one"
    assert not store.load("call").is_abandoned


def test_a_claim_becomes_sending_and_then_the_job(store: Any) -> None:
    store.claim("call", "one")
    assert store.save("call", CallRecord(state="sending", token="one", limit=60.0))
    found = store.claim("call", "two", replaces="one")
    assert (found.state, found.token, found.limit) == ("sending", "one", 60.0)
    assert store.save("call", CallRecord(state="submitted", token="one", job=JOB))
    assert store.claim("call", "two", replaces="one").job == JOB
    assert store.load(job_key("77")).job == JOB
    store.save("call", CallRecord(state="submitted", job=READY))
    assert store.load(job_key("77")).job.url == READY.url


def test_only_its_owner_changes_or_releases_a_claim(store: Any) -> None:
    sending = CallRecord(state="sending", token="two", limit=60.0)
    assert not store.save("call", sending)
    assert store.load("call") is None
    store.claim("call", "one")
    assert not store.save("call", sending)
    store.release("call", "two")
    assert store.load("call").state == "claimed"
    store.release("call", "one")
    assert store.load("call") is None
    store.release("call", "one")


def test_a_job_is_never_released(store: Any) -> None:
    store.claim("call", "one")
    store.save("call", CallRecord(state="submitted", token="one", job=JOB))
    store.release("call", "one")
    assert store.load("call").job == JOB


def test_an_unsent_claim_is_replaced_by_whoever_saw_it(store: Any) -> None:
    store.claim("call", "dead")
    assert store.claim("call", "two", replaces="dead").token == "two"
    assert store.claim("call", "three", replaces="dead").token == "two"
    assert not store.save("call", CallRecord(state="sending", token="dead", limit=1.0))


def test_threads_race_for_claims_and_one_wins_each(tmp_path: Path) -> None:
    for kind in ("memory", "sqlite", "bytes"):
        store = make(kind, tmp_path)

        def won(number: int, store: JobStore = store) -> bool:
            return store.claim(f"call-{number % 10}", str(number)).token == str(number)

        with ThreadPoolExecutor(8) as pool:
            assert sum(pool.map(won, range(80))) == 10


GARBAGE = [
    "",
    "half a fi",
    "[]",
    '{"state": "claimed"}',
    '{"version": 2, "state": "claimed"}',
    '{"version": 1, "state": "lost"}',
    '{"version": 1, "state": "submitted"}',
    '{"version": 1, "state": "claimed", "since": NaN}',
    '{"version": 1, "state": "submitted", "job": {"id": "7"}}',
]


@pytest.mark.parametrize("value", GARBAGE)
@pytest.mark.parametrize("kind", KINDS)
def test_an_unreadable_record_is_an_error_that_names_its_key(
    tmp_path: Path, kind: str, value: str
) -> None:
    store = make(kind, tmp_path)
    overwrite(store, "the-call", value)
    for operation in (store.load, lambda key: store.claim(key, "one")):
        with pytest.raises(UnreadableRecordError, match="the-call"):
            operation("the-call")
    # What was paid for is kept all the same.
    store.save("the-call", CallRecord(state="submitted", token="one", job=JOB))
    found = store.load("the-call")
    assert found is not None
    assert found.job == JOB


# Budgets.


def test_a_budget_is_reserved_spent_and_given_back(store: Any) -> None:
    two = Budget("scope", max_images=2)
    for token in ("a", "b"):
        store.claim(f"call-{token}", token)
        assert store.reserve(two, f"call-{token}", token, PRICE) == "granted"
        assert store.reserve(two, f"call-{token}", token, PRICE) == "granted"  # it is the same
        store.save(f"call-{token}", CallRecord(state="sending", token=token, limit=60.0))
    assert store.spending("scope") == Spending("scope", 0, 0.0, 2, 2 * PRICE)
    store.claim("call-c", "c")
    assert store.reserve(two, "call-c", "c", PRICE) == "refused"
    store.settle("scope", "a", PRICE)
    store.settle("scope", "a", PRICE)  # only once
    store.settle("scope", "b", 0.0)
    assert store.spending("scope") == Spending("scope", 1, PRICE)
    assert store.spending("other") == Spending("other")
    assert store.reserve(two, "call-c", "c", PRICE) == "granted"


@pytest.mark.parametrize(("usd", "images"), [(0.0015, 1), (0.0149, 9), (0.03, 20), (0.0, 0)])
def test_as_much_money_as_allowed_and_not_an_image_more(
    store: Any, usd: float, images: int
) -> None:
    budget = Budget(max_cost_usd=usd)
    for number in range(images):
        assert store.reserve(budget, str(number), str(number), PRICE) == "granted"
        store.settle("default", str(number), PRICE)
    assert store.reserve(budget, "x", "x", PRICE) == "refused"


def test_threads_share_a_budget(tmp_path: Path) -> None:
    for kind in ("memory", "sqlite", "bytes"):
        store = make(kind, tmp_path)

        def one(number: int, store: JobStore = store) -> bool:
            token = str(number)
            store.claim(token, token)
            granted = store.reserve(Budget(max_images=10), token, token, PRICE) == "granted"
            store.save(token, CallRecord(state="sending", token=token, limit=60.0))
            return granted

        with ThreadPoolExecutor(8) as pool:
            assert sum(pool.map(one, range(40))) == 10


@pytest.mark.parametrize("seconds", [4.0, 3600.0, -3600.0])
@pytest.mark.parametrize("kind", KINDS)
def test_what_an_owner_reserved_who_died_before_sending_is_given_back(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, kind: str, seconds: float
) -> None:
    store, one = make(kind, tmp_path), Budget(max_images=1)
    store.claim("call", "dead")
    assert store.reserve(one, "call", "dead", PRICE) == "granted"
    store.claim("other", "two")
    assert store.reserve(one, "other", "two", PRICE) == "wait"
    set_clock(monkeypatch, store, seconds)
    assert store.spending("default") == Spending("default")
    assert store.reserve(one, "other", "two", PRICE) == "granted"
    assert not store.save("call", CallRecord(state="sending", token="dead", limit=1.0))


@pytest.mark.parametrize("kind", KINDS)
def test_what_was_paid_for_counts_even_if_its_owner_died_before_settling(
    tmp_path: Path, kind: str
) -> None:
    store = make(kind, tmp_path)
    store.claim("call", "dead")
    store.reserve(Budget(), "call", "dead", PRICE)
    store.save("call", CallRecord(state="submitted", token="dead", job=JOB))
    store.save("call", CallRecord(state="submitted", job=READY))
    assert store.spending("default") == Spending("default", 1, PRICE)


@pytest.mark.parametrize("kind", KINDS)
def test_what_was_sent_with_an_unknown_end_stays_reserved(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, kind: str
) -> None:
    store, one = make(kind, tmp_path), Budget(max_images=1)
    store.claim("call", "dead")
    store.reserve(one, "call", "dead", PRICE)
    store.save("call", CallRecord(state="sending", token="dead", limit=60.0))
    set_clock(monkeypatch, store, 3600.0)
    assert store.reserve(one, "other", "two", PRICE) == "refused"
    assert store.spending("default").reserved_images == 1


@pytest.mark.parametrize("kind", KINDS)
def test_the_claim_that_took_over_does_not_keep_the_dead_one_s_reservation(
    tmp_path: Path, kind: str
) -> None:
    store, one = make(kind, tmp_path), Budget(max_images=1)
    store.claim("call", "dead")
    store.reserve(one, "call", "dead", PRICE)
    store.claim("call", "two", replaces="dead")
    assert store.reserve(one, "call", "two", PRICE) == "granted"
    assert store.spending("default").reserved_images == 1


@pytest.mark.parametrize("value", ["{", '{"version": 2}', '{"version": 1, "cost_usd": NaN}'])
@pytest.mark.parametrize("kind", KINDS)
def test_an_unreadable_budget_is_an_error_that_names_its_key(
    tmp_path: Path, kind: str, value: str
) -> None:
    store = make(kind, tmp_path)
    overwrite(store, "minitoolai-budget-mine", value)
    with pytest.raises(UnreadableRecordError, match="minitoolai-budget-mine"):
        store.reserve(Budget("mine"), "call", "one", PRICE)


# In memory.


def test_a_store_in_memory_is_bounded_and_forgets_the_oldest_calls_but_no_budget() -> None:
    store = InMemoryJobStore(max_records=100)
    store.reserve(Budget(), "x", "x", PRICE)
    store.settle("default", "x", PRICE)
    for number in range(1000):
        store.claim(str(number), "one")
    assert len(store._records) <= 100
    assert store.load("999") is not None
    assert store.load("0") is None
    assert store.spending("default").images == 1


def test_copies_and_pickles_in_this_process_are_the_store_itself() -> None:
    store = InMemoryJobStore()
    store.claim("call", "one")
    assert copy.deepcopy([store]) == [store]
    assert pickle.loads(pickle.dumps(store)) is store  # noqa: S301 - our own


def test_a_pickle_that_is_loaded_elsewhere_has_the_records() -> None:
    store = InMemoryJobStore(max_records=7)
    store.claim("call", "one")
    pickled = pickle.dumps(store)
    del store
    gc.collect()
    loaded = pickle.loads(pickled)  # noqa: S301 - our own
    assert loaded.load("call").token == "one"
    assert loaded._max_records == 7


def in_fork(work: Callable[[], object]) -> int | None:
    """Run a function in a fork, and return its exit code."""
    process = multiprocessing.get_context("fork").Process(target=work)
    process.start()
    process.join(20)
    process.kill()
    return process.exitcode


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # forking beside threads is the point
def test_a_fork_can_use_a_store_that_was_locked_when_it_was_made() -> None:
    store = InMemoryJobStore()
    with store._lock:
        assert in_fork(lambda: store.claim("call", "one")) == 0
        _memory._after_fork()  # here too, where coverage is measured
        assert store.claim("call", "one").token == "one"


# In a file.


def test_a_file_is_shared_by_its_stores_and_survives_them(tmp_path: Path) -> None:
    first = SQLiteJobStore(tmp_path / "jobs.db")
    first.claim("call", "one")
    again = pickle.loads(pickle.dumps(first))  # noqa: S301 - our own
    assert again == first
    assert hash(again) == hash(first)
    assert again != SQLiteJobStore(tmp_path / "other.db")
    assert again.load("call").token == "one"
    assert "jobs.db" in repr(again)


def test_the_path_is_made_absolute_when_the_store_is_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    store = SQLiteJobStore("jobs.db")
    monkeypatch.chdir("/")
    assert store.path == tmp_path / "jobs.db"
    assert not store.path.exists()


@pytest.mark.parametrize("path", ["", ":memory:", "a\0b"])
def test_a_path_that_names_no_file_is_refused(path: str) -> None:
    with pytest.raises(ValueError, match="path is"):
        SQLiteJobStore(path)


def test_a_file_that_cannot_be_used_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(sqlite3.OperationalError, match="unable to open"):
        SQLiteJobStore(tmp_path / "missing" / "jobs.db").load("call")
    (tmp_path / "text").write_text("something else " * 100)
    with pytest.raises(sqlite3.DatabaseError, match="not a database"):
        SQLiteJobStore(tmp_path / "text").load("call")
    later = sqlite3.connect(tmp_path / "later.db")
    later.execute("PRAGMA user_version=2")
    later.close()
    with pytest.raises(ValueError, match="schema has version 2"):
        SQLiteJobStore(tmp_path / "later.db").claim("call", "one")


def test_a_transaction_that_fails_is_undone(tmp_path: Path) -> None:
    store = SQLiteJobStore(tmp_path / "jobs.db")
    store.claim("call", "one")
    for statement in ("DELETE FROM records", "ROLLBACK"):
        with suppress(ZeroDivisionError), _sqlite._immediate(store._database()):
            store._database().execute(statement)
            raise ZeroDivisionError
    found = store.load("call")
    assert found is not None


def test_a_thread_s_connection_is_closed_with_it(tmp_path: Path) -> None:
    store = SQLiteJobStore(tmp_path / "jobs.db")
    opened: list[Any] = []

    def use() -> None:
        opened.append(store._database())

    thread = threading.Thread(target=use)
    thread.start()
    thread.join()
    gc.collect()
    with pytest.raises(sqlite3.ProgrammingError, match="closed"):
        opened[0].execute("SELECT 1")


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_fork_opens_the_file_anew(tmp_path: Path) -> None:
    store = SQLiteJobStore(tmp_path / "jobs.db")
    store.claim("call", "one")

    def use() -> None:
        assert store.claim("call", "two").token == "one"
        store.claim("from-the-fork", "two")

    assert in_fork(use) == 0
    found = store.load("from-the-fork")
    assert found is not None


def test_a_connection_of_another_process_is_neither_used_nor_closed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = SQLiteJobStore(tmp_path / "jobs.db")
    assert store._database().in_transaction is False
    parents = store._local.opened
    monkeypatch.setattr(parents, "process", -1)
    assert store._database() is not parents.database
    assert _sqlite._inherited[-1] is parents


# In Redis.


def test_a_redis_store_is_known_by_its_address_and_never_by_its_password() -> None:
    store = RedisJobStore("redis://me:s3cr3t@cache.example.com:6380/2")
    assert repr(store) == "RedisJobStore('cache.example.com:6380', db=2)"
    again = pickle.loads(pickle.dumps(store))  # noqa: S301 - our own
    assert repr(again) == repr(store)
    assert repr(RedisJobStore("unix:///run/redis.sock")) == "RedisJobStore('/run/redis.sock', db=0)"


def test_a_client_cannot_be_pickled_and_must_be_a_sync_one() -> None:
    with pytest.raises(TypeError, match=r"allowed: RedisJobStore\(url\)"):
        pickle.dumps(RedisJobStore(fakeredis.FakeRedis()))
    with pytest.raises(TypeError, match=r"redis is a .*async.*; allowed"):
        RedisJobStore(fakeredis.FakeAsyncRedis())
    with pytest.raises(ValueError, match="scheme"):
        RedisJobStore("localhost:6379")


def test_without_redis_py_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "redis", None)
    with pytest.raises(ImportError, match=r"langchain-minitoolai\[redis\]"):
        RedisJobStore("redis://localhost")


def test_an_operation_that_another_one_crossed_is_done_again() -> None:
    client = fakeredis.FakeRedis()
    store, other = RedisJobStore(client), RedisJobStore(client)
    crossed: list[int] = []

    def work(records: Any) -> str:
        found = records.call("call")
        if not crossed:
            crossed.append(1)
            other.claim("call", "other")
            records.put_call("call", CallRecord(state="claimed", token="mine"))
        return found.token if found else ""

    assert store._transact(work) == "other"


# In any ByteStore.


class Folder(InMemoryByteStore):
    """A byte store that notes what is written, in order."""

    def __init__(self) -> None:
        super().__init__()
        self.written: list[str] = []

    def mset(self, key_value_pairs: Any) -> None:
        pairs = list(key_value_pairs)
        self.written += [key for key, _ in pairs]
        super().mset(pairs)


def test_no_key_of_a_byte_store_is_written_twice_and_the_call_s_comes_first() -> None:
    folder = Folder()
    store = ByteStoreJobStore(folder)
    store.claim("call", "one")
    assert folder.written == []
    store.save("call", CallRecord(state="sending", token="one", limit=60.0))
    store.save("call", CallRecord(state="sending", token="one", limit=0.0))
    for job in (JOB, JOB, READY, READY):
        store.save("call", CallRecord(state="submitted", token="one", job=job))
    jobs = job_key("77")
    assert folder.written == [
        "call",
        "call-submitted",
        f"{jobs}-submitted",
        "call-ready",
        f"{jobs}-ready",
    ]


def test_another_process_finds_what_may_have_been_paid_for() -> None:
    folder = Folder()
    first, second = ByteStoreJobStore(folder), ByteStoreJobStore(folder)
    first.claim("call", "one")
    first.save("call", CallRecord(state="sending", token="one", limit=60.0))
    found = second.claim("call", "two")
    assert (found.state, found.token, found.limit) == ("sending", "one", 60.0)
    first.save("call", CallRecord(state="submitted", token="one", job=JOB))
    assert second.claim("call", "two").job == JOB
    assert second.claim(job_key("77"), "two").job == JOB
    first.claim("free", "one")
    first.save("free", CallRecord(state="sending", token="one", limit=60.0))
    first.release("free", "one")
    assert second.claim("free", "two").token == "two"


def test_a_newer_record_that_is_just_being_written_leaves_the_older_one() -> None:
    folder = Folder()
    store = ByteStoreJobStore(folder)
    store.claim("call", "one")
    store.save("call", CallRecord(state="sending", token="one", limit=60.0))
    folder.mset([("call-submitted", b'{"version": 1, "st')])
    found = ByteStoreJobStore(folder).load("call")
    assert found is not None
    assert found.state == "sending"


def test_a_byte_store_that_fails_leaves_no_claim() -> None:
    class Broken(InMemoryByteStore):
        def mget(self, keys: Any) -> Any:
            raise OSError("disk full")

    store = ByteStoreJobStore(Broken())
    with pytest.raises(OSError, match="disk full"):
        store.claim("call", "one")
    assert InMemoryJobStore.load(store, "call") is None


def test_a_byte_store_has_one_adapter_in_a_process() -> None:
    folder = InMemoryByteStore()
    adapter = as_job_store(folder)
    assert as_job_store(folder) is adapter
    assert as_job_store(adapter) is adapter
    assert as_job_store(InMemoryByteStore()) is not adapter
    assert "InMemoryByteStore" in repr(adapter)
    assert isinstance(pickle.loads(pickle.dumps(adapter)), ByteStoreJobStore)  # noqa: S301 - our own
