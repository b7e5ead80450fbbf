"""Both HTTP clients: each test of what they share runs on the sync and on the async one."""

import asyncio
import gc
import gzip
import itertools
import json
import logging
import socket
import threading
import traceback
import zlib
from collections.abc import Callable, Coroutine, Iterator
from contextlib import suppress
from typing import Any

import httpx
import httpx2
import pytest

from langchain_minitoolai import errors
from langchain_minitoolai._http import client as client_module
from langchain_minitoolai._http.async_client import AsyncClient, AsyncExchange
from langchain_minitoolai._http.client import BaseClient, BearerAuth, SyncClient
from langchain_minitoolai._http.effects import (
    MAX_JSON_BODY,
    Download,
    Invoke,
    Request,
    Resolve,
    Response,
    Sleep,
    StreamResponse,
    Workflow,
)
from langchain_minitoolai._http.error_mapping import MAX_ERROR_BODY, response_metadata
from langchain_minitoolai._http.pool import ClientPool, PooledClient, TransportConfig
from langchain_minitoolai._http.retry import RetryPolicy, send_with_retries
from langchain_minitoolai._http.transport import Deadline, ExchangeTrace
from langchain_minitoolai._version import __version__
from tests.unit_tests.fake_clients import (
    BASE,
    COMMENT,
    CONNECTING,
    DONE,
    KEY,
    MODES,
    SENDING,
    STOP,
    STREAMED,
    USAGE,
    WHOLE,
    AsyncDriver,
    Clock,
    Driver,
    Exchange,
    FakeBody,
    FakeLoop,
    FakeNetworkStream,
    Item,
    MakeDriver,
    SyncDriver,
    chat_request,
    connected,
    delta,
    event,
    once,
    read,
    read_all,
    text_of,
)

NOWHERE: Any = None


@pytest.fixture(params=["sync", "async"])
def over(request: pytest.FixtureRequest) -> Iterator[MakeDriver]:
    """Make a driver over these exchanges; afterwards nothing may be left behind."""
    made: list[SyncDriver | AsyncDriver] = []

    def make(*exchanges: Exchange, **options: Any) -> Driver:
        driver = (SyncDriver if request.param == "sync" else AsyncDriver)(*exchanges, **options)
        made.append(driver)
        return driver

    yield make
    for driver in made:
        if isinstance(driver, AsyncDriver):
            driver.close()


@pytest.fixture
def drivers() -> Iterator[Callable[..., AsyncDriver]]:
    """Make an async driver over these exchanges; afterwards nothing may be left behind."""
    made: list[AsyncDriver] = []

    def make(*exchanges: Exchange) -> AsyncDriver:
        made.append(AsyncDriver(*exchanges))
        return made[-1]

    yield make
    gc.collect()
    for driver in made:
        driver.close()


def failure(driver: Driver, effect: Any = None, **changes: Any) -> errors.MiniToolAIError:
    """Perform a request that fails, reading its stream if it is open; return the error."""
    with pytest.raises(errors.MiniToolAIError) as raised:
        read(driver, driver.run(once(effect or chat_request(**changes))))
    assert raised.value.__cause__ is None
    assert raised.value.__suppress_context__ or raised.value.__context__ is None
    assert all(exchange.closed for exchange in driver.service.exchanges if exchange.answered)
    return raised.value


# --- Workflows ----------------------------------------------------------------------


def test_a_workflow_is_sent_the_outcomes_of_its_effects_and_its_result_is_returned(
    over: MakeDriver,
) -> None:
    async def arun() -> str:
        return "done"

    def workflow() -> Workflow[list[Any]]:
        response = yield chat_request()
        nothing = yield Sleep(3.0)
        done = yield Invoke(lambda: "done", arun)
        return [response.status, nothing, done]

    driver = over(Exchange([b"{}"], 201))
    assert driver.run(workflow()) == [201, None, "done"]
    assert driver.clock() == 1003.0


def test_what_an_effect_raises_is_thrown_into_the_workflow_which_may_go_on(
    over: MakeDriver,
) -> None:
    def fail() -> None:
        raise LookupError("nothing there")

    async def afail() -> None:
        fail()

    def workflow() -> Workflow[str]:
        try:
            yield Invoke(fail, afail)
        except LookupError as error:
            yield Sleep(1.0)
            return f"went on: {error}"
        return "never"

    assert over(Exchange()).run(workflow()) == "went on: nothing there"


def test_what_a_workflow_raises_is_raised_as_it_is(over: MakeDriver) -> None:
    def workflow() -> Workflow[None]:
        yield Sleep(0.0)
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        over(Exchange()).run(workflow())


def test_our_errors_leave_a_workflow_without_the_key(over: MakeDriver) -> None:
    def workflow() -> Workflow[None]:
        yield Sleep(0.0)
        raise errors.ServiceError(f"who is {KEY}?", code=KEY, request_id=f"r-{KEY}")

    with pytest.raises(errors.ServiceError) as raised:
        over(Exchange()).run(workflow())
    assert KEY not in "".join(traceback.format_exception(raised.value))
    assert KEY not in repr(vars(raised.value))


def holding(held: list[str]) -> Workflow[None]:
    def stop() -> None:
        raise KeyboardInterrupt

    async def astop() -> None:
        raise asyncio.CancelledError

    held.append("claim")
    try:
        yield Invoke(stop, astop)
    finally:
        held.clear()


def test_an_interrupted_workflow_is_closed_while_its_traceback_is_kept() -> None:
    held: list[str] = []
    with pytest.raises(KeyboardInterrupt) as kept:
        SyncClient(NOWHERE, BASE, "a-key").execute(holding(held))
    assert (held, kept.type) == ([], KeyboardInterrupt)


async def test_a_cancelled_workflow_is_closed_while_its_traceback_is_kept() -> None:
    held: list[str] = []
    with pytest.raises(asyncio.CancelledError) as kept:
        await AsyncClient(NOWHERE, BASE, "a-key").execute(holding(held))
    assert (held, kept.type) == ([], asyncio.CancelledError)


# --- Requests -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("base", "netloc"),
    [
        ("https://service.test/api", "service.test:443"),
        ("https://service.test:8443/api", "service.test:8443"),
        ("http://localhost/api", "localhost:80"),
        ("http://[::1]:8000/api", "[::1]:8000"),
        ("https://user:pass@service.test/api", "service.test:443"),
    ],
)
def test_the_netloc_is_host_and_port_alone(base: str, netloc: str) -> None:
    assert BaseClient(NOWHERE, base, KEY).origin.netloc == netloc


@pytest.mark.parametrize("mode", MODES)
def test_a_request_is_a_post_of_json_with_the_key_and_the_headers(
    over: MakeDriver, mode: str
) -> None:
    driver = over(Exchange(WHOLE))
    read(driver, driver.run(once(chat_request(mode, body={"model": "gpt-4o", "æ": 1}))))
    (request,) = driver.service.requests
    assert (request.method, str(request.url)) == ("POST", f"{BASE}/chat-completions/")
    assert json.loads(request.read()) == {"model": "gpt-4o", "æ": 1}
    assert request.headers["content-length"] == str(len(request.read()))
    assert request.headers["authorization"] == f"Bearer {KEY}"
    assert request.headers["content-type"] == "application/json"
    assert request.headers["accept-encoding"] == "identity"
    assert request.headers["user-agent"] == f"langchain-minitoolai/{__version__}"
    assert request.headers["x-mine"] == "1"


