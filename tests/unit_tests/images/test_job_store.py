"""Job store, calls in flight, quota."""

import copy
import pickle
import re
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given
from hypothesis import strategies as st

from langchain_minitoolai._images.job_store import InFlightCalls, Quota, call_key, job_key
from langchain_minitoolai.errors import ImageBudgetError


def test_a_call_is_known_by_id_service_and_arguments() -> None:
    body = {"prompt": "x", "steps": 4}
    keys = {
        call_key("1", "https://a/api", body),
        call_key("2", "https://a/api", body),
        call_key("1", "https://b/api", body),
        call_key("1", "https://a/api", {**body, "steps": 5}),
    }
    assert len(keys) == 4
    assert call_key("1", "https://a/api", dict(reversed(body.items()))) in keys


@given(st.text(), st.text())
def test_a_key_is_one_that_every_store_takes(call: str, job: str) -> None:
    call = call.encode("utf-8", "replace").decode()
    job = job.encode("utf-8", "replace").decode()
    for key in (call_key(call, "x", {}), job_key(job)):
        assert re.fullmatch(r"[a-zA-Z0-9_-]{1,80}", key)
    assert job_key(job) != job_key(job + "x")


def test_a_plain_job_id_can_be_read_in_its_key() -> None:
    assert job_key("12345678") == "minitoolai-job-12345678"


def test_a_call_in_flight_is_claimed_once() -> None:
    calls = InFlightCalls()
    assert calls.claim("a")
    assert not calls.claim("a")
    assert calls.claim("b")
    calls.release("a")
    assert calls.claim("a")


def test_as_many_images_as_allowed_and_not_one_more() -> None:
    quota = Quota()
    quota.reserve(2, None)
    quota.reserve(2, None)
    with pytest.raises(ImageBudgetError, match=r"max_images=2.*Nothing was sent") as caught:
        quota.reserve(2, None)
    assert not caught.value.maybe_charged
    assert quota.images == 2


@pytest.mark.parametrize(("usd", "images"), [(0.0015, 1), (0.0149, 9), (0.015, 10), (0.0, 0)])
def test_as_much_money_as_allowed_and_not_an_image_more(usd: float, images: int) -> None:
    quota = Quota()
    for _ in range(images):
        quota.reserve(None, usd)
    with pytest.raises(ImageBudgetError, match="max_cost_usd"):
        quota.reserve(None, usd)


def test_what_was_not_charged_is_released() -> None:
    quota = Quota()
    quota.reserve(1, None)
    quota.release()
    quota.reserve(1, None)
    assert quota.images == 1


def test_threads_share_a_budget() -> None:
    quota = Quota()

    def one(_: int) -> bool:
        try:
            quota.reserve(50, None)
        except ImageBudgetError:
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(one, range(200))) == 50


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda it: pickle.loads(pickle.dumps(it))])  # noqa: S301 - our own
def test_a_copy_goes_on_from_what_was_spent(copied: object) -> None:
    quota = Quota()
    quota.reserve(None, None)
    twin = copied(quota)  # type: ignore[operator]
    twin.reserve(2, None)
    assert (quota.images, twin.images) == (1, 2)
