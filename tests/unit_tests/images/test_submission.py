"""Ordering a picture: exactly one charge."""

import warnings
from typing import Any

import pytest
from langchain_core.stores import InMemoryByteStore

from langchain_minitoolai import contract, errors
from langchain_minitoolai._http.effects import Invoke
from langchain_minitoolai._images.job_store import job_key
from langchain_minitoolai._images.result import ImageJob
from langchain_minitoolai._images.submission import CLAIMS, Order, submit
from tests.unit_tests.acting import Actor, Counter, answer

TAKEN = answer({"status": "success", "jobid": 12345678, "signature": "abc"})
ARGUMENTS = {"prompt": "a cat", "model": "amigo", "steps": 4, "width": 512, "height": 512}


def unsent() -> errors.APIConnectionError:
    error = errors.APIConnectionError("can't connect to the service: refused")
    error.maybe_sent = False
    return error


def order(call: str | None = "call", seconds: float = 120.0) -> Order:
    return Order(ARGUMENTS, {"prompt": "a cat"}, call, seconds)


@pytest.fixture(params=["sync", "async"])
def asynchronous(request: pytest.FixtureRequest) -> bool:
    return bool(request.param == "async")


def test_a_picture_is_ordered_kept_and_told_of(*, asynchronous: bool) -> None:
    actor = Actor([TAKEN], asynchronous=asynchronous)
    counter = Counter(actor)
    job, until = actor.run(submit(order(), counter.desk))
    assert (job.id, job.signature, job.call, until) == ("12345678", "abc", "call", 1120.0)
    assert job.submitted_at == 1e9 + 1000
    (call,) = actor.calls
    assert (call.path, call.send_auth, call.new_connection) == (contract.IMAGE_PATH, True, True)
    values = counter.store.mget(["call", job_key("12345678")])
    assert [ImageJob.model_validate_json(value or b"") for value in values] == [job, job]
    assert [told["stage"] for told in counter.told] == ["submitted"]
    assert counter.spending.images == 1


def test_the_same_call_again_takes_up_the_job_that_is_paid_for(*, asynchronous: bool) -> None:
    actor = Actor([TAKEN], asynchronous=asynchronous)
    counter = Counter(actor, max_images=1)
    first = actor.run(submit(order(), counter.desk)).job
    again = actor.run(submit(order(), counter.desk)).job
    assert first == again
    assert len(actor.calls) == 1


def test_calls_without_an_id_are_orders_of_their_own() -> None:
    actor = Actor([TAKEN])
    counter = Counter(actor)
    actor.run(submit(order(None), counter.desk))
    actor.run(submit(order(None), counter.desk))
    assert len(actor.calls) == 2
    assert list(counter.store.yield_keys()) == [job_key("12345678")]


@pytest.mark.parametrize(
    "refused",
    [
        unsent(),
        answer({"error": "slow down"}, 429),
        answer({}, 429, retry_after="3"),
        answer(b"<html>", 503, retry_after="3"),
    ],
)
def test_what_provably_did_not_arrive_is_sent_again(refused: Any) -> None:
    actor = Actor([refused, TAKEN])
    assert actor.run(submit(order(), Counter(actor).desk)).job.id == "12345678"
    assert actor.sleeps in ([0.5], [3.0])


@pytest.mark.parametrize(
    ("refused", "kind"),
    [
        (unsent(), errors.ServiceUnavailableError),
        (answer({}, 429), errors.RateLimitError),
        (answer({}, 503, retry_after="1"), errors.ServiceError),
    ],
)
def test_what_never_arrives_ends_and_gives_the_money_back(
    refused: Any, kind: type[errors.MiniToolAIError]
) -> None:
    actor = Actor([refused])
    counter = Counter(actor, max_retries=2)
    with pytest.raises(kind) as caught:
        actor.run(submit(order(), counter.desk))
    assert not caught.value.maybe_charged
    assert caught.value.is_retryable
    assert len(actor.calls) == 3
    assert counter.spending.images == 0
    assert list(counter.store.yield_keys()) == []


