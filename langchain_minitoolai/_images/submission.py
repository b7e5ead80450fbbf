"""Submission of an image job: exactly one charge, whatever the network does and whoever retries.

A submission is sent again only when it provably did not arrive. Whatever else goes wrong leaves
it unknown whether it was charged: then it is never repeated on its own, neither in this call nor
when the same call comes again, because the job store has a mark of it from before it was sent.

From its claim until its job is recorded, an attempt runs uninterrupted: it writes `claimed` to
the store, then `sending`, then the job. Each step replaces only its own claim, so a claim that
another process took over, however wrong their clocks are, can't be sent.
"""

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Final, TypeVar
from uuid import uuid4

from langchain_minitoolai import contract, errors
from langchain_minitoolai._http.effects import (
    Clock,
    Invoke,
    Request,
    Response,
    Sleep,
    Uninterrupted,
    Workflow,
)
from langchain_minitoolai._http.error_mapping import (
    error_from_response,
    parse_json_object,
    retry_after,
    summarize_body,
)
from langchain_minitoolai._http.retry import RetryPolicy, log_retry
from langchain_minitoolai._images.arguments import request_body
from langchain_minitoolai._images.job_store import (
    CLAIM_INTERVAL,
    StoreEffects,
    UnfinishedCalls,
    best_effort,
    checked,
    load_stored,
)
from langchain_minitoolai._redaction import tidy
from langchain_minitoolai.stores import Budget, CallRecord, Spending
from langchain_minitoolai.types import ImageJob, ImageProgress, Stage

T = TypeVar("T")

UNFINISHED: Final = UnfinishedCalls()
"""The calls of this process without an id that ended without their image."""

_SAVE_SECONDS: Final = 10.0  # from an answer until its job is recorded, at most
_IDLE_MARGIN: Final = 1.0  # so that a request without progress ends as such
_MAX_ID: Final = 200


@dataclass(slots=True, kw_only=True)
class JobContext:
    """Parameters of one job's workflows: the tool's options, the clocks and the store.

    Attributes:
        clock: Seconds on the client's monotonic scale.
        wall_clock: Seconds since 1970.
        total_timeout: Seconds for submitting, waiting and downloading together.
        store: Where jobs are kept.
        on_progress: Builds the effect that reports progress.
        call_key: The call's key in the job store, where the call has an id.
        rate_limit: Checks that an image can be saved, and waits until one more may be ordered.
        budget: What may be spent, and where it is counted.
        save_to: The directory to save the image in.
        keep_bytes: Whether the image's bytes are wanted in memory.
        timeout: Seconds without progress, for one request.
        max_retries: Attempts after the first, where that is safe.
        loopback: Whether the service is on loopback.
        poll_interval: In place of the schedule: seconds, or a function of the seconds gone.
        jitter: A random number from 0 to 1.
        deadline: When `total_timeout` is over, on the clock.
        claim_key: The key of the call's claim in the job store.
    """

    clock: Clock
    wall_clock: Clock
    total_timeout: float
    store: StoreEffects
    on_progress: Callable[[ImageProgress], Invoke]
    call_key: str | None = None
    rate_limit: Invoke | None = None
    budget: Budget = field(default_factory=Budget)
    save_to: Path | None = None
    keep_bytes: bool = False
    timeout: float = 60.0
    max_retries: int = 2
    loopback: bool = False
    poll_interval: float | Callable[[float], float] | None = None
    jitter: Callable[[], float] = random.random
    deadline: float = field(init=False)
    claim_key: str = field(init=False)
    _submitted: float | None = field(init=False, default=None)

    def __post_init__(self) -> None:
        """Start the total timeout."""
        self.deadline = self.clock() + self.total_timeout
        self.claim_key = self.call_key or f"minitoolai-call-{uuid4().hex}"

    def remaining(self) -> float:
        """Return the seconds until the deadline."""
        return self.deadline - self.clock()

    def request_timeout(self) -> float:
        """Return the seconds that a submitting request may take."""
        return min(self.timeout + _IDLE_MARGIN, max(self.remaining(), 0.0))

    def elapsed(self, job: ImageJob) -> float:
        """Return the seconds since the job was submitted; within a call they never decrease."""
        if self._submitted is None:
            self._submitted = self.clock() - max(self.wall_clock() - job.submitted_at, 0.0)
        return self.clock() - self._submitted

    def report(
        self,
        stage: Stage,
        job: ImageJob,
        *,
        expected: float | None = None,
        path: str | None = None,
    ) -> Invoke:
        """Build the effect that reports a job's progress."""
        return self.on_progress(
            ImageProgress(
                stage=stage,
                job_id=job.id,
                tool_call_id=None,
                seconds=self.elapsed(job),
                expected=expected,
                url=job.url,
                path=path,
            )
        )


