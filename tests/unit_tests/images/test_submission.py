"""Submission of an image job: exactly one charge."""

import warnings
from typing import Any

import pytest
from langchain_core.stores import InMemoryByteStore

from langchain_minitoolai import contract, errors
from langchain_minitoolai._http.effects import Invoke
from langchain_minitoolai._images.job_store import job_key
from langchain_minitoolai._images.submission import IN_FLIGHT, submit
from langchain_minitoolai.types import ImageJob
from tests.unit_tests.fake_driver import FakeDriver, FakeJob, response

TAKEN = response({"status": "success", "jobid": 12345678, "signature": "abc"})
ARGUMENTS = {"prompt": "a cat", "model": "amigo", "steps": 4, "width": 512, "height": 512}


def unsent() -> errors.APIConnectionError:
    error = errors.APIConnectionError("can't connect to the service: refused")
    error.maybe_sent = False
    return error


def job_for(driver: FakeDriver, store: Any = None, **options: Any) -> FakeJob:
    return FakeJob(driver, store, **{"call_key": "call", **options})


def submitted(driver: FakeDriver, fake: FakeJob) -> ImageJob:
    return driver.run(submit(ARGUMENTS, fake.context))


@pytest.fixture(params=["sync", "async"])
def is_async(request: pytest.FixtureRequest) -> bool:
    return bool(request.param == "async")


def test_an_image_is_ordered_kept_and_reported(*, is_async: bool) -> None:
    driver = FakeDriver([TAKEN], is_async=is_async)
    fake = job_for(driver)
    job = submitted(driver, fake)
    assert (job.id, job.signature, job.call_key) == ("12345678", "abc", "call")
    assert fake.context.deadline == 1120.0
    assert job.submitted_at == 1e9 + 1000
    (sent,) = driver.requests
    assert (sent.path, sent.send_auth, sent.new_connection) == (contract.IMAGE_PATH, True, True)
    assert sent.body == ARGUMENTS
    values = fake.store.mget(["call", job_key("12345678")])
    assert [ImageJob.model_validate_json(value or b"") for value in values] == [job, job]
    assert [each["stage"] for each in fake.reported] == ["submitted"]
    assert fake.quota.images == 1


def test_the_same_call_again_takes_up_the_job_that_is_paid_for(*, is_async: bool) -> None:
    driver = FakeDriver([TAKEN], is_async=is_async)
    fake = job_for(driver, max_images=1)
    first = submitted(driver, fake)
    again = submitted(driver, fake)
    assert first == again
    assert len(driver.requests) == 1


def test_calls_without_an_id_are_orders_of_their_own() -> None:
    driver = FakeDriver([TAKEN])
    fake = job_for(driver, call_key=None)
    submitted(driver, fake)
    submitted(driver, fake)
    assert len(driver.requests) == 2
    assert list(fake.store.yield_keys()) == [job_key("12345678")]


@pytest.mark.parametrize(
    "refused",
    [
        unsent(),
        response({"error": "slow down"}, 429),
        response({}, 429, retry_after="3"),
        response(b"<html>", 503, retry_after="3"),
    ],
)
def test_what_provably_did_not_arrive_is_sent_again(refused: Any) -> None:
    driver = FakeDriver([refused, TAKEN])
    assert submitted(driver, job_for(driver)).id == "12345678"
    assert driver.sleeps in ([0.5], [3.0])


@pytest.mark.parametrize(
    ("refused", "kind"),
    [
        (unsent(), errors.ServiceUnavailableError),
        (response({}, 429), errors.RateLimitError),
        (response({}, 503, retry_after="1"), errors.ServiceError),
    ],
)
def test_what_never_arrives_ends_and_gives_the_money_back(
    refused: Any, kind: type[errors.MiniToolAIError]
) -> None:
    driver = FakeDriver([refused])
    fake = job_for(driver, max_retries=2)
    with pytest.raises(kind) as caught:
        submitted(driver, fake)
    assert not caught.value.maybe_charged
    assert caught.value.is_retryable
    assert len(driver.requests) == 3
    assert fake.quota.images == 0
    assert list(fake.store.yield_keys()) == []


def test_a_wait_beyond_a_minute_or_the_deadline_is_not_waited() -> None:
    for seconds, asked in ((1200.0, "61"), (5.0, "6")):
        driver = FakeDriver([response({}, 429, retry_after=asked)])
        with pytest.raises(errors.RateLimitError):
            submitted(driver, job_for(driver, total_timeout=seconds))
        assert driver.sleeps == []


def test_a_certificate_that_is_refused_is_not_tried_again() -> None:
    error = unsent()
    error.is_retryable = False
    driver = FakeDriver([error])
    with pytest.raises(errors.ServiceUnavailableError) as caught:
        submitted(driver, job_for(driver))
    assert not caught.value.retry_safe
    assert len(driver.requests) == 1


