"""The image tool's charges and budgets: replays, retries, copies, options that change."""

import asyncio
import copy
import math
import pickle
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import pytest
from langchain_core.runnables import ConfigurableField
from pydantic import ValidationError

from langchain_minitoolai import contract, errors
from langchain_minitoolai.stores import InMemoryJobStore, Spending, SQLiteJobStore
from tests.unit_tests.fake_driver import FakeDriver, response
from tests.unit_tests.test_tools import CALL, READY, TAKEN, Tool, sent, tool_on

PENDING = response({"status": "processing"})


def test_a_replayed_call_is_the_same_after_the_defaults_have_changed() -> None:
    store = InMemoryJobStore()
    first, later = tool_on(job_store=store, width=512), tool_on(job_store=store, steps=8)
    assert first.invoke(CALL).artifact == later.invoke(CALL).artifact
    assert sent(later) == []
    args = {"prompt": "a fox", "steps": 8}
    later.invoke({**CALL, "args": args})
    assert len(sent(later)) == 1


@pytest.mark.parametrize("host", ["127.0.0.1", "[::1]", "localhost"])
def test_every_name_of_this_machine_is_one_service(host: str) -> None:
    store = InMemoryJobStore()
    first, other = tool_on(job_store=store), tool_on(job_store=store)
    first.minitoolai_api_base = "http://localhost:8000/api"
    other.minitoolai_api_base = f"http://{host}:8000/api"
    first.invoke(CALL)
    other.invoke(CALL)
    assert sent(other) == []


@pytest.mark.parametrize("answers", [[response({}, 500), TAKEN], [TAKEN, PENDING]])
@pytest.mark.parametrize("is_async", [False, True])
def test_with_retry_pays_once_for_a_call_without_an_id(
    answers: list[Any], *, is_async: bool
) -> None:
    tool = tool_on(*answers, handle_tool_error=False, total_timeout=5.0)
    again = tool.with_retry(stop_after_attempt=3, wait_exponential_jitter=False)
    with pytest.raises(errors.ImageError) as caught:
        _ = asyncio.run(again.ainvoke("a fox")) if is_async else again.invoke("a fox")
    assert caught.value.maybe_charged
    assert len(sent(tool)) == 1


def test_a_finished_image_is_drawn_anew_for_who_asks_again() -> None:
    tool = tool_on()
    assert [tool.invoke("a fox"), tool.invoke("a fox")]
    assert len(sent(tool)) == 2
    tool._driver = FakeDriver([TAKEN])
    assert [tool.submit("a fox"), tool.submit("a fox")]
    assert len(sent(tool)) == 2


class Shared(Tool):
    """A tool whose instances share a driver."""

    driver: ClassVar[FakeDriver]

    def model_post_init(self, context: Any, /) -> None:
        super().model_post_init(context)
        self._driver = self.driver


def test_a_budget_that_is_configured_holds_over_all_calls() -> None:
    Shared.driver = FakeDriver([TAKEN, READY, TAKEN, READY, TAKEN, READY])
    tool = Shared(api_key="a-key", base_url="https://example.com/api").configurable_fields(
        max_images=ConfigurableField(id="most")
    )
    config: Any = {"configurable": {"most": 2}}
    with pytest.warns(UserWarning, match="tighter hold: max_images=2"):
        texts = [tool.invoke(prompt, config) for prompt in ("a", "b", "c")]
    assert [text.startswith("Image") for text in texts] == [True, True, False]


COPIES: list[Callable[[Tool], Tool]] = [
    copy.copy,
    copy.deepcopy,
    lambda tool: tool.model_copy(),
    lambda tool: pickle.loads(pickle.dumps(tool)),  # noqa: S301 - our own
]


@pytest.mark.parametrize("copied", COPIES)
def test_copies_made_before_the_first_use_share_the_budget(copied: Callable[[Tool], Tool]) -> None:
    tool = tool_on(max_images=1)
    twin = copied(tool)
    twin._driver = FakeDriver([TAKEN, READY])
    assert twin.invoke("a").startswith("Image")
    assert "max_images=1" in tool.invoke("b")
    assert tool.images_ordered == twin.images_ordered == 1


def test_tools_with_one_store_share_a_scope_and_others_have_their_own(tmp_path: Path) -> None:
    def one(**options: Any) -> Tool:
        return tool_on(job_store=SQLiteJobStore(tmp_path / "jobs.db"), max_images=1, **options)

    assert one().invoke("a").startswith("Image")
    assert "max_images=1" in one().invoke("b")
    assert one(budget_scope="other").invoke("c").startswith("Image")
    assert "max_images=1" in tool_on(max_images=0, model="amigo").invoke("d").replace("=0", "=1")


@pytest.mark.parametrize("is_async", [False, True])
def test_spending_is_by_scope(*, is_async: bool) -> None:
    tool = tool_on(budget_scope="mine")
    tool.invoke("a fox")

    def spending(*scope: str) -> Spending:
        return asyncio.run(tool.aspending(*scope)) if is_async else tool.spending(*scope)

    assert spending() == Spending("mine", 1, contract.IMAGE_PRICE)
    assert spending("default") == Spending("default")


@pytest.mark.parametrize(
    ("option", "words"),
    [
        ({"max_images": -1}, "max_images"),
        ({"max_cost_usd": -0.1}, "max_cost_usd"),
        ({"max_cost_usd": math.nan}, "max_cost_usd"),
        ({"max_cost_usd": math.inf}, "max_cost_usd"),
        ({"budget_scope": ""}, "budget_scope"),
        ({"job_store": "jobs.db"}, "job_store"),
        ({"job_store": {}}, "job_store"),
    ],
)
def test_a_budget_or_a_store_that_is_none_is_refused(option: dict[str, Any], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        tool_on(**option)


def damaged(folder: Path, how: str) -> Path:
    """Make a file that is no store of this version."""
    path = folder / "jobs.db"
    if how == "missing":
        return folder / "missing" / "jobs.db"
    if how == "text":
        path.write_text("something else " * 100)
        return path
    SQLiteJobStore(path).load("x")
    database = sqlite3.connect(path)
    if how == "later":
        database.execute("PRAGMA user_version=7")
    elif how == "read-only":
        database.execute(
            "CREATE TRIGGER t BEFORE INSERT ON records BEGIN SELECT RAISE(FAIL, 'ro'); END"
        )
    database.close()
    return path


@pytest.mark.parametrize("how", ["missing", "text", "later", "read-only"])
@pytest.mark.parametrize("is_async", [False, True])
def test_a_store_that_cannot_be_used_is_an_error_that_names_it_before_anything_is_sent(
    tmp_path: Path, how: str, *, is_async: bool
) -> None:
    path = damaged(tmp_path, how)
    tool = tool_on(job_store=SQLiteJobStore(path), handle_tool_error=False)
    with pytest.raises(errors.ImageRequestError, match="nothing was sent or charged") as caught:
        _ = asyncio.run(tool.ainvoke(CALL)) if is_async else tool.invoke(CALL)
    assert str(path) in str(caught.value)
    assert sent(tool) == []
