"""Submission of an image job: exactly one charge, whatever the network does and whoever retries.

A submission is sent again only when it provably did not arrive. Whatever else goes wrong leaves
it unknown whether it was charged: then it is never repeated on its own, neither in this call nor
when the same call comes again, because the job store has a mark of it from before it was sent.
"""

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from langchain_minitoolai import contract, errors
from langchain_minitoolai._http.effects import Clock, Invoke, Request, Response, Sleep, Workflow
from langchain_minitoolai._http.error_mapping import (
    error_from_response,
    parse_json_object,
    retry_after,
    summarize_body,
)
from langchain_minitoolai._http.retry import RetryPolicy, log_retry
from langchain_minitoolai._images.arguments import request_body
from langchain_minitoolai._images.job_store import InFlightCalls, JobStore, Quota, StoredCall
from langchain_minitoolai._redaction import safe_warn, tidy
from langchain_minitoolai.types import ImageJob, ImageProgress, Stage

IN_FLIGHT: Final = InFlightCalls()

_CLAIM_INTERVAL: Final = 0.05
_MAX_ID: Final = 200
_TYPED_STATUS: Final = (401, 402, 403, 404)


@dataclass(slots=True, kw_only=True)
class JobContext:
    """Parameters of one job's workflows: the tool's options, the clocks and the store.

    Attributes:
        clock: Seconds on the client's monotonic scale.
        wall_clock: Seconds since 1970.
        total_timeout: Seconds for submitting, waiting and downloading together.
        store: Where jobs are kept.
        quota: The images ordered so far.
        on_progress: Builds the effect that reports progress.
        call_key: The call's key in the job store, where the call has an id.
        rate_limit: Waits until one more image may be ordered.
        max_images: How many images the tool may order.
        max_cost_usd: For how much.
        save_to: The directory to save the image in.
        keep_bytes: Whether the image's bytes are wanted in memory.
        timeout: Seconds without progress, for one request.
        max_retries: Attempts after the first, where that is safe.
        loopback: Whether the service is on loopback.
        poll_interval: In place of the schedule: seconds, or a function of the seconds gone.
        jitter: A random number from 0 to 1.
        deadline: When `total_timeout` is over, on the clock.
    """

    clock: Clock
    wall_clock: Clock
    total_timeout: float
    store: JobStore
    quota: Quota
    on_progress: Callable[[ImageProgress], Invoke]
    call_key: str | None = None
    rate_limit: Invoke | None = None
    max_images: int | None = None
    max_cost_usd: float | None = None
    save_to: Path | None = None
    keep_bytes: bool = False
    timeout: float = 60.0
    max_retries: int = 2
    loopback: bool = False
    poll_interval: float | Callable[[float], float] | None = None
    jitter: Callable[[], float] = random.random
    deadline: float = field(init=False)
    _submitted: float | None = field(init=False, default=None)

    def __post_init__(self) -> None:
        """Start the total timeout."""
        self.restart_timeout()

    def restart_timeout(self) -> None:
        """Let the total timeout count from now."""
        self.deadline = self.clock() + self.total_timeout

    def remaining(self) -> float:
        """Return the seconds until the deadline."""
        return self.deadline - self.clock()

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
    key = context.call_key
    if key is None:
        return (yield from _submit_once(arguments, context))
    yield from _claim(key, context)
    try:
        stored = yield from load_stored(key, context.store)
        if isinstance(stored, ImageJob):
            return stored
        if stored is not None:
            raise unknown_error("an earlier attempt of this call ended without an answer")
        return (yield from _submit_once(arguments, context))
    finally:
        IN_FLIGHT.release(key)


def _claim(key: str, context: JobContext) -> Workflow[None]:
    """Wait until nobody else in this process submits the call."""
    while not IN_FLIGHT.claim(key):
        if context.remaining() <= 0:
            raise errors.ImageJobTimeoutError(
                "The same call is still being submitted elsewhere in this process.",
                retry_safe=True,
                maybe_charged=True,
                hint="Repeat the same call later; it is not charged twice.",
            )
        yield Sleep(_CLAIM_INTERVAL)


def load_stored(key: str, store: JobStore) -> Workflow[StoredCall]:
    """Load a key from the job store.

    Raises:
        ImageRequestError: If the store fails.
    """
    try:
        stored: StoredCall = yield store.load(key)
    except Exception as error:  # noqa: BLE001 - any store may be in use
        raise _store_error(error) from None
    return stored


def best_effort(effect: Invoke) -> Workflow[None]:
    """Write to the job store; a failure is only a warning, for what was paid for goes on."""
    try:
        yield effect
    except Exception as error:  # noqa: BLE001 - any store may be in use
        reason = tidy(f"{type(error).__name__}: {error}")
        safe_warn(f"the job store can't be written ({reason})")


def _submit_once(arguments: Mapping[str, Any], context: JobContext) -> Workflow[ImageJob]:
    """Spend the money, with a mark in the store from before that until the job is there."""
    yield from _reserve(context)
    try:
        job = yield from _send(arguments, context)
    except errors.MiniToolAIError as error:
        if not error.maybe_charged:
            context.quota.release()
            if context.call_key is not None:
                yield from best_effort(context.store.unmark(context.call_key))
        raise
    yield from best_effort(context.store.save(job))
    yield context.report("submitted", job)
    return job


def _reserve(context: JobContext) -> Workflow[None]:
    """Take what is needed before the money is spent: budget, rate limit, mark in the store."""
    context.quota.reserve(context.max_images, context.max_cost_usd)
    try:
        if context.rate_limit is not None:
            yield context.rate_limit
            context.restart_timeout()
        if context.call_key is not None:
            yield from _mark(context.call_key, context.store)
    except BaseException:
        context.quota.release()
        raise


def _mark(key: str, store: JobStore) -> Workflow[None]:
    try:
        yield store.mark(key)
    except Exception as error:  # noqa: BLE001 - any store may be in use
        yield from best_effort(store.unmark(key))
        raise _store_error(error) from None


def _send(arguments: Mapping[str, Any], context: JobContext) -> Workflow[ImageJob]:
    request = Request(
        contract.IMAGE_PATH,
        request_body(arguments),
        timeout=context.timeout,
        deadline=context.deadline,
        new_connection=True,
    )
    policy, attempt = RetryPolicy(context.max_retries, context.jitter), 0
    while True:
        sent_at = context.wall_clock()
        error: errors.MiniToolAIError
        try:
            response: Response = yield request
        except errors.InvalidInputError:
            raise  # such as a closed client: nothing was sent
        except errors.MiniToolAIError as caught:
            if caught.maybe_sent:
                raise unknown_error(str(caught)) from None
            error = _unsent_error(caught)
        else:
            if not was_rejected(response):
                return parse_submission(response, arguments, context.call_key, sent_at)
            error = error_from_response(response)
            error.maybe_charged = False
        delay = policy.next_delay(error, attempt) if error.is_retryable else None
        if delay is None or delay >= context.remaining():
            raise error
        attempt += 1
        log_retry(error, attempt, delay)
        yield Sleep(delay)


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
    if response.status in _TYPED_STATUS:
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


def _store_error(error: Exception) -> errors.ImageRequestError:
    reason = tidy(f"{type(error).__name__}: {error}")
    return errors.ImageRequestError(
        f"The job store can't be used ({reason}), so nothing was sent or charged.",
        retry_safe=True,
        hint="Without the store a second charge could not be ruled out.",
    )
