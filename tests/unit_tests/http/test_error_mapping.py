"""Transport errors, responses and payloads as errors of this package."""

import json
import socket
import ssl
import time
from typing import Any

import aiohttp
import httpcore
import httpx
import httpx2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from langchain_minitoolai import errors
from langchain_minitoolai._http.effects import Response
from langchain_minitoolai._http.error_mapping import (
    CONNECT_ERRORS,
    MAX_ERROR_BODY,
    error_from_payload,
    error_from_response,
    map_transport_error,
    parse_json_object,
    response_metadata,
    retry_after,
    summarize_body,
)
from langchain_minitoolai._http.transport import Deadline, ExchangeTrace
from tests.unit_tests.fake_clients import CONNECTING, SENDING, Clock, connected


def failed(status: int, payload: Any = b"", **headers: str) -> errors.MiniToolAIError:
    body = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return error_from_response(Response(status, named, body))


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
def test_some_codes_say_more_than_the_status(
    status: int, code: str, kind: type[errors.MiniToolAIError]
) -> None:
    assert type(failed(status, {"error": {"message": "m", "code": code}})) is kind


@pytest.mark.parametrize("code", ["rate_limit_exceeded", "invalid_api_key", "404", "what"])
def test_other_codes_do_not(code: str) -> None:
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
def test_an_error_inside_a_success_is_known_by_its_code(
    code: Any, kind: type[errors.MiniToolAIError]
) -> None:
    error = error_from_payload({"error": {"message": "no", "code": code}})
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


# --- Messages ----------------------------------------------------------------------------


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
def test_a_body_is_summarized(body: bytes, words: str) -> None:
    assert summarize_body(body) == words


def test_a_summary_is_short_and_without_the_key() -> None:
    assert summarize_body(b'{"error": "who is sk-12345?"}', "sk-12345") == "who is [key]?"
    assert len(summarize_body(b"x" * 10_000)) == 300
    assert len(summarize_body(b"<" + b"x" * (2 * MAX_ERROR_BODY))) <= 300


def test_an_error_without_a_message_has_its_status_alone() -> None:
    assert str(failed(503)) == "HTTP 503"
    assert str(failed(503, {"message": "busy"})) == "HTTP 503: busy"


def test_the_time_to_wait_stands_before_a_message_that_may_be_long() -> None:
    error = failed(429, {"message": "slow down"}, retry_after="3600")
    assert str(error) == "HTTP 429 (try again in 3600 s): slow down"


def test_a_redirect_says_that_it_is_not_followed() -> None:
    assert str(failed(302)) == "HTTP 302: a redirect, which is never followed"
    assert str(failed(302, b"<title>Moved</title>")).endswith("never followed: Moved")


def test_an_error_inside_a_success_shows_no_key_and_needs_no_reason() -> None:
    error = error_from_payload(
        {"error": {"message": "sk-12345 is wrong", "code": "x sk-12345"}}, secret="sk-12345"
    )
    assert (str(error), error.code) == ("the service reports an error: [key] is wrong", "x [key]")
    assert str(error_from_payload({})) == "the service reports an error: no reason given"


@pytest.mark.parametrize("before", [260, 280, 290, 299])
def test_an_error_inside_a_success_is_cut_after_the_key_was_redacted(before: int) -> None:
    text = "x" * before + "sk-12345"
    error = error_from_payload({"error": {"message": text, "code": text}}, secret="sk-12345")
    assert "sk" not in f"{error} {error.code}"


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


def test_metadata_are_the_request_s_id_and_more_attempts_than_one() -> None:
    assert response_metadata(Response(200, {})) == {}
    headers = {"x-request-id": "r-1"}
    assert response_metadata(Response(200, headers)) == {"request_id": "r-1"}
    both = {"request_id": "r-1", "attempts": 3}
    assert response_metadata(Response(200, headers, attempts=3)) == both


@pytest.mark.parametrize(
    ("data", "parsed"),
    [
        (b'{"a": 1}', {"a": 1}),
        (b'{"a": "caf\xe9"}', {"a": "caf\ufffd"}),
        (b"[1]", None),
        (b"{", None),
        (b"\xff", None),
        (b"", None),
    ],
)
def test_a_json_object_is_parsed_whatever_its_encoding(
    data: bytes, parsed: dict[str, Any] | None
) -> None:
    assert parse_json_object(data) == parsed