def test_the_client_s_own_headers_go_to_the_service_too(over: MakeDriver) -> None:
    driver = over(Exchange([b"{}"]), headers={"X-Gateway": "g"})
    driver.run(once(chat_request()))
    assert driver.service.requests[0].headers["x-gateway"] == "g"


@pytest.mark.parametrize("mode", MODES)
def test_a_request_without_auth_goes_without_the_key(over: MakeDriver, mode: str) -> None:
    driver = over(Exchange(WHOLE))
    read(driver, driver.run(once(chat_request(mode, send_auth=False))))
    assert KEY not in repr(driver.service.requests[0].headers.raw)


def test_the_client_s_own_auth_is_not_sent_in_place_of_the_key(over: MakeDriver) -> None:
    driver = over(Exchange([b"{}"]), auth=("user", "pw"))
    driver.run(once(chat_request()))
    driver.run(once(chat_request(send_auth=False)))
    sent = [request.headers.get("authorization") for request in driver.service.requests]
    assert sent == [f"Bearer {KEY}", None]


def test_the_key_is_set_when_a_request_is_sent_and_not_before() -> None:
    request = build()
    assert KEY not in repr(request.headers.raw)
    assert BearerAuth(KEY)(request) is request
    assert request.headers["authorization"] == f"Bearer {KEY}"


@pytest.mark.parametrize("new_connection", [True, False])
def test_a_request_can_ask_for_a_new_connection(over: MakeDriver, *, new_connection: bool) -> None:
    driver = over(Exchange([b"{}"]))
    driver.run(once(chat_request(new_connection=new_connection)))
    assert driver.pool.asked == [new_connection]


def build(**headers: str) -> httpx.Request:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    client = BaseClient(NOWHERE, BASE, KEY, named)
    built: httpx.Request = client.build_request(httpx.Client(), chat_request(), {})
    return built


@pytest.mark.parametrize("name", ["user_agent", "User_Agent", "USER_AGENT"])
def test_a_user_s_header_replaces_ours_in_any_case(name: str) -> None:
    assert build(**{name: "mine"}).headers.get_list("user-agent") == ["mine"]


def test_requests_share_nothing_that_can_change() -> None:
    client = BaseClient(NOWHERE, BASE, KEY, {"x-mine": "1"})
    one, two = (
        client.build_request(httpx.Client(), chat_request(body={"n": n}), {}) for n in (1, 22)
    )
    assert (one.read(), two.read()) == (b'{"n":1}', b'{"n":22}')
    one.headers["x-mine"] = "2"
    assert two.headers["x-mine"] == "1"


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({"fine": [1, "two"], "x": object}, "x is <class 'object'>; allowed: what JSON can hold"),
        ({"a": [{"b": (1, "\ud800")}]}, r"a[0].b[1] is '\ud800'; allowed"),
        ({"a": {"b": "\ud800" + "x" * 99}}, r"a.b is '\ud800" + "x" * 53 + "…; allowed"),
        ({"\ud800": 1}, "the request is something; allowed"),
    ],
)
def test_what_json_can_t_hold_is_refused_by_its_place_before_anything_is_sent(
    over: MakeDriver, body: dict[str, Any], message: str
) -> None:
    driver = over(Exchange())
    error = failure(driver, body=body)
    assert isinstance(error, errors.InvalidInputError)
    assert message in str(error)
    assert driver.service.requests == []


def test_the_key_is_in_no_repr() -> None:
    client = BaseClient(NOWHERE, BASE, KEY, {"x-secret": "s3cr3t"})
    texts = [repr(thing) for thing in (client, BearerAuth(KEY), build(), chat_request())]
    assert not any(KEY in text or "s3cr3t" in text for text in texts)


@pytest.mark.parametrize("mode", MODES)
def test_an_attempt_is_logged_without_a_secret(
    over: MakeDriver, caplog: pytest.LogCaptureFixture, mode: str
) -> None:
    caplog.set_level(logging.DEBUG)
    driver = over(Exchange(WHOLE, headers={"set-cookie": "s3cr3t"}))
    read(driver, driver.run(once(chat_request(mode))))
    ours = [one.getMessage() for one in caplog.records if one.name == "langchain_minitoolai"]
    assert ours == ["/chat-completions/ answered with HTTP 200"]
    assert not any(KEY in one.getMessage() or "s3cr3t" in str(one.args) for one in caplog.records)


# --- Responses ----------------------------------------------------------------------


def test_a_response_has_lower_case_headers_and_its_body(over: MakeDriver) -> None:
    exchange = Exchange([b'{"you": "a', b'b"}'], headers={"X-Request-ID": "r1"})
    response = over(exchange).run(once(chat_request()))
    assert response == Response(200, {"x-request-id": "r1"}, b'{"you": "ab"}')
    assert response_metadata(response) == {"request_id": "r1"}
    assert exchange.closed == 1


def test_what_is_parsed_holds_whatever_the_service_sent(over: MakeDriver) -> None:
    body = b'{"jobid": 7, "signature": "' + KEY.encode() + b'"}'
    assert over(Exchange([body])).run(once(chat_request())).body == body


@pytest.mark.parametrize("key", [KEY, KEY.replace("s", "\\u0073"), KEY.replace("-", "\\u002D")])
@pytest.mark.parametrize("before", [0, 200, 270, 280, 290])
def test_an_error_s_text_is_cut_after_the_key_was_redacted(
    over: MakeDriver, caplog: pytest.LogCaptureFixture, key: str, before: int
) -> None:
    body = f'{{"error": {{"message": "{"x" * before}{key} is unknown", "code": "{key}"}}}}'
    headers = {"x-request-id": KEY, "retry-after": "0"}
    driver = over(Exchange([body.encode()], 503, headers))
    with pytest.raises(errors.ServiceError) as raised:
        driver.run(send_with_retries(chat_request(), RetryPolicy(1), driver.clock))
    shown = repr(vars(raised.value)) + str(raised.value) + caplog.text
    assert KEY[:5] not in shown
    assert "0073" not in shown
    assert raised.value.code == raised.value.request_id == "[key]"


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("status", [302, 400, 503])
def test_what_is_no_success_gives_its_body_whatever_was_wanted(
    over: MakeDriver, mode: str, status: int
) -> None:
    exchange = Exchange([b"no"], status, {"location": "https://other.test/"})
    driver = over(exchange, follow_redirects=True)
    response = driver.run(once(chat_request(mode)))
    assert (type(response), response.status, response.body) == (Response, status, b"no")
    assert (exchange.closed, len(driver.service.requests)) == (1, 1)


def test_a_body_that_breaks_off_is_an_error_but_an_error_s_body_is_not(over: MakeDriver) -> None:
    broken: list[Any] = [b'{"error": "x"}', httpx.ReadError("reset")]
    assert isinstance(failure(over(Exchange(broken))), errors.StreamInterruptedError)
    response = over(Exchange(broken, 500)).run(once(chat_request()))
    assert response.body == b'{"error": "x"}'


def test_a_body_that_stalls_is_a_timeout_but_an_error_s_body_is_not(over: MakeDriver) -> None:
    driver = over(Exchange([b"{", 100.0]))
    assert isinstance(failure(driver, timeout=7.0), errors.APITimeoutError)
    assert driver.clock() == pytest.approx(1007.0)
    assert over(Exchange([b"no", 100.0], 429)).run(once(chat_request())).status == 429


