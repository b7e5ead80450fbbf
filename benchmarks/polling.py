"""How soon a picture is found, and for how many requests: a simulation, without network or clock.

The model of time: the service takes a job when half a round trip has passed since it was
submitted, and works on it for a duration drawn from a law. An answer tells the state at half the
round trip of its own request. So a look sent `s` seconds after the submit was sent finds the
picture if `s >= duration`, and the answer is there at `s + latency`. The delay is the time from
the picture's being ready at the service to that answer's arrival; half a round trip of it can't
be avoided. Requests are all requests of a job: the submit and every look.

Warm: one schedule lives through all jobs of a law and remembers what it measured, as the tool
does. Cold: every job has a schedule without history. Run it as `python -m benchmarks.polling`.
"""

import argparse
import math
import random
import sys
from collections.abc import Callable, Hashable, Iterator
from functools import partial
from typing import NamedTuple, TypeAlias

from langchain_minitoolai._images.polling import Schedule

Law: TypeAlias = Callable[[random.Random, float], tuple[Hashable, float]]
"""From a source of chance and the share of the run gone: which kind of job, and its duration."""
Gap: TypeAlias = Callable[[int, float], float]
"""From the number of looks so far and the seconds since the submit: the next gap."""

MODELS = (("swift", 3.0, 0.15), ("middling", 6.0, 0.25), ("slow", 9.0, 0.2))


class Outcome(NamedTuple):
    """What one way of polling costs on average."""

    requests: float
    delay: float


def log_normal(median: float, spread: float) -> Law:
    """Draw durations around a median, spread as logarithms."""
    return lambda chance, _: ("one", median * math.exp(chance.gauss(0.0, spread)))


def uniform(chance: random.Random, _: float) -> tuple[Hashable, float]:
    """Draw anything from 2 to 20 s."""
    return "one", chance.uniform(2.0, 20.0)


def two_clusters(chance: random.Random, _: float) -> tuple[Hashable, float]:
    """Draw a warm worker's 3 s or, as often, a cold one's 9 s."""
    centre = chance.choice((3.0, 9.0))
    return "one", centre * math.exp(chance.gauss(0.0, 0.1))


def drifting(chance: random.Random, gone: float) -> tuple[Hashable, float]:
    """Draw from a service that slows from 3 s to 9 s as the day goes by."""
    return "one", (3.0 + 6.0 * gone) * math.exp(chance.gauss(0.0, 0.2))


def shifted_exponential(chance: random.Random, _: float) -> tuple[Hashable, float]:
    """Draw 2 s of work after a wait in a queue."""
    return "one", 2.0 + chance.expovariate(1.0 / 3.0)


def three_models(chance: random.Random, _: float) -> tuple[Hashable, float]:
    """Draw one of three models, each with its own pace and its own memory."""
    name, median, spread = chance.choice(MODELS)
    return name, median * math.exp(chance.gauss(0.0, spread))


LAWS: dict[str, Law] = {
    "log-normal, tight": log_normal(5.0, 0.15),
    "log-normal, wide": log_normal(5.0, 0.6),
    "uniform 2 to 20 s": uniform,
    "two clusters": two_clusters,
    "drifting": drifting,
    "2 s + exponential": shifted_exponential,
    "three models mixed": three_models,
}


def draw(law: Law, jobs: int, seed: int) -> Iterator[tuple[Hashable, float]]:
    """Draw the same jobs for every way of polling."""
    chance = random.Random(seed)  # noqa: S311 - it protects nothing
    return (law(chance, number / jobs) for number in range(jobs))


Way: TypeAlias = Callable[[Law, float, int, int], Outcome]
"""From a law, the latency, a number of jobs and a seed: what that way of polling costs."""


class Poll(NamedTuple):
    """What one job cost, and between which two looks it became ready."""

    requests: int
    delay: float
    before: float
    found: float