# --- Transport errors -----------------------------------------------------------------

LIBRARIES = [httpx, httpx2, httpcore]
SECRET = "sk-secret"


def mapped(
    caught: Exception, trace: ExchangeTrace | None = None, *, headers_received: bool = False
) -> errors.MiniToolAIError:
    deadline = Deadline(Clock(), 9.0, None)
    return map_transport_error(
        caught, deadline, trace, headers_received=headers_received, peer="the service at a.test:443"
    )


def traced(*events: Any) -> ExchangeTrace:
    trace = ExchangeTrace()
    for one in events:
        trace.record(one.name, one.info)
    return trace


def caused(caught: Exception, cause: Exception) -> Exception:
    """Chain two errors, as httpx-aiohttp does."""
    caught.__cause__ = cause
    return caught


def test_our_own_errors_stay_as_they_are() -> None:
    error = errors.InvalidInputError("verify")
    assert mapped(error) is error


@pytest.mark.parametrize("headers_received", [True, False])
@pytest.mark.parametrize(
    "caught",
    [
        TimeoutError(),
        *(library.ReadTimeout("") for library in LIBRARIES),
        *(library.WriteTimeout("") for library in LIBRARIES),
        aiohttp.SocketTimeoutError(),
    ],
)
def test_no_progress_is_a_timeout(caught: Exception, *, headers_received: bool) -> None:
    failure = mapped(caught, headers_received=headers_received)
    assert type(failure) is errors.APITimeoutError
    assert str(failure) == "the service made no progress for 9 s"
    assert not failure.is_retryable


BREAKS: list[Exception] = [
    *(library.ReadError("x") for library in LIBRARIES),
    *(library.RemoteProtocolError("x") for library in LIBRARIES),
    ConnectionResetError("x"),
    aiohttp.ClientPayloadError("x"),
    aiohttp.ServerDisconnectedError(),
]


@pytest.mark.parametrize("caught", BREAKS)
def test_a_break_after_the_headers_is_an_interrupted_stream(caught: Exception) -> None:
    failure = mapped(caught, traced(SENDING), headers_received=True)
    assert type(failure) is errors.StreamInterruptedError
    assert not failure.stale


@pytest.mark.parametrize("caught", BREAKS)
@pytest.mark.parametrize(
    ("trace", "stale"),
    [(None, False), (traced(SENDING), True), (traced(*connected(), SENDING), False)],
)
def test_a_break_before_the_headers_is_stale_on_a_kept_connection(
    caught: Exception, trace: ExchangeTrace | None, *, stale: bool
) -> None:
    failure = mapped(caught, trace)
    assert type(failure) is errors.APIConnectionError
    assert str(failure) == "the connection broke before the service answered"
    assert (failure.stale, failure.maybe_sent, failure.is_retryable) == (stale, True, True)


@pytest.mark.parametrize("library", LIBRARIES)
@pytest.mark.parametrize(
    ("name", "text", "shown"),
    [
        ("ConnectError", "Name or service not known", "Name or service not known"),
        ("ConnectTimeout", "timed out", "timed out"),
        ("PoolTimeout", "", "no connection in the time allowed"),
        ("ProxyError", "407 Proxy Authentication Required", "407 Proxy"),
        ("UnsupportedProtocol", "no such", "no such"),
    ],
)
def test_what_was_not_sent_is_safe_to_try_again(
    library: Any, name: str, text: str, shown: str
) -> None:
    failure = mapped(getattr(library, name)(text))
    assert type(failure) is errors.APIConnectionError
    assert str(failure).startswith(f"can't connect to the service at a.test:443: {shown}")
    assert (failure.maybe_sent, failure.stale, failure.is_retryable) == (False, False, True)
    assert not failure.maybe_charged


def test_an_unknown_host_was_not_reached() -> None:
    failure = mapped(socket.gaierror(-2, "Name or service not known"))
    assert isinstance(failure, errors.APIConnectionError)
    assert (failure.maybe_sent, failure.is_retryable) == (False, True)
    assert "gaierror" in CONNECT_ERRORS


