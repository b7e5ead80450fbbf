"""Polling of an image job: when to poll next, and the wait for the image under a deadline."""

import math
import threading
from collections import deque
from collections.abc import Callable, Hashable, Mapping
from dataclasses import replace
from typing import Any, Final

from pydantic import ValidationError

from langchain_minitoolai import contract, errors
from langchain_minitoolai._http.effects import Request, Response, Sleep, Workflow
from langchain_minitoolai._http.pool import reset_after_fork
from langchain_minitoolai._images.arguments import DEFAULTS, clip
from langchain_minitoolai._images.job_status import JobStatus, PollHistory, read_status
from langchain_minitoolai._images.job_store import best_effort
from langchain_minitoolai._images.submission import JobContext
from langchain_minitoolai._redaction import safe_warn, tidy
from langchain_minitoolai.types import GeneratedImage, ImageJob

POLL_TIMEOUT: Final = 20.0
"""Seconds without progress before a poll is given up."""
FINAL_POLL_RESERVE: Final = 2.0
"""Seconds left for the last poll before the deadline."""
MIN_INTERVAL: Final = 0.05
"""The shortest `poll_interval`, in seconds."""

_MAX_UNCERTAINTY: Final = 10.0
_SIZE_STEP: Final = 256 * 1024
_RESUMABLE: Final = "It is paid for and kept; resume it, and do not draw it again."


