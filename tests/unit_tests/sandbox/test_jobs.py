import pytest
from hypothesis import given
from hypothesis import strategies as st

from langchain_minitoolai.contract import IMAGE_MODELS
from langchain_minitoolai.sandbox import faults
from langchain_minitoolai.sandbox._jobs import Job, JobSeconds, JobTable, drawn_seconds, full

BODY = {"model": "realvision", "prompt": "a fox", "steps": None}
FILES = "http://127.0.0.1:1/files"


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def table(clock: Clock, seconds: JobSeconds = 8.0) -> JobTable:
    return JobTable(seed=1, seconds=seconds, clock=clock)


def poll(jobs: JobTable, job: Job) -> tuple[int, dict[str, str | None]]:
    return jobs.status(str(job.number), job.signature, FILES)


def test_defaults_are_filled_in_where_nothing_or_null_is_sent() -> None:
    assert full(BODY) == {
        "model": "realvision",
        "prompt": "a fox",
        "negativePrompt": "",
        "scheduler": "DPM++ SDE",
        "steps": 4,
        "cfgScale": 2.0,
        "width": 1024,
        "height": 1024,
    }


def test_a_job_is_queued_then_processing_then_done(clock: Clock) -> None:
    jobs = table(clock)
    job = jobs.submit(BODY)
    assert poll(jobs, job)[1] == {"status": "queued", "image_url": None, "message": "in queue"}
    clock.now += 4
    assert poll(jobs, job)[1] == {
        "status": "processing",
        "image_url": None,
        "message": "in progress",
    }
    assert jobs.finished(job.file) is None
    clock.now += 4
    assert poll(jobs, job) == (
        200,
        {"status": "success", "image_url": f"{FILES}/{job.file}", "message": "success"},
    )
    assert jobs.finished(job.file) == job


def test_numbers_have_eight_digits_and_repeat_for_a_seed(clock: Clock) -> None:
    jobs, again = table(clock), table(clock)
    first, second = jobs.submit(BODY), jobs.submit(BODY)
    assert len({first.number, second.number, first.signature, second.signature}) == 4
    assert len(str(first.number)) == 8
    assert again.submit(BODY).signature == first.signature


@pytest.mark.parametrize(("number", "signature"), [("1", "x"), ("10000000", "x")])
def test_an_unknown_job_is_not_found(clock: Clock, number: str, signature: str) -> None:
    jobs = table(clock)
    jobs.submit(BODY)
    assert jobs.status(number, signature, FILES)[0] == 404
    assert jobs.finished("x.png") is None


def test_a_job_s_fate_comes_when_its_time_is_up(clock: Clock) -> None:
    jobs = table(clock)
    failed = jobs.submit(BODY, faults.job_fails("nsfw", status="error"))
    gone = jobs.submit(BODY, faults.job_vanishes(http_status=410))
    stuck = jobs.submit(BODY, faults.job_never_ends())
    clock.now += 7
    assert {poll(jobs, job)[1]["status"] for job in (failed, gone, stuck)} == {"processing"}
    clock.now += 10_000
    assert poll(jobs, failed) == (
        200,
        {"status": "error", "image_url": None, "message": "nsfw"},
    )
    assert poll(jobs, gone)[0] == 410
    assert poll(jobs, stuck)[1]["status"] == "processing"
    assert [jobs.finished(job.file) for job in (failed, gone, stuck)] == [None] * 3


def test_the_time_can_be_a_number_a_function_or_drawn(clock: Clock) -> None:
    assert table(clock, 0).submit(BODY).seconds == 0
    assert table(clock, lambda body: body["steps"] * 2).submit(BODY).seconds == 8
    drawn = [table(clock, None).submit(BODY).seconds for _ in range(2)]
    assert drawn[0] == drawn[1] == drawn_seconds(full(BODY), 1, 0)


@given(
    st.sampled_from(IMAGE_MODELS),
    st.integers(1, 8),
    st.integers(256, 1344),
    st.integers(),
    st.integers(0, 10**6),
)
def test_drawn_times_are_one_to_four_seconds(
    model: str, steps: int, size: int, seed: int, number: int
) -> None:
    parameters = {"model": model, "steps": steps, "width": size, "height": size}
    assert 1 <= drawn_seconds(parameters, seed, number) <= 4


def test_times_vary_between_jobs_and_grow_with_the_steps() -> None:
    def mean(steps: int) -> float:
        parameters = full({**BODY, "steps": steps, "width": 768})
        return sum(drawn_seconds(parameters, 0, number) for number in range(100)) / 100

    assert mean(1) < mean(4) < mean(8)
    assert drawn_seconds(full(BODY), 0, 1) != drawn_seconds(full(BODY), 0, 2)