@pytest.mark.parametrize("caught", [TimeoutError(), httpx.ReadError("reset"), ssl.SSLError("x")])
def test_whatever_happens_while_connecting_was_not_sent(caught: Exception) -> None:
    failure = mapped(caught, traced(CONNECTING))
    assert isinstance(failure, errors.APIConnectionError)
    assert (failure.maybe_sent, failure.stale, failure.is_retryable) == (False, False, True)


def test_a_proxy_that_refuses_got_nothing_of_the_request() -> None:
    failure = mapped(httpx.ProxyError("403 Forbidden"), traced(*connected(), SENDING))
    assert isinstance(failure, errors.APIConnectionError)
    assert (failure.maybe_sent, failure.stale) == (False, False)


def test_an_unknown_certificate_has_a_hint() -> None:
    failure = mapped(httpx.ConnectError("[SSL: CERTIFICATE_VERIFY_FAILED] self-signed certificate"))
    assert failure.hint.startswith("to trust a company's authority, pass the path")
    for way in ("verify=", "SSL_CERT_FILE", "http_client"):
        assert way in str(failure)
    assert mapped(httpx.ConnectError("refused")).hint == ""


@pytest.mark.parametrize("status", [408, 500, 503, 504])
def test_what_may_be_charged_is_retried_but_not_called_safe(status: int) -> None:
    error = failed(status)
    assert (error.is_retryable, error.maybe_charged, error.retry_safe) == (True, True, False)


def test_what_is_never_charged_is_safe_to_retry() -> None:
    error = failed(429)
    assert (error.is_retryable, error.maybe_charged, error.retry_safe) == (True, False, True)


@pytest.mark.parametrize(
    "caught",
    [
        httpx.ConnectError("[SSL: CERTIFICATE_VERIFY_FAILED] self-signed certificate"),
        httpx.LocalProtocolError("Illegal header value"),
    ],
)
def test_what_would_fail_again_is_not_retryable(caught: Exception) -> None:
    failure = mapped(caught)
    assert (failure.is_retryable, failure.maybe_sent) == (False, False)


@pytest.mark.parametrize(
    ("cause", "sent"),
    [
        (aiohttp.ServerDisconnectedError(), True),
        (aiohttp.ClientConnectorDNSError(None, OSError()), False),  # type: ignore[arg-type]
        (aiohttp.ConnectionTimeoutError(), False),
        (TimeoutError(), False),
        (ValueError(), False),
    ],
)
def test_what_httpx_aiohttp_calls_a_connect_timeout_is_judged_by_its_cause(
    cause: Exception, *, sent: bool
) -> None:
    failure = mapped(caused(httpx.ConnectTimeout("x"), cause))
    assert type(failure) is errors.APIConnectionError
    assert (failure.maybe_sent, failure.is_retryable, failure.stale) == (sent, True, False)


class UnknownError(Exception):
    """Exception of some transport."""


@pytest.mark.parametrize(
    ("trace", "message"),
    [
        (None, "the HTTP client raised UnknownError"),
        (traced(SENDING), "the HTTP client raised UnknownError"),
        (traced(CONNECTING), "can't connect to the service at a.test:443: UnknownError"),
    ],
)
def test_an_unknown_error_gives_its_class_alone_and_is_not_retryable(
    trace: ExchangeTrace | None, message: str
) -> None:
    failure = mapped(UnknownError(f"Bearer {SECRET}"), trace)
    assert type(failure) is errors.APIConnectionError
    assert str(failure) == message
    assert (failure.is_retryable, failure.stale) == (False, False)
    assert SECRET not in repr(vars(failure))


def test_an_unknown_error_after_the_headers_is_an_interrupted_stream() -> None:
    failure = mapped(UnknownError(SECRET), headers_received=True)
    assert type(failure) is errors.StreamInterruptedError
    assert SECRET not in str(failure)


@pytest.mark.parametrize("unit", ["<title", "<title ", "<", "<script", "<style>", "<!--"])
def test_any_page_is_read_in_no_time(unit: str) -> None:
    started = time.process_time()
    summarize_body(f"<html>{unit * (64 * 1024 // len(unit))}".encode())
    assert time.process_time() - started < 0.5
