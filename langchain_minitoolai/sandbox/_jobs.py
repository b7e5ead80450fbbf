"""Image jobs: queued, processing, done, each after its own time."""

import hashlib
import random
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from threading import Lock
from typing import Any, Final, TypeAlias

from langchain_minitoolai import contract
from langchain_minitoolai.sandbox.faults import JobOutcome

JobSeconds: TypeAlias = float | Callable[[Mapping[str, Any]], float] | None
"""Seconds that a job takes: a number, a function of its parameters, or drawn when `None`."""

_QUEUED: Final = 0.25
"""The share of a job's time that it waits in the queue."""
_FIRST: Final = 10_000_000
_DEFAULTS: Final[dict[str, Any]] = {
    "negativePrompt": "",
    "scheduler": contract.DEFAULT_SCHEDULER,
    "steps": int(contract.STEPS.default),
    "cfgScale": contract.CFG_SCALE.default,
    "width": int(contract.IMAGE_SIZE.default),
    "height": int(contract.IMAGE_SIZE.default),
}


@dataclass(frozen=True, slots=True)
class Job:
    """One submitted image; its parameters are all that the image depends on."""

    number: int
    signature: str
    parameters: Mapping[str, Any]
    submitted: float
    seconds: float
    outcome: JobOutcome | None = None

    @property
    def file(self) -> str:
        """The name under which the image is served."""
        return hashlib.sha256(f"{self.signature}/file".encode()).hexdigest()[:20] + ".png"


def full(body: Mapping[str, Any]) -> dict[str, Any]:
    """Fill in the service's defaults where a submission says nothing or null."""
    return {**_DEFAULTS, **{name: value for name, value in body.items() if value is not None}}


def drawn_seconds(parameters: Mapping[str, Any], seed: int, number: int) -> float:
    """Draw how long a job takes: 1 to 4 seconds, log-normal, more for more steps and pixels."""
    kind = "{model}/{steps}/{width}x{height}".format(**parameters)
    megapixels = parameters["width"] * parameters["height"] / 2**20
    speed = random.Random(parameters["model"]).uniform(0.8, 1.25)  # noqa: S311 - a simulation
    median = speed * (0.9 + 0.25 * parameters["steps"] * megapixels)
    spread = random.Random(f"{seed}/{kind}/{number}").lognormvariate(0, 0.2)  # noqa: S311
    return float(min(max(median * spread, 1.0), 4.0))


class JobTable:
    """Every job of one service; safe to use from several threads."""

    def __init__(
        self, seed: int, seconds: JobSeconds, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._seed = seed
        self._seconds = seconds
        self._clock = clock
        self._lock = Lock()
        self._jobs: dict[str, Job] = {}

    def submit(self, body: Mapping[str, Any], outcome: JobOutcome | None = None) -> Job:
        """Take a job; its number and signature follow from the seed and its place in line."""
        parameters = full(body)
        with self._lock:
            count = len(self._jobs)
            number = _FIRST + count
            token = hashlib.sha256(f"{self._seed}/{number}".encode()).hexdigest()[:12]
            seconds = self._takes(parameters, count)
            job = Job(number, token, parameters, self._clock(), seconds, outcome)
            self._jobs[str(number)] = job
        return job

    def status(self, jobid: str, signature: str, files: str) -> tuple[int, dict[str, Any]]:
        """Give a poll's HTTP status and answer; `files` is the address of images."""
        job = self._jobs.get(jobid)
        if job is None or job.signature != signature:
            return 404, _state("error", "job not found")
        age = self._clock() - job.submitted
        if age < job.seconds * _QUEUED:
            return 200, _state("queued", "in queue")
        if age < job.seconds or (job.outcome and job.outcome.kind == "never"):
            return 200, _state("processing", "in progress")
        if job.outcome is None:
            return 200, _state("success", "success", f"{files}/{job.file}")
        if job.outcome.kind == "vanishes":
            return job.outcome.status, _state("error", "job not found")
        return job.outcome.status, dict(job.outcome.answer)

    def finished(self, file: str) -> Job | None:
        """Find the finished job whose image has this name."""
        with self._lock:
            jobs = list(self._jobs.values())
        found = next((job for job in jobs if job.file == file and job.outcome is None), None)
        late = found and self._clock() - found.submitted >= found.seconds
        return found if late else None

    def _takes(self, parameters: Mapping[str, Any], count: int) -> float:
        if self._seconds is None:
            return drawn_seconds(parameters, self._seed, count)
        return float(self._seconds(parameters) if callable(self._seconds) else self._seconds)


def _state(status: str, message: str, image_url: str | None = None) -> dict[str, Any]:
    return {"status": status, "image_url": image_url, "message": message}