def test_a_body_is_read_no_further_than_its_bound(over: MakeDriver) -> None:
    block = b"x" * 50_000
    success = Exchange(itertools.repeat(block))
    assert isinstance(failure(over(success)), errors.InvalidResponseError)
    assert success.read <= MAX_JSON_BODY / len(block) + 1
    refusal = Exchange(itertools.repeat(block), 404)
    assert len(over(refusal).run(once(chat_request())).body) == MAX_ERROR_BODY
    assert (refusal.read, refusal.closed) == (2, 1)


def test_a_body_that_says_it_is_too_large_is_not_read(over: MakeDriver) -> None:
    exchange = Exchange([b"x"], headers={"content-length": str(MAX_JSON_BODY + 1)})
    assert isinstance(failure(over(exchange)), errors.InvalidResponseError)
    assert (exchange.read, exchange.closed) == (0, 1)


# --- Streams ------------------------------------------------------------------------


def test_a_collected_stream_comes_with_its_reader(over: MakeDriver) -> None:
    exchange = Exchange(WHOLE, headers={"cf-ray": "r2"})
    response = over(exchange).run(once(chat_request("collected")))
    assert isinstance(response, StreamResponse)
    assert response.items == ["Ala", "ska"]
    assert response.reader.usage == {"total_tokens": 20}
    assert response_metadata(response) == {"request_id": "r2"}
    assert exchange.closed == 1


def test_an_open_stream_gives_its_items_as_they_come(over: MakeDriver) -> None:
    exchange = Exchange([delta("Ala"), 5.0, delta("ska"), STOP, DONE])
    driver = over(exchange)
    response = driver.run(once(chat_request("open")))
    batches = driver.batches(response)
    assert next(batches) == ["Ala"]
    assert driver.clock() == 1000.0
    assert next(batches) == ["ska"]
    assert driver.clock() == 1005.0
    assert list(batches) == [[]]
    assert response.reader.complete
    assert exchange.closed == 1


def test_an_open_stream_has_its_headers_before_its_first_event(over: MakeDriver) -> None:
    driver = over(Exchange([1.0, *WHOLE], headers={"x-request-id": "r1"}))
    response = driver.run(once(chat_request("open")))
    assert (response.status, response.headers["x-request-id"]) == (200, "r1")
    assert driver.clock() == 1000.0
    assert read(driver, response) == "Alaska"


@pytest.mark.parametrize("mode", STREAMED)
@pytest.mark.parametrize(
    "end",
    [
        [],
        [httpx.RemoteProtocolError("incomplete chunked read")],
        [httpx.ReadError("")],
        [OSError()],
        [RuntimeError(KEY)],
    ],
)
def test_a_stream_cut_short_is_an_interrupted_stream(
    over: MakeDriver, mode: str, end: list[Any]
) -> None:
    error = failure(over(Exchange([delta("Ala"), *end])), mode=mode)
    assert isinstance(error, errors.StreamInterruptedError)
    assert KEY not in str(error)


def test_what_came_before_a_break_is_given_first(over: MakeDriver) -> None:
    driver = over(Exchange([delta("Ala"), delta("s"), httpx.ReadError("reset")]))
    batches = driver.batches(driver.run(once(chat_request("open"))))
    given = []
    with pytest.raises(errors.StreamInterruptedError):  # noqa: PT012 - what came before counts
        for items in batches:
            given += items
    assert given == ["Ala", "s"]


@pytest.mark.parametrize("mode", STREAMED)
def test_a_break_after_the_finish_reason_is_none(over: MakeDriver, mode: str) -> None:
    driver = over(Exchange([delta("Alaska"), STOP, httpx.ReadError("reset")]))
    assert read(driver, driver.run(once(chat_request(mode)))) == "Alaska"


@pytest.mark.parametrize("mode", STREAMED)
def test_an_error_inside_a_stream_is_raised_without_the_key(over: MakeDriver, mode: str) -> None:
    payload = {"error": {"message": f"{KEY} is out of credit", "code": "insufficient_quota"}}
    error = failure(over(Exchange([delta("Ala"), event(payload), DONE])), mode=mode)
    assert isinstance(error, errors.InsufficientCreditError)
    assert str(error) == "the service reports an error: [key] is out of credit"


@pytest.mark.parametrize("connection", [None, FakeNetworkStream()])
def test_a_stream_closed_early_closes_its_response(
    over: MakeDriver, connection: FakeNetworkStream | None
) -> None:
    exchange = Exchange(itertools.cycle([delta("x"), 0.1]), connection=connection)
    driver = over(exchange)
    batches = driver.batches(driver.run(once(chat_request("open"))))
    assert next(batches) == ["x"]
    assert exchange.closed == 0
    batches.close()  # type: ignore[attr-defined]
    assert exchange.closed == 1


# --- Encodings ----------------------------------------------------------------------


@pytest.mark.parametrize("mode", MODES)
def test_an_encoding_nobody_asked_for_is_refused_and_the_response_closed(
    over: MakeDriver, mode: str
) -> None:
    exchange = Exchange(WHOLE, headers={"content-encoding": "br"})
    error = failure(over(exchange), mode=mode)
    assert isinstance(error, errors.InvalidResponseError)
    assert "br" in str(error)
    assert exchange.closed == 1


@pytest.mark.parametrize("mode", STREAMED)
def test_a_compressed_stream_is_read_however_it_is_cut(over: MakeDriver, mode: str) -> None:
    packed = gzip.compress(b"".join(WHOLE))
    blocks = [packed[at : at + 7] for at in range(0, len(packed), 7)]
    driver = over(Exchange(blocks, headers={"content-encoding": "gzip"}))
    assert read(driver, driver.run(once(chat_request(mode)))) == "Alaska"


@pytest.mark.parametrize(
    "body", [b"not zlib at all", gzip.compress(b"no", mtime=0)[:-9] + b"\xff" * 9]
)
def test_the_status_of_an_error_counts_even_if_its_body_can_t_be_unpacked(
    over: MakeDriver, body: bytes
) -> None:
    for encoding in ("gzip", "br"):
        exchange = Exchange([body], 401, {"content-encoding": encoding})
        assert over(exchange).run(once(chat_request())).status == 401


def test_a_bomb_is_stopped_long_before_it_is_unpacked(over: MakeDriver) -> None:
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    bomb = b"".join(packer.compress(b"data: " + b"x" * 1_000_000) for _ in range(40))
    exchange = Exchange([bomb + packer.flush(), *WHOLE], headers={"content-encoding": "gzip"})
    error = failure(over(exchange), mode="collected")
    assert isinstance(error, errors.InvalidResponseError)
    assert exchange.read == 1


# --- Time ---------------------------------------------------------------------------


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("before", [[100.0], [b"H", 4.0] * 30, [SENDING, 100.0]])
def test_headers_that_do_not_come_are_a_timeout(
    over: MakeDriver, mode: str, before: list[Any]
) -> None:
    driver = over(Exchange(WHOLE, before=before))
    error = failure(driver, mode=mode, timeout=9.0)
    assert isinstance(error, errors.APITimeoutError)
    assert str(error) == "the service made no progress for 9 s"
    assert driver.clock() == pytest.approx(1009.0)


