"""Polling of an image job: the schedule, the polls, the deadline."""

import math
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from langchain_minitoolai import contract, errors
from langchain_minitoolai._http import pool
from langchain_minitoolai._http.effects import Response
from langchain_minitoolai._images.arguments import DEFAULTS
from langchain_minitoolai._images.polling import Schedule, checked_job, job_kind, wait_until_ready
from langchain_minitoolai.stores._base import job_key
from langchain_minitoolai.types import ImageJob
from tests.unit_tests.fake_driver import FakeDriver, FakeJob, response
from tests.unit_tests.images import workloads

URL = "https://cdn.example.com/a.png"
READY = response({"status": "success", "image_url": URL, "message": "success"})
PENDING = response({"status": "processing"})
ARGUMENTS = {"prompt": "a cat", "model": "amigo", "steps": 4, "width": 512, "height": 512}
KIND = job_kind(ARGUMENTS)
FULL = {**DEFAULTS, **ARGUMENTS}


def job(
    driver: FakeDriver, age: float = 0.0, call: str | None = "call", name: str = "77"
) -> ImageJob:
    at = driver.now + 1e9 - age
    return ImageJob(
        id=name, signature="s3cr3t", arguments=ARGUMENTS, submitted_at=at, call_key=call
    )


def waited(
    driver: FakeDriver, seconds: float = 120.0, age: float = 0.0, **options: Any
) -> ImageJob:
    fake = FakeJob(driver, total_timeout=seconds, **options)
    return driver.run(wait_until_ready(job(driver, age), fake.context, Schedule()))


def ready_after(seconds: float) -> Callable[[float], Response]:
    return lambda now: READY if now - 1000.0 >= seconds else PENDING


@pytest.mark.parametrize("is_async", [False, True])
def test_a_job_is_polled_until_its_image_is_ready(*, is_async: bool) -> None:
    driver = FakeDriver([PENDING, PENDING, READY], is_async=is_async)
    fake = FakeJob(driver)
    done = driver.run(wait_until_ready(job(driver), fake.context))
    assert (done.url, done.polls) == (URL, 3)
    assert done.seconds == pytest.approx(driver.now - 1000.0, abs=0.01)
    assert {sent.path for sent in driver.requests} == {contract.IMAGE_JOB_PATH}
    assert all(sent.body == {"jobid": "77", "signature": "s3cr3t"} for sent in driver.requests)
    assert not any(sent.send_auth for sent in driver.requests)
    stages = [each["stage"] for each in fake.reported]
    assert stages == ["waiting", "waiting", "waiting", "ready"]
    assert fake.jobs(job_key("77"), "call") == [done, done]


def test_a_job_that_has_its_image_is_not_polled() -> None:
    driver = FakeDriver([READY])
    done = job(driver).model_copy(update={"url": URL})
    assert driver.run(wait_until_ready(done, FakeJob(driver).context)) == done
    assert driver.requests == []


def test_the_duration_is_remembered_for_the_next_job() -> None:
    schedule = Schedule()
    driver = FakeDriver([ready_after(5.0)])
    fake = FakeJob(driver)
    driver.run(wait_until_ready(job(driver), fake.context, schedule))
    assert schedule.expected(KIND) == pytest.approx(5.0, abs=1.0)
    assert fake.reported[0]["expected"] is None
    driver = FakeDriver([READY])
    again = FakeJob(driver)
    driver.run(wait_until_ready(job(driver), again.context, schedule))
    assert again.reported[0]["expected"] == pytest.approx(5.0, abs=1.0)


def test_a_duration_that_nobody_watched_is_not_remembered() -> None:
    schedule = Schedule()
    driver = FakeDriver([READY])
    driver.run(wait_until_ready(job(driver, age=500.0), FakeJob(driver).context, schedule))
    assert schedule.expected(KIND) is None
    assert sum(driver.sleeps) <= 6.0


def test_jobs_submitted_at_once_are_not_polled_at_once() -> None:
    first_polls = set()
    for jitter in (0.0, 0.5, 1.0):
        driver = FakeDriver([READY])
        waited(driver, jitter=lambda jitter=jitter: jitter)
        first_polls.add(driver.sleeps[0])
    assert len(first_polls) == 3
    assert max(first_polls) < 1.11 * min(first_polls)


