"""When a chat call is sent again: the table, line by line, without a shell."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from langchain_minitoolai import errors
from langchain_minitoolai._http.effects import Effect, Request, Response, Sleep
from langchain_minitoolai._http.retry import LONGEST_WAIT, RetryPolicy, send
from tests.unit_tests.shells import Clock, call

OK = Response(200, {}, b"fine")
Outcome = Response | errors.MiniToolAIError


def stale() -> errors.APIConnectionError:
    error = errors.APIConnectionError("dropped")
    error.stale = True
    return error


def drive(
    *outcomes: Outcome, retries: int = 2, asked: Request | None = None, clock: Clock | None = None
) -> tuple[list[Effect], Outcome]:
    """Send a call whose attempts have these outcomes; give its steps and what became of it."""
    clock = clock or Clock()
    flow = send(asked or call(), RetryPolicy(retries, lambda: 1.0), clock)
    queue = list(outcomes)
    steps: list[Effect] = []
    outcome: Any = None
    try:
        while True:
            failed = isinstance(outcome, errors.MiniToolAIError)
            step = flow.throw(outcome) if failed else flow.send(outcome)
            steps.append(step)
            if isinstance(step, Sleep):
                clock.sleep(step.seconds)
                outcome = None
            else:
                outcome = queue.pop(0)
    except StopIteration as stop:
        result: Outcome = stop.value
    except errors.MiniToolAIError as error:
        result = error
    assert not queue
    return steps, result


def waits(steps: list[Effect]) -> list[float]:
    return [step.seconds for step in steps if isinstance(step, Sleep)]


def test_a_success_is_given_at_once() -> None:
    steps, result = drive(OK)
    assert result is OK
    assert steps == [call()]


@pytest.mark.parametrize("status", [200, 201, 204, 299])
def test_every_2xx_is_a_success(status: int) -> None:
    assert drive(Response(status, {}))[1] == Response(status, {})


@pytest.mark.parametrize("status", [408, 425, 429, 500, 502, 503, 504, *range(520, 528)])
def test_a_passing_trouble_of_the_service_is_tried_again(status: int) -> None:
    steps, result = drive(Response(status, {}), Response(status, {}), OK)
    assert result is OK
    assert waits(steps) == [0.5, 1.0]


@pytest.mark.parametrize(
    "status", [300, 301, 302, 304, 307, 308, 400, 401, 402, 403, 404, 413, 418, 422, 501, 505, 530]
)
def test_what_would_be_refused_again_is_not_tried_again(status: int) -> None:
    steps, result = drive(Response(status, {"retry-after": "1"}))
    assert isinstance(result, errors.MiniToolAIError)
    assert result.status_code == status
    assert waits(steps) == []


@pytest.mark.parametrize(
    ("failure", "again"),
    [
        (errors.APIConnectionError("refused"), True),
        (errors.APIConnectionError("untrusted", is_retryable=False), False),
        (errors.StreamInterruptedError("cut", status_code=200), True),
        (errors.MalformedStreamError("junk", status_code=200), True),
        (errors.InvalidResponseError("a page", status_code=200), False),
        (errors.APITimeoutError("no progress"), False),
        (errors.ServiceError("told inside an answer", status_code=200), False),
        (errors.RateLimitError("told inside an answer", status_code=200), False),
        (errors.InsufficientCreditError("told by a 429", status_code=429), False),
        (errors.InvalidInputError("verify"), False),
    ],
)
def test_what_an_attempt_died_of_decides(failure: errors.MiniToolAIError, *, again: bool) -> None:
    steps, result = drive(failure, *([OK] if again else []))
    assert result is (OK if again else failure)
    assert waits(steps) == ([0.5] if again else [])


def test_a_429_that_means_no_credit_is_not_tried_again() -> None:
    body = b'{"error": {"message": "pay", "code": "insufficient_quota"}}'
    assert isinstance(drive(Response(429, {}, body))[1], errors.InsufficientCreditError)


@pytest.mark.parametrize("retries", [0, 1, 5])
def test_there_are_so_many_attempts_and_no_more(retries: int) -> None:
    steps, result = drive(*[Response(503, {})] * (retries + 1), retries=retries)
    assert isinstance(result, errors.ServiceError)
    assert waits(steps) == [0.5, 1.0, 2.0, 4.0, 8.0][:retries]


@pytest.mark.parametrize(
    ("headers", "wait"),
    [
        ({"retry-after": "7"}, 7.0),
        ({"retry-after": "0"}, 0.0),
        ({"retry-after-ms": "250"}, 0.25),
        ({"retry-after-ms": "250", "retry-after": "9"}, 0.25),
        (
            {
                "retry-after": "Wed, 21 Oct 2015 07:28:30 GMT",
                "date": "Wed, 21 Oct 2015 07:28:00 GMT",
            },
            30.0,
        ),
        ({"retry-after": str(LONGEST_WAIT)}, 60.0),
        ({"retry-after": "soon"}, 0.5),
        ({"retry-after": "-1"}, 0.5),
    ],
)
def test_the_wait_that_the_service_asks_for_is_kept(headers: dict[str, str], wait: float) -> None:
    steps, result = drive(Response(429, headers), OK)
    assert result is OK
    assert waits(steps) == [wait]


def test_a_wait_of_more_than_a_minute_is_not_waited_for() -> None:
    steps, result = drive(Response(429, {"retry-after": "61"}))
    assert isinstance(result, errors.RateLimitError)
    assert result.retry_after == 61.0
    assert waits(steps) == []


def test_a_wait_that_ends_after_the_deadline_is_not_begun() -> None:
    clock = Clock()
    asked = call(deadline=clock() + 7.0)
    for seconds, expected in (("6.9", [6.9]), ("7", [])):
        outcomes = [Response(503, {"retry-after": seconds}), *([OK] if expected else [])]
        assert waits(drive(*outcomes, asked=asked, clock=Clock())[0]) == expected


def test_the_deadline_counts_all_waits_together() -> None:
    clock = Clock()
    steps, result = drive(
        *[Response(503, {})] * 3, retries=9, asked=call(deadline=clock() + 3.4), clock=clock
    )
    assert waits(steps) == [0.5, 1.0]
    assert isinstance(result, errors.ServiceError)


# --- Connections gone stale -----------------------------------------------------------


def test_a_stale_connection_is_replaced_at_once_by_a_fresh_one() -> None:
    steps, result = drive(stale(), OK)
    assert result is OK
    assert steps == [call(), call(new_connection=True)]


def test_that_is_no_attempt_and_happens_once() -> None:
    steps, result = drive(stale(), stale(), Response(500, {}), OK, retries=2)
    assert result is OK
    assert steps == [
        call(),
        call(new_connection=True),
        Sleep(0.5),
        call(new_connection=True),
        Sleep(1.0),
        call(new_connection=True),
    ]


def test_a_later_attempt_may_meet_a_stale_connection_too() -> None:
    steps, result = drive(Response(500, {}), stale(), OK, retries=1)
    assert result is OK
    assert steps == [call(), Sleep(0.5), call(), call(new_connection=True)]


def test_without_retries_a_stale_connection_is_an_error() -> None:
    failure = stale()
    steps, result = drive(failure, retries=0)
    assert result is failure
    assert len(steps) == 1


# --- The policy -----------------------------------------------------------------------


@given(st.integers(0, 10**6), st.floats(0, 1))
def test_a_backoff_is_at_most_eight_seconds_and_at_least_half_of_itself(
    attempt: int, jitter: float
) -> None:
    policy = RetryPolicy(10**7, lambda: jitter)
    wait = policy.wait(errors.APIConnectionError(), attempt)
    whole = min(0.5 * 2.0 ** min(attempt, 100), 8.0)
    assert wait is not None
    assert whole / 2 <= wait <= whole


def test_by_default_backoffs_differ() -> None:
    policy = RetryPolicy()
    assert policy.max_retries == 2
    assert len({policy.wait(errors.APIConnectionError(), 0) for _ in range(5)}) > 1
