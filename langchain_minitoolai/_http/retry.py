"""How a call is made: a generator that decides, and leaves the doing to a shell.

A flow yields what it wants done (`Request`, `Sleep`, `Invoke`), is sent what came of it, may
have one of our errors thrown in, and returns its result. It is httpx's `auth_flow`, one
level up: no I/O, no clock of its own, the same for sync and async.
"""

import random
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final

from langchain_minitoolai import errors
from langchain_minitoolai._http.effects import Clock, Request, Response, Sleep, Workflow
from langchain_minitoolai._http.error_mapping import error_of

RETRIED: Final = frozenset({408, 425, 429, 500, 502, 503, 504, *range(520, 528)})
"""The statuses after which a chat call is sent again."""
LONGEST_WAIT: Final = 60.0
"""The longest wait, in seconds, that the service can ask for and get."""


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """When a chat call is sent again, and after how long.

    Attributes:
        max_retries: Attempts after the first.
        jitter: A random number from 0 to 1.
    """

    max_retries: int = 2
    jitter: Callable[[], float] = random.random

    def wait(self, error: errors.MiniToolAIError, attempt: int) -> float | None:
        """Say how many seconds to wait before the next attempt.

        Args:
            error: What became of this attempt.
            attempt: 0 for the first.

        Returns:
            Seconds, or `None` if there is to be no other attempt.
        """
        if attempt >= self.max_retries or not _again(error):
            return None
        if error.retry_after is not None:
            return error.retry_after if error.retry_after <= LONGEST_WAIT else None
        return 0.5 * 2.0 ** min(attempt, 4) * (0.5 + 0.5 * self.jitter())


def _again(error: errors.MiniToolAIError) -> bool:
    if isinstance(error, errors.APIConnectionError | errors.MalformedStreamError):
        return error.is_retryable
    return error.is_retryable and error.status_code in RETRIED


def send(call: Request, policy: RetryPolicy, clock: Clock) -> Workflow[Response]:
    """Send a chat call until it succeeds or there is no use in going on.

    Args:
        call: What to send.
        policy: When to try again.
        clock: The scale of the call's deadline.

    Returns:
        A reply with a status from 200 to 299.

    Raises:
        MiniToolAIError: What became of the last attempt.
    """
    attempt = 0
    while True:
        try:
            reply: Response = yield call
        except errors.MiniToolAIError as caught:
            error = caught
        else:
            if reply.status < 300:
                return reply
            error = error_of(reply)
        if _stale(error) and not call.new_connection and policy.max_retries:
            call = replace(call, new_connection=True)
            continue
        wait = policy.wait(error, attempt)
        if wait is None or _too_late(call, clock() + wait):
            raise error
        yield Sleep(wait)
        attempt += 1


def _stale(error: errors.MiniToolAIError) -> bool:
    return isinstance(error, errors.APIConnectionError) and error.stale


def _too_late(call: Request, then: float) -> bool:
    return call.deadline is not None and then >= call.deadline