def poll(duration: float, latency: float, gap: Gap) -> Poll:
    """Poll one job to its end; times are seconds since the submit was sent."""
    now, before, looks = latency, 0.0, 0
    while True:
        sent = now + gap(looks, now)
        looks += 1
        if sent >= duration:
            return Poll(looks + 1, sent + latency / 2.0 - duration, before, sent)
        before, now = sent, sent + latency


def scheduled(law: Law, latency: float, jobs: int, seed: int, *, warm: bool) -> Outcome:
    """Poll by the tool's schedule."""
    schedule, polls = Schedule(), []
    for key, duration in draw(law, jobs, seed):
        if not warm:
            schedule = Schedule()
        known = schedule

        def gap(_: int, now: float, key: Hashable = key, known: Schedule = known) -> float:
            return known.next_gap(now, key, latency)

        polls.append(poll(duration, latency, gap))
        schedule.record(key, (polls[-1].before + polls[-1].found) / 2.0)
    return mean(polls)


def unlearnt(gap: Gap, law: Law, latency: float, jobs: int, seed: int) -> Outcome:
    """Poll by a rule that learns nothing."""
    return mean([poll(duration, latency, gap) for _, duration in draw(law, jobs, seed)])


def mean(polls: list[Poll]) -> Outcome:
    """Average what jobs cost."""
    count = len(polls)
    return Outcome(sum(p.requests for p in polls) / count, sum(p.delay for p in polls) / count)


def backoff(looks: int, _: float) -> float:
    """Double the gap from half a second to ten."""
    return min(0.5 * 2.0**looks, 10.0)


def never_ends(latency: float, seconds: float) -> int:
    """Count the requests that a job costs which is never done, after a tight history."""
    schedule = Schedule()
    for number in range(24):
        schedule.record("one", 5.0 + number / 100.0)
    now, requests = latency, 1
    while (sent := now + schedule.next_gap(now, "one", latency)) < seconds:
        now = sent + latency
        requests += 1
    return requests + 1


def fixed(gap: float) -> Way:
    """Ask every `gap` seconds."""
    return partial(unlearnt, lambda _, __: gap)


WAYS: dict[str, Way] = {
    "schedule, warm": partial(scheduled, warm=True),
    "schedule, cold": partial(scheduled, warm=False),
    "fixed 0.1 s": fixed(0.1),
    "fixed 0.5 s": fixed(0.5),
    "fixed 1 s": fixed(1.0),
    "exponential backoff": partial(unlearnt, backoff),
}


def over_all_laws(way: str, latency: float, jobs: int, seed: int = 7) -> Outcome:
    """Average one way of polling over the seven laws."""
    each = [WAYS[way](law, latency, jobs, seed) for law in LAWS.values()]
    return Outcome(
        sum(one.requests for one in each) / len(each), sum(one.delay for one in each) / len(each)
    )


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description="simulate ways of waiting for a picture")
    parser.add_argument("--jobs", type=int, default=500, help="jobs for each law")
    parser.add_argument("--seed", type=int, default=7)
    asked = parser.parse_args()
    write = sys.stdout.write
    for latency in (0.08, 0.25):
        write(f"\nround trip {latency * 1000:.0f} ms: requests a job (submit and looks) / ")
        write("mean delay in seconds\n")
        write(f"{'':22}" + "".join(f"{name:>20}" for name in [*LAWS, "average"]) + "\n")
        for way, measure in WAYS.items():
            each = [measure(law, latency, asked.jobs, asked.seed) for law in LAWS.values()]
            each.append(over_all_laws(way, latency, asked.jobs, asked.seed))
            cells = "".join(f"{f'{one.requests:.1f} / {one.delay:.3f}':>20}" for one in each)
            write(f"{way:22}{cells}\n")
        write(f"a job that never ends: {never_ends(latency, 120.0)} requests in 120 s\n")


if __name__ == "__main__":
    main()
