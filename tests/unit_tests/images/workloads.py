"""Workloads of image jobs: what a polling schedule costs, without network or clock.

The service takes a job half a round trip after it was submitted and works for a duration drawn
from a law. A poll sent `s` seconds after the submission finds the image if `s >= duration`. The
delay is the time from the image's being ready to the arrival of the response that says so;
requests are the submission and every poll.
"""

import math
import random
from collections.abc import Callable, Hashable
from statistics import mean
from typing import Any, NamedTuple, TypeAlias

from langchain_minitoolai._images.polling import Schedule

Law: TypeAlias = Callable[[random.Random, float], tuple[Hashable, float]]
"""From a source of chance and the share of the run gone: a job's kind, and its duration."""

_MODELS = (("swift", 3.0, 0.15), ("middling", 6.0, 0.25), ("slow", 9.0, 0.2))


class Cost(NamedTuple):
    """Requests of a job, and its delay in seconds."""

    requests: float
    delay: float


def _around(chance: random.Random, median: float, spread: float) -> float:
    return median * math.exp(chance.gauss(0.0, spread))


def _three_models(chance: random.Random, _: float) -> tuple[Hashable, float]:
    name, median, spread = chance.choice(_MODELS)
    return name, _around(chance, median, spread)


LAWS: dict[str, Law] = {
    "log-normal, tight": lambda chance, _: ("one", _around(chance, 5.0, 0.15)),
    "log-normal, wide": lambda chance, _: ("one", _around(chance, 5.0, 0.6)),
    "uniform 2 to 20 s": lambda chance, _: ("one", chance.uniform(2.0, 20.0)),
    "two clusters": lambda chance, _: ("one", _around(chance, chance.choice((3.0, 9.0)), 0.1)),
    "drifting": lambda chance, gone: ("one", _around(chance, 3.0 + 6.0 * gone, 0.2)),
    "2 s + exponential": lambda chance, _: ("one", 2.0 + chance.expovariate(1.0 / 3.0)),
    "three models mixed": _three_models,
}


def cost(latency: float, *, warm: bool, jobs: int = 60, seed: int = 7) -> Cost:
    """Average a schedule's cost over the seven laws.

    Args:
        latency: Seconds of a round trip.
        warm: Whether the schedule remembers the jobs before; else each starts without history.
        jobs: For each law.
        seed: Of the durations.
    """
    costs: list[Cost] = []
    for law in LAWS.values():
        chance, schedule = random.Random(seed), Schedule()
        for number in range(jobs):
            kind, duration = law(chance, number / jobs)
            costs.append(_poll(schedule if warm else Schedule(), kind, duration, latency))
    return Cost(mean(each.requests for each in costs), mean(each.delay for each in costs))


def _poll(schedule: Schedule, kind: Hashable, duration: float, latency: float) -> Cost:
    now, before, polls = latency, 0.0, 0
    while True:
        sent = now + schedule.next_gap(now, kind, latency)
        polls += 1
        if sent >= duration:
            schedule.record(kind, (before + sent) / 2.0)
            return Cost(polls + 1, sent + latency / 2.0 - duration)
        before, now = sent, sent + latency


def endless_job(latency: float, seconds: float) -> int:
    """Count the requests of a job that never ends, after a tight history."""
    schedule: Any = Schedule()
    for number in range(24):
        schedule.record("one", 5.0 + number / 100.0)
    now, requests = latency, 1
    while (sent := now + schedule.next_gap(now, "one", latency)) < seconds:
        now = sent + latency
        requests += 1
    return requests + 1
