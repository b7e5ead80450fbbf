"""Responses: statuses that are retried or not, errors in the stream, 200s that are none."""

import time
from email.utils import formatdate

from tests.faults.fault import (
    Expect,
    Fault,
    Seen,
    Verdict,
    answers,
    both,
    connections,
    per_mode,
    raises,
)
from tests.faults.server import Exchange, Script
from tests.faults.targets import Settings
from tests.faults.wire import (
    DONE,
    GOOD,
    TEXT,
    TOKENS,
    answer,
    body,
    chunk_object,
    error,
    event,
    page,
    stream,
    tokens,
)

# --- Retries --------------------------------------------------------------------------------

TWICE = Settings(max_retries=2)
ONCE = Settings(max_retries=1)


def _limited(value: str, name: str = "Retry-After") -> Script:
    return error("429 Too Many Requests", "slow down", {name: value})


def _limited_until(seconds: float) -> Script:
    def script(exchange: Exchange) -> None:
        _limited(formatdate(time.time() + seconds, usegmt=True))(exchange)

    return script


def _waited(least: float, most: float) -> Expect:
    """Expect that the second request came so many seconds after the first."""

    def judge(seen: Seen) -> Verdict:
        requests = seen.record.requests
        if len(requests) < 2:
            return f"sent {len(requests)} request"
        gap = requests[1].at - requests[0].at
        return "" if least <= gap <= most else f"waited {gap:.2f} s"

    return judge


def _retried(least: float, most: float) -> Expect:
    return both(answers(requests=2), _waited(least, most))


def _reset(exchange: Exchange) -> None:
    exchange.reset()


def _other_protocol(exchange: Exchange) -> None:
    exchange.send(b"SSH-2.0-OpenSSH_9.6\r\n")
    exchange.close()


def _good_then_closed(exchange: Exchange) -> None:
    GOOD(exchange)
    exchange.pause(0.05)
    exchange.close()


def _drop(exchange: Exchange) -> None:
    exchange.close()


def _at_once(seen: Seen) -> Verdict:
    requests = seen.record.requests
    gap = requests[2].at - requests[1].at
    return "" if gap < 0.25 else f"waited {gap:.2f} s before the fresh connection"


def _released(seen: Seen) -> Verdict:
    first, second = seen.record.requests[:2]
    if second.connection is first.connection:
        return ""
    closed = first.connection.closed
    late = closed is None or closed > second.at + 0.1
    return "the failed attempt's connection was still open at the next" if late else ""


def _refusal(status: int, kind: str, says: str = "no") -> Expect:
    return raises(
        kind,
        retryable=False,
        requests=1,
        says=says,
        within=2.0,
        status=status,
    )


RETRIES = (
    Fault(
        "retries",
        "429 with seconds",
        "`Retry-After` in seconds is obeyed",
        scripts=(_limited("1"), GOOD),
        expect=_retried(0.95, 2.5),
    ),
    Fault(
        "retries",
        "429 with a date",
        "`Retry-After` as an HTTP date is obeyed",
        scripts=(_limited_until(2.0), GOOD),
        expect=_retried(0.8, 3.5),
    ),
    Fault(
        "retries",
        "429 with milliseconds",
        "`retry-after-ms` is obeyed",
        scripts=(_limited("900", "retry-after-ms"), GOOD),
        expect=_retried(0.85, 2.4),
    ),
    Fault(
        "retries",
        "429 with an hour",
        "too long a wait is raised at once, with its length",
        scripts=(_limited("3600"), GOOD),
        expect=raises(
            "RateLimitError", retryable=True, requests=1, says="slow down", within=2.0, status=429
        ),
    ),
    Fault(
        "retries",
        "429 with junk",
        "a wait that makes no sense is the usual backoff",
        scripts=(_limited("soon"), GOOD),
        expect=_retried(0.05, 2.0),
    ),
    Fault(
        "retries",
        "500 twice",
        "the third attempt is the answer",
        scripts=(error("500 Oops"), error("500 Oops"), GOOD),
        settings=TWICE,
        expect=answers(requests=3),
    ),
    Fault(
        "retries",
        "503 for ever",
        "attempts are counted, and the words are the service's",
        scripts=(error("503 Busy", "overloaded"),),
        expect=raises("ServiceError", retryable=True, requests=2, says="overloaded", status=503),
    ),
    Fault(
        "retries",
        "520 page",
        "a CDN's own errors are tried again",
        scripts=(page("520 Unknown", "Web server is down"), GOOD),
        expect=answers(requests=2),
    ),
    Fault(
        "retries",
        "400",
        "a bad request is raised at once",
        scripts=(error("400 Bad"), GOOD),
        expect=_refusal(400, "BadRequestError"),
    ),
    Fault(
        "retries",
        "401",
        "a wrong key is raised at once",
        scripts=(error("401 Unauthorized"), GOOD),
        expect=_refusal(401, "AuthenticationError"),
    ),
    Fault(
        "retries",
        "402",
        "an empty balance is raised at once",
        scripts=(error("402 Pay"), GOOD),
        expect=_refusal(402, "InsufficientCreditError"),
    ),
    Fault(
        "retries",
        "403 page",
        "a firewall's page is raised at once, as its title",
        scripts=(page("403 Forbidden", "Attention Required!"), GOOD),
        expect=_refusal(403, "PermissionDeniedError", "Attention Required!"),
    ),
    Fault(
        "retries",
        "reset before headers",
        "a lost request is sent again",
        scripts=(_reset, GOOD),
        expect=answers(requests=2),
    ),
    Fault(
        "retries",
        "no HTTP at all",
        "a server of another protocol is a lost request",
        scripts=(_other_protocol, GOOD),
        expect=answers(requests=2),
    ),
    Fault(
        "retries",
        "refused",
        "nothing listens: a connection error, soon",
        origin="http://127.0.0.1:9",
        expect=raises("APIConnectionError", retryable=True, requests=0, within=4.0),
    ),
    Fault(
        "retries",
        "stale keep-alive",
        "a connection that died while idle is not used",
        scripts=(_good_then_closed, GOOD),
        calls=2,
        expect=answers(requests=2),
    ),
    Fault(
        "retries",
        "racing keep-alive",
        "one that dies as it is used is replaced at once",
        scripts=(GOOD, _drop, GOOD),
        calls=2,
        expect=both(answers(requests=3), _at_once),
    ),
    Fault(
        "retries",
        "a failed attempt's connection released",
        "no attempt keeps its connection",
        scripts=(error("503 Busy"), GOOD),
        expect=both(answers(requests=2), _released, connections(2)),
    ),
)

