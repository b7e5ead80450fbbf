"""Ordering a picture: exactly one charge, whatever the wire does and whoever calls again.

A submit is sent again only when it provably did not arrive. Whatever else goes wrong is an
uncertain submission, which is never repeated by itself: not in this call, and not when the same
call comes again, for the job store has a mark of it from before it was sent.
"""

import random
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from langchain_minitoolai import contract, errors
from langchain_minitoolai._http.effects import Clock, Invoke, Request, Response, Sleep, Workflow
from langchain_minitoolai._http.error_mapping import error_from_response, retry_after
from langchain_minitoolai._http.retry import MAX_RETRY_AFTER, backoff
from langchain_minitoolai._images.job_store import Claims, Found, JobStore
from langchain_minitoolai._images.result import ImageJob, ImageProgress, Stage
from langchain_minitoolai._images.schedule import Schedule
from langchain_minitoolai._images.spending import Spending
from langchain_minitoolai._images.submission_response import (
    job_of,
    no_store,
    not_taken,
    uncertain,
    unreached,
)

SCHEDULE: Final = Schedule()
"""What this process knows of how long jobs take."""
CLAIMS: Final = Claims()
"""Which calls this process is submitting."""


@dataclass(frozen=True, slots=True)
class Order:
    """A picture to be ordered.

    Attributes:
        arguments: By the tool's names.
        body: The request's body.
        call: The call's key in the job store, where the call has an id.
        seconds: For everything, from the moment it is paid for.
    """

    arguments: Mapping[str, Any]
    body: Mapping[str, Any]
    call: str | None
    seconds: float


class Placed(NamedTuple):
    """A job, and when everything must be over, on the shell's clock."""

    job: ImageJob
    until: float


@dataclass(frozen=True, slots=True)
class Desk:
    """What the flows need of their surroundings.

    Attributes:
        clock: Seconds on the shell's scale.
        wall: Seconds since 1970.
        store: Where jobs are kept.
        report: Makes the action that tells of progress.
        spending: What was ordered so far.
        admit: Waits until one more picture may be ordered.
        max_images: How many may be ordered.
        max_cost_usd: For how much.
        timeout: Seconds without progress, for one request.
        max_retries: Attempts after the first, where that is safe.
        loopback: Whether the service is on loopback.
        poll_interval: In place of the schedule: seconds, or a function of the seconds gone.
        schedule: When to look.
        jitter: A random number from 0 to 1.
    """

    clock: Clock
    wall: Clock
    store: JobStore
    report: Callable[[ImageProgress], Invoke]
    spending: Spending
    admit: Invoke | None = None
    max_images: int | None = None
    max_cost_usd: float | None = None
    timeout: float = 60.0
    max_retries: int = 2
    loopback: bool = False
    poll_interval: float | Callable[[float], float] | None = None
    schedule: Schedule = SCHEDULE
    jitter: Callable[[], float] = random.random

    def tell(
        self,
        stage: Stage,
        job: ImageJob,
        *,
        seconds: float = 0.0,
        expected: float | None = None,
        path: str | None = None,
    ) -> Invoke:
        """Make the action that tells how far a job is."""
        return self.report(
            ImageProgress(
                stage=stage,
                job=job.id,
                tool_call_id=None,
                seconds=seconds,
                expected=expected,
                url=job.url,
                path=path,
            )
        )


def submit(order: Order, desk: Desk) -> Workflow[Placed]:
    """Order a picture, or find the job that this very call has ordered before.

    Raises:
        MiniToolAIError: If there is no job; `maybe_charged` says whether there may be one.
    """
    if order.call is None:
        return (yield from _pay(order, desk))
    yield from CLAIMS.claim(order.call)
    try:
        found = yield from _stored(order.call, desk)
        if found.job is not None:
            return Placed(found.job, desk.clock() + order.seconds)
        if found.known:
            raise uncertain("an earlier attempt of this call ended without an answer")
        return (yield from _pay(order, desk))
    finally:
        CLAIMS.release(order.call)


def _stored(key: str, desk: Desk) -> Workflow[Found]:
    try:
        found: Found = yield desk.store.load(key)
    except Exception as error:  # noqa: BLE001 - any store may be in use
        raise no_store(error) from None
    return found


def _pay(order: Order, desk: Desk) -> Workflow[Placed]:
    """Spend the money, with a mark in the store from before that until the job is there."""
    desk.spending.reserve(desk.max_images, desk.max_cost_usd)
    if desk.admit is not None:
        yield desk.admit
    until = desk.clock() + order.seconds
    try:
        if order.call is not None:
            try:
                yield desk.store.mark(order.call)
            except Exception as error:  # noqa: BLE001 - any store may be in use
                raise no_store(error) from None
        job = yield from _send(order, desk, until)
    except errors.MiniToolAIError as error:
        if not error.maybe_charged:
            desk.spending.give_back()
            if order.call is not None:
                yield from guarded(desk.store.unmark(order.call))
        raise
    yield from guarded(desk.store.save(job))
    yield desk.tell("submitted", job)
    return Placed(job, until)


def guarded(action: Invoke) -> Workflow[None]:
    """Write to the store; what was paid for goes on even if that fails."""
    try:
        yield action
    except Exception as error:  # noqa: BLE001 - any store may be in use
        said = errors.tidy(f"{type(error).__name__}: {error}")
        warnings.warn(f"the job store can't be written ({said})", stacklevel=2)


def _send(order: Order, desk: Desk, until: float) -> Workflow[ImageJob]:
    attempt = 0
    error: errors.MiniToolAIError
    while True:
        sent_at = desk.wall()
        call = Request(
            contract.IMAGE_PATH,
            order.body,
            timeout=desk.timeout,
            deadline=until,
            new_connection=True,
        )
        try:
            reply: Response = yield call
        except errors.MiniToolAIError as caught:
            if caught.maybe_sent:
                raise uncertain(str(caught)) from None
            asked, error = None, unreached(str(caught), again=caught.is_retryable)
        else:
            if not not_taken(reply):
                return job_of(reply, order.arguments, order.call, sent_at)
            asked, error = retry_after(reply.headers), error_from_response(reply)
            error.maybe_charged = False
        wait = backoff(attempt, desk.jitter()) if asked is None else asked
        late = desk.clock() + wait >= until
        if attempt >= desk.max_retries or wait > MAX_RETRY_AFTER or late or not error.is_retryable:
            raise error
        yield Sleep(wait)
        attempt += 1