def test_the_seconds_reported_never_decrease_even_if_the_wall_clock_jumps() -> None:
    driver = FakeDriver([PENDING] * 5 + [READY])
    jumps = iter([0.0, -500.0, 900.0] * 9)
    fake = FakeJob(driver)
    fake.context.wall_clock = lambda: driver.now + 1e9 + next(jumps)
    driver.run(wait_until_ready(job(driver), fake.context, Schedule()))
    seconds = [each["seconds"] for each in fake.reported]
    assert seconds == sorted(seconds)
    assert seconds[0] == 0.0


@pytest.mark.parametrize(
    ("interval", "expected"), [(2.0, 2.0), (lambda age: 1.0 + age / 1e9, 1.0), (0.0, 0.05)]
)
def test_an_interval_of_one_s_own_replaces_the_schedule(interval: Any, expected: float) -> None:
    driver = FakeDriver([PENDING, PENDING, READY])
    waited(driver, poll_interval=interval)
    assert driver.sleeps == pytest.approx([expected] * 3)


def test_a_job_that_never_ends_ends_at_the_deadline_with_one_last_poll() -> None:
    driver = FakeDriver([PENDING], latency=0.08)
    with pytest.raises(errors.ImageJobTimeoutError) as caught:
        waited(driver, 120.0)
    error = caught.value
    assert (error.job_id, error.retry_safe, error.maybe_charged) == ("77", True, True)
    assert "do not draw it again" in error.hint
    assert 1116.0 < driver.now <= 1120.0
    assert len(driver.requests) <= 120
    assert all(sent.deadline == 1120.0 for sent in driver.requests)


def test_the_last_poll_may_find_the_image() -> None:
    driver = FakeDriver([ready_after(117.9)])
    assert waited(driver, 120.0).url == URL


def test_without_an_id_the_same_call_would_pay_again() -> None:
    driver = FakeDriver([PENDING])
    fake = FakeJob(driver, total_timeout=3.0)
    with pytest.raises(errors.ImageJobTimeoutError) as caught:
        driver.run(wait_until_ready(job(driver, call=None), fake.context))
    assert not caught.value.retry_safe


def test_no_time_left_means_one_poll_at_once() -> None:
    driver = FakeDriver([PENDING])
    with pytest.raises(errors.ImageJobTimeoutError, match="not ready in the time that was left"):
        waited(driver, -5.0)
    assert (len(driver.requests), driver.sleeps) == (1, [0.0])


def test_a_job_that_failed_says_so_without_the_signature() -> None:
    driver = FakeDriver([response({"status": "failed", "message": "s3cr3t nsfw"})])
    with pytest.raises(errors.ImageJobFailedError) as caught:
        waited(driver)
    assert "nsfw" in str(caught.value)
    assert "s3cr3t" not in str(caught.value)
    assert not caught.value.is_retryable
    assert caught.value.maybe_charged


def test_a_service_that_stops_answering_ends_the_polling_but_not_the_job() -> None:
    driver = FakeDriver([errors.APIConnectionError("broken")])
    with pytest.raises(errors.ServiceUnavailableError) as caught:
        waited(driver)
    assert (caught.value.job_id, caught.value.retry_safe) == ("77", True)
    assert len(driver.requests) < 15


def test_troubles_are_backed_off_and_survived() -> None:
    driver = FakeDriver([response(b"<html>", 502), errors.APITimeoutError("slow"), READY])
    assert waited(driver).url == URL
    assert driver.sleeps[1] >= 1.0
    assert driver.sleeps[2] >= 2.0


def test_the_service_s_own_wait_is_kept_to() -> None:
    driver = FakeDriver(
        [response({}, 429, retry_after="7"), response({}, 503, retry_after="99"), READY]
    )
    waited(driver)
    assert driver.sleeps[1:] == [7.0, 60.0]


def test_too_many_requests_slow_the_polls_down_more_and_more() -> None:
    driver = FakeDriver([response({}, 429)] * 4 + [READY])
    waited(driver, poll_interval=0.1)
    assert driver.sleeps == pytest.approx([0.1, 1.0, 2.0, 4.0, 8.0])


