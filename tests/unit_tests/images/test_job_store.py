"""Keys of calls, unfinished calls, budgets that tools share."""

import re
import warnings
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from langchain_minitoolai._http import pool
from langchain_minitoolai._images.job_store import (
    MAX_UNFINISHED,
    SharedBudgets,
    UnfinishedCalls,
    call_key,
)
from langchain_minitoolai.stores import Budget, InMemoryJobStore, JobStore
from langchain_minitoolai.stores._base import job_key


def test_a_call_is_known_by_id_service_and_what_it_said() -> None:
    said = {"prompt": "x", "steps": 4}
    keys = {
        call_key("1", "https://a/api", said),
        call_key("2", "https://a/api", said),
        call_key("1", "https://b/api", said),
        call_key("1", "https://a/other", said),
        call_key("1", "http://a/api", said),
        call_key("1", "https://a/api", {**said, "steps": 5}),
    }
    assert len(keys) == 6
    again = call_key("1", "https://A/api", {"steps": 4, "prompt": "x"})
    assert again in keys
    assert re.fullmatch(r"minitoolai-call-[0-9a-f]{40}", again)


def test_every_name_of_this_machine_is_one_service_but_each_port_its_own() -> None:
    hosts = ("localhost", "127.0.0.1", "[::1]", "LOCALHOST", "127.0.0.2")
    assert len({call_key("1", f"http://{host}:80/api", {}) for host in hosts}) == 1
    assert call_key("1", "http://localhost:81/api", {}) != call_key(
        "1", "http://localhost:80/api", {}
    )


@given(st.text(max_size=100))
def test_a_job_s_key_is_safe_for_every_store(job_id: str) -> None:
    assert re.fullmatch(r"minitoolai-job-[A-Za-z0-9_-]{1,64}", job_key(job_id))


def test_a_plain_job_id_can_be_read_in_its_key() -> None:
    assert job_key("12345678") == "minitoolai-job-12345678"


# Unfinished calls.


def test_an_unfinished_call_is_taken_up_by_one_equal_call() -> None:
    calls = UnfinishedCalls()
    calls.put("fox", "one", 0.0)
    calls.put("fox", "two", 1.0)
    assert calls.take("owl", 2.0, 10.0)[1] is None
    assert calls.take("fox", 2.0, 10.0) == ("one", 0.0)
    assert calls.take("fox", 2.0, 10.0) == ("two", 1.0)
    key, ended = calls.take("fox", 2.0, 10.0)
    assert ended is None
    assert key not in ("one", "two")


def test_unfinished_calls_are_forgotten_in_time_and_in_number() -> None:
    calls = UnfinishedCalls()
    calls.put("old", "key", 0.0)
    assert calls.take("old", 11.0, 10.0)[1] is None
    for number in range(MAX_UNFINISHED + 1):
        calls.put(number, str(number), 0.0)
    assert calls.take(0, 0.0, 1.0)[1] is None
    assert calls.take(1, 0.0, 1.0) == ("1", 0.0)


# Budgets that tools share.


class Spender:
    def __init__(
        self,
        store: JobStore,
        max_images: int | None = None,
        max_cost_usd: float | None = None,
        scope: str = "default",
    ) -> None:
        self.job_store: Any = store
        self.max_images = max_images
        self.max_cost_usd = max_cost_usd
        self.budget_scope = scope


def test_of_tools_that_share_a_scope_the_tighter_limits_hold_and_that_is_said_once() -> None:
    budgets, store = SharedBudgets(), InMemoryJobStore()
    tools = [Spender(store, 5, 0.1), Spender(store, 3, 0.2), Spender(store)]
    for tool in tools:
        budgets.add(tool)
    with pytest.warns(UserWarning, match="tighter hold: max_images=3, max_cost_usd=0.1") as said:
        assert {budgets.of(tool) for tool in tools} == {Budget("default", 3, 0.1)}
    assert len(said) == 1


def test_limits_of_other_scopes_and_stores_and_of_tools_that_are_gone_do_not_count() -> None:
    budgets, store = SharedBudgets(), InMemoryJobStore()
    kept = [Spender(store, 1, scope="other"), Spender(InMemoryJobStore(), 2)]
    gone = Spender(store, 3)
    for each in (*kept, gone):
        budgets.add(each)
    del gone, each
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert budgets.of(Spender(store, 4)) == Budget("default", 4, None)
        assert budgets.of(kept[0]) == Budget("other", 1, None)


def test_a_forked_child_leaves_the_unfinished_calls_to_its_parent() -> None:
    calls = UnfinishedCalls()
    calls.put("same", "key", 1.0)
    with calls._lock:  # as another thread of the parent may
        pool._after_fork()
        key, ended = calls.take("same", 2.0, 60.0)
    assert key != "key"
    assert ended is None