UNCERTAIN: list[Any] = [
    errors.APITimeoutError("no progress"),
    errors.APIConnectionError("the connection broke"),
    errors.InvalidResponseError("too long"),
    response({"error": "oops"}, 500),
    response({"error": "oops"}, 503),
    response(b"<html><title>Down</title>", 520),
    response(b"<html><title>Who?</title>", 403),
    response(b"<html>", 200),
    response({}, 408),
    response({}, 302, location="https://elsewhere.example.com/"),
    response(b"junk"),
    response([]),
    response({"status": "success"}),
    response({"status": "success", "jobid": 7}),
    response({"status": "error", "jobid": 7}),
    response({"status": "success", "jobid": True, "signature": "abc"}),
    response({"status": "success", "jobid": 1.5e-7, "signature": None}),
    response({"status": "success", "jobid": "x" * 300, "signature": "abc"}),
]


@pytest.mark.parametrize("outcome", UNCERTAIN)
def test_whatever_may_have_been_charged_is_never_ordered_again(outcome: Any) -> None:
    driver = FakeDriver([outcome, TAKEN])
    fake = job_for(driver)
    for _ in range(3):
        with pytest.raises(errors.SubmissionUnknownError) as caught:
            submitted(driver, fake)
        assert caught.value.maybe_charged
        assert not caught.value.is_retryable
    assert len(driver.requests) == 1
    assert fake.quota.images == 1


@pytest.mark.parametrize(
    ("refused", "kind"),
    [
        (response({"error": "who"}, 401), errors.AuthenticationError),
        (response({"error": "pay"}, 402), errors.InsufficientCreditError),
        (response({"error": "no"}, 403), errors.PermissionDeniedError),
        (response({"error": "where"}, 404), errors.NotFoundError),
        (response({"error": {"message": "width"}}, 400), errors.ImageRequestError),
        (response({"error": "width"}, 422), errors.ImageRequestError),
        (
            response({"status": "error", "jobid": None, "signature": None}),
            errors.ImageRequestError,
        ),
        (response({"status": "failed", "message": "nsfw"}), errors.ImageRequestError),
    ],
)
def test_a_refusal_costs_nothing_and_the_call_may_come_again(
    refused: Any, kind: type[errors.MiniToolAIError]
) -> None:
    driver = FakeDriver([refused, TAKEN])
    fake = job_for(driver)
    with pytest.raises(kind) as caught:
        submitted(driver, fake)
    assert not caught.value.maybe_charged
    assert not caught.value.is_retryable
    assert fake.quota.images == 0
    assert submitted(driver, fake).id == "12345678"


@pytest.mark.parametrize(
    ("given", "expected"),
    [(12345678, "12345678"), ("12345678", "12345678"), (" a-b ", "a-b"), (12.0, "12")],
)
def test_a_job_id_is_kept_as_a_text(given: Any, expected: str) -> None:
    driver = FakeDriver([response({"status": "success", "jobid": given, "signature": "abc"})])
    assert submitted(driver, job_for(driver)).id == expected


def test_a_refusal_of_a_call_without_an_id_leaves_nothing_behind() -> None:
    driver = FakeDriver([response({}, 401)])
    fake = job_for(driver, call_key=None)
    with pytest.raises(errors.AuthenticationError):
        submitted(driver, fake)
    assert list(fake.store.yield_keys()) == []


def test_a_refusal_takes_the_mark_back(*, is_async: bool) -> None:
    driver = FakeDriver([response({}, 401)], is_async=is_async)
    fake = job_for(driver)
    with pytest.raises(errors.AuthenticationError):
        submitted(driver, fake)
    assert list(fake.store.yield_keys()) == []


def test_a_spent_budget_is_an_error_before_anything_is_sent() -> None:
    driver = FakeDriver([TAKEN])
    fake = job_for(driver, max_images=0)
    with pytest.raises(errors.ImageBudgetError):
        submitted(driver, fake)
    assert driver.requests == []
    assert list(fake.store.yield_keys()) == []


class BrokenStore(InMemoryByteStore):
    """A store that fails in one of its methods, from the `after`th time on."""

    def __init__(self, method: str, after: int = 0) -> None:
        super().__init__()
        self._left = {method: after}

    def _check(self, method: str) -> None:
        if method in self._left:
            if self._left[method] == 0:
                raise OSError("disk full")
            self._left[method] -= 1

    def mget(self, keys: Any) -> Any:
        self._check("mget")
        return super().mget(keys)

    def mset(self, pairs: Any) -> None:
        self._check("mset")
        super().mset(pairs)

    def mdelete(self, keys: Any) -> None:
        self._check("mdelete")
        super().mdelete(keys)