def submit(arguments: Mapping[str, Any], context: JobContext) -> Workflow[ImageJob]:
    """Submit a job, or return the job that this very call submitted before.

    Args:
        arguments: Validated, by the tool's names.
        context: The job's context.

    Raises:
        MiniToolAIError: If there is no job; `maybe_charged` says whether there may be one.
    """
    policy, attempt, limited = RetryPolicy(context.max_retries, context.jitter), 0, False
    waiter = _Waiter(context)
    while True:
        found = yield from load_stored(context.claim_key, context.store)
        if found is not None and found.job is not None:
            return found.job
        if found is not None and not found.is_abandoned:
            yield waiter.wait_for(found)
            continue
        if context.rate_limit is not None and not limited:
            began = context.clock()
            yield context.rate_limit
            context.deadline += context.clock() - began  # this wait does not count, others do
            limited = True
        place = partial(_attempt, arguments, context, found.token if found else "")
        outcome: ImageJob | errors.MiniToolAIError | None = yield Uninterrupted(place)
        if isinstance(outcome, ImageJob):
            yield context.report("submitted", outcome)
            return outcome
        if outcome is None:
            yield waiter.wait()
            continue
        delay = policy.next_delay(outcome, attempt) if outcome.is_retryable else None
        if delay is None or delay >= context.remaining():
            raise outcome
        attempt += 1
        log_retry(outcome, attempt, delay)
        yield Sleep(delay)


def take_up_unfinished(workflow: Workflow[T], same: Any, context: JobContext) -> Workflow[T]:
    """Run the workflow of a call without an id under the key of an equal call that failed.

    Args:
        workflow: It submits with the context, and perhaps waits for the image.
        same: What equal calls have in common.
        context: The job's context.
    """
    now, limit = context.clock(), context.total_timeout
    context.claim_key, ended = UNFINISHED.take(same, now, limit)
    is_over = False
    try:
        result = yield from workflow
        is_over = True
    except errors.ImageJobFailedError:
        is_over = True
        raise
    except errors.SubmissionUnknownError:
        now = context.clock() if ended is None else ended
        raise
    except BaseException:
        now = context.clock()
        raise
    finally:
        if not is_over:
            UNFINISHED.put(same, context.claim_key, now)
    return result


class _Waiter:
    """The wait for whoever else submits the same call, or holds what is left of the budget."""

    def __init__(self, context: JobContext) -> None:
        self._context = context
        self._seen: tuple[str, str] | None = None
        self._since = 0.0

    def wait_for(self, found: CallRecord) -> Sleep:
        """Build the wait for another's claim.

        Raises:
            SubmissionUnknownError: If its request can't be answered any more.
            ImageJobTimeoutError: At the deadline.
        """
        now, seen = self._context.clock(), (found.token, found.state)
        if seen != self._seen:
            self._seen, self._since = seen, now
        # The store's clock may have started anew; how long the claim was watched is certain.
        age = max(found.age, now - self._since)
        if found.state == "sending" and age >= found.limit:
            raise unknown_error("an earlier attempt of this call ended without an answer")
        return self.wait()

    def wait(self) -> Sleep:
        """Build the wait until the store is read again.

        Raises:
            ImageJobTimeoutError: At the deadline.
        """
        if self._context.remaining() <= 0:
            raise errors.ImageJobTimeoutError(
                "The same call is still being submitted elsewhere.",
                retry_safe=True,
                maybe_charged=True,
                hint="Repeat the same call later; it is not charged twice.",
            )
        return Sleep(CLAIM_INTERVAL)


def _attempt(
    arguments: Mapping[str, Any],
    context: JobContext,
    replaces: str,
    is_cancelled: Callable[[], bool],
) -> Workflow[ImageJob | errors.MiniToolAIError | None]:
    """Claim the call, reserve its price, send it once, and record what became of it.

    Returns:
        The job; or the error of a request that did not arrive; or `None` if others are to be
        waited for.
    """
    key, token, store = context.claim_key, uuid4().hex, context.store
    claim: CallRecord = yield from checked(store.claim(key, token, replaces), store)
    if claim.token != token:
        return None
    outcome: ImageJob | errors.MiniToolAIError | None = None
    is_refused = False
    try:
        if (yield from _prepare(token, context, is_cancelled)):
            outcome = yield from _send(arguments, context)
    except errors.MiniToolAIError as error:
        outcome, is_refused = error, True
    if isinstance(outcome, ImageJob):
        yield from best_effort(store.save(outcome, key, token), f"image job {outcome.id}")
        yield from _settle(token, context, charged=True)
        return outcome
    if outcome is not None and outcome.maybe_charged:
        yield from best_effort(store.mark_sending(key, token, 0.0), "that a call was lost")
    else:
        yield from best_effort(store.release(key, token), "that a call was not charged")
        yield from _settle(token, context, charged=False)
    if outcome is not None and is_refused:
        raise outcome
    return outcome


def _settle(token: str, context: JobContext, *, charged: bool) -> Workflow[None]:
    what = f"the cost of an image in the budget scope {context.budget.scope!r}"
    effect = context.store.settle(context.budget.scope, token, charged=charged)
    yield from best_effort(effect, what if charged else f"that {what} was given back")


