"""When to ask next: the rule, what it learns, and its simulation."""

import math
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given
from hypothesis import strategies as st

from langchain_minitoolai._images import schedule as _schedule
from langchain_minitoolai._images.schedule import Schedule, bucket
from tests.unit_tests.images.polling_workloads import poll, simulate

KEY = bucket("realvision", 4, 1024, 1024)


def learnt(*durations: float) -> Schedule:
    schedule = Schedule()
    for duration in durations:
        schedule.record(KEY, duration)
    return schedule


@given(
    elapsed=st.floats(0, 1e6),
    latency=st.floats(0, 100),
    history=st.lists(st.floats(1e-3, 1e5), max_size=30),
)
def test_a_gap_is_always_within_its_bounds(
    elapsed: float, latency: float, history: list[float]
) -> None:
    schedule = learnt(*history)
    gap = schedule.next_gap(elapsed, KEY, latency)
    assert _schedule.SHORTEST <= gap <= _schedule.FIRST_LOOK
    if latency < elapsed:
        assert gap <= _schedule.LONGEST_LATE
    if latency < elapsed <= _schedule.LATE:
        assert gap <= _schedule.LONGEST


def test_the_first_look_comes_within_six_seconds_even_of_slow_jobs() -> None:
    assert 3.0 < learnt(*[100.0] * 24).next_gap(0.0, KEY) <= 6.0


def test_after_a_tight_history_the_first_look_is_when_the_picture_is_due() -> None:
    first = learnt(*[4.0 + n / 100 for n in range(24)]).next_gap(0.0, KEY)
    assert 3.0 < first < 4.2


def test_looks_are_dense_when_the_picture_is_due_and_sparse_before() -> None:
    schedule = learnt(*[10.0 + n / 10 for n in range(24)])
    assert schedule.next_gap(11.0, KEY) < 0.5
    assert schedule.next_gap(4.0, KEY) > 1.5


def test_the_flight_of_a_look_is_taken_off_the_gap() -> None:
    schedule = Schedule()
    assert schedule.next_gap(5.2, KEY, 0.2) == pytest.approx(schedule.next_gap(5.0, KEY) - 0.2)


def test_each_kind_of_job_has_its_own_history() -> None:
    schedule = learnt(10.0)
    other = bucket("realvision", 8, 1024, 1024)
    assert schedule.expected(KEY) == pytest.approx(10.0)
    assert schedule.expected(other) is None
    assert schedule.next_gap(0.0, other) == Schedule().next_gap(0.0, other)


def test_only_the_last_24_durations_count() -> None:
    assert learnt(*[3.0] * 30, *[30.0] * 24).expected(KEY) == pytest.approx(30.0)


@pytest.mark.parametrize("junk", [0.0, -1.0, math.inf, math.nan])
def test_a_duration_that_cannot_be_is_not_remembered(junk: float) -> None:
    assert learnt(junk).expected(KEY) is None


def test_alike_sizes_share_a_bucket_and_others_do_not() -> None:
    assert bucket("amigo", 4, 1024, 1024) == bucket("amigo", 4, 1040, 1024)
    assert bucket("amigo", 4, 1024, 1024) != bucket("amigo", 4, 512, 512)


def test_several_jobs_at_once_do_not_ask_in_step() -> None:
    schedule = Schedule()
    alone = {schedule.next_gap(5.0, KEY) for _ in range(20)}
    with schedule.running():
        still_alone = {schedule.next_gap(5.0, KEY) for _ in range(20)}
        with schedule.running():
            crowd = {schedule.next_gap(5.0, KEY) for _ in range(20)}
    assert alone == still_alone
    assert len(alone) == 1
    assert len(crowd) == 20
    middle = alone.pop()
    assert all(0.89 * middle < gap < 1.11 * middle for gap in crowd)


def test_threads_may_share_it() -> None:
    schedule = Schedule()

    def work(number: int) -> float:
        with schedule.running():
            schedule.record(KEY, 1.0 + number)
            return schedule.next_gap(1.0, KEY)

    with ThreadPoolExecutor(8) as pool:
        assert all(gap > 0 for gap in pool.map(work, range(200)))
    assert schedule.expected(KEY) is not None


@pytest.mark.parametrize(
    ("learn", "latency", "requests", "delay"),
    [(True, 0.08, 9.3, 0.33), (False, 0.08, 9.3, 0.40), (True, 0.25, 9.3, 0.42)],
)
def test_the_simulation_stays_near_the_measured_price_and_delay(
    *, learn: bool, latency: float, requests: float, delay: float
) -> None:
    outcome = simulate(Schedule, latency, learn=learn)
    assert outcome.requests <= requests
    assert outcome.delay <= delay


def test_learning_finds_images_sooner_than_no_history() -> None:
    warm = simulate(Schedule, 0.08, learn=True)
    cold = simulate(Schedule, 0.08, learn=False)
    assert warm.delay < cold.delay - 0.04


@pytest.mark.parametrize("latency", [0.0, 0.08, 0.25])
def test_a_job_that_never_ends_costs_at_most_120_requests(latency: float) -> None:
    schedule = learnt(*(5.0 + number / 100 for number in range(24)))
    assert len(poll(schedule, KEY, 120.0, latency)) <= 120
