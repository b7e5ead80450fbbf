"""Simulation of polling, without network or clock: seven workloads, and what a schedule costs.

A job is taken when half a round trip has passed since it was submitted, and takes a duration drawn
from its workload. A poll shows the job's state at half of its own round trip: one sent `s` seconds
after the submission finds the image if `s >= duration`, and its answer is there at `s + latency`.
"""

import math
import random
from collections.abc import Callable, Hashable
from typing import NamedTuple, Protocol, TypeAlias

Workload: TypeAlias = Callable[[random.Random, float], tuple[Hashable, float]]
"""From a source of chance and the share of jobs done, the kind of a job and its duration."""


class Schedule(Protocol):
    """What decides when to poll."""

    def next_gap(self, elapsed: float, key: Hashable, latency: float) -> float: ...
    def record(self, key: Hashable, seconds: float) -> None: ...


class Outcome(NamedTuple):
    """The mean number of requests of a job, and the mean delay of its image in seconds."""

    requests: float
    delay: float


def _log_normal(median: float, spread: float, key: Hashable = "one") -> Workload:
    return lambda chance, _: (key, median * math.exp(chance.gauss(0.0, spread)))


_MODELS = (_log_normal(3, 0.15, "a"), _log_normal(6, 0.25, "b"), _log_normal(9, 0.2, "c"))
_CLUSTERS = (_log_normal(3, 0.1), _log_normal(9, 0.1))
WORKLOADS: dict[str, Workload] = {
    "log-normal, tight": _log_normal(5, 0.15),
    "log-normal, wide": _log_normal(5, 0.6),
    "uniform, 2 to 20 s": lambda chance, _: ("one", chance.uniform(2, 20)),
    "warm and cold workers": lambda chance, done: chance.choice(_CLUSTERS)(chance, done),
    "slowing from 3 to 9 s": lambda chance, done: _log_normal(3 + 6 * done, 0.2)(chance, done),
    "2 s and a queue": lambda chance, _: ("one", 2 + chance.expovariate(1 / 3)),
    "three models": lambda chance, done: chance.choice(_MODELS)(chance, done),
}


def simulate(
    make: Callable[[], Schedule], latency: float, *, learn: bool, jobs: int = 60
) -> Outcome:
    """Poll the same jobs of every workload; without `learn`, each job has a new schedule."""
    requests, delay = 0, 0.0
    for workload in WORKLOADS.values():
        chance, schedule = random.Random(7), make()
        for number in range(jobs):
            key, duration = workload(chance, number / jobs)
            schedule = schedule if learn else make()
            polls = poll(schedule, key, duration, latency)
            schedule.record(key, (polls[-2] + polls[-1]) / 2)
            requests += len(polls)
            delay += polls[-1] + latency / 2 - duration
    total = jobs * len(WORKLOADS)
    return Outcome(requests / total, delay / total)


def poll(schedule: Schedule, key: Hashable, duration: float, latency: float) -> list[float]:
    """Return when the submission and each poll were sent, until a poll finds the image."""
    sent = [0.0]
    while sent[-1] < duration:
        now = sent[-1] + latency
        sent.append(now + schedule.next_gap(now, key, latency))
    return sent