@pytest.mark.parametrize("mode", STREAMED)
@pytest.mark.parametrize("stall", [[100.0], [COMMENT, 1.0] * 100])
def test_only_an_event_is_progress(over: MakeDriver, mode: str, stall: list[Any]) -> None:
    driver = over(Exchange([delta("a"), 8.0, delta("b"), *stall, *WHOLE]))
    assert isinstance(failure(driver, mode=mode, timeout=9.0), errors.APITimeoutError)
    assert driver.clock() == pytest.approx(1017.0, abs=0.05)


@pytest.mark.parametrize("mode", STREAMED)
def test_an_endless_stream_ends_at_the_deadline(over: MakeDriver, mode: str) -> None:
    driver = over(Exchange(itertools.cycle([delta("x"), 1.0])))
    error = failure(driver, mode=mode, deadline=1030.5)
    assert isinstance(error, errors.APITimeoutError)
    assert "total timeout" in str(error)
    assert driver.clock() == pytest.approx(1030.5, abs=0.05)


@pytest.mark.parametrize("mode", MODES)
def test_a_request_past_its_deadline_is_not_sent(over: MakeDriver, mode: str) -> None:
    driver = over(Exchange(WHOLE))
    assert isinstance(failure(driver, mode=mode, deadline=999.0), errors.APITimeoutError)
    assert driver.service.requests == []


def test_the_time_that_the_consumer_takes_does_not_count(over: MakeDriver) -> None:
    driver = over(Exchange([delta("a"), delta("b"), 6.0, STOP, DONE]))
    batches = driver.batches(driver.run(once(chat_request("open", timeout=9.0))))
    first = next(batches)
    driver.clock.sleep(3600.0)
    assert [*first, *(item for items in batches for item in items)] == ["a", "b"]


def test_a_stall_after_a_slow_consumer_is_a_timeout(over: MakeDriver) -> None:
    driver = over(Exchange([delta("a"), 100.0]))
    batches = driver.batches(driver.run(once(chat_request("open", timeout=9.0))))
    next(batches)
    driver.clock.sleep(3600.0)
    with pytest.raises(errors.APITimeoutError):
        next(batches)
    assert driver.clock() == pytest.approx(4609.0)


def test_events_in_quick_succession_are_progress_all_the_same(over: MakeDriver) -> None:
    events: list[Item] = [delta("x"), 0.003]
    driver = over(Exchange([*events * 400, *WHOLE]))
    response = driver.run(once(chat_request("open", timeout=0.1)))
    assert read(driver, response) == "x" * 400 + "Alaska"


@pytest.mark.parametrize("mode", STREAMED)
@pytest.mark.parametrize("lingering", [[100.0], [COMMENT, 0.02] * 50])
def test_a_server_that_lingers_after_the_end_costs_a_twentieth_of_a_second(
    over: MakeDriver, mode: str, lingering: list[Any]
) -> None:
    exchange = Exchange([*WHOLE, *lingering])
    driver = over(exchange)
    assert read(driver, driver.run(once(chat_request(mode)))) == "Alaska"
    assert driver.clock() == pytest.approx(1000.05, abs=0.021)
    assert exchange.closed == 1


@pytest.mark.parametrize("mode", STREAMED)
def test_the_last_bytes_of_a_body_are_read_so_that_its_connection_is_used_again(
    over: MakeDriver, mode: str
) -> None:
    exchange = Exchange([*WHOLE, b"\n", 0.01, b"\n"], connection=FakeNetworkStream())
    driver = over(exchange)
    assert read(driver, driver.run(once(chat_request(mode)))) == "Alaska"
    assert exchange.read == len(WHOLE) + 3
    assert exchange.connection is not None
    assert exchange.connection.closed == 0


@pytest.mark.parametrize("mode", STREAMED)
@pytest.mark.parametrize("end", [[100.0], [COMMENT, 0.4] * 99, [2.0, USAGE, 100.0]])
def test_after_the_finish_reason_the_rest_is_waited_for_five_seconds(
    over: MakeDriver, mode: str, end: list[Any]
) -> None:
    driver = over(Exchange([delta("Alaska"), STOP, *end]))
    assert read(driver, driver.run(once(chat_request(mode)))) == "Alaska"
    assert 1004.95 <= driver.clock() <= 1007.05


# --- What a request fails of ----------------------------------------------------------


def test_a_connection_that_can_t_be_made_is_known_as_such(over: MakeDriver) -> None:
    error = failure(over(Exchange(before=[httpx.ConnectError("refused")])))
    assert isinstance(error, errors.APIConnectionError)
    assert (error.maybe_sent, error.stale, error.is_retryable) == (False, False, True)
    assert str(error) == "can't connect to the service at service.test:443: refused"


def test_connecting_that_takes_too_long_sent_nothing(over: MakeDriver) -> None:
    error = failure(over(Exchange(before=[CONNECTING, 100.0])), timeout=3.0)
    assert isinstance(error, errors.APIConnectionError)
    assert not error.maybe_sent


@pytest.mark.parametrize(
    ("before", "stale", "maybe_sent"),
    [
        ([SENDING], True, True),
        ([*connected(), SENDING], False, True),
        ([*connected()], False, False),
        ([], False, True),
    ],
)
def test_a_drop_before_the_headers_is_stale_on_a_kept_connection_alone(
    over: MakeDriver, before: list[Any], *, stale: bool, maybe_sent: bool
) -> None:
    dropped = httpx.RemoteProtocolError("disconnected")
    error = failure(over(Exchange(before=[*before, dropped])))
    assert isinstance(error, errors.APIConnectionError)
    assert (error.stale, error.maybe_sent) == (stale, maybe_sent)


def test_a_break_of_a_stream_is_never_stale(over: MakeDriver) -> None:
    error = failure(over(Exchange([httpx.ReadError("x")], before=[SENDING])), mode="open")
    assert isinstance(error, errors.StreamInterruptedError)
    assert not error.stale


@pytest.mark.parametrize("mode", MODES)
def test_an_unknown_error_of_a_transport_gives_its_class_alone(over: MakeDriver, mode: str) -> None:
    driver = over(Exchange(before=[LookupError(f"Bearer {KEY}")]))
    workflow = send_with_retries(chat_request(mode), RetryPolicy(2), driver.clock)
    with pytest.raises(errors.APIConnectionError) as raised:
        driver.run(workflow)
    assert str(raised.value) == "the HTTP client raised LookupError"
    assert not raised.value.is_retryable
    assert len(driver.service.requests) == 1


def test_a_stale_connection_is_replaced_at_once(over: MakeDriver) -> None:
    driver = over(Exchange(before=[SENDING, httpx.ReadError("reset")]), Exchange(WHOLE))
    workflow = send_with_retries(chat_request("collected"), RetryPolicy(2), driver.clock)
    response = driver.run(workflow)
    assert (read(driver, response), response_metadata(response)) == ("Alaska", {"attempts": 2})
    assert driver.pool.asked == [False, True]
    assert driver.clock() == 1000.0


def test_a_failed_attempt_s_response_is_closed_before_the_next(over: MakeDriver) -> None:
    first = Exchange([b"busy"], 503, {"retry-after": "4"})
    driver = over(first, Exchange(WHOLE))
    response = driver.run(send_with_retries(chat_request("open"), RetryPolicy(2), driver.clock))
    assert read(driver, response) == "Alaska"
    assert (first.closed, driver.clock()) == (1, 1004.0)


