import time
from email.utils import formatdate

from tests.faults.client import (
    Client,
    LateError,
    check_answered,
    check_error,
    check_raised,
    check_soon,
)
from tests.faults.fault import ONE_EACH, fault
from tests.faults.server import Exchange, Record, Script
from tests.faults.wire import GOOD, error, page


def _limited(value: str, name: str = "Retry-After") -> Script:
    return error("429 Too Many Requests", "slow down", {name: value})


def _limited_until_soon(exchange: Exchange) -> None:
    _limited(formatdate(time.time() + 2, usegmt=True))(exchange)


def _gap(record: Record, number: int = 1) -> float:
    """Return the seconds between a request and the one before it."""
    return record.requests[number].at - record.requests[number - 1].at


@fault(
    "429 with seconds",
    "`Retry-After` in seconds is obeyed",
    modes=ONE_EACH,
    limited=_limited("1"),
    least=0.95,
    most=2.5,
)
@fault(
    "429 with a date",
    "`Retry-After` as an HTTP date is obeyed",
    modes=ONE_EACH,
    limited=_limited_until_soon,
    least=0.8,
    most=3.5,
)
@fault(
    "429 with milliseconds",
    "`retry-after-ms` is obeyed",
    modes=ONE_EACH,
    limited=_limited("900", "retry-after-ms"),
    least=0.85,
    most=2.4,
)
@fault(
    "429 with junk",
    "a wait that makes no sense is the usual backoff",
    modes=ONE_EACH,
    limited=_limited("soon"),
    least=0.05,
    most=2.0,
)
def test_a_wait_is_obeyed(client: Client, limited: Script, least: float, most: float) -> None:
    _, record = check_answered(client, [limited, GOOD], requests=2)
    assert _gap(record) >= least
    check_soon(_gap(record), most)


@fault("429 with an hour", "too long a wait is raised at once, with its length")
def test_too_long_a_wait_is_raised(client: Client) -> None:
    check_raised(
        client,
        [_limited("3600"), GOOD],
        "RateLimitError",
        retryable=True,
        requests=1,
        says="slow down",
        within=2.0,
        status=429,
    )


@fault("500 twice", "the third attempt is the answer", modes=ONE_EACH)
def test_the_third_attempt_is_the_answer(client: Client) -> None:
    scripts = [error("500 Oops"), error("500 Oops"), GOOD]
    check_answered(client, scripts, requests=3, settings={"max_retries": 2})


@fault("503 for ever", "attempts are counted, and the words are the service's")
def test_attempts_are_counted(client: Client) -> None:
    check_raised(
        client,
        [error("503 Busy", "overloaded")],
        "ServiceError",
        retryable=True,
        requests=2,
        says="overloaded",
        status=503,
    )


@fault("400", "a bad request is raised at once", refusal=error("400 Bad"), kind="BadRequestError")
@fault(
    "401",
    "a wrong key is raised at once",
    refusal=error("401 Unauthorized"),
    kind="AuthenticationError",
)
@fault(
    "402",
    "an empty balance is raised at once",
    refusal=error("402 Pay"),
    kind="InsufficientCreditError",
)
@fault(
    "403 page",
    "a firewall's page is raised at once, as its title",
    refusal=page("403 Forbidden", "no: Attention Required!"),
    kind="PermissionDeniedError",
)
def test_a_refusal_is_raised_at_once(client: Client, refusal: Script, kind: str) -> None:
    status = {"BadRequestError": 400, "AuthenticationError": 401, "InsufficientCreditError": 402}
    check_raised(
        client,
        [refusal, GOOD],
        kind,
        retryable=False,
        requests=1,
        says="no",
        within=2.0,
        status=status.get(kind, 403),
    )


def _reset(exchange: Exchange) -> None:
    exchange.reset()


def _other_protocol(exchange: Exchange) -> None:
    exchange.send(b"SSH-2.0-OpenSSH_9.6\r\n")
    exchange.close()


@fault("520 page", "a CDN's own errors are tried again", failure=page("520 Unknown", "Down"))
@fault("reset before headers", "a lost request is sent again", failure=_reset)
@fault("no HTTP at all", "a server of another protocol is a lost request", failure=_other_protocol)
def test_a_failed_attempt_is_made_again(client: Client, failure: Script) -> None:
    check_answered(client, [failure, GOOD], requests=2)


@fault("refused", "nothing listens: a connection error, soon")
def test_a_refused_connection_is_an_error_soon(client: Client) -> None:
    [made] = client.call(client.target.model("http://127.0.0.1:9"))
    check_error(client, made, "APIConnectionError", retryable=True, within=4.0)


def _good_then_closed(exchange: Exchange) -> None:
    GOOD(exchange)
    exchange.pause(0.05)
    exchange.close()


@fault("stale keep-alive", "a connection that died while idle is not used")
def test_a_connection_that_died_is_not_used(client: Client) -> None:
    check_answered(client, [_good_then_closed, GOOD], calls=2)


def _drop(exchange: Exchange) -> None:
    exchange.close()


@fault("racing keep-alive", "one that dies as it is used is replaced at once")
def test_a_connection_that_dies_as_it_is_used_is_replaced_at_once(client: Client) -> None:
    _, record = check_answered(client, [GOOD, _drop, GOOD], calls=2, requests=3)
    check_soon(_gap(record, 2), 0.25)


@fault("a failed attempt's connection released", "no attempt keeps its connection")
def test_no_attempt_keeps_its_connection(client: Client) -> None:
    _, record = check_answered(client, [error("503 Busy"), GOOD], requests=2)
    first, second = record.requests
    assert len(record.connections) <= 2
    if second.connection is not first.connection:
        closed = first.connection.closed
        assert closed is not None
        if closed > second.at + 0.1:
            raise LateError("the failed attempt's connection was still open at the next")
