"""Job status, in the order in which a response is read."""

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from langchain_minitoolai._http.effects import Response
from langchain_minitoolai._images.job_status import (
    FAILED_WORDS,
    NOT_FOUND_WORDS,
    PENDING_WORDS,
    TRANSIENT_WORDS,
    JobStatus,
    PollHistory,
    preview,
    read_status,
)
from langchain_minitoolai.errors import APIConnectionError, InvalidResponseError, MiniToolAIError

URL = "https://cdn.example.com/a.png"
START = PollHistory()


def response(payload: Any, status: int = 200, **headers: str) -> Response:
    body = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Response(status, named, body)


def kind(payload: Any, age: float = 5.0, status: int = 200, history: PollHistory = START) -> str:
    return read_status(response(payload, status), age, history).kind


# 1. An address, and no failure.


@pytest.mark.parametrize(
    "payload",
    [
        {"status": "success", "image_url": URL, "message": "success"},
        {"status": "success", "image_url": f" {URL}\n"},
        {"status": "processing", "image_url": URL},
        {"image_url": URL},
        {"status": "done", "message": "blocked before, fine now", "image_url": URL},
        {"status": "success", "data": {"image_url": URL}},
        {"status": "success", "result": {"url": URL}},
        {"job": {"status": "success", "image_url": URL}},
        {"status": "success", "images": [{"url": URL}]},
        {"status": "success", "images": [URL]},
        {"status": "success", "result": URL},
        [{"status": "success", "image_url": URL}],
    ],
)
@pytest.mark.parametrize("status", [200, 500])
def test_an_address_without_a_failure_is_an_image(payload: Any, status: int) -> None:
    status_ = read_status(response(payload, status), 5.0, START)
    assert (status_.kind, status_.url) == ("ready", URL)


@pytest.mark.parametrize("status", ["failed", "error", "Expired", "nsfw"])
def test_an_address_with_a_failure_is_none(status: str) -> None:
    assert kind({"status": status, "image_url": URL}) in ("failed", "suspect")


@pytest.mark.parametrize(
    "address", ["http://cdn.example.com/a.png", "http://127.0.0.1/a", "file:///a", "", None, 7, []]
)
def test_what_is_no_usable_address_is_waited_for(address: Any) -> None:
    assert kind({"status": "success", "image_url": address}) == "pending"


def test_http_on_loopback_is_an_address_where_the_api_is_there_too() -> None:
    payload = {"status": "success", "image_url": "http://127.0.0.1:1/a.png"}
    assert read_status(response(payload), 1.0, START, loopback=True).kind == "ready"


# 2. The words.


@pytest.mark.parametrize("word", PENDING_WORDS.split("|"))
@pytest.mark.parametrize("field", ["status", "message"])
def test_a_pending_word_is_pending(word: str, field: str) -> None:
    for shape in (word, word.upper(), word.replace(" ", "_"), f"Job is {word}."):
        assert kind({field: shape}) == "pending"
        assert read_status(response({field: shape}), 5.0, START).warning is None
    assert kind({"status": "error", "message": word}, age=60.0) == "pending"


@pytest.mark.parametrize("word", FAILED_WORDS.split("|"))
@pytest.mark.parametrize("field", ["status", "message", "error", "detail"])
def test_a_failed_word_is_a_failure(word: str, field: str) -> None:
    status_ = read_status(response({field: f"The job: {word.upper()}"}), 1.0, START)
    assert status_.kind == "failed"
    assert word.upper() in status_.reason


@pytest.mark.parametrize(
    ("payload", "expected"),
    [
        ({"status": "inProgress"}, "pending"),
        ({"status": "processing", "message": "was rejected once"}, "pending"),
        ({"status": "failed", "message": "still running"}, "failed"),
        ({"status": "error", "message": "processing failed"}, "suspect"),
        ({"status": "error", "error": {"message": "nsfw"}}, "failed"),
        ({"status": "success", "message": "insufficient credit"}, "failed"),
        ({"data": {"status": "queued"}}, "pending"),
        ({"status": "success", "data": {"status": "failed"}}, "failed"),
        ({"status": "unfailed"}, "pending"),
    ],
)
def test_words_are_weighed_status_first(payload: Any, expected: str) -> None:
    assert kind(payload) == expected