def test_a_collected_stream_cut_short_is_requested_again(
    over: MakeDriver, caplog: pytest.LogCaptureFixture
) -> None:
    cut = Exchange([delta("Ala"), USAGE, httpx.ReadError("reset")])
    driver = over(cut, Exchange([b"data: {broken\n\n"]), Exchange(WHOLE))
    policy = RetryPolicy(2, lambda: 1.0)
    response = driver.run(send_with_retries(chat_request("collected"), policy, driver.clock))
    assert (read(driver, response), response.attempts) == ("Alaska", 3)
    assert driver.clock() == 1000.0 + 0.5 + 1.0
    warnings = [one.getMessage() for one in caplog.records if one.levelno == logging.WARNING]
    assert len(warnings) == 2
    assert "the answer was cut after 20 tokens, which are paid for" in warnings[0]
    assert KEY not in "".join(warnings)


def test_an_open_stream_cut_short_is_not_requested_again(over: MakeDriver) -> None:
    driver = over(Exchange([delta("Ala")]), Exchange(WHOLE))
    response = driver.run(send_with_retries(chat_request("open"), RetryPolicy(2), driver.clock))
    with pytest.raises(errors.StreamInterruptedError):
        read(driver, response)
    assert len(driver.service.requests) == 1


def test_a_policy_s_delays_are_slept(over: MakeDriver) -> None:
    driver = over(Exchange([b""], 500))
    with pytest.raises(errors.ServiceError):
        driver.run(send_with_retries(chat_request(), RetryPolicy(3, lambda: 1.0), driver.clock))
    assert driver.clock() == 1000.0 + 0.5 + 1 + 2
    assert len(driver.service.requests) == 4


# --- The user's clients ---------------------------------------------------------------


def test_a_client_that_was_closed_is_refused_before_anything_is_sent(over: MakeDriver) -> None:
    driver = over(Exchange([b"{}"]))
    config = driver.pool.config
    config.http_client.close()
    if isinstance(driver, AsyncDriver):
        driver.do(config.http_async_client.aclose())
    error = failure(driver)
    assert isinstance(error, errors.InvalidInputError)
    assert "is closed; allowed: an open httpx." in str(error)
    assert driver.service.requests == []


def mocked(handler: Callable[[httpx.Request], httpx.Response]) -> tuple[SyncClient, AsyncClient]:
    """Make both clients over clients of the user's, whose transport is httpx's mock."""
    transport = httpx.MockTransport(handler)
    pool = ClientPool(
        TransportConfig(
            http_client=httpx.Client(transport=transport),
            http_async_client=httpx.AsyncClient(transport=transport),
        )
    )
    return SyncClient(pool, BASE, KEY), AsyncClient(pool, BASE, KEY)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("encoding", ["identity", "gzip"])
async def test_a_mock_s_response_that_is_read_already_is_read(mode: str, encoding: str) -> None:
    whole = b"".join(WHOLE)

    def handler(_: httpx.Request) -> httpx.Response:
        content = gzip.compress(whole) if encoding == "gzip" else whole
        return httpx.Response(200, content=content, headers={"content-encoding": encoding})

    client, async_client = mocked(handler)
    sync_response = client.execute(once(chat_request(mode)))
    async_response = await async_client.execute(once(chat_request(mode)))
    if mode == "bounded":
        assert sync_response.body == async_response.body == whole
    elif mode == "collected":
        assert sync_response.items == async_response.items == ["Ala", "ska"]
    else:
        assert text_of(itertools.chain.from_iterable(sync_response.stream)) == "Alaska"
        assert await read_all(async_response.stream) == "Alaska"


async def test_a_client_of_a_compatible_library_serves_as_well() -> None:
    def handler(request: httpx2.Request) -> httpx2.Response:
        assert request.headers["authorization"] == f"Bearer {KEY}"
        return httpx2.Response(200, content=b"".join(WHOLE))

    transport = httpx2.MockTransport(handler)
    pool = ClientPool(
        TransportConfig(
            http_client=httpx2.Client(transport=transport),
            http_async_client=httpx2.AsyncClient(transport=transport),
        )
    )
    for mode in STREAMED:
        response = SyncClient(pool, BASE, KEY).execute(once(chat_request(mode)))
        items = response.items or itertools.chain.from_iterable(response.stream)
        assert text_of(items) == "Alaska"
    response = await AsyncClient(pool, BASE, KEY).execute(once(chat_request("open")))
    assert await read_all(response.stream) == "Alaska"


# --- Downloads ------------------------------------------------------------------------


def download(url: str = "https://images.test/a.png?v=1", **changes: Any) -> Download:
    given: dict[str, Any] = {"timeout": 9.0, "deadline": 1060.0, "ip": "93.184.215.14"}
    return Download(url, 10, **(given | changes))


@pytest.mark.parametrize(
    ("url", "target", "host"),
    [
        ("https://images.test/a.png?v=1", "https://93.184.215.14/a.png?v=1", "images.test"),
        ("http://images.test:81/", "http://93.184.215.14:81/", "images.test:81"),
        ("https://faß.test/", "https://93.184.215.14/", "xn--fa-hia.test"),
        ("https://93.184.215.14/", "https://93.184.215.14/", "93.184.215.14"),
    ],
)
def test_a_download_goes_to_the_address_that_was_picked_and_names_its_host(
    over: MakeDriver, url: str, target: str, host: str
) -> None:
    driver = over(Exchange([b"PNG"], headers={"content-type": "image/png"}))
    response = driver.run(once(download(url)))
    assert response == Response(200, {"content-type": "image/png"}, b"PNG")
    (request,) = driver.service.requests
    assert (request.method, str(request.url)) == ("GET", target)
    assert request.extensions["sni_hostname"] == host.partition(":")[0]
    assert dict(request.headers) == {
        "host": host,
        "accept": "image/*",
        "accept-encoding": "identity",
        "user-agent": f"langchain-minitoolai/{__version__}",
    }
    assert driver.pool.asked == [True]


def test_a_download_may_go_to_an_ipv6_address(over: MakeDriver) -> None:
    driver = over(Exchange([b"PNG"]))
    url = "https://[2606:2800::1]:81/a.png"
    assert driver.run(once(download(url, ip="2606:2800::2"))).body == b"PNG"
    (request,) = driver.service.requests
    assert str(request.url) == "https://[2606:2800::2]:81/a.png"
    assert request.headers["host"] == "[2606:2800::1]:81"


def test_a_download_without_an_address_asks_for_the_name_as_a_proxy_wants_it(
    over: MakeDriver,
) -> None:
    driver = over(Exchange([b"PNG"]))
    driver.run(once(download(ip=None)))
    (request,) = driver.service.requests
    assert str(request.url) == "https://images.test/a.png?v=1"
    assert request.headers["host"] == "images.test"


def test_connecting_for_a_download_has_a_share_of_the_time(over: MakeDriver) -> None:
    driver = over(Exchange([b"PNG"]))
    driver.run(once(download(connect_timeout=2.5)))
    assert driver.service.requests[0].extensions["timeout"]["connect"] == 2.5


def test_a_download_sends_nothing_that_the_client_adds_to_its_requests(over: MakeDriver) -> None:
    driver = over(
        Exchange([b"PNG"]),
        headers={"X-Secret": "s3cr3t", "Authorization": "s3cr3t"},
        params={"api_key": "s3cr3t"},
        cookies={"session": "s3cr3t"},
        auth=("user", "s3cr3t"),
        base_url="https://s3cr3t.test",
        follow_redirects=True,
    )
    for url in ("https://images.test/a.png?v=1", "https://images.test/a.png"):
        assert driver.run(once(download(url))).body == b"PNG"
    for request in driver.service.requests:
        assert "s3cr3t" not in f"{request.url} {request.headers.raw!r}"
    assert [request.url.query for request in driver.service.requests] == [b"v=1", b""]