class Schedule:
    """Polling schedule, learnt from earlier jobs of the same kind; thread-safe.

    The first poll comes when the quickest of the last jobs would be ready, or after 2 s while
    fewer than 4 are known. The next ones come when the next eighth of those still possible would
    be, and at the latest, as after the slowest, when the job has grown older by an eighth.
    """

    HISTORY, TRUSTED = 24, 4
    QUANTILE = GROWTH = 0.12
    FIRST = 2.0  # without history
    SHORTEST, LONGEST, LONGEST_FIRST = 0.25, 3.0, 6.0

    def __init__(self) -> None:
        """Start without history."""
        self._durations: dict[Hashable, deque[float]] = {}
        self.reset_after_fork()
        reset_after_fork(self)

    def reset_after_fork(self) -> None:
        """Renew the lock, which another thread may have held."""
        self._lock = threading.Lock()

    def next_gap(self, elapsed: float, key: Hashable, latency: float = 0.0) -> float:
        """Return the seconds to wait before the next poll.

        Args:
            elapsed: Seconds since the job was submitted.
            key: The kind of job, as from `job_kind`.
            latency: Seconds that the last request took: what it reported is older by that much.
        """
        age = max(elapsed - latency, 0.0)
        with self._lock:
            known = sorted(self._durations.get(key, ()))
        possible = [each for each in known if each > age]
        gap = self.GROWTH * age if age else self.FIRST
        if possible:
            due = possible[int(self.QUANTILE * len(possible))] - age
            gap = due if len(possible) == len(known) >= self.TRUSTED else min(due, gap)
        return min(max(gap - latency, self.SHORTEST), self.LONGEST if age else self.LONGEST_FIRST)

    def record(self, key: Hashable, seconds: float) -> None:
        """Remember how long a job took."""
        if not 0.0 < seconds < math.inf:
            return
        with self._lock:
            self._durations.setdefault(key, deque(maxlen=self.HISTORY)).append(seconds)

    def expected(self, key: Hashable) -> float | None:
        """Return the median duration of the jobs remembered, or `None` without history."""
        with self._lock:
            known = sorted(self._durations.get(key, ()))
        return known[len(known) // 2] if known else None


SCHEDULE: Final = Schedule()
"""The schedule that this process shares."""


def job_kind(arguments: Mapping[str, Any]) -> Hashable:
    """Name the jobs that take about as long: one model, one step count, about one area."""
    area = arguments["width"] * arguments["height"]
    return (arguments["model"], arguments["steps"], (area + _SIZE_STEP // 2) // _SIZE_STEP)


def checked_job(job: ImageJob) -> ImageJob:
    """Return a job whose arguments are those of an image.

    Raises:
        InvalidInputError: If they are not, or it is no job.
    """
    try:
        image = GeneratedImage.from_job(job, url=job.url or "")
    except (AttributeError, TypeError, ValidationError):
        shown = clip(repr(job), 80)
        raise errors.InvalidInputError(
            f"job is {shown}; allowed: an ImageJob of this tool"
        ) from None
    arguments = image.model_dump(include={"prompt", *DEFAULTS})
    return job.model_copy(update={"arguments": {**job.arguments, **arguments}})


def wait_until_ready(
    job: ImageJob, context: JobContext, schedule: Schedule = SCHEDULE
) -> Workflow[ImageJob]:
    """Poll a job until its image is ready.

    Returns:
        The job, with its image's address.

    Raises:
        ImageJobFailedError: If the service reports that it failed.
        ImageJobTimeoutError: If it is not ready by the context's deadline.
        ServiceUnavailableError: If the service can't be asked.
    """
    if job.url is not None:
        return job
    poller = JobPoller(job, context, schedule)
    while True:
        yield context.report("waiting", job, expected=poller.expected())
        delay, is_last = poller.next_delay()
        yield Sleep(delay)
        status = yield from poller.poll()
        if status.url is not None:
            ready = poller.ready_job(status.url)
            yield from best_effort(context.store.save(ready))
            yield context.report("ready", ready)
            return ready
        poller.raise_if_over(status, is_last=is_last)


def _call_interval(poll_interval: Callable[[float], float], age: float) -> float | None:
    """Ask a user's function; where it fails, the schedule takes its place."""
    try:
        seconds = float(poll_interval(age))
    except Exception as error:  # noqa: BLE001 - nothing paid for is lost to it
        safe_warn(f"poll_interval failed ({tidy(f'{type(error).__name__}: {error}')})")
        return None
    return seconds if seconds >= 0.0 else None


class JobPoller:
    """The polls of one job."""

    def __init__(self, job: ImageJob, context: JobContext, schedule: Schedule) -> None:
        """Start with no poll sent."""
        self._job, self._context, self._schedule = job, context, schedule
        self._total = max(context.remaining(), 0.0)
        self._kind = job_kind(job.arguments)
        self._status = JobStatus("pending", PollHistory())
        self._polls = job.polls
        self._first = True
        self._latency = context.elapsed(job)
        self._previous_at = self._sent_at = 0.0
        self._id_as_number = self._send_auth = False

    def expected(self) -> float | None:
        """Return the seconds that such jobs take, as far as is known."""
        return self._schedule.expected(self._kind)

    def next_delay(self) -> tuple[float, bool]:
        """Return the seconds to the next poll, and whether that is the last."""
        delay = max(self._interval(), self._status.delay)
        left = self._context.remaining() - min(FINAL_POLL_RESERVE, 0.1 * self._total)
        return (delay, False) if delay < left else (max(left, 0.0), True)

    def _interval(self) -> float:
        own, age = self._context.poll_interval, self._context.elapsed(self._job)
        seconds = own if own is None or isinstance(own, float) else _call_interval(own, age)
        if seconds is not None:
            return max(seconds, MIN_INTERVAL)
        # Jobs that were submitted at once are not polled at once.
        jitter = 0.95 + 0.1 * self._context.jitter()
        return self._schedule.next_gap(age, self._kind, self._latency) * jitter

    def poll(self) -> Workflow[JobStatus]:
        """Poll once; again at once in the other form if the first response asks for that."""
        outcome = yield from self._request()
        if isinstance(outcome, Response) and outcome.status == 401 and not self._send_auth:
            self._send_auth = True
            outcome = yield from self._request()
        status = self._read(outcome)
        if status.invalid_id and self._first and self._job.id.isdecimal():
            self._id_as_number = True
            status = self._read((yield from self._request()))
        self._first = False
        self._status = status
        if status.warning:
            safe_warn(f"job {self._job.id}: {status.warning}")
        return status

    def _read(self, outcome: Response | errors.MiniToolAIError) -> JobStatus:
        age, loopback = self._context.elapsed(self._job), self._context.loopback
        status = read_status(outcome, age, self._status.history, loopback=loopback)
        secret = self._job.signature
        warning = status.warning and status.warning.replace(secret, "[secret]")
        return replace(status, reason=status.reason.replace(secret, "[secret]"), warning=warning)

    def _request(self) -> Workflow[Response | errors.MiniToolAIError]:
        self._previous_at = 0.0 if self._first else self._sent_at
        self._sent_at = self._context.elapsed(self._job)
        self._polls += 1
        job_id = int(self._job.id) if self._id_as_number else self._job.id
        try:
            response: Response = yield Request(
                contract.IMAGE_JOB_PATH,
                {"jobid": job_id, "signature": self._job.signature},
                timeout=min(self._context.timeout, POLL_TIMEOUT),
                deadline=self._context.deadline,
                send_auth=self._send_auth,
            )
        except errors.MiniToolAIError as error:
            return error
        finally:
            self._latency = self._context.elapsed(self._job) - self._sent_at
        return response

    def ready_job(self, url: str) -> ImageJob:
        """Return the job with its image's address, and remember how long it took."""
        if self._sent_at - self._previous_at < _MAX_UNCERTAINTY:
            self._schedule.record(self._kind, (self._previous_at + self._sent_at) / 2.0)
        known = {"url": url, "seconds": round(self._sent_at, 3), "polls": self._polls}
        return self._job.model_copy(update=known)

    def raise_if_over(self, status: JobStatus, *, is_last: bool) -> None:
        """Raise the error that ends the polling, if one does."""
        job_id = self._job.id
        if status.kind == "failed":
            raise errors.ImageJobFailedError(
                f"The service reports that the image failed: {status.reason}",
                maybe_charged=True,
                job_id=job_id,
                hint="Change the prompt before drawing again: that is charged anew.",
            )
        facts: dict[str, Any] = {
            "retry_safe": self._job.call_key is not None,
            "maybe_charged": True,
            "job_id": job_id,
            "hint": _RESUMABLE,
        }
        if status.kind == "unavailable":
            raise errors.ServiceUnavailableError(
                f"The image (job {job_id}) is ordered, but can't be asked for: {status.reason}",
                **facts,
            )
        if is_last:
            age = self._context.elapsed(self._job)
            when = f"after {age:.3g} s" if age >= 1.0 else "in the time that was left"
            raise errors.ImageJobTimeoutError(
                f"The image (job {job_id}) was not ready {when}.", **facts
            )