@pytest.mark.parametrize("word", TRANSIENT_WORDS.split("|"))
@pytest.mark.parametrize("field", ["status", "message", "error", "detail"])
def test_a_transient_word_is_polled_again(word: str, field: str) -> None:
    assert kind({field: f"Upstream {word.upper()}"}) in ("transient", "pending")
    assert kind({"status": "error", field: f"upstream {word}"}) in ("transient", "pending")


@pytest.mark.parametrize(
    "message",
    [
        "upstream timeout, please retry",
        "database connection failed",
        "Internal failure",
        "aborted: timed out",
    ],
)
def test_a_transient_message_wins_over_an_error_and_over_failed_words(message: str) -> None:
    for age in (1.0, 60.0):
        assert kind({"status": "error", "message": message}, age) == "transient"


def test_transient_messages_end_the_polling_and_not_the_job() -> None:
    payload = {"status": "error", "message": "database connection failed"}
    assert polled(payload, 1, 2, 4, 8, 16, 31) == ["transient"] * 5 + ["unavailable"]


def test_a_failed_status_with_a_transient_message_has_failed_at_the_second_poll() -> None:
    payload = {"status": "failed", "message": "upstream timeout"}
    assert polled(payload, 1.0, 2.0) == ["suspect", "failed"]
    first = read_status(response(payload), 1.0, START)
    between = read_status(response({"status": "queued"}), 2.0, first.history)
    assert kind(payload, 3.0, history=between.history) == "suspect"


def test_an_error_that_is_pending_and_failed_is_a_suspect() -> None:
    payload = {"status": "error", "message": "processing failed"}
    assert polled(payload, 6.0, 9.0, 12.0) == ["suspect", "suspect", "failed"]


def test_an_invalid_id_is_recognised() -> None:
    assert read_status(
        response({"status": "error", "message": "Invalid jobid"}), 1.0, START
    ).invalid_id
    assert not read_status(response({"status": "failed"}), 1.0, START).invalid_id


# 3. Success without an address.


@pytest.mark.parametrize("address", [{}, {"image_url": None}, {"image_url": ""}])
def test_success_without_an_address_is_pending(address: dict[str, Any]) -> None:
    status_ = read_status(
        response({"status": "success", "message": "success", **address}), 5.0, START
    )
    assert (status_.kind, status_.warning) == ("pending", None)


# 4. A bare error.


def polled(payload: Any, *ages: float, status: int = 200) -> list[str]:
    history = START
    kinds: list[str] = []
    for age in ages:
        status_ = read_status(response(payload, status), age, history)
        history = status_.history
        kinds.append(status_.kind)
    return kinds


BARE = {"status": "error", "jobid": None}


@pytest.mark.parametrize(
    "payload",
    [BARE, {"status": "error", "message": "oops"}, {"success": False}, {"error": {"a": 1}}],
)
def test_a_bare_error_is_a_suspect(payload: Any) -> None:
    assert kind(payload) == "suspect"


def test_three_suspects_over_six_seconds_after_ten_are_a_failure() -> None:
    assert polled(BARE, 6.0, 9.0, 12.0) == ["suspect", "suspect", "failed"]


def test_three_suspects_too_close_or_too_early_are_none() -> None:
    assert polled(BARE, 11.0, 12.0, 13.0) == ["suspect"] * 3
    assert polled(BARE, 1.0, 4.0, 9.0) == ["suspect"] * 3
    assert polled(BARE, 6.0, 20.0) == ["suspect"] * 2


def test_an_answer_in_between_clears_a_suspect() -> None:
    history = replace(START, errors=2, error_since=5.0)
    for payload in ({"status": "queued"}, {"status": "success"}, {"status": "what"}):
        cleared = read_status(response(payload), 12.0, history).history
        assert kind(BARE, 15.0, history=cleared) == "suspect"


# 5. Not found.


@pytest.mark.parametrize("word", NOT_FOUND_WORDS.split("|"))
def test_a_job_not_found_is_pending_at_first_then_failed_at_the_second_poll(word: str) -> None:
    payload = {"status": "error", "message": f"{word}: 1"}
    assert polled(payload, 1.0, 5.0, 9.0, 11.0, 12.0) == ["pending"] * 4 + ["failed"]


def test_a_404_is_not_found_too() -> None:
    assert polled({"oops": 1}, 9.0, 10.0, 11.0, status=404) == ["pending", "pending", "failed"]


# 6. Anything else.