@pytest.mark.parametrize("status", [204, 302, 404])
def test_a_download_s_other_responses_come_back_unread(over: MakeDriver, status: int) -> None:
    exchange = Exchange([b"x" * 99], status, {"location": "https://other.test/"})
    driver = over(exchange, follow_redirects=True)
    response = driver.run(once(download()))
    assert response == Response(status, {"location": "https://other.test/"})
    assert (exchange.read, exchange.closed, len(driver.service.requests)) == (0, 1, 1)


def test_a_download_has_a_bound(over: MakeDriver) -> None:
    exchange = Exchange(itertools.repeat(b"x" * 4))
    error = failure(over(exchange), download())
    assert isinstance(error, errors.InvalidResponseError)
    assert "more than 10 bytes" in str(error)
    assert exchange.read == 3
    large = Exchange([b"x"], headers={"content-length": "11"})
    assert isinstance(failure(over(large), download()), errors.InvalidResponseError)
    assert large.read == 0


def test_a_download_s_blocks_are_progress_and_its_deadline_is_not_moved(over: MakeDriver) -> None:
    driver = over(Exchange([b"x", 8.0] * 9))
    assert driver.run(once(download(deadline=2000.0))).body == b"x" * 9
    error = failure(over(Exchange([b"x", 8.0] * 9)), download(deadline=1020.0))
    assert isinstance(error, errors.APITimeoutError)
    stalled = failure(over(Exchange([b"x", 100.0])), download())
    assert "no progress for 9 s" in str(stalled)
    late = over(Exchange([b"x"]))
    assert isinstance(failure(late, download(deadline=999.0)), errors.APITimeoutError)
    assert late.service.requests == []


def test_a_download_that_breaks_off_is_an_interrupted_stream(over: MakeDriver) -> None:
    error = failure(over(Exchange([b"x", httpx.ReadError("reset")])), download())
    assert isinstance(error, errors.StreamInterruptedError)


def test_a_download_s_host_that_can_t_be_reached_is_not_called_the_service(
    over: MakeDriver,
) -> None:
    error = failure(over(Exchange(before=[httpx.ConnectError("refused")])), download())
    assert str(error) == "can't connect to the host of the URL: refused"


# --- Addresses ------------------------------------------------------------------------


@pytest.fixture
def looked_up(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, ...]]:
    """Resolve every host to two addresses; return what was resolved."""
    asked: list[tuple[Any, ...]] = []

    def resolve(host: str, port: int, *, numeric: bool) -> list[str]:
        asked.append((host, port, numeric))
        return ["10.0.0.1", "93.184.215.14"]

    monkeypatch.setattr(client_module, "resolve", resolve)
    return asked


def look_up(url: str = "https://images.test/a.png", deadline: float = 1060.0) -> Resolve:
    return Resolve(url, 9.0, deadline)


@pytest.mark.parametrize(
    ("url", "host", "port"),
    [
        ("https://images.test/a.png?v=1", "images.test", 443),
        ("http://images.test:81/", "images.test", 81),
        ("https://faß.test/", "xn--fa-hia.test", 443),
        ("https://[2606:2800::1]:81/", "2606:2800::1", 81),
    ],
)
def test_a_host_is_looked_up_as_it_is_sent(
    over: MakeDriver, looked_up: list[Any], url: str, host: str, port: int
) -> None:
    assert over(Exchange()).run(once(look_up(url))) == ["10.0.0.1", "93.184.215.14"]
    assert looked_up == [(host, port, False)]


