"""Retry policy: the table of what is sent again, line by line, without a client."""

import logging
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from langchain_minitoolai import errors
from langchain_minitoolai._http.effects import (
    Effect,
    Request,
    Response,
    Sleep,
    StreamResponse,
)
from langchain_minitoolai._http.retry import MAX_RETRY_AFTER, RetryPolicy, send_with_retries
from tests.unit_tests.fake_clients import Clock, DeltaReader, chat_request

OK = Response(200, {}, b"fine")
Outcome = Response | errors.MiniToolAIError


def stale() -> errors.APIConnectionError:
    error = errors.APIConnectionError("dropped")
    error.stale = True
    return error


def drive(
    *outcomes: Outcome, retries: int = 2, request: Request | None = None, clock: Clock | None = None
) -> tuple[list[Effect], Outcome]:
    """Send a call whose attempts have these outcomes; return its effects and what became of it."""
    clock = clock or Clock()
    workflow = send_with_retries(
        request or chat_request(), RetryPolicy(retries, lambda: 1.0), clock
    )
    queue = list(outcomes)
    effects: list[Effect] = []
    outcome: Any = None
    try:
        while True:
            failed = isinstance(outcome, errors.MiniToolAIError)
            effect = workflow.throw(outcome) if failed else workflow.send(outcome)
            effects.append(effect)
            if isinstance(effect, Sleep):
                clock.sleep(effect.seconds)
                outcome = None
            else:
                outcome = queue.pop(0)
    except StopIteration as stop:
        result: Outcome = stop.value
    except errors.MiniToolAIError as error:
        result = error
    assert not queue
    return effects, result


def after(attempts: int) -> Response:
    """Return the success that so many requests ended in."""
    return replace(OK, attempts=attempts)


def waits(effects: list[Effect]) -> list[float]:
    return [effect.seconds for effect in effects if isinstance(effect, Sleep)]


def test_a_success_is_returned_at_once() -> None:
    effects, result = drive(OK)
    assert result is OK
    assert effects == [chat_request()]


@pytest.mark.parametrize("status", [200, 201, 204, 299])
def test_every_2xx_is_a_success(status: int) -> None:
    assert drive(Response(status, {}))[1] == Response(status, {})


@pytest.mark.parametrize("status", [408, 425, 429, 500, 502, 503, 504, *range(520, 528)])
def test_a_passing_trouble_of_the_service_is_tried_again(status: int) -> None:
    effects, result = drive(Response(status, {}), Response(status, {}), OK)
    assert result == after(3)
    assert waits(effects) == [0.5, 1.0]


@pytest.mark.parametrize(
    "status", [300, 301, 302, 304, 307, 308, 400, 401, 402, 403, 404, 413, 418, 422, 501, 505, 530]
)
def test_what_would_be_refused_again_is_not_tried_again(status: int) -> None:
    effects, result = drive(Response(status, {"retry-after": "1"}))
    assert isinstance(result, errors.MiniToolAIError)
    assert result.status_code == status
    assert waits(effects) == []


@pytest.mark.parametrize(
    ("failure", "again"),
    [
        (errors.APIConnectionError("refused"), True),
        (errors.APIConnectionError("untrusted", is_retryable=False), False),
        (errors.StreamInterruptedError("cut", status_code=200), True),
        (errors.MalformedStreamError("junk", status_code=200), True),
        (errors.InvalidResponseError("a page", status_code=200), False),
        (errors.APITimeoutError("no progress"), False),
        (errors.ServiceError("reported inside a success", status_code=200), False),
        (errors.RateLimitError("reported inside a success", status_code=200), False),
        (errors.InsufficientCreditError("reported by a 429", status_code=429), False),
        (errors.InvalidInputError("verify"), False),
    ],
)
def test_what_an_attempt_ended_in_decides(failure: errors.MiniToolAIError, *, again: bool) -> None:
    effects, result = drive(failure, *([OK] if again else []))
    assert result == (after(2) if again else failure)
    assert waits(effects) == ([0.5] if again else [])


def test_a_429_that_means_no_credit_is_not_tried_again() -> None:
    body = b'{"error": {"message": "pay", "code": "insufficient_quota"}}'
    assert isinstance(drive(Response(429, {}, body))[1], errors.InsufficientCreditError)


@pytest.mark.parametrize("retries", [0, 1, 5])
def test_there_are_so_many_attempts_and_no_more(retries: int) -> None:
    effects, result = drive(*[Response(503, {})] * (retries + 1), retries=retries)
    assert isinstance(result, errors.ServiceError)
    assert waits(effects) == [0.5, 1.0, 2.0, 4.0, 8.0][:retries]


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
        ({"retry-after": str(MAX_RETRY_AFTER)}, 60.0),
        ({"retry-after": "soon"}, 0.5),
        ({"retry-after": "-1"}, 0.5),
    ],
)
def test_the_wait_that_the_service_asks_for_is_kept(headers: dict[str, str], wait: float) -> None:
    effects, result = drive(Response(429, headers), OK)
    assert result == after(2)
    assert waits(effects) == [wait]


