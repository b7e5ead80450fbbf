"""Submission of an image job: exactly one charge."""

import functools
import warnings
from typing import Any

import pytest
from langchain_core.stores import InMemoryByteStore

from langchain_minitoolai import contract, errors
from langchain_minitoolai._http.effects import Invoke, Response, Sleep, Uninterrupted
from langchain_minitoolai._images.submission import _attempt, submit, take_up_unfinished
from langchain_minitoolai.stores import (
    Budget,
    CallRecord,
    InMemoryJobStore,
    UnreadableRecordError,
    _memory,
    _transactions,
)
from langchain_minitoolai.stores._base import job_key
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
    assert fake.jobs("call", job_key("12345678")) == [job, job]
    assert [each["stage"] for each in fake.reported] == ["submitted"]
    assert fake.ordered() == 1


def test_the_same_call_again_takes_up_the_job_that_is_paid_for(*, is_async: bool) -> None:
    driver = FakeDriver([TAKEN], is_async=is_async)
    fake = job_for(driver, budget=Budget(max_images=1))
    first = submitted(driver, fake)
    again = submitted(driver, fake)
    assert first == again
    assert len(driver.requests) == 1


def test_calls_without_an_id_are_orders_of_their_own() -> None:
    driver = FakeDriver([TAKEN])
    store = InMemoryJobStore()
    for _ in range(2):
        assert submitted(driver, job_for(driver, store, call_key=None)).call_key is None
    assert len(driver.requests) == 2
    assert store.load(job_key("12345678")) is not None


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
    assert fake.ordered() == 0
    assert fake.calls() == []


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
    assert fake.ordered() == 1