def test_where_a_proxy_is_asked_no_name_is_looked_up(
    over: MakeDriver, looked_up: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    driver = over(Exchange())
    monkeypatch.setattr(driver.pool, "proxy_for", lambda *_, **__: "http://proxy.test")
    driver.run(once(look_up()))
    assert looked_up == [("images.test", 443, True)]


def test_a_host_that_is_unknown_is_a_connection_error(
    over: MakeDriver, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unknown(*_: Any, **__: Any) -> list[str]:
        raise socket.gaierror("Name or service not known")

    monkeypatch.setattr(client_module, "resolve", unknown)
    error = failure(over(Exchange()), look_up())
    assert str(error) == "can't connect to the host of the URL: Name or service not known"
    assert not error.maybe_sent


def test_a_host_is_not_looked_up_after_the_deadline(
    drivers: Callable[..., AsyncDriver], looked_up: list[Any]
) -> None:
    error = failure(drivers(Exchange()), look_up(deadline=999.0))
    assert isinstance(error, errors.APITimeoutError)
    assert looked_up == []


@pytest.mark.parametrize(
    "url",
    [
        "https://[::1",
        "https://images.test:x/",
        "https://\ud800/",
    ],
)
@pytest.mark.parametrize("effect", [look_up, download])
def test_what_is_no_url_is_an_error_of_ours(
    over: MakeDriver, url: str, effect: Callable[[str], Any]
) -> None:
    driver = over(Exchange([b"PNG"]))
    error = failure(driver, effect(url))
    assert isinstance(error, errors.APIConnectionError)
    assert not error.is_retryable
    assert driver.service.requests == []


# --- The sync client alone ------------------------------------------------------------


def test_one_client_serves_several_threads() -> None:
    driver = SyncDriver(Exchange([b"{}"]))
    statuses: list[int] = []

    def work() -> None:
        statuses.append(driver.client.execute(once(chat_request())).status)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert statuses == [200] * 8


def test_a_stream_dropped_half_read_closes_its_response() -> None:
    exchange = Exchange([delta("a"), delta("b"), STOP, DONE])
    driver = SyncDriver(exchange)
    for items in driver.run(once(chat_request("open"))).stream:
        assert items == ["a"]
        break
    assert exchange.closed == 1


def test_an_interrupt_leaves_the_client_and_closes_the_response() -> None:
    def items() -> Iterator[bytes]:
        yield delta("a")
        raise KeyboardInterrupt

    exchange = Exchange(items())
    with pytest.raises(KeyboardInterrupt):
        SyncDriver(exchange).run(once(chat_request("collected")))
    assert exchange.closed == 1


# --- The async client alone -----------------------------------------------------------


def cancelled_after(
    driver: AsyncDriver, request: Request, seconds: float, *, times: int = 1
) -> None:
    """Cancel a request, some seconds after its start."""

    async def doing() -> None:
        task = asyncio.ensure_future(driver.client.execute(once(request)))
        await asyncio.sleep(seconds)
        assert driver.pool.in_flight == 1
        for _ in range(times):
            task.cancel()
            await asyncio.sleep(0)
        with pytest.raises(asyncio.CancelledError):
            await task

    driver.do(doing())
    assert driver.pool.in_flight == 0


@pytest.mark.parametrize("times", [1, 2])
@pytest.mark.parametrize("mode", MODES)
def test_a_request_cancelled_before_its_headers_leaves_nothing_behind(
    drivers: Callable[..., AsyncDriver], mode: str, times: int
) -> None:
    exchange = Exchange(WHOLE, before=[50.0])
    driver = drivers(exchange)
    cancelled_after(driver, chat_request(mode), 1.0, times=times)
    assert driver.clock() < 1002.0
    assert not exchange.answered


@pytest.mark.parametrize("times", [1, 2, 5])
@pytest.mark.parametrize("mode", ["bounded", "collected"])
def test_a_request_cancelled_while_it_is_read_closes_its_connection(
    drivers: Callable[..., AsyncDriver], mode: str, times: int
) -> None:
    connection = FakeNetworkStream()
    exchange = Exchange([delta("a"), 50.0], connection=connection)
    cancelled_after(drivers(exchange), chat_request(mode), 1.0, times=times)
    assert (exchange.closed, connection.closed) == (1, 1)


@pytest.mark.parametrize("times", [1, 2])
@pytest.mark.parametrize("end", [50.0, httpx.ConnectError("the handshake broke")])
def test_a_connection_made_for_a_request_that_came_to_nothing_is_closed(
    drivers: Callable[..., AsyncDriver], end: Any, times: int
) -> None:
    connection = FakeNetworkStream()
    driver = drivers(Exchange(WHOLE, before=[*connected(connection), end]))
    if isinstance(end, Exception):
        with pytest.raises(errors.APIConnectionError, match="the handshake broke"):
            driver.run(once(chat_request()))
    else:
        cancelled_after(driver, chat_request(), 1.0, times=times)
    assert connection.closed == 1


def test_a_request_that_its_caller_times_out_leaves_nothing_behind(
    drivers: Callable[..., AsyncDriver],
) -> None:
    exchange = Exchange([delta("a"), 50.0])
    driver = drivers(exchange)
    with pytest.raises(TimeoutError):
        driver.do(asyncio.wait_for(driver.client.execute(once(chat_request("collected"))), 2.0))
    assert exchange.closed == 1
    assert driver.clock() == pytest.approx(1002.0)


def test_a_sleep_can_be_cancelled(drivers: Callable[..., AsyncDriver]) -> None:
    driver = drivers(Exchange())
    with pytest.raises(TimeoutError):
        driver.do(asyncio.wait_for(driver.client.execute(once(Sleep(60.0))), 1.0))
    assert driver.clock() == pytest.approx(1001.0)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("before", [[], [b""], [b"", httpx.ReadError("reset")]])
def test_a_request_cancelled_at_any_turn_leaves_nothing_behind_and_no_complaint(
    drivers: Callable[..., AsyncDriver], mode: str, before: list[Any]
) -> None:
    exchanges = [Exchange(WHOLE, before=before) for _ in range(16)]
    driver = drivers(*exchanges)

    async def asking() -> None:
        response = await driver.client.execute(once(chat_request(mode)))
        if mode == "open":
            assert await read_all(response.stream) == "Alaska"

    async def doing(turns: int) -> None:
        task = asyncio.ensure_future(asking())
        for _ in range(turns):
            await asyncio.sleep(0)
        task.cancel()
        with suppress(asyncio.CancelledError, errors.APIConnectionError):
            await task
        assert driver.pool.in_flight == 0

    for turns in range(len(exchanges)):
        driver.do(doing(turns))
    assert all(exchange.closed == exchange.answered for exchange in exchanges)


def test_a_download_cancelled_at_any_turn_leaves_nothing_behind(
    drivers: Callable[..., AsyncDriver],
) -> None:
    exchanges = [Exchange([b"x", b"y"], connection=FakeNetworkStream()) for _ in range(16)]
    driver = drivers(*exchanges)

    async def doing(turns: int) -> None:
        task = asyncio.ensure_future(driver.client.execute(once(download())))
        for _ in range(turns):
            await asyncio.sleep(0)
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task

    for turns in range(len(exchanges)):
        driver.do(doing(turns))
    assert all(exchange.closed == exchange.answered for exchange in exchanges)


def test_closing_that_fails_still_closes_the_connection_and_counts_the_call_off(
    drivers: Callable[..., AsyncDriver], monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(_: FakeBody) -> None:
        raise httpx.CloseError("gone")

    connection = FakeNetworkStream()
    driver = drivers(Exchange([delta("a"), 50.0], connection=connection))
    monkeypatch.setattr(FakeBody, "aclose", fail)
    batches = driver.batches(driver.run(once(chat_request("open"))))
    next(batches)
    with pytest.raises(httpx.CloseError):
        batches.close()  # type: ignore[attr-defined]
    assert (driver.pool.in_flight, connection.closed) == (0, 1)


def test_a_cancellation_while_closing_still_closes_the_connection(
    drivers: Callable[..., AsyncDriver], monkeypatch: pytest.MonkeyPatch
) -> None:
    async def linger(_: FakeBody) -> None:
        await asyncio.sleep(30.0)

    connection = FakeNetworkStream()
    driver = drivers(Exchange([delta("a"), 50.0], connection=connection))
    monkeypatch.setattr(FakeBody, "aclose", linger)

    async def doing() -> None:
        response = await driver.client.execute(once(chat_request("open")))
        task = asyncio.ensure_future(read_all(response.stream))
        for _ in range(2):
            await asyncio.sleep(1.0)
            task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    driver.do(doing())
    assert (driver.pool.in_flight, connection.closed) == (0, 1)
    assert driver.clock() == pytest.approx(1002.0)


# --- Open async streams ---------------------------------------------------------------


def opened(
    drivers: Callable[..., AsyncDriver], exchange: Exchange, **changes: Any
) -> tuple[AsyncDriver, Any]:
    driver = drivers(exchange)
    return driver, driver.run(once(chat_request("open", **changes))).stream


def test_a_stream_is_read_no_further_than_its_consumer_asks(
    drivers: Callable[..., AsyncDriver],
) -> None:
    exchange = Exchange(itertools.repeat(delta("x")))
    driver, stream = opened(drivers, exchange)

    async def doing() -> None:
        batches = aiter(stream)
        for count in (1, 2):
            assert await anext(batches) == ["x"]
            await asyncio.sleep(3600.0)
            assert exchange.read == count
        await batches.aclose()

    driver.do(doing())
    assert exchange.closed == 1


def test_a_consumer_may_change_tasks_between_items(drivers: Callable[..., AsyncDriver]) -> None:
    driver, stream = opened(drivers, Exchange([delta("a"), 5.0, delta("b"), 100.0]), timeout=9.0)

    async def doing() -> None:
        batches = aiter(stream)
        assert await asyncio.ensure_future(anext(batches)) == ["a"]
        assert await asyncio.ensure_future(anext(batches)) == ["b"]
        with pytest.raises(errors.APITimeoutError):
            await asyncio.ensure_future(anext(batches))
        current = asyncio.current_task()
        assert current is not None
        assert current.cancelling() == 0

    driver.do(doing())
    assert driver.clock() == pytest.approx(1014.0)


def test_a_consumer_cancelled_while_it_waits_closes_the_stream(
    drivers: Callable[..., AsyncDriver],
) -> None:
    connection = FakeNetworkStream()
    exchange = Exchange([delta("a"), 50.0], connection=connection)
    driver, stream = opened(drivers, exchange)
    with pytest.raises(TimeoutError):
        driver.do(asyncio.wait_for(read_all(stream), 1.0))
    assert (exchange.closed, connection.closed) == (1, 1)


def test_a_loop_that_cancels_everything_at_its_end_closes_the_stream(
    drivers: Callable[..., AsyncDriver],
) -> None:
    exchange = Exchange([delta("a"), 50.0])
    driver, stream = opened(drivers, exchange)

    async def doing() -> None:
        reader = asyncio.ensure_future(read_all(stream))
        await asyncio.sleep(1.0)
        others = asyncio.all_tasks() - {asyncio.current_task()}
        assert others == {reader}  # the stream is read in its consumer's own task
        reader.cancel()
        with pytest.raises(asyncio.CancelledError):
            await reader

    driver.do(doing())
    assert exchange.closed == 1


def test_a_consumer_that_forgets_to_close_closes_the_stream_too(
    drivers: Callable[..., AsyncDriver],
) -> None:
    connection = FakeNetworkStream()
    exchange = Exchange(itertools.cycle([delta("a"), 1.0]), connection=connection)
    driver = drivers(exchange)

    async def doing() -> None:
        async for _ in (await driver.client.execute(once(chat_request("open")))).stream:
            break

    driver.do(doing())
    gc.collect()
    driver.do(asyncio.sleep(1.0))
    assert (exchange.closed, connection.closed) == (1, 1)


def test_many_streams_are_read_at_once(drivers: Callable[..., AsyncDriver]) -> None:
    driver = drivers(Exchange([1.0, *WHOLE]))

    async def one() -> str:
        workflow = send_with_retries(chat_request("open"), RetryPolicy(), driver.clock)
        response: Any = await driver.client.execute(workflow)
        return await read_all(response.stream)

    async def doing(parts: list[Coroutine[Any, Any, str]]) -> list[str]:
        return await asyncio.gather(*parts)

    assert driver.do(doing([one() for _ in range(30)])) == ["Alaska"] * 30
    assert driver.clock() == pytest.approx(1001.0)


# --- The timer of an async exchange ---------------------------------------------------


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def loop(clock: Clock) -> Iterator[FakeLoop]:
    made = FakeLoop(clock)
    yield made
    made.close()


def exchange_of(clock: Clock, idle: float = 9.0, total: float | None = None) -> AsyncExchange:
    return AsyncExchange(PooledClient(None), Deadline(clock, idle, total), ExchangeTrace())


def waiting(loop: FakeLoop, exchange: AsyncExchange, step: Callable[[], Any]) -> Any:
    """Wait for a step, and see to it that its task is not left cancelled."""

    async def doing() -> Any:
        try:
            return await exchange.wait(step)
        finally:
            current = asyncio.current_task()
            assert current is not None
            assert current.cancelling() == 0

    return loop.run_until_complete(doing())


def test_a_step_has_until_the_deadline(loop: FakeLoop, clock: Clock) -> None:
    exchange = exchange_of(clock)
    assert waiting(loop, exchange, lambda: asyncio.sleep(8.0, "done")) == "done"
    with pytest.raises(TimeoutError):
        waiting(loop, exchange, lambda: asyncio.sleep(8.0))
    assert clock() == pytest.approx(1009.0)


def test_a_step_is_not_begun_after_the_deadline(loop: FakeLoop, clock: Clock) -> None:
    begun: list[bool] = []
    with pytest.raises(TimeoutError):
        waiting(loop, exchange_of(clock, total=999.0), lambda: begun.append(True))
    assert begun == []


def test_progress_moves_the_deadline_of_a_timer_that_runs(loop: FakeLoop, clock: Clock) -> None:
    exchange = exchange_of(clock)
    waiting(loop, exchange, lambda: asyncio.sleep(8.0))
    exchange.deadline.reset_idle()
    waiting(loop, exchange, lambda: asyncio.sleep(8.0))
    assert len(loop.timers) == 2 + 2  # the first and, when it fired, its successor; the sleeps
    exchange.deadline.reset_idle()
    with pytest.raises(TimeoutError):
        waiting(loop, exchange, lambda: asyncio.sleep(100.0))
    assert clock() == pytest.approx(1025.0)


def test_a_timer_is_set_anew_where_the_deadline_is_capped(loop: FakeLoop, clock: Clock) -> None:
    exchange = exchange_of(clock)
    waiting(loop, exchange, lambda: asyncio.sleep(1.0))
    exchange.deadline.cap(0.05)
    with pytest.raises(TimeoutError):
        waiting(loop, exchange, lambda: asyncio.sleep(100.0))
    assert clock() == pytest.approx(1001.05)


def test_a_timer_that_fires_while_the_consumer_is_busy_cancels_nothing(
    loop: FakeLoop, clock: Clock
) -> None:
    exchange = exchange_of(clock)

    async def doing() -> str:
        await exchange.wait(lambda: asyncio.sleep(1.0))
        await asyncio.sleep(3600.0)
        exchange.deadline.reset_idle()
        return await exchange.wait(lambda: asyncio.sleep(1.0, "done"))

    assert loop.run_until_complete(doing()) == "done"


def test_a_cancellation_from_outside_stays_one(loop: FakeLoop, clock: Clock) -> None:
    exchange = exchange_of(clock)

    async def doing() -> None:
        task = asyncio.ensure_future(exchange.wait(lambda: asyncio.sleep(100.0)))
        await asyncio.sleep(1.0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert task.cancelled()

    loop.run_until_complete(doing())
    assert clock() == pytest.approx(1001.0)


def test_a_cancellation_from_outside_at_the_deadline_stays_one(
    loop: FakeLoop, clock: Clock
) -> None:
    exchange = exchange_of(clock)

    async def doing() -> None:
        task = asyncio.ensure_future(exchange.wait(lambda: asyncio.sleep(100.0)))
        asyncio.get_running_loop().call_at(clock() + 9.0, task.cancel)
        with pytest.raises(asyncio.CancelledError):
            await task

    loop.run_until_complete(doing())
    assert clock() == pytest.approx(1009.0)


def test_a_step_that_swallows_the_cancellation_is_a_timeout_all_the_same(
    loop: FakeLoop, clock: Clock
) -> None:
    async def stubborn() -> str:
        with suppress(asyncio.CancelledError):
            await asyncio.sleep(100.0)
        await asyncio.sleep(0)
        return "as if nothing had happened"

    with pytest.raises(TimeoutError):
        waiting(loop, exchange_of(clock), stubborn)


def test_a_step_that_makes_another_error_of_the_cancellation_raises_that(
    loop: FakeLoop, clock: Clock
) -> None:
    async def converting() -> None:
        try:
            await asyncio.sleep(100.0)
        except asyncio.CancelledError:
            raise httpx.ReadError("cancelled") from None

    with pytest.raises(httpx.ReadError):
        waiting(loop, exchange_of(clock), converting)


def test_an_exchange_is_closed_once(loop: FakeLoop, clock: Clock) -> None:
    driver = AsyncDriver(exchange := Exchange(WHOLE, connection=FakeNetworkStream()))

    async def doing() -> None:
        pooled = await driver.pool.async_client(driver.client.origin, new_connection=False)
        deadline, trace = Deadline(clock, 9.0, None), ExchangeTrace()
        opened = AsyncExchange(pooled, deadline, trace)
        extensions = {"trace": trace.arecord, **deadline.async_extensions()}
        request = driver.client.build_request(pooled.client, chat_request(), extensions)
        await opened.send(request, {"stream": True})
        for _ in range(2):
            await opened.aclose()

    driver.do(doing())
    driver.close()
    assert exchange.closed == 1
    assert exchange.connection is not None
    assert exchange.connection.closed == 1