# --- Errors in the stream --------------------------------------------------------------------

_WORDS = "the model fell over"
_ERROR = {"error": {"message": _WORDS, "type": "server_error", "code": "overloaded"}}


def _reported(payload: bytes, *, after: bool = True, says: str = "", again: bool = False) -> Fault:
    """Return what the faults of this group share: an error reported after some tokens."""
    shown = TEXT if after else ""
    reported = raises("ServiceError", requests=1, shown=shown, says=says)
    garbled = per_mode(
        raises("ModelError", requests=1, shown=shown, says=says),
        raises("ModelError", requests=2, says=says),
    )
    packets = [*(tokens() if after else []), payload, *answer()[len(TOKENS) :]]
    return Fault(
        "in the stream",
        "",
        "the server's words are raised",
        scripts=(stream(packets),),
        expect=garbled if again else reported,
    )


def _named(name: str, fault: Fault, promise: str = "") -> Fault:
    return Fault(fault.group, name, promise or fault.promise, fault.scripts, fault.expect)


def _skipped(value: object) -> tuple[Script, ...]:
    return (stream([event(value), *answer()[:2], event(value), *answer()[2:]]),)


IN_STREAM = (
    _named("error object mid-stream", _reported(event(_ERROR), says=_WORDS)),
    _named(
        "error object first",
        _reported(event(_ERROR), after=False, says=_WORDS),
        "raised before anything is shown, so that fallbacks work",
    ),
    _named("error text", _reported(event({"error": _WORDS}), says=_WORDS)),
    _named("event: error", _reported(b"event: error\n" + event({"message": _WORDS}), says=_WORDS)),
    _named("status: error", _reported(event({"status": "error", "message": _WORDS}), says=_WORDS)),
    _named(
        "broken JSON",
        _reported(event('{"choices": [{"delta'), again=True),
        "junk in the stream is no answer; `invoke` asks again",
    ),
    _named(
        "plain text",
        _reported(event("upstream timed out"), says="upstream timed out", again=True),
        "junk in the stream is shown in the error; `invoke` asks again",
    ),
    _named("a list", _reported(event([1, 2]), again=True), "JSON that is no object is junk"),
    _named("null", _reported(event(None), again=True), "JSON that is no object is junk"),
    _named("a number", _reported(event(42), again=True), "JSON that is no object is junk"),
    Fault(
        "in the stream",
        "choices: null",
        "a chunk without choices is passed over",
        scripts=_skipped(chunk_object(choices=None)),
        expect=answers(),
    ),
    Fault(
        "in the stream",
        "no delta",
        "a choice without a delta is passed over",
        scripts=_skipped(chunk_object(choices=[{"index": 0, "finish_reason": None}])),
        expect=answers(),
    ),
)

# --- 200s that are none --------------------------------------------------------------------


def _bad(kind: str, says: str = "") -> Expect:
    def judge(seen: Seen) -> Verdict:
        wrong = raises(kind, shown="", says=says)(seen)
        many = len(seen.record.requests) > 1 + seen.settings.max_retries
        return wrong or ("sent too many requests" if many else "")

    return judge


_JSON_ERROR = body("200 OK", {"status": "error", "message": _WORDS})

BAD_200 = (
    Fault(
        "bad 200",
        "page",
        "a page is no answer; the error has its title, no markup",
        scripts=(page("200 OK", "Just a moment..."),),
        expect=_bad("InvalidResponseError", "Just a moment..."),
    ),
    Fault(
        "bad 200",
        "JSON error",
        "an error with status 200 is an error",
        scripts=(_JSON_ERROR,),
        expect=both(_bad("ServiceError", _WORDS)),
    ),
    Fault(
        "bad 200",
        "empty",
        "nothing is no answer",
        scripts=(body("200 OK", b"", "text/event-stream"),),
        expect=_bad("ModelError"),
    ),
    Fault(
        "bad 200",
        "only [DONE]",
        "an end without a beginning is no answer",
        scripts=(stream([DONE]),),
        expect=_bad("ModelError"),
    ),
    Fault(
        "bad 200",
        "SSE labelled text/html",
        "the body is judged, not its label",
        scripts=(stream(answer(), content_type="text/html; charset=iso-8859-1"),),
        expect=answers(),
    ),
    Fault(
        "bad 200",
        "SSE without a label",
        "the body is judged, with no label too",
        scripts=(stream(answer(), content_type=None),),
        expect=answers(),
    ),
)