def fail(_: float) -> float:
    raise ValueError("boom")


@pytest.mark.parametrize("interval", [lambda _: math.nan, lambda _: -1.0, lambda _: "soon", fail])
@pytest.mark.filterwarnings("ignore:poll_interval failed")
def test_a_function_of_intervals_that_fails_gives_way_to_the_schedule(interval: Any) -> None:
    driver = FakeDriver([PENDING, READY])
    assert waited(driver, poll_interval=interval).url == URL
    assert driver.sleeps[0] == pytest.approx(2.1)


def test_what_fails_in_a_function_of_intervals_is_a_warning() -> None:
    with pytest.warns(UserWarning, match=r"poll_interval failed \(ValueError: boom\)"):
        waited(FakeDriver([READY]), poll_interval=fail)


def test_a_job_s_arguments_are_read_whatever_wrote_them() -> None:
    own = ImageJob(
        id="7", signature="s", arguments={**FULL, "width": "512", "more": 1}, submitted_at=1.0
    )
    assert checked_job(own).arguments == {**FULL, "more": 1}
    hostile: list[Any] = [
        None,
        "7",
        own.model_copy(update={"arguments": {}}),
        own.model_copy(update={"arguments": {**FULL, "width": "wide"}}),
    ]
    for each in hostile:
        with pytest.raises(errors.InvalidInputError, match=r"job is .*; allowed: an ImageJob"):
            checked_job(each)


def test_the_key_goes_along_only_once_it_is_asked_for() -> None:
    driver = FakeDriver([response({}, 401), PENDING, READY])
    waited(driver)
    assert [sent.send_auth for sent in driver.requests] == [False, True, True]
    driver = FakeDriver([response({}, 401)])
    with pytest.raises(errors.ServiceUnavailableError, match="401"):
        waited(driver)


INVALID = response({"status": "error", "message": "invalid jobid"})


def test_an_id_that_is_invalid_as_a_text_is_sent_once_as_a_number() -> None:
    driver = FakeDriver([INVALID, PENDING, READY])
    waited(driver)
    assert [sent.body["jobid"] for sent in driver.requests] == ["77", 77, 77]


def test_an_id_that_is_invalid_in_both_forms_or_later_has_failed() -> None:
    driver = FakeDriver([INVALID])
    with pytest.raises(errors.ImageJobFailedError):
        waited(driver)
    assert len(driver.requests) == 2
    driver = FakeDriver([PENDING, INVALID])
    with pytest.raises(errors.ImageJobFailedError):
        waited(driver)
    assert [sent.body["jobid"] for sent in driver.requests] == ["77", "77"]


def test_an_id_that_is_no_number_is_not_sent_as_one() -> None:
    driver = FakeDriver([INVALID])
    with pytest.raises(errors.ImageJobFailedError):
        driver.run(wait_until_ready(job(driver, name="a-b"), FakeJob(driver).context))
    assert len(driver.requests) == 1


def test_a_strange_answer_warns_once_without_the_signature() -> None:
    driver = FakeDriver([response({"status": "wibble", "s": "s3cr3t"})] * 2 + [READY])
    with pytest.warns(UserWarning, match="not understood") as caught:
        waited(driver)
    assert len(caught) == 1
    assert "s3cr3t" not in str(caught[0].message)


ANSWERS = st.one_of(
    st.sampled_from([PENDING, INVALID, response({}, 429), response({}, 500), response(b"<html>")]),
    st.builds(response, st.dictionaries(st.text(max_size=6), st.text(max_size=6)), st.just(200)),
    st.binary(max_size=20).map(lambda body: Response(200, {}, body)),
    st.just(errors.APIConnectionError("broken")),
)


@settings(max_examples=60, deadline=None)
@given(st.lists(ANSWERS, min_size=1, max_size=8), st.floats(0.1, 200.0))
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_no_answer_loops_past_the_deadline(answers: list[Any], seconds: float) -> None:
    driver = FakeDriver(answers, latency=0.01)
    with pytest.raises(errors.ImageError):
        waited(driver, seconds)
    assert driver.now <= 1000.0 + seconds + 0.1


# When to poll next.


def schedule_of(*durations: float) -> Schedule:
    schedule = Schedule()
    for duration in durations:
        schedule.record(KIND, duration)
    return schedule


