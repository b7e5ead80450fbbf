"""Waiting for a picture: looks, answers, deadlines."""

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from langchain_minitoolai import contract, errors
from langchain_minitoolai._http.effects import Response
from langchain_minitoolai._images.job_store import job_key
from langchain_minitoolai._images.polling import wait
from langchain_minitoolai._images.result import ImageJob
from langchain_minitoolai._images.schedule import bucket
from tests.unit_tests.acting import Actor, Counter, answer

URL = "https://cdn.example.com/a.png"
READY = answer({"status": "success", "image_url": URL, "message": "success"})
PENDING = answer({"status": "processing"})
ARGUMENTS = {"prompt": "a cat", "model": "amigo", "steps": 4, "width": 512, "height": 512}
KIND = bucket("amigo", 4, 512, 512)


def job(actor: Actor, age: float = 0.0, call: str | None = "call", name: str = "77") -> ImageJob:
    at = actor.now + 1e9 - age
    return ImageJob(id=name, signature="s3cr3t", arguments=ARGUMENTS, submitted_at=at, call=call)


def waited(actor: Actor, seconds: float = 120.0, age: float = 0.0, **options: Any) -> ImageJob:
    counter = Counter(actor, **options)
    return actor.run(wait(job(actor, age), counter.desk, actor.now + seconds))


def ready_after(seconds: float) -> Callable[[float], Response]:
    return lambda now: READY if now - 1000.0 >= seconds else PENDING


@pytest.mark.parametrize("asynchronous", [False, True])
def test_a_job_is_asked_for_until_its_picture_is_there(*, asynchronous: bool) -> None:
    actor = Actor([PENDING, PENDING, READY], asynchronous=asynchronous)
    counter = Counter(actor)
    done = actor.run(wait(job(actor), counter.desk, actor.now + 120.0))
    assert (done.url, done.polls) == (URL, 3)
    assert done.seconds == pytest.approx(actor.now - 1000.0, abs=0.01)
    assert {call.path for call in actor.calls} == {contract.IMAGE_JOB_PATH}
    assert all(call.body == {"jobid": "77", "signature": "s3cr3t"} for call in actor.calls)
    assert not any(call.send_auth for call in actor.calls)
    stages = [told["stage"] for told in counter.told]
    assert stages == ["waiting", "waiting", "waiting", "ready"]
    stored = counter.store.mget([job_key("77"), "call"])
    assert [ImageJob.model_validate_json(value or b"") for value in stored] == [done, done]


def test_a_job_that_has_its_picture_is_not_asked_for() -> None:
    actor = Actor([READY])
    done = job(actor).model_copy(update={"url": URL})
    assert actor.run(wait(done, Counter(actor).desk, actor.now)) == done
    assert actor.calls == []


def test_the_duration_is_remembered_for_the_next_job() -> None:
    actor = Actor([ready_after(5.0)])
    counter = Counter(actor)
    actor.run(wait(job(actor), counter.desk, actor.now + 120.0))
    assert counter.desk.schedule.expected(KIND) == pytest.approx(5.0, abs=1.0)
    told = counter.told[0]
    assert told["expected"] is None
    actor = Actor([READY])
    again = Counter(actor, schedule=counter.desk.schedule)
    actor.run(wait(job(actor), again.desk, actor.now + 120.0))
    assert again.told[0]["expected"] == pytest.approx(5.0, abs=1.0)


def test_a_duration_that_nobody_watched_is_not_remembered() -> None:
    actor = Actor([READY])
    counter = Counter(actor)
    actor.run(wait(job(actor, age=500.0), counter.desk, actor.now + 120.0))
    assert counter.desk.schedule.expected(KIND) is None
    assert sum(actor.sleeps) <= 6.0


@pytest.mark.parametrize(
    ("interval", "expected"), [(2.0, 2.0), (lambda age: 1.0 + age / 1e9, 1.0), (0.0, 0.05)]
)
def test_an_interval_of_one_s_own_replaces_the_schedule(interval: Any, expected: float) -> None:
    actor = Actor([PENDING, PENDING, READY])
    waited(actor, poll_interval=interval)
    assert actor.sleeps == pytest.approx([expected] * 3)


def test_a_job_that_never_ends_ends_at_the_deadline_with_one_last_look() -> None:
    actor = Actor([PENDING], latency=0.08)
    with pytest.raises(errors.ImageJobTimeoutError) as caught:
        waited(actor, 120.0)
    error = caught.value
    assert (error.job, error.retry_safe, error.maybe_charged) == ("77", True, True)
    assert "do not draw it again" in error.hint
    assert 1116.0 < actor.now <= 1120.0
    assert len(actor.calls) <= 120
    assert all(call.deadline == 1120.0 for call in actor.calls)


def test_the_last_look_may_find_the_picture() -> None:
    actor = Actor([ready_after(117.9)])
    assert waited(actor, 120.0).url == URL