def test_a_wait_beyond_a_minute_or_the_deadline_is_not_waited() -> None:
    for seconds, asked in ((1200.0, "61"), (5.0, "6")):
        actor = Actor([answer({}, 429, retry_after=asked)])
        with pytest.raises(errors.RateLimitError):
            actor.run(submit(order(seconds=seconds), Counter(actor).desk))
        assert actor.sleeps == []


def test_a_certificate_that_is_refused_is_not_tried_again() -> None:
    error = unsent()
    error.is_retryable = False
    actor = Actor([error])
    with pytest.raises(errors.ServiceUnavailableError) as caught:
        actor.run(submit(order(), Counter(actor).desk))
    assert not caught.value.retry_safe
    assert len(actor.calls) == 1


UNCERTAIN: list[Any] = [
    errors.APITimeoutError("no progress"),
    errors.APIConnectionError("the connection broke"),
    errors.InvalidResponseError("too long"),
    answer({"error": "oops"}, 500),
    answer({"error": "oops"}, 503),
    answer(b"<html><title>Down</title>", 520),
    answer(b"<html><title>Who?</title>", 403),
    answer(b"<html>", 200),
    answer({}, 408),
    answer({}, 302, location="https://elsewhere.example.com/"),
    answer(b"junk"),
    answer([]),
    answer({"status": "success"}),
    answer({"status": "success", "jobid": 7}),
    answer({"status": "error", "jobid": 7}),
    answer({"status": "success", "jobid": True, "signature": "abc"}),
    answer({"status": "success", "jobid": 1.5e-7, "signature": None}),
    answer({"status": "success", "jobid": "x" * 300, "signature": "abc"}),
]


@pytest.mark.parametrize("outcome", UNCERTAIN)
def test_whatever_may_have_been_charged_is_never_ordered_again(outcome: Any) -> None:
    actor = Actor([outcome, TAKEN])
    counter = Counter(actor)
    for _ in range(3):
        with pytest.raises(errors.SubmissionUncertainError) as caught:
            actor.run(submit(order(), counter.desk))
        assert caught.value.maybe_charged
        assert not caught.value.is_retryable
    assert len(actor.calls) == 1
    assert counter.spending.images == 1


@pytest.mark.parametrize(
    ("refused", "kind"),
    [
        (answer({"error": "who"}, 401), errors.AuthenticationError),
        (answer({"error": "pay"}, 402), errors.InsufficientCreditError),
        (answer({"error": "no"}, 403), errors.PermissionDeniedError),
        (answer({"error": "where"}, 404), errors.NotFoundError),
        (answer({"error": {"message": "width"}}, 400), errors.ImageRequestError),
        (answer({"error": "width"}, 422), errors.ImageRequestError),
        (
            answer({"status": "error", "jobid": None, "signature": None}),
            errors.ImageRequestError,
        ),
        (answer({"status": "failed", "message": "nsfw"}), errors.ImageRequestError),
    ],
)
def test_a_refusal_costs_nothing_and_the_call_may_come_again(
    refused: Any, kind: type[errors.MiniToolAIError]
) -> None:
    actor = Actor([refused, TAKEN])
    counter = Counter(actor)
    with pytest.raises(kind) as caught:
        actor.run(submit(order(), counter.desk))
    assert not caught.value.maybe_charged
    assert not caught.value.is_retryable
    assert counter.spending.images == 0
    assert actor.run(submit(order(), counter.desk)).job.id == "12345678"


@pytest.mark.parametrize(
    ("given", "expected"),
    [(12345678, "12345678"), ("12345678", "12345678"), (" a-b ", "a-b"), (12.0, "12")],
)
def test_a_job_id_is_kept_as_a_text(given: Any, expected: str) -> None:
    actor = Actor([answer({"status": "success", "jobid": given, "signature": "abc"})])
    assert actor.run(submit(order(), Counter(actor).desk)).job.id == expected


