"""What the service said went wrong, as our errors."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from langchain_minitoolai import errors
from langchain_minitoolai._http.effects import Response
from langchain_minitoolai._http.error_mapping import (
    MAX_PAGE,
    body_words,
    error_of,
    retry_after,
    told_error,
)


def failed(status: int, payload: Any = b"", **headers: str) -> errors.MiniToolAIError:
    body = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return error_of(Response(status, named, body))


# --- Kinds ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "kind", "retryable"),
    [
        (400, errors.BadRequestError, False),
        (401, errors.AuthenticationError, False),
        (402, errors.InsufficientCreditError, False),
        (403, errors.PermissionDeniedError, False),
        (404, errors.NotFoundError, False),
        (408, errors.ServiceError, True),
        (413, errors.BadRequestError, False),
        (418, errors.BadRequestError, False),
        (422, errors.BadRequestError, False),
        (425, errors.ServiceError, True),
        (429, errors.RateLimitError, True),
        (500, errors.ServiceError, True),
        (503, errors.ServiceError, True),
        (520, errors.ServiceError, True),
        (302, errors.InvalidResponseError, False),
        (307, errors.InvalidResponseError, False),
    ],
)
def test_a_status_decides_the_kind(
    status: int, kind: type[errors.MiniToolAIError], *, retryable: bool
) -> None:
    error = failed(status)
    assert type(error) is kind
    assert error.is_retryable is retryable
    assert error.status_code == status
    assert str(error).startswith(f"HTTP {status}")


@pytest.mark.parametrize("status", [400, 403, 429, 500])
@pytest.mark.parametrize(
    ("code", "kind"),
    [
        ("context_length_exceeded", errors.ContextLengthError),
        ("insufficient_quota", errors.InsufficientCreditError),
        ("INSUFFICIENT_CREDIT", errors.InsufficientCreditError),
        ("billing_hard_limit", errors.InsufficientCreditError),
    ],
)
def test_some_words_say_more_than_the_status(
    status: int, code: str, kind: type[errors.MiniToolAIError]
) -> None:
    assert type(failed(status, {"error": {"message": "m", "code": code}})) is kind


@pytest.mark.parametrize("code", ["rate_limit_exceeded", "invalid_api_key", "404", "what"])
def test_other_words_do_not(code: str) -> None:
    error = failed(500, {"error": {"message": "m", "code": code}})
    assert type(error) is errors.ServiceError
    assert error.code == code


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        ("context_length_exceeded", errors.ContextLengthError),
        ("insufficient_quota", errors.InsufficientCreditError),
        ("rate_limit_exceeded", errors.RateLimitError),
        ("invalid_api_key", errors.AuthenticationError),
        ("authentication_error", errors.AuthenticationError),
        ("permission_denied", errors.PermissionDeniedError),
        ("model_not_found", errors.NotFoundError),
        ("invalid_request_error", errors.BadRequestError),
        (429, errors.RateLimitError),
        ("401", errors.AuthenticationError),
        ("999", errors.ServiceError),
        ("server_error", errors.ServiceError),
        (None, errors.ServiceError),
        (["x"], errors.ServiceError),
    ],
)
def test_an_error_told_inside_an_answer_is_known_by_its_code(
    code: Any, kind: type[errors.MiniToolAIError]
) -> None:
    error = told_error({"error": {"message": "no", "code": code}})
    assert type(error) is kind
    assert error.status_code == 200
    assert str(error) == "the service reports an error: no"


@pytest.mark.parametrize(
    ("payload", "code"),
    [
        ({"error": {"code": "a", "type": "b"}}, "a"),
        ({"error": {"code": None, "type": "b"}}, "b"),
        ({"error": {"code": 0, "type": "b"}}, "b"),
        ({"error": "text", "code": "c"}, "c"),
        ({"status": "error", "type": "d"}, "d"),
        ({"error": {"code": {"x": 1}}}, None),
        ({"error": {"code": "two\nlines"}}, "two lines"),
        ([], None),
    ],
)
def test_the_code_is_where_services_put_it(payload: Any, code: str | None) -> None:
    assert failed(500, payload).code == code


# --- Words ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b'{"error": {"message": "no credit"}}', "no credit"),
        (b'{"error": "no credit"}', "no credit"),
        (b'{"status": "error", "message": "no credit"}', "no credit"),
        (b'{"detail": "no credit"}', "no credit"),
        (b'{"error": {"message": " "}, "message": "no credit"}', "no credit"),
        (b'{"error": {"reason": 7}}', "{'error': {'reason': 7}}"),
        (b"[1, 2]", "[1, 2]"),
        (b"no\r\ncredit", "no credit"),
        (b"<html><head><title>502 Bad\n Gateway</title><p>x", "502 Bad Gateway"),
        (b'\xef\xbb\xbf <!doctype html><TITLE lang="x">Oops</TITLE>', "Oops"),
        (b"<html><title> </title><style>b{}</style><script>evil()</script><p>Sorry", "Sorry"),
        (b"<p>cut <a href='", "cut"),
        (b"<script>never closed", ""),
        (b"caf\xe9", "caf�"),
        (b"{}", "{}"),
        (b"", ""),
    ],
)
def test_a_body_is_told_in_words(body: bytes, words: str) -> None:
    assert body_words(body) == words


def test_words_are_short_and_without_the_key() -> None:
    assert body_words(b'{"error": "who is sk-1?"}', "sk-1") == "who is [key]?"
    assert len(body_words(b"x" * 10_000)) == 300
    assert len(body_words(b"<" + b"x" * (2 * MAX_PAGE))) <= 300


def test_an_error_without_words_is_told_by_its_status_alone() -> None:
    assert str(failed(503)) == "HTTP 503"
    assert str(failed(503, {"message": "busy"})) == "HTTP 503: busy"


def test_the_time_to_wait_is_told_before_words_that_may_be_long() -> None:
    error = failed(429, {"message": "slow down"}, retry_after="3600")
    assert str(error) == "HTTP 429 (try again in 3600 s): slow down"


def test_a_redirect_says_that_it_is_not_followed() -> None:
    assert str(failed(302)) == "HTTP 302: a redirect, which is never followed"
    assert str(failed(302, b"<title>Moved</title>")).endswith("never followed: Moved")


def test_an_error_told_inside_an_answer_shows_no_key_and_needs_no_reason() -> None:
    error = told_error({"error": {"message": "sk-1 is wrong", "code": "x sk-1"}}, secret="sk-1")
    assert (str(error), error.code) == ("the service reports an error: [key] is wrong", "x [key]")
    assert str(told_error({})) == "the service reports an error: no reason given"


@given(st.binary(max_size=200), st.sampled_from([300, 400, 401, 429, 500]))
def test_no_body_makes_the_reader_of_errors_fail(body: bytes, status: int) -> None:
    error = failed(status, body)
    assert len(str(error)) <= 300
    assert str(error).isprintable()


# --- Headers --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("headers", "found"),
    [
        ({"x_request_id": "r-1", "cf_ray": "c"}, "r-1"),
        ({"cf_ray": "c-1"}, "c-1"),
        ({"x_request_id": ""}, None),
        ({}, None),
    ],
)
def test_an_error_has_the_request_s_id(headers: dict[str, str], found: str | None) -> None:
    assert failed(500, **headers).request_id == found


NOW = "Wed, 21 Oct 2015 07:28:00 GMT"


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"retry-after": "120"}, 120.0),
        ({"retry-after": " 1.5 "}, 1.5),
        ({"retry-after": "0"}, 0.0),
        ({"retry-after-ms": "1500"}, 1.5),
        ({"retry-after-ms": "1500", "retry-after": "9"}, 1.5),
        ({"retry-after-ms": "junk", "retry-after": "9"}, 9.0),
        ({"retry-after": "Wed, 21 Oct 2015 07:28:09 GMT", "date": NOW}, 9.0),
        ({"retry-after": "Wed, 21 Oct 2015 07:28:09 -0000", "date": NOW}, 9.0),
        ({"retry-after": "Wed, 21 Oct 2015 09:28:09 +0200", "date": NOW}, 9.0),
        ({"retry-after": "Wed, 21 Oct 2015 07:27:00 GMT", "date": NOW}, 0.0),
        ({"retry-after": "Wed, 21 Oct 2015 07:28:00 GMT"}, 0.0),
        ({"retry-after": "Wed, 21 Oct 2015 07:28:00 GMT", "date": "junk"}, 0.0),
        ({"retry-after": "-5"}, None),
        ({"retry-after": "inf"}, None),
        ({"retry-after": "nan"}, None),
        ({"retry-after": "1e9"}, None),
        ({"retry-after": "٣"}, None),
        ({"retry-after": "9" * 400}, None),
        ({"retry-after": "soon"}, None),
        ({"retry-after": ""}, None),
        ({"date": NOW}, None),
        ({}, None),
    ],
)
def test_the_time_to_wait_is_read_in_every_form(
    headers: dict[str, str], seconds: float | None
) -> None:
    assert retry_after(headers) == seconds


@given(st.text(max_size=40), st.text(max_size=40), st.text(max_size=40))
def test_no_header_makes_the_reader_of_waits_fail(one: str, two: str, three: str) -> None:
    wait = retry_after({"retry-after": one, "retry-after-ms": two, "date": three})
    assert wait is None or 0 <= wait < float("inf")
