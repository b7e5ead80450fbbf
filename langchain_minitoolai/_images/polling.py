"""Waiting for a picture that is paid for: looks by the schedule, under a deadline."""

import warnings
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

from langchain_minitoolai import contract, errors
from langchain_minitoolai._http.effects import Request, Response, Sleep, Workflow
from langchain_minitoolai._http.retry import MAX_RETRY_AFTER, backoff
from langchain_minitoolai._images.job_status import History, Reading, read
from langchain_minitoolai._images.result import ImageJob
from langchain_minitoolai._images.schedule import bucket
from langchain_minitoolai._images.submission import Desk, guarded

LONGEST_LOOK: Final = 20.0
"""Seconds without progress before a look is given up."""
RESERVE: Final = 2.0
"""Seconds left for the last look before the deadline."""
SHORTEST: Final = 0.05

_SLOWEST: Final = 10.0
_UNSURE: Final = 10.0
_UNAUTHORIZED: Final = 401


def wait(job: ImageJob, desk: Desk, until: float) -> Workflow[ImageJob]:
    """Look for a job's picture until it is there.

    Args:
        job: What was paid for.
        desk: The surroundings.
        until: The deadline, on the shell's clock.

    Returns:
        The job, with its picture's address.

    Raises:
        ImageJobFailedError: If the service says that it failed.
        ImageJobTimeoutError: If it is not ready in time.
        ServiceUnavailableError: If the service can't be asked.
    """
    if job.url is not None:
        return job
    with desk.schedule.running():
        watch = _Watch(job, desk, until)
        while True:
            yield desk.tell("waiting", job, seconds=watch.age(), expected=watch.expected())
            gap, last = watch.gap()
            yield Sleep(gap)
            reading = yield from watch.look()
            if reading.url is not None:
                done = watch.done(reading.url)
                yield from guarded(desk.store.save(done))
                yield desk.tell("ready", done, seconds=watch.age())
                return done
            watch.check(reading, last=last)


class _Watch:
    """One job being watched."""

    def __init__(self, job: ImageJob, desk: Desk, until: float) -> None:
        self._job, self._desk, self._until = job, desk, until
        self._began = desk.clock()
        self._before = max(desk.wall() - job.submitted_at, 0.0)
        self._left = max(until - self._began, 0.0)
        self._kind = bucket(*(job.arguments[key] for key in ("model", "steps", "width", "height")))
        self._history = History()
        self._reading = Reading("pending", self._history)
        self._looks, self._slow = job.polls, 0
        self._first = True
        self._flight = self._before
        self._sent = 0.0
        self._told = 0.0
        self._numeric = self._authorized = False

    def age(self) -> float:
        """Give the seconds since the job was submitted."""
        return self._before + self._desk.clock() - self._began

    def expected(self) -> float | None:
        """Give the seconds that such jobs take, as far as is known."""
        return self._desk.schedule.expected(self._kind)

    def gap(self) -> tuple[float, bool]:
        """Give the seconds to the next look, and whether that is the last."""
        gap = max(self._regular(), self._held_back())
        left = self._until - self._desk.clock() - min(RESERVE, 0.1 * self._left)
        return (gap, False) if gap < left else (max(left, 0.0), True)

    def _regular(self) -> float:
        own = self._desk.poll_interval
        if own is None:
            return self._desk.schedule.next_gap(self.age(), self._kind, self._flight)
        return max(float(own(self.age()) if callable(own) else own), SHORTEST)

    def _held_back(self) -> float:
        """Give the seconds that the last answer asks for, or makes wise."""
        reading = self._reading
        if reading.retry_after is not None:
            return min(reading.retry_after, MAX_RETRY_AFTER)
        if reading.kind == "transient":
            return backoff(reading.history.troubles)
        return min(0.5 * 2.0 ** min(self._slow, 9), _SLOWEST) if reading.slow_down else 0.0

    def look(self) -> Workflow[Reading]:
        """Ask once; again at once in the other form if the first answer asks for that."""
        answer = yield from self._ask()
        if isinstance(answer, Response) and answer.status == _UNAUTHORIZED and not self._authorized:
            self._authorized = True
            answer = yield from self._ask()
        reading = self._read(answer)
        if reading.invalid_id and self._first and self._job.id.isdecimal():
            self._numeric = True
            reading = self._read((yield from self._ask()))
        self._first = False
        self._history, self._reading = reading.history, reading
        self._slow = self._slow + 1 if reading.slow_down else 0
        if reading.warning:
            warnings.warn(f"job {self._job.id}: {reading.warning}", stacklevel=2)
        return reading

    def _read(self, answer: Response | errors.MiniToolAIError) -> Reading:
        loopback = self._desk.loopback
        reading = read(answer, self.age(), self._history, loopback=loopback)
        secret = self._job.signature
        warning = reading.warning and reading.warning.replace(secret, "[secret]")
        return replace(reading, reason=reading.reason.replace(secret, "[secret]"), warning=warning)

    def _ask(self) -> Workflow[Response | errors.MiniToolAIError]:
        self._told = 0.0 if self._first else self._sent
        self._sent = self.age()
        self._looks += 1
        try:
            reply: Response = yield Request(
                contract.IMAGE_JOB_PATH,
                self._body(),
                timeout=min(self._desk.timeout, LONGEST_LOOK),
                deadline=self._until,
                send_auth=self._authorized,
            )
        except errors.MiniToolAIError as error:
            return error
        finally:
            self._flight = self.age() - self._sent
        return reply

    def _body(self) -> Mapping[str, Any]:
        number = int(self._job.id) if self._numeric else self._job.id
        return {"jobid": number, "signature": self._job.signature}

    def done(self, url: str) -> ImageJob:
        """Give the job with its picture, and remember how long it took."""
        seconds = (self._told + self._sent) / 2.0
        if self._sent - self._told < _UNSURE:
            self._desk.schedule.record(self._kind, seconds)
        told = {"url": url, "seconds": round(self._sent, 3), "polls": self._looks}
        return self._job.model_copy(update=told)

    def check(self, reading: Reading, *, last: bool) -> None:
        """Raise what ends the waiting, if something does."""
        job, again = self._job.id, self._job.call is not None
        if reading.kind == "failed":
            raise errors.ImageJobFailedError(
                f"The service says that the picture failed: {reading.reason}",
                maybe_charged=True,
                job=job,
                hint="Change the prompt before drawing again: that is charged anew.",
            )
        if reading.kind == "unavailable":
            raise errors.ServiceUnavailableError(
                f"The picture (job {job}) is ordered, but can't be asked for: {reading.reason}",
                retry_safe=again,
                maybe_charged=True,
                job=job,
                hint=_KEPT,
            )
        if last:
            raise errors.ImageJobTimeoutError(
                f"The picture (job {job}) was not ready after {self.age():.0f} s.",
                retry_safe=again,
                maybe_charged=True,
                job=job,
                hint=_KEPT,
            )


_KEPT: Final = "It is paid for and kept; resume it, and do not draw it again."