@pytest.mark.parametrize(
    ("refused", "kind"),
    [
        (response({"error": "who"}, 401), errors.AuthenticationError),
        (response({"error": "pay"}, 402), errors.InsufficientCreditError),
        (response({"error": "no"}, 403), errors.PermissionDeniedError),
        (response({"error": "where"}, 404), errors.NotFoundError),
        (
            response({"error": {"message": "pay", "code": "insufficient_quota"}}, 400),
            errors.InsufficientCreditError,
        ),
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
    assert fake.ordered() == 0
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
    assert fake.calls() == []


def test_a_refusal_takes_the_mark_back(*, is_async: bool) -> None:
    driver = FakeDriver([response({}, 401)], is_async=is_async)
    fake = job_for(driver)
    with pytest.raises(errors.AuthenticationError):
        submitted(driver, fake)
    assert fake.calls() == []


def test_a_request_that_could_not_be_made_leaves_nothing_behind() -> None:
    driver = FakeDriver([errors.InvalidInputError("http_client is closed")])
    fake = job_for(driver)
    with pytest.raises(errors.InvalidInputError, match="closed"):
        submitted(driver, fake)
    assert fake.calls() == []
    assert fake.ordered() == 0


def test_a_spent_budget_is_an_error_before_anything_is_sent() -> None:
    driver = FakeDriver([TAKEN])
    fake = job_for(driver, budget=Budget(max_images=0))
    with pytest.raises(errors.ImageBudgetError):
        submitted(driver, fake)
    assert driver.requests == []
    assert fake.calls() == []


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
    assert "BrokenStore" in str(caught.value)
    assert driver.requests == []


def test_a_store_that_breaks_after_paying_loses_no_job() -> None:
    driver = FakeDriver([TAKEN])
    fake = job_for(driver, BrokenStore("mset", after=1))
    with pytest.warns(UserWarning, match="disk full.*not recorded: image job 12345678"):
        assert submitted(driver, fake).id == "12345678"


def test_a_mark_that_cannot_be_taken_back_hides_no_error() -> None:
    driver = FakeDriver([response({}, 401)])
    fake = job_for(driver, BrokenStore("mdelete"))
    with pytest.warns(UserWarning, match="disk full"), pytest.raises(errors.AuthenticationError):
        submitted(driver, fake)


def test_what_cannot_be_read_is_an_error_that_names_the_key_and_never_an_order() -> None:
    driver = FakeDriver([TAKEN])
    store = InMemoryByteStore()
    store.mset([("call", b"half a fi")])
    with pytest.raises(
        errors.ImageRequestError, match=r"under call is no record.*nothing was sent"
    ):
        submitted(driver, job_for(driver, store))
    assert driver.requests == []
    assert driver.sleeps == [0.05] * 3


def test_a_record_that_was_half_written_when_it_was_read_is_read_again() -> None:
    driver = FakeDriver([TAKEN])
    fake = job_for(driver)
    first = submitted(driver, fake)
    whole = fake.store._records["call"]
    fake.store._records["call"] = whole[:50]

    def finish() -> bool:
        fake.store._records["call"] = whole
        return True

    workflow = submit(ARGUMENTS, fake.context)
    load: Any = next(workflow)
    with pytest.raises(UnreadableRecordError) as caught:
        load.run()
    assert isinstance(workflow.throw(caught.value), Sleep)
    assert finish()
    assert driver.run(rest(workflow)) == first


def rest(workflow: Any) -> Any:
    """Go on with a workflow that was started by hand."""
    effect = workflow.send(None)
    while True:
        outcome = yield effect
        try:
            effect = workflow.send(outcome)
        except StopIteration as stop:
            return stop.value


# Others with the same call.


def test_two_at_once_with_one_id_pay_once() -> None:
    driver = FakeDriver([TAKEN])
    fake = job_for(driver, call_key="twins")
    second: list[Any] = []

    def answer(_: float) -> Response:
        """The other comes while the first one's request is under way."""
        other = submit(ARGUMENTS, fake.context)
        load: Any = next(other)
        second.append(other)
        wait = other.send(load.run())
        assert isinstance(wait, Sleep)
        return TAKEN

    driver.script(answer)
    job = submitted(driver, fake)
    assert driver.run(rest(second[0])) == job
    assert len(driver.requests) == 1


def test_who_loses_the_race_for_a_claim_waits_for_the_job() -> None:
    driver = FakeDriver([TAKEN])
    fake = job_for(driver)
    loser = submit(ARGUMENTS, fake.context)
    load: Any = next(loser)
    attempt = loser.send(load.run())
    assert isinstance(attempt, Uninterrupted)
    assert fake.store.claim("call", "winner").token == "winner"
    assert driver.run(attempt.start(lambda: attempt.cancelled)) is None
    assert isinstance(loser.send(None), Sleep)
    fake.store.release("call", "winner")
    assert driver.run(rest(loser)).id == "12345678"
    assert len(driver.requests) == 1


@pytest.mark.parametrize("state", ["claimed", "sending"])
def test_the_wait_for_a_live_claim_ends_at_the_deadline(state: Any) -> None:
    driver = FakeDriver([TAKEN])
    fake = job_for(driver, call_key="slow", total_timeout=2.0)
    fake.store.claim("slow", "other")
    fake.store.save("slow", CallRecord(state=state, token="other", limit=60.0))
    with pytest.raises(errors.ImageJobTimeoutError, match="still being submitted") as caught:
        submitted(driver, fake)
    assert caught.value.retry_safe
    assert driver.now == pytest.approx(1002.0, abs=0.06)
    assert driver.requests == []


def aged(monkeypatch: pytest.MonkeyPatch, seconds: float) -> None:
    """Let the stores' clock be set by so many seconds."""
    now = _transactions.machine_clock()
    monkeypatch.setattr(_memory, "machine_clock", lambda: now + seconds)


@pytest.mark.parametrize("seconds", [4.0, 3600.0, -3600.0])
def test_a_claim_whose_owner_died_is_taken_over_and_its_budget_with_it(
    monkeypatch: pytest.MonkeyPatch, seconds: float
) -> None:
    driver = FakeDriver([TAKEN])
    fake = job_for(driver, budget=Budget(max_images=1))
    fake.store.claim("call", "dead")
    assert fake.store.reserve(Budget(max_images=1), "call", "dead", 0.0015) == "granted"
    aged(monkeypatch, seconds)
    assert submitted(driver, fake).id == "12345678"
    assert fake.store.save("call", CallRecord(state="sending", token="dead", limit=9.0)) is False
    assert fake.ordered() == 1


@pytest.mark.parametrize("seconds", [61.0, -3600.0])
def test_a_request_without_an_answer_beyond_its_limit_is_never_ordered_again(
    monkeypatch: pytest.MonkeyPatch, seconds: float
) -> None:
    driver = FakeDriver([TAKEN])
    store = InMemoryJobStore()
    store.claim("call", "dead")
    store.save("call", CallRecord(state="sending", token="dead", limit=60.0))
    aged(monkeypatch, seconds)
    for _ in range(2):
        with pytest.raises(errors.SubmissionUnknownError, match="earlier attempt"):
            submitted(driver, job_for(driver, store))
    waited = driver.now - 1000.0
    assert waited == pytest.approx(0.0 if seconds > 0 else 120.0, abs=0.2)
    assert driver.requests == []


def test_a_claim_lost_to_another_is_not_sent() -> None:
    driver = FakeDriver([TAKEN])
    fake = job_for(driver)
    place = functools.partial(_attempt, ARGUMENTS, fake.context, "")
    attempt = place(lambda: False)
    claim: Any = next(attempt)
    reserve: Any = attempt.send(claim.run())
    fake.store.release("call", claim_token(fake))
    fake.store.claim("call", "thief")
    mark: Any = attempt.send(reserve.run())
    driver.run(rest_after(attempt, mark))
    assert driver.requests == []
    assert fake.ordered() == 0
    assert claim_token(fake) == "thief"


def claim_token(fake: FakeJob) -> str:
    return str(fake.store.load("call").token)


def rest_after(workflow: Any, effect: Any) -> Any:
    """Go on with a workflow from an effect that it yielded."""
    try:
        while True:
            effect = workflow.send((yield effect))
    except StopIteration as stop:
        return stop.value


# Cancellations.


@pytest.mark.parametrize("checks", [1, 2])
def test_a_call_cancelled_before_it_is_sent_releases_claim_and_budget(checks: int) -> None:
    driver = FakeDriver([TAKEN])
    fake = job_for(driver)
    answers = iter([False] * (checks - 1) + [True])
    with pytest.raises(errors.ImageRequestError, match="cancelled before anything was sent"):
        driver.run(_attempt(ARGUMENTS, fake.context, "", lambda: next(answers)))
    assert driver.requests == []
    assert fake.calls() == []
    assert fake.ordered() == 0


def test_a_call_that_waits_for_the_rate_limit_holds_nothing() -> None:
    waits = Invoke(lambda: None, _nothing)
    fake = job_for(FakeDriver(), call_key=None, rate_limit=waits)
    workflow = submit(ARGUMENTS, fake.context)
    load: Any = next(workflow)
    assert workflow.send(load.run()) is waits
    assert fake.calls() == []
    assert fake.ordered() == 0


def test_a_rate_limit_that_fails_uses_no_budget() -> None:
    def fail() -> None:
        raise RuntimeError("boom")

    driver = FakeDriver([TAKEN])
    fake = job_for(driver, rate_limit=Invoke(fail, _nothing))
    with pytest.raises(RuntimeError, match="boom"):
        submitted(driver, fake)
    assert fake.ordered() == 0
    assert fake.calls() == []


# Budgets.


def test_a_backoff_holds_neither_claim_nor_budget() -> None:
    driver = FakeDriver([response({}, 429), TAKEN])
    fake = job_for(driver)
    held: list[tuple[list[str], int]] = []
    driver.on_sleep = lambda: held.append((fake.calls(), fake.ordered()))
    submitted(driver, fake)
    assert held == [([], 0)]


def test_what_others_reserved_and_may_not_send_is_waited_for() -> None:
    driver = FakeDriver([TAKEN])
    one = Budget(max_images=1)
    fake = job_for(driver, budget=one)
    fake.store.claim("other", "theirs")
    fake.store.reserve(one, "other", "theirs", 0.0015)

    def give_back() -> None:
        fake.store.release("other", "theirs")
        fake.store.settle("default", "theirs", 0.0)

    driver.on_sleep = give_back
    assert submitted(driver, fake).id == "12345678"
    assert driver.sleeps == [0.05]


@pytest.mark.parametrize(
    ("budget", "words"),
    [
        (Budget(max_images=1), r"\(max_images=1\)"),
        (Budget(max_cost_usd=0.002), r"\(max_cost_usd=0.002\)"),
        (Budget("mine", 1, 0.5), r"\(max_images=1 in scope 'mine'\)"),
        (Budget("mine", 5, 0.002), r"\(max_cost_usd=0.002 in scope 'mine'\)"),
    ],
)
def test_the_error_of_a_spent_budget_names_the_limit(budget: Budget, words: str) -> None:
    driver, store = FakeDriver([TAKEN]), InMemoryJobStore()
    submitted(driver, job_for(driver, store, budget=budget))
    with pytest.raises(errors.ImageBudgetError, match=rf"spent {words}\. Nothing was sent"):
        submitted(driver, job_for(driver, store, budget=budget, call_key="2"))


# Calls without an id.


def unfinished(driver: FakeDriver, fake: FakeJob, ends: BaseException | None = None) -> ImageJob:
    def work() -> Any:
        job = yield from submit(ARGUMENTS, fake.context)
        if ends is not None:
            raise ends
        return job

    same = (fake.store, "same")
    job: ImageJob = driver.run(take_up_unfinished(work(), same, fake.context))
    return job


LATE = errors.ImageJobTimeoutError("late")


@pytest.mark.parametrize("end", [LATE, GeneratorExit(), KeyboardInterrupt()])
def test_an_equal_call_takes_up_what_one_without_an_id_left_unfinished(end: BaseException) -> None:
    driver = FakeDriver([TAKEN])
    fake = job_for(driver, call_key=None)
    for _ in range(3):
        with pytest.raises(type(end)):
            unfinished(driver, fake, end)
        driver.now += 100.0
    first = unfinished(driver, fake)
    assert first.call_key is None
    assert len(driver.requests) == 1
    unfinished(driver, fake)
    assert len(driver.requests) == 2


def test_beyond_the_time_limit_an_equal_call_orders_anew() -> None:
    driver = FakeDriver([TAKEN])
    fake = job_for(driver, call_key=None, total_timeout=10.0)
    with pytest.raises(errors.ImageJobTimeoutError):
        unfinished(driver, fake, LATE)
    driver.now += 11.0
    unfinished(driver, fake)
    assert len(driver.requests) == 2


def test_an_uncertain_call_without_an_id_is_not_repeated_within_the_time_limit() -> None:
    driver = FakeDriver([response({}, 500), TAKEN])
    fake = job_for(driver, call_key=None, total_timeout=10.0)
    for _ in range(3):
        with pytest.raises(errors.SubmissionUnknownError):
            unfinished(driver, fake)
        driver.now += 4.0
    assert len(driver.requests) == 1
    assert unfinished(driver, fake).id == "12345678"


def test_a_job_that_failed_is_drawn_anew() -> None:
    driver = FakeDriver([TAKEN])
    fake = job_for(driver, call_key=None)
    with pytest.raises(errors.ImageJobFailedError):
        unfinished(driver, fake, errors.ImageJobFailedError("nsfw"))
    unfinished(driver, fake)
    assert len(driver.requests) == 2


async def _nothing() -> None:
    return None


def test_the_time_waited_for_the_rate_limit_does_not_count() -> None:
    driver = FakeDriver([TAKEN])

    def wait() -> None:
        driver.now += 500.0

    fake = job_for(driver, rate_limit=Invoke(wait, _nothing))
    driver.now += 30.0  # such as another's claim was waited for
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