@pytest.mark.parametrize("method", ["mget", "mset"])
def test_without_a_store_that_works_nothing_is_sent(method: str) -> None:
    driver = FakeDriver([TAKEN])
    fake = job_for(driver, BrokenStore(method))
    with pytest.raises(errors.ImageRequestError, match="disk full") as caught:
        submitted(driver, fake)
    assert caught.value.retry_safe
    assert driver.requests == []
    assert fake.quota.images == 0


def test_a_store_that_breaks_after_paying_loses_no_job() -> None:
    driver = FakeDriver([TAKEN])
    fake = job_for(driver, BrokenStore("mset", after=1))
    with pytest.warns(UserWarning, match="job store can't be written"):
        assert submitted(driver, fake).id == "12345678"


def test_a_mark_that_cannot_be_taken_back_hides_no_error() -> None:
    driver = FakeDriver([response({}, 401)])
    fake = job_for(driver, BrokenStore("mdelete"))
    with pytest.warns(UserWarning, match="disk full"), pytest.raises(errors.AuthenticationError):
        submitted(driver, fake)


def test_what_cannot_be_read_in_the_store_counts_as_maybe_paid() -> None:
    driver = FakeDriver([TAKEN])
    fake = job_for(driver)
    fake.store.mset([("call", b"half a fi")])
    with pytest.raises(errors.SubmissionUnknownError):
        submitted(driver, fake)
    assert driver.requests == []


def test_two_at_once_with_one_id_pay_once() -> None:
    driver = FakeDriver([TAKEN])
    fake = job_for(driver, call_key="twins")
    first = submit(ARGUMENTS, fake.context)
    effect = first.send(None)
    while not hasattr(effect, "path"):  # up to the request
        effect = first.send(effect.run())  # type: ignore[union-attr]
    second = submit(ARGUMENTS, fake.context)
    assert second.send(None).seconds == pytest.approx(0.05)  # type: ignore[union-attr]
    saving = first.send(TAKEN)
    reporting = first.send(saving.run())  # type: ignore[union-attr]
    with pytest.raises(StopIteration) as ended:
        first.send(reporting.run())  # type: ignore[union-attr]
    assert driver.run(second) == ended.value.value
    assert driver.requests == []


def test_the_wait_for_a_call_that_is_in_flight_ends_at_the_deadline() -> None:
    driver = FakeDriver([TAKEN])
    assert IN_FLIGHT.claim("slow")
    try:
        with pytest.raises(errors.ImageJobTimeoutError, match="still being submitted") as caught:
            submitted(driver, job_for(driver, call_key="slow", total_timeout=2.0))
    finally:
        IN_FLIGHT.release("slow")
    assert caught.value.retry_safe
    assert driver.now == pytest.approx(1002.0, abs=0.06)
    assert driver.requests == []


def test_a_call_that_is_given_up_releases_its_claim() -> None:
    driver = FakeDriver([TAKEN])
    workflow = submit(ARGUMENTS, job_for(driver, call_key="dropped").context)
    next(workflow)
    workflow.close()
    assert IN_FLIGHT.claim("dropped")
    IN_FLIGHT.release("dropped")


def test_a_call_that_is_given_up_before_it_is_sent_gives_its_money_back() -> None:
    waits = Invoke(lambda: None, _nothing)
    fake = job_for(FakeDriver(), call_key=None, rate_limit=waits)
    workflow = submit(ARGUMENTS, fake.context)
    assert next(workflow) is waits
    assert fake.quota.images == 1
    workflow.close()
    assert fake.quota.images == 0


async def _nothing() -> None:
    return None


def test_the_time_waited_for_the_rate_limit_does_not_count() -> None:
    driver = FakeDriver([TAKEN])

    def wait() -> None:
        driver.now += 500.0

    fake = job_for(driver, rate_limit=Invoke(wait, _nothing))
    submitted(driver, fake)
    assert fake.context.deadline == 1620.0


def test_the_rate_limit_is_waited_for_only_where_money_is_spent() -> None:
    turns: list[int] = []

    async def aturn() -> None:
        turns.append(1)

    driver = FakeDriver([TAKEN])
    fake = job_for(driver, rate_limit=Invoke(lambda: turns.append(1), aturn))
    submitted(driver, fake)
    submitted(driver, fake)
    assert turns == [1]


def test_nothing_warns_when_nothing_is_wrong() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        driver = FakeDriver([TAKEN])
        submitted(driver, job_for(driver))


def test_a_warning_after_paying_is_never_an_exception(caplog: pytest.LogCaptureFixture) -> None:
    driver = FakeDriver([TAKEN])
    fake = job_for(driver, BrokenStore("mset", after=1))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert submitted(driver, fake).id == "12345678"
    assert "the job store can't be written" in caplog.text