def test_a_wait_of_more_than_a_minute_is_not_waited_for() -> None:
    effects, result = drive(Response(429, {"retry-after": "61"}))
    assert isinstance(result, errors.RateLimitError)
    assert result.retry_after == 61.0
    assert waits(effects) == []


def test_a_wait_that_ends_after_the_deadline_is_not_begun() -> None:
    clock = Clock()
    request = chat_request(deadline=clock() + 7.0)
    for seconds, expected in (("6.9", [6.9]), ("7", [])):
        outcomes = [Response(503, {"retry-after": seconds}), *([OK] if expected else [])]
        assert waits(drive(*outcomes, request=request, clock=Clock())[0]) == expected


def test_the_deadline_counts_all_waits_together() -> None:
    clock = Clock()
    effects, result = drive(
        *[Response(503, {})] * 3,
        retries=9,
        request=chat_request(deadline=clock() + 3.4),
        clock=clock,
    )
    assert waits(effects) == [0.5, 1.0]
    assert isinstance(result, errors.ServiceError)


# --- Connections gone stale -----------------------------------------------------------


def test_a_stale_connection_is_replaced_at_once_by_a_new_one() -> None:
    effects, result = drive(stale(), OK)
    assert result == after(2)
    assert effects == [chat_request(), chat_request(new_connection=True)]


def test_that_is_no_attempt_and_happens_once() -> None:
    effects, result = drive(stale(), stale(), Response(500, {}), OK, retries=2)
    assert result == after(4)
    assert effects == [
        chat_request(),
        chat_request(new_connection=True),
        Sleep(0.5),
        chat_request(new_connection=True),
        Sleep(1.0),
        chat_request(new_connection=True),
    ]


def test_a_later_attempt_may_meet_a_stale_connection_too() -> None:
    effects, result = drive(Response(500, {}), stale(), OK, retries=1)
    assert result == after(3)
    assert effects == [
        chat_request(),
        Sleep(0.5),
        chat_request(),
        chat_request(new_connection=True),
    ]


def test_without_retries_a_stale_connection_is_an_error() -> None:
    failure = stale()
    effects, result = drive(failure, retries=0)
    assert result is failure
    assert len(effects) == 1


def test_a_stream_s_response_counts_its_attempts_too() -> None:
    reader = DeltaReader()
    _, result = drive(Response(500, {}), StreamResponse(200, {}, reader=reader, items=["x"]))
    assert isinstance(result, StreamResponse)
    assert (result.attempts, result.reader, result.items) == (2, reader, ["x"])


# --- The log --------------------------------------------------------------------------


def logged(caplog: pytest.LogCaptureFixture) -> list[str]:
    assert all(record.levelno == logging.WARNING for record in caplog.records)
    assert {record.name for record in caplog.records} <= {"langchain_minitoolai"}
    return [record.getMessage() for record in caplog.records]


def test_a_retry_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    drive(Response(429, {"retry-after": "3"}), Response(503, {}), OK)
    assert logged(caplog) == [
        "attempt 1 failed: RateLimitError: HTTP 429 (try again in 3 s); again in 3.00 s",
        "attempt 2 failed: ServiceError: HTTP 503; again in 1.00 s",
    ]


@pytest.mark.parametrize(
    ("usage", "paid"),
    [
        ({"total_tokens": 20}, "the answer was cut after 20 tokens, which are paid for"),
        ({"total_tokens": None}, "the answer was cut and may be charged"),
        (None, "the answer was cut and may be charged"),
    ],
)
def test_what_a_cut_answer_cost_is_logged(
    caplog: pytest.LogCaptureFixture, usage: dict[str, Any] | None, paid: str
) -> None:
    failure = errors.StreamInterruptedError("cut")
    failure.usage = usage
    drive(failure, OK)
    assert logged(caplog) == [
        f"attempt 1 failed: StreamInterruptedError: cut ({paid}); again in 0.50 s"
    ]


def test_a_lost_connection_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    drive(stale(), OK)
    assert logged(caplog) == ["a kept connection was lost; sending again on a new one"]


def test_what_is_not_sent_again_is_not_logged(caplog: pytest.LogCaptureFixture) -> None:
    drive(Response(400, {}))
    drive(Response(503, {}), retries=0)
    assert logged(caplog) == []


# --- The policy -----------------------------------------------------------------------


@given(st.integers(0, 10**6), st.floats(0, 1))
def test_a_backoff_is_at_most_eight_seconds_and_at_least_half_of_itself(
    attempt: int, jitter: float
) -> None:
    policy = RetryPolicy(10**7, lambda: jitter)
    wait = policy.next_delay(errors.APIConnectionError(), attempt)
    whole = min(0.5 * 2.0 ** min(attempt, 100), 8.0)
    assert wait is not None
    assert whole / 2 <= wait <= whole


def test_by_default_backoffs_differ() -> None:
    policy = RetryPolicy()
    assert policy.max_retries == 2
    assert len({policy.next_delay(errors.APIConnectionError(), 0) for _ in range(5)}) > 1