@given(
    elapsed=st.floats(0, 1e6),
    latency=st.floats(0, 100),
    history=st.lists(st.floats(1e-3, 1e5), max_size=30),
)
def test_a_gap_is_always_within_its_bounds(
    elapsed: float, latency: float, history: list[float]
) -> None:
    schedule = schedule_of(*history)
    gap = schedule.next_gap(elapsed, KIND, latency)
    assert Schedule.SHORTEST <= gap <= Schedule.LONGEST_FIRST
    if latency < elapsed:
        assert gap <= Schedule.LONGEST


def test_the_first_poll_comes_within_six_seconds_even_of_slow_jobs() -> None:
    assert 3.0 < schedule_of(*[100.0] * 24).next_gap(0.0, KIND) <= 6.0


def test_after_a_tight_history_the_first_poll_is_when_the_image_is_due() -> None:
    first = schedule_of(*[4.0 + n / 100 for n in range(24)]).next_gap(0.0, KIND)
    assert 3.0 < first < 4.2


def test_polls_are_dense_when_the_image_is_due_and_sparse_before() -> None:
    schedule = schedule_of(*[10.0 + n / 10 for n in range(24)])
    assert schedule.next_gap(11.0, KIND) < 0.5
    assert schedule.next_gap(4.0, KIND) > 1.5


def test_the_latency_of_a_poll_is_taken_off_the_gap() -> None:
    schedule = Schedule()
    assert schedule.next_gap(5.2, KIND, 0.2) == pytest.approx(schedule.next_gap(5.0, KIND) - 0.2)


def test_each_kind_of_job_has_its_own_history() -> None:
    schedule = schedule_of(10.0)
    other = "another kind"
    assert schedule.expected(KIND) == pytest.approx(10.0)
    assert schedule.expected(other) is None
    assert schedule.next_gap(0.0, other) == Schedule().next_gap(0.0, other)


def test_only_the_last_24_durations_count() -> None:
    assert schedule_of(*[3.0] * 30, *[30.0] * 24).expected(KIND) == pytest.approx(30.0)


@pytest.mark.parametrize("junk", [0.0, -1.0, math.inf, math.nan])
def test_a_duration_that_cannot_be_is_not_remembered(junk: float) -> None:
    assert schedule_of(junk).expected(KIND) is None


def test_like_sizes_make_one_kind_and_others_do_not() -> None:
    assert job_kind({**ARGUMENTS, "width": 520}) == KIND
    assert job_kind({**ARGUMENTS, "width": 1024}) != KIND
    assert job_kind({**ARGUMENTS, "width": 10**400}) != KIND


def test_threads_may_share_it() -> None:
    schedule = Schedule()

    def work(number: int) -> float:
        schedule.record(KIND, 1.0 + number)
        return schedule.next_gap(1.0, KIND)

    with ThreadPoolExecutor(8) as pool:
        assert all(gap > 0 for gap in pool.map(work, range(200)))
    assert schedule.expected(KIND) is not None


@pytest.mark.parametrize(
    ("warm", "latency", "requests", "delay"),
    [(True, 0.08, 10.0, 0.40), (False, 0.08, 12.0, 0.45), (True, 0.25, 10.0, 0.50)],
)
def test_over_seven_workloads_few_requests_find_images_soon(
    *, warm: bool, latency: float, requests: float, delay: float
) -> None:
    cost = workloads.cost(latency, warm=warm)
    assert cost.requests <= requests
    assert cost.delay <= delay


def test_learning_finds_images_sooner_than_no_history() -> None:
    warm, cold = (workloads.cost(0.08, warm=warm) for warm in (True, False))
    assert warm.delay < cold.delay - 0.04


@pytest.mark.parametrize("latency", [0.0, 0.08, 0.25])
def test_a_job_that_never_ends_costs_at_most_120_requests(latency: float) -> None:
    assert workloads.endless_job(latency, 120.0) <= 120


def test_a_forked_child_has_a_schedule_that_no_thread_of_its_parent_holds() -> None:
    schedule = Schedule()
    with schedule._lock:
        pool._after_fork()
        schedule.record("kind", 9.0)
        assert schedule.next_gap(0.0, "kind") > 0
