"""Retry policy: backoff, retryable statuses, Retry-After, the deadline checked before each wait."""

import logging
import random
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Final, TypeVar, overload

from langchain_minitoolai import errors
from langchain_minitoolai._http.effects import (
    BodyReader,
    Clock,
    Request,
    Response,
    Sleep,
    StreamRequest,
    StreamResponse,
    Workflow,
)
from langchain_minitoolai._http.error_mapping import error_from_response

R = TypeVar("R", bound=BodyReader)

RETRYABLE_STATUS: Final = frozenset({408, 425, 429, 500, 502, 503, 504, *range(520, 528)})
"""The statuses after which a request may be sent again."""
MAX_RETRY_AFTER: Final = 60.0
"""The longest wait, in seconds, that the service can ask for and get."""
MAX_BACKOFF: Final = 8.0
"""The longest wait, in seconds, where the service asks for none."""

_logger: Final = logging.getLogger("langchain_minitoolai")
_logger.addHandler(logging.NullHandler())  # the application decides what is shown


def backoff(attempt: int, jitter: float = 1.0) -> float:
    """Return the seconds to wait after attempt n, from 0: `min(0.5·2ⁿ, 8)`, half of it random."""
    return min(0.5 * 2.0 ** min(attempt, 9), MAX_BACKOFF) * (0.5 + 0.5 * jitter)


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """When a request is sent again, and after how long.

    Attributes:
        max_retries: Attempts after the first.
        jitter: Returns a random number from 0 to 1.
    """

    max_retries: int = 2
    jitter: Callable[[], float] = random.random

    def next_delay(self, error: errors.MiniToolAIError, attempt: int) -> float | None:
        """Return the seconds to wait after an attempt, from 0; `None` if it is the last.

        Whether the error allows another one is the caller's to know.
        """
        if attempt >= self.max_retries:
            return None
        if error.retry_after is not None:
            return error.retry_after if error.retry_after <= MAX_RETRY_AFTER else None
        return backoff(attempt, self.jitter())


@overload
def send_with_retries(
    request: StreamRequest[R], policy: RetryPolicy, clock: Clock
) -> Workflow[StreamResponse[R]]: ...
@overload
def send_with_retries(
    request: Request, policy: RetryPolicy, clock: Clock
) -> Workflow[Response]: ...
def send_with_retries(request: Request, policy: RetryPolicy, clock: Clock) -> Workflow[Any]:
    """Send a request until it succeeds or a further attempt is of no use.

    Args:
        request: What to send; it must be safe to repeat.
        policy: When to try again.
        clock: The scale of the request's deadline.

    Returns:
        A response with a status below 300.

    Raises:
        MiniToolAIError: What the last attempt ended in.
    """
    sent = attempt = 0
    while True:
        sent += 1
        try:
            response: Response = yield request
        except errors.MiniToolAIError as caught:
            error = caught
        else:
            if response.status < 300:
                return response if sent == 1 else replace(response, attempts=sent)
            error = error_from_response(response)
        is_stale = isinstance(error, errors.APIConnectionError) and error.stale
        if is_stale and not request.new_connection and policy.max_retries:
            _logger.warning("a kept connection was lost; sending again on a new one")
            request = replace(request, new_connection=True)
            continue
        delay = policy.next_delay(error, attempt) if _is_retryable(error) else None
        end = float("inf") if request.deadline is None else request.deadline
        if delay is None or clock() + delay >= end:
            raise error
        log_retry(error, sent, delay)
        yield Sleep(delay)
        attempt += 1


def log_retry(error: errors.MiniToolAIError, attempt: int, delay: float) -> None:
    """Log that a request is sent again, and the tokens that were paid for in vain."""
    paid = ""
    if error.usage and isinstance(tokens := error.usage.get("total_tokens"), int):
        paid = f" (the answer was cut after {tokens} tokens, which are paid for)"
    elif isinstance(error, errors.StreamInterruptedError):
        paid = " (the answer was cut and may be charged)"
    kind = type(error).__name__
    _logger.warning(
        "attempt %d failed: %s: %s%s; again in %.2f s", attempt, kind, error, paid, delay
    )


def _is_retryable(error: errors.MiniToolAIError) -> bool:
    if isinstance(error, errors.APIConnectionError | errors.MalformedStreamError):
        return error.is_retryable
    return error.is_retryable and error.status_code in RETRYABLE_STATUS