def _prepare(token: str, context: JobContext, is_cancelled: Callable[[], bool]) -> Workflow[bool]:
    """Reserve the price and mark the call as being sent; return whether it is to be sent.

    Raises:
        ImageBudgetError: If the budget is spent.
        ImageRequestError: If the store fails, or the call was cancelled.
    """
    key, store, budget = context.claim_key, context.store, context.budget
    granted = yield from checked(store.reserve(budget, key, token), store)
    if granted == "refused":
        raise _budget_error(budget, (yield from checked(store.spending(budget.scope), store)))
    if granted == "wait":
        return False
    _raise_if(is_cancelled)
    limit = context.request_timeout() + _SAVE_SECONDS
    owned: bool = yield from checked(store.mark_sending(key, token, limit), store)
    _raise_if(is_cancelled)
    return owned


def _raise_if(is_cancelled: Callable[[], bool]) -> None:
    if is_cancelled():
        raise errors.ImageRequestError("The call was cancelled before anything was sent.")


def _send(
    arguments: Mapping[str, Any], context: JobContext
) -> Workflow[ImageJob | errors.MiniToolAIError]:
    """Send the request once; return the job, or the error of a request that did not arrive.

    Raises:
        MiniToolAIError: If the service refused it, or it is unknown whether it was taken.
    """
    sent_at = context.wall_clock()
    try:
        response: Response = yield Request(
            contract.IMAGE_PATH,
            request_body(arguments),
            timeout=context.timeout,
            deadline=context.clock() + context.request_timeout(),
            new_connection=True,
        )
    except errors.InvalidInputError:
        raise  # such as a closed client: nothing was sent
    except errors.MiniToolAIError as caught:
        if caught.maybe_sent:
            raise unknown_error(str(caught)) from None
        return _unsent_error(caught)
    if was_rejected(response):
        error = error_from_response(response)
        error.maybe_charged = False
        return error
    return parse_submission(response, arguments, context.call_key, sent_at)


def was_rejected(response: Response) -> bool:
    """Return whether a response proves that the service did not take the request."""
    return response.status == 429 or (
        response.status == 503 and retry_after(response.headers) is not None
    )


def parse_submission(
    response: Response, arguments: Mapping[str, Any], call_key: str | None, sent_at: float
) -> ImageJob:
    """Read the job from a submission's response.

    Raises:
        MiniToolAIError: If there is none; `maybe_charged` says whether there may be one.
    """
    status, is_page = response.status, response.body.lstrip()[:1] == b"<"
    if 400 <= status < 500 and status != 408 and not is_page:
        raise _refusal(response)
    if status >= 300 or is_page:
        what = "a redirect" if status < 400 and not is_page else f"HTTP {status}"
        raise unknown_error(f"the service answered with {what}: {summarize_body(response.body)}")
    payload = parse_json_object(response.body) or {}
    job_id, signature = _parse_id(payload.get("jobid")), _parse_id(payload.get("signature"))
    if job_id and signature:
        return ImageJob(
            id=job_id,
            signature=signature,
            arguments=dict(arguments),
            submitted_at=sent_at,
            call_key=call_key,
        )
    if not job_id and str(payload.get("status", "")).lower() in ("error", "failed", "failure"):
        reason = payload.get("message") or payload.get("error")
        raise _refused_error(tidy(reason) if isinstance(reason, str) else "no reason given")
    raise unknown_error("the service answered without a job id or without its signature")


def _refusal(response: Response) -> errors.MiniToolAIError:
    error = error_from_response(response)
    if not isinstance(error, errors.BadRequestError | errors.ServiceError):
        return error
    return _refused_error(
        str(error), status_code=response.status, code=error.code, request_id=error.request_id
    )


def _parse_id(value: object) -> str | None:
    """Read an id: a text, or a whole number."""
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return None
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    text = str(value).strip()
    return text if 0 < len(text) <= _MAX_ID and text.isprintable() else None


def unknown_error(reason: str) -> errors.SubmissionUnknownError:
    """Build the error of an image that may have been charged."""
    return errors.SubmissionUnknownError(
        f"The image may have been ordered and charged, but no job came back: {reason}",
        maybe_charged=True,
        hint="It is not ordered again by itself. Ask the user before drawing it again.",
    )


def _unsent_error(caught: errors.MiniToolAIError) -> errors.ServiceUnavailableError:
    return errors.ServiceUnavailableError(
        f"The image could not be ordered: {caught}. Nothing was charged.",
        retry_safe=caught.is_retryable,
        hint="Try again later." if caught.is_retryable else "",
    )


def _refused_error(reason: str, **facts: Any) -> errors.ImageRequestError:
    return errors.ImageRequestError(
        f"The service refused the image: {reason}. Nothing was charged.",
        hint="Change the prompt or the parameters.",
        **facts,
    )


def _budget_error(budget: Budget, spending: Spending) -> errors.ImageBudgetError:
    limit = f"max_cost_usd={budget.max_cost_usd}"
    images = spending.images + spending.reserved_images
    if budget.max_images is not None and images >= budget.max_images:
        limit = f"max_images={budget.max_images}"
    scope = "" if budget.scope == Budget().scope else f" in scope {budget.scope!r}"
    return errors.ImageBudgetError(
        f"The budget of this tool is spent ({limit}{scope}). Nothing was sent or charged.",
        hint="Go on without another image.",
    )