def test_a_refusal_of_a_call_without_an_id_leaves_nothing_behind() -> None:
    actor = Actor([answer({}, 401)])
    counter = Counter(actor)
    with pytest.raises(errors.AuthenticationError):
        actor.run(submit(order(None), counter.desk))
    assert list(counter.store.yield_keys()) == []


def test_a_refusal_takes_the_mark_back(*, asynchronous: bool) -> None:
    actor = Actor([answer({}, 401)], asynchronous=asynchronous)
    counter = Counter(actor)
    with pytest.raises(errors.AuthenticationError):
        actor.run(submit(order(), counter.desk))
    assert list(counter.store.yield_keys()) == []


def test_a_spent_budget_is_told_before_anything_is_sent() -> None:
    actor = Actor([TAKEN])
    counter = Counter(actor, max_images=0)
    with pytest.raises(errors.ImageBudgetError):
        actor.run(submit(order(), counter.desk))
    assert actor.calls == []
    assert list(counter.store.yield_keys()) == []


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
    actor = Actor([TAKEN])
    counter = Counter(actor, BrokenStore(method))
    with pytest.raises(errors.ImageRequestError, match="disk full") as caught:
        actor.run(submit(order(), counter.desk))
    assert caught.value.retry_safe
    assert actor.calls == []
    assert counter.spending.images == 0


def test_a_store_that_breaks_after_paying_loses_no_job() -> None:
    actor = Actor([TAKEN])
    counter = Counter(actor, BrokenStore("mset", after=1))
    with pytest.warns(UserWarning, match="job store can't be written"):
        assert actor.run(submit(order(), counter.desk)).job.id == "12345678"


def test_a_mark_that_cannot_be_taken_back_hides_no_error() -> None:
    actor = Actor([answer({}, 401)])
    counter = Counter(actor, BrokenStore("mdelete"))
    with pytest.warns(UserWarning, match="disk full"), pytest.raises(errors.AuthenticationError):
        actor.run(submit(order(), counter.desk))


def test_what_cannot_be_read_in_the_store_counts_as_maybe_paid() -> None:
    actor = Actor([TAKEN])
    counter = Counter(actor)
    counter.store.mset([("call", b"half a fi")])
    with pytest.raises(errors.SubmissionUncertainError):
        actor.run(submit(order(), counter.desk))
    assert actor.calls == []


def test_two_at_once_with_one_id_pay_once() -> None:
    actor = Actor([TAKEN])
    counter = Counter(actor)
    first = submit(order("twins"), counter.desk)
    step = first.send(None)
    while not hasattr(step, "path"):  # up to the request
        step = first.send(step.run())  # type: ignore[union-attr]
    second = submit(order("twins"), counter.desk)
    assert second.send(None).seconds == pytest.approx(0.05)  # type: ignore[union-attr]
    saved = first.send(TAKEN)
    told = first.send(saved.run())  # type: ignore[union-attr]
    with pytest.raises(StopIteration) as ended:
        first.send(told.run())  # type: ignore[union-attr]
    assert actor.run(second) == ended.value.value
    assert actor.calls == []


def test_a_call_that_is_given_up_leaves_its_claim() -> None:
    actor = Actor([TAKEN])
    flow = submit(order("dropped"), Counter(actor).desk)
    next(flow)
    flow.close()
    claimed = CLAIMS.claim("dropped")
    with pytest.raises(StopIteration):
        next(claimed)
    CLAIMS.release("dropped")


def test_the_turn_is_waited_for_only_where_money_is_spent() -> None:
    turns: list[int] = []

    async def aturn() -> None:
        turns.append(1)

    actor = Actor([TAKEN])
    counter = Counter(actor, admit=Invoke(lambda: turns.append(1), aturn))
    actor.run(submit(order(), counter.desk))
    actor.run(submit(order(), counter.desk))
    assert turns == [1]


def test_nothing_warns_when_nothing_is_wrong() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        actor = Actor([TAKEN])
        actor.run(submit(order(), Counter(actor).desk))