@pytest.mark.parametrize("payload", [{"status": "wibble"}, {"status": 7}, {}, [{}]])
def test_a_strange_answer_is_pending_with_one_warning(payload: Any) -> None:
    first = read_status(response(payload), 5.0, START)
    assert (first.kind, first.warning is not None) == ("pending", True)
    second = read_status(response(payload), 6.0, first.history)
    assert (second.kind, second.warning) == ("pending", None)


def test_the_warning_shows_the_body_without_secrets() -> None:
    payload = {"status": "wibble", "signature": "s3cr3t", "key": "Bearer abc"}
    warning = read_status(response(payload), 5.0, START).warning or ""
    assert "wibble" in warning
    assert "s3cr3t" not in warning
    assert "abc" not in warning


# 7. Nothing to read.


TROUBLES: list[Response | MiniToolAIError] = [
    response(b"<html><title>Oops</title></html>"),
    response(b""),
    response(b"junk"),
    response([]),
    response([1]),
    response({"status": "error"}, 500),
    response({"message": "upstream timed out"}, 502),
    response(b"<html>", 520),
    response({"status": "queued"}, 302),
    response({"message": "blocked"}, 403),
    response({"message": "who are you"}, 401),
    response({"message": "no"}, 418),
    APIConnectionError("the connection broke"),
    InvalidResponseError("too long"),
]


@pytest.mark.parametrize("answer", TROUBLES)
def test_what_gives_nothing_to_read_is_transient(answer: Response | MiniToolAIError) -> None:
    status_ = read_status(answer, 5.0, START)
    assert status_.kind == "transient"
    assert status_.reason


@pytest.mark.parametrize("answer", [TROUBLES[0], TROUBLES[-1]])
def test_six_in_a_row_over_thirty_seconds_end_the_asking(
    answer: Response | MiniToolAIError,
) -> None:
    def last(*ages: float) -> str:
        history, status_ = START, None
        for age in ages:
            status_ = read_status(answer, age, history)
            history = status_.history
        assert status_
        return status_.kind

    assert last(1, 2, 4, 8, 16, 31) == "unavailable"
    assert last(1, 2, 4, 8, 31) == "transient"
    assert last(1, 2, 4, 8, 16, 30) == "transient"


def test_an_answer_in_between_clears_the_troubles() -> None:
    history = replace(START, troubles=5, trouble_since=1.0)
    cleared = read_status(response({"status": "queued"}), 32.0, history).history
    assert read_status(response(b""), 40.0, cleared).kind == "transient"


@pytest.mark.parametrize(
    "challenge",
    [
        response(b"<html><title>Just a moment...</title>", 403),
        response(b"<html>solve this CAPTCHA</html>", 200),
        response(b"no", 403, cf_mitigated="challenge"),
    ],
)
def test_a_bot_challenge_ends_after_two_tries(challenge: Response) -> None:
    first = read_status(challenge, 1.0, START)
    assert first.kind == "transient"
    assert read_status(challenge, 2.0, first.history).kind == "unavailable"


def test_too_many_requests_slow_the_asking_down() -> None:
    status_ = read_status(response({"error": "slow down"}, 429, retry_after="7"), 5.0, START)
    assert (status_.kind, status_.delay) == ("pending", 7.0)


def test_an_unavailable_service_may_say_when_to_come_back() -> None:
    assert read_status(response(b"", 503, retry_after="4"), 5.0, START).delay == 4.0


def test_a_page_is_shown_by_its_title() -> None:
    assert preview(b"<html><title>Oops</title><p>x</p>") == "Oops"


# Whatever comes.


JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.text(max_size=8) | st.sampled_from([URL, "error"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["status", "message", "image_url", "data", "images", "error", "url", "x"]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=10,
)


def check(status_: JobStatus) -> None:
    assert (status_.kind == "ready") == (status_.url is not None)
    assert status_.url is None or status_.url == URL
    assert len(status_.reason) <= 330


@given(JSON, st.sampled_from([200, 201, 302, 400, 401, 404, 429, 500]), st.floats(0, 200))
def test_no_answer_becomes_a_success_without_an_address(
    payload: Any, status: int, age: float
) -> None:
    check(read_status(response(payload, status), age, START))


@given(st.binary(max_size=60), st.floats(0, 200))
def test_no_bytes_become_a_success_or_a_crash(body: bytes, age: float) -> None:
    check(read_status(Response(200, {}, body), age, START))