def test_without_an_id_the_same_call_would_pay_again() -> None:
    actor = Actor([PENDING])
    with pytest.raises(errors.ImageJobTimeoutError) as caught:
        actor.run(wait(job(actor, call=None), Counter(actor).desk, actor.now + 3.0))
    assert not caught.value.retry_safe


def test_no_time_left_means_one_look_at_once() -> None:
    actor = Actor([PENDING])
    with pytest.raises(errors.ImageJobTimeoutError):
        waited(actor, -5.0)
    assert (len(actor.calls), actor.sleeps) == (1, [0.0])


def test_a_job_that_failed_says_so_without_the_signature() -> None:
    actor = Actor([answer({"status": "failed", "message": "s3cr3t nsfw"})])
    with pytest.raises(errors.ImageJobFailedError) as caught:
        waited(actor)
    assert "nsfw" in str(caught.value)
    assert "s3cr3t" not in str(caught.value)
    assert not caught.value.is_retryable
    assert caught.value.maybe_charged


def test_a_service_that_stops_answering_ends_the_asking_but_not_the_job() -> None:
    actor = Actor([errors.APIConnectionError("broken")])
    with pytest.raises(errors.ServiceUnavailableError) as caught:
        waited(actor)
    assert (caught.value.job, caught.value.retry_safe) == ("77", True)
    assert len(actor.calls) < 15


def test_troubles_are_backed_off_and_survived() -> None:
    actor = Actor([answer(b"<html>", 502), errors.APITimeoutError("slow"), READY])
    assert waited(actor).url == URL
    assert actor.sleeps[1] >= 1.0
    assert actor.sleeps[2] >= 2.0


def test_the_service_s_own_wait_is_kept_to() -> None:
    actor = Actor([answer({}, 429, retry_after="7"), answer({}, 503, retry_after="99"), READY])
    waited(actor)
    assert actor.sleeps[1:] == [7.0, 60.0]


def test_too_many_requests_slow_the_looks_down_more_and_more() -> None:
    actor = Actor([answer({}, 429)] * 4 + [READY])
    waited(actor, poll_interval=0.1)
    assert actor.sleeps == pytest.approx([0.1, 1.0, 2.0, 4.0, 8.0])


def test_the_key_goes_along_only_once_it_is_asked_for() -> None:
    actor = Actor([answer({}, 401), PENDING, READY])
    waited(actor)
    assert [call.send_auth for call in actor.calls] == [False, True, True]
    actor = Actor([answer({}, 401)])
    with pytest.raises(errors.ServiceUnavailableError, match="401"):
        waited(actor)


INVALID = answer({"status": "error", "message": "invalid jobid"})


def test_an_id_that_is_invalid_as_a_text_is_sent_once_as_a_number() -> None:
    actor = Actor([INVALID, PENDING, READY])
    waited(actor)
    assert [call.body["jobid"] for call in actor.calls] == ["77", 77, 77]


def test_an_id_that_is_invalid_in_both_forms_or_later_has_failed() -> None:
    actor = Actor([INVALID])
    with pytest.raises(errors.ImageJobFailedError):
        waited(actor)
    assert len(actor.calls) == 2
    actor = Actor([PENDING, INVALID])
    with pytest.raises(errors.ImageJobFailedError):
        waited(actor)
    assert [call.body["jobid"] for call in actor.calls] == ["77", "77"]


def test_an_id_that_is_no_number_is_not_sent_as_one() -> None:
    actor = Actor([INVALID])
    with pytest.raises(errors.ImageJobFailedError):
        actor.run(wait(job(actor, name="a-b"), Counter(actor).desk, actor.now + 60.0))
    assert len(actor.calls) == 1


def test_a_strange_answer_warns_once_without_the_signature() -> None:
    actor = Actor([answer({"status": "wibble", "s": "s3cr3t"})] * 2 + [READY])
    with pytest.warns(UserWarning, match="not understood") as caught:
        waited(actor)
    assert len(caught) == 1
    assert "s3cr3t" not in str(caught[0].message)


ANSWERS = st.one_of(
    st.sampled_from([PENDING, INVALID, answer({}, 429), answer({}, 500), answer(b"<html>")]),
    st.builds(answer, st.dictionaries(st.text(max_size=6), st.text(max_size=6)), st.just(200)),
    st.binary(max_size=20).map(lambda body: Response(200, {}, body)),
    st.just(errors.APIConnectionError("broken")),
)


@settings(max_examples=60, deadline=None)
@given(st.lists(ANSWERS, min_size=1, max_size=8), st.floats(0.1, 200.0))
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_no_answer_loops_past_the_deadline(answers: list[Any], seconds: float) -> None:
    actor = Actor(answers, latency=0.01)
    with pytest.raises(errors.ImageError):
        waited(actor, seconds)
    assert actor.now <= 1000.0 + seconds + 0.1
