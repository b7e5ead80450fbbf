"""What both shells do alike: each test runs in the thread's and in the event loop's."""

import gzip
import itertools
import json
import time
import traceback
import zlib
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from langchain_minitoolai import errors
from langchain_minitoolai._chat.stream import ChatCompletion
from langchain_minitoolai._http.effects import Invoke, Request, Response, Sleep, Workflow
from langchain_minitoolai._http.error_mapping import MAX_DOCUMENT, MAX_PAGE
from langchain_minitoolai._http.retry import RetryPolicy, send
from tests.unit_tests.shells import (
    BASE,
    COMMENT,
    DONE,
    KEY,
    STOP,
    USAGE,
    WHOLE,
    AsyncShell,
    Connecting,
    Exchange,
    MakeShell,
    Shell,
    SyncShell,
    call,
    delta,
    event,
    once,
    read,
    text_of,
)


@pytest.fixture(params=["sync", "async"])
def over(request: pytest.FixtureRequest) -> Iterator[MakeShell]:
    """Make a shell over these exchanges; afterwards nothing may be left behind."""
    made: list[SyncShell | AsyncShell] = []

    def make(*exchanges: Exchange) -> Shell:
        shell = (SyncShell if request.param == "sync" else AsyncShell)(*exchanges)
        made.append(shell)
        return shell

    yield make
    for shell in made:
        if isinstance(shell, AsyncShell):
            shell.close()


def fails(shell: Shell, **changes: Any) -> errors.MiniToolAIError:
    """Make a call that fails, reading its answer if it is open; give the error."""
    with pytest.raises(errors.MiniToolAIError) as raised:
        read(shell, shell.run(once(call(**changes))).answer)
    assert raised.value.__cause__ is None
    assert raised.value.__suppress_context__ or raised.value.__context__ is None
    assert all(exchange.closed for exchange in shell.service.exchanges if exchange.answered)
    return raised.value


# --- Flows --------------------------------------------------------------------------


def test_a_flow_gets_what_its_steps_gave_and_its_result_is_given(over: MakeShell) -> None:
    async def arun() -> str:
        return "done"

    def flow() -> Workflow[list[Any]]:
        reply = yield call()
        nothing = yield Sleep(3.0)
        done = yield Invoke(lambda: "done", arun)
        return [reply.status, nothing, done]

    shell = over(Exchange([b"{}"], 201))
    assert shell.run(flow()) == [201, None, "done"]
    assert shell.clock() == 1003.0


def test_what_a_step_raises_is_thrown_into_the_flow_which_may_go_on(over: MakeShell) -> None:
    def fail() -> None:
        raise LookupError("nothing there")

    async def afail() -> None:
        fail()

    def flow() -> Workflow[str]:
        try:
            yield Invoke(fail, afail)
        except LookupError as error:
            yield Sleep(1.0)
            return f"went on: {error}"
        return "never"

    assert over(Exchange()).run(flow()) == "went on: nothing there"


def test_what_a_flow_raises_is_raised_as_it_is(over: MakeShell) -> None:
    def flow() -> Workflow[None]:
        yield Sleep(0.0)
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        over(Exchange()).run(flow())


def test_our_errors_leave_a_flow_without_the_key(over: MakeShell) -> None:
    def flow() -> Workflow[None]:
        yield Sleep(0.0)
        raise errors.ServiceError(f"who is {KEY}?", code=KEY, request_id=f"r-{KEY}")

    with pytest.raises(errors.ServiceError) as raised:
        over(Exchange()).run(flow())
    assert KEY not in "".join(traceback.format_exception(raised.value))
    assert KEY not in repr(vars(raised.value))


# --- Requests -----------------------------------------------------------------------


def test_a_call_is_a_post_of_json_with_the_key_and_the_headers(over: MakeShell) -> None:
    shell = over(Exchange([b"{}"]))
    shell.run(once(call(body={"model": "gpt-4o", "æ": 1})))
    (request,) = shell.service.requests
    assert (request.method, str(request.url)) == ("POST", f"{BASE}/chat-completions/")
    assert json.loads(request.read()) == {"model": "gpt-4o", "æ": 1}
    assert request.headers["authorization"] == f"Bearer {KEY}"
    assert request.headers["content-type"] == "application/json"
    assert request.headers["accept-encoding"] == "identity"
    assert request.headers["user-agent"].startswith("langchain-minitoolai/")
    assert request.headers["x-mine"] == "1"


def test_a_call_that_is_not_authorized_goes_without_the_key(over: MakeShell) -> None:
    shell = over(Exchange([b"{}"]))
    shell.run(once(call(send_auth=False)))
    assert KEY not in repr(shell.service.requests[0].headers.raw)


@pytest.mark.parametrize("fresh", [True, False])
def test_a_call_says_whether_its_connection_must_be_fresh(over: MakeShell, *, fresh: bool) -> None:
    shell = over(Exchange([b"{}"]))
    shell.run(once(call(new_connection=fresh)))
    assert shell.network.fresh == [fresh]


def test_a_body_that_is_no_json_is_refused_before_anything_is_sent(over: MakeShell) -> None:
    shell = over(Exchange())
    with pytest.raises(errors.InvalidInputError, match="x is <object"):
        shell.run(once(call(body={"x": object()})))
    assert shell.service.requests == []


# --- Replies ------------------------------------------------------------------------


def test_a_reply_has_lower_case_headers_and_a_body_without_the_key(over: MakeShell) -> None:
    exchange = Exchange([b'{"you": "sk-te', b'st-0123456789"}'], headers={"X-Request-ID": "r1"})
    reply = over(exchange).run(once(call()))
    assert reply == Response(200, {"x-request-id": "r1"}, b'{"you": "[key]"}')
    assert exchange.closed == 1


@pytest.mark.parametrize("mode", ["body", "answer", "stream"])
@pytest.mark.parametrize("status", [302, 400, 503])
def test_what_is_no_success_gives_its_body_whatever_was_wanted(
    over: MakeShell, mode: str, status: int
) -> None:
    exchange = Exchange([b"no"], status)
    reply = over(exchange).run(once(call(response_mode=mode)))
    assert (reply.status, reply.body, reply.answer) == (status, b"no", None)
    assert exchange.closed == 1


def test_a_body_that_breaks_off_is_an_error_but_an_error_s_body_is_not(over: MakeShell) -> None:
    broken: list[Any] = [b'{"error": "x"}', httpx.ReadError("reset")]
    assert isinstance(fails(over(Exchange(broken))), errors.StreamInterruptedError)
    assert over(Exchange(broken, 500)).run(once(call())).body == b'{"error": "x"}'


def test_a_body_that_stalls_is_a_timeout_but_an_error_s_body_is_not(over: MakeShell) -> None:
    shell = over(Exchange([b"{", 100.0]))
    assert isinstance(fails(shell, timeout=7.0), errors.APITimeoutError)
    assert shell.clock() == pytest.approx(1007.0)
    assert over(Exchange([b"no", 100.0], 429)).run(once(call())).status == 429


def test_a_body_is_read_no_further_than_its_bound(over: MakeShell) -> None:
    block = b"x" * 50_000
    success = Exchange(itertools.repeat(block))
    assert isinstance(fails(over(success)), errors.InvalidResponseError)
    assert success.read <= MAX_DOCUMENT / len(block) + 1
    failure = Exchange(itertools.repeat(block), 404)
    assert len(over(failure).run(once(call())).body) == MAX_PAGE
    assert failure.read == 2
    assert failure.closed == 1


# --- Answers ------------------------------------------------------------------------


def test_a_whole_answer_comes_with_its_reader(over: MakeShell) -> None:
    exchange = Exchange(WHOLE)
    shell = over(exchange)
    answer = shell.run(once(call(response_mode="answer"))).answer
    assert isinstance(answer, ChatCompletion)
    assert text_of(answer.deltas) == "Alaska"
    assert answer.parser.usage == {"total_tokens": 20}
    assert answer.parser.metadata["id"] == "chatcmpl-1"
    assert exchange.closed == 1


def test_an_open_answer_gives_its_pieces_as_they_come(over: MakeShell) -> None:
    exchange = Exchange([delta("Ala"), 5.0, delta("ska"), STOP, DONE])
    shell = over(exchange)
    answer = shell.run(once(call(response_mode="stream"))).answer
    batches = shell.batches(answer)
    assert next(batches) == ["Ala"]
    assert shell.clock() == 1000.0
    assert next(batches) == ["ska"]
    assert shell.clock() == 1005.0
    assert list(batches) == [[]]
    assert answer.reader.complete
    assert exchange.closed == 1


def test_an_open_answer_has_its_headers_before_its_first_event(over: MakeShell) -> None:
    shell = over(Exchange([1.0, *WHOLE], headers={"x-request-id": "r1"}))
    reply = shell.run(once(call(response_mode="stream")))
    assert (reply.status, reply.headers["x-request-id"], shell.clock()) == (200, "r1", 1000.0)
    assert read(shell, reply.answer) == "Alaska"


@pytest.mark.parametrize("mode", ["answer", "stream"])
@pytest.mark.parametrize(
    "end",
    [
        [],
        [httpx.RemoteProtocolError("incomplete chunked read")],
        [httpx.ReadError("")],
        [OSError()],
    ],
)
def test_an_answer_cut_short_is_an_interrupted_stream(
    over: MakeShell, mode: str, end: list[Any]
) -> None:
    error = fails(over(Exchange([delta("Ala"), *end])), response_mode=mode)
    assert isinstance(error, errors.StreamInterruptedError)


def test_what_came_before_a_break_is_shown_first(over: MakeShell) -> None:
    shell = over(Exchange([delta("Ala"), delta("s"), httpx.ReadError("reset")]))
    batches = shell.batches(shell.run(once(call(response_mode="stream"))).answer)
    shown = []
    with pytest.raises(errors.StreamInterruptedError):  # noqa: PT012 - what came before counts
        for some in batches:
            shown += some
    assert shown == ["Ala", "s"]


@pytest.mark.parametrize("mode", ["answer", "stream"])
def test_a_break_after_the_finish_reason_is_none(over: MakeShell, mode: str) -> None:
    shell = over(Exchange([delta("Alaska"), STOP, httpx.ReadError("reset")]))
    answer = shell.run(once(call(response_mode=mode))).answer
    text = text_of(answer.deltas) if mode == "answer" else read(shell, answer)
    assert text == "Alaska"


@pytest.mark.parametrize("mode", ["answer", "stream"])
def test_an_error_told_inside_an_answer_is_raised_without_the_key(
    over: MakeShell, mode: str
) -> None:
    told = event({"error": {"message": f"{KEY} is out of credit", "code": "insufficient_quota"}})
    error = fails(over(Exchange([delta("Ala"), told, DONE])), response_mode=mode)
    assert isinstance(error, errors.InsufficientCreditError)
    assert str(error) == "the service reports an error: [key] is out of credit"


def test_an_answer_closed_early_gives_its_connection_back(over: MakeShell) -> None:
    exchange = Exchange(itertools.cycle([delta("x"), 0.1]))
    shell = over(exchange)
    batches = shell.batches(shell.run(once(call(response_mode="stream"))).answer)
    assert next(batches) == ["x"]
    assert exchange.closed == 0
    batches.close()  # type: ignore[attr-defined]
    assert exchange.closed == 1


# --- Encodings ----------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["body", "answer", "stream"])
def test_an_encoding_nobody_asked_for_is_refused_and_the_connection_let_go(
    over: MakeShell, mode: str
) -> None:
    exchange = Exchange(WHOLE, headers={"content-encoding": "br"})
    shell = over(exchange)
    error = fails(shell, response_mode=mode)
    assert isinstance(error, errors.InvalidResponseError)
    assert "br" in str(error)
    assert exchange.closed == 1


@pytest.mark.parametrize("mode", ["answer", "stream"])
def test_a_compressed_answer_is_read_however_it_is_cut(over: MakeShell, mode: str) -> None:
    packed = gzip.compress(b"".join(WHOLE))
    blocks = [packed[at : at + 7] for at in range(0, len(packed), 7)]
    shell = over(Exchange(blocks, headers={"content-encoding": "gzip"}))
    answer = shell.run(once(call(response_mode=mode))).answer
    assert (text_of(answer.deltas) if mode == "answer" else read(shell, answer)) == "Alaska"


@pytest.mark.parametrize(
    "body", [b"not zlib at all", gzip.compress(b"no", mtime=0)[:-9] + b"\xff" * 9]
)
def test_the_status_of_an_error_counts_even_if_its_body_can_t_be_unpacked(
    over: MakeShell, body: bytes
) -> None:
    for encoding in ("gzip", "br"):
        exchange = Exchange([body], 401, {"content-encoding": encoding})
        assert over(exchange).run(once(call())).status == 401


def test_a_bomb_is_stopped_long_before_it_is_unpacked(over: MakeShell) -> None:
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    bomb = b"".join(packer.compress(b"data: " + b"x" * 1_000_000) for _ in range(40))
    exchange = Exchange([bomb + packer.flush(), *WHOLE], headers={"content-encoding": "gzip"})
    error = fails(over(exchange), response_mode="answer")
    assert isinstance(error, errors.InvalidResponseError)
    assert exchange.read == 1


# --- Time ---------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["body", "answer", "stream"])
@pytest.mark.parametrize("before", [[100.0], [COMMENT, 4.0] * 30])
def test_headers_that_do_not_come_are_a_timeout(
    over: MakeShell, mode: str, before: list[Any]
) -> None:
    shell = over(Exchange(WHOLE, before=before))
    error = fails(shell, response_mode=mode, timeout=9.0)
    assert isinstance(error, errors.APITimeoutError)
    assert str(error) == "the service made no progress for 9 s"
    assert shell.clock() == pytest.approx(1009.0)


@pytest.mark.parametrize("mode", ["answer", "stream"])
@pytest.mark.parametrize("stall", [[100.0], [COMMENT, 1.0] * 100])
def test_only_an_event_is_progress(over: MakeShell, mode: str, stall: list[Any]) -> None:
    shell = over(Exchange([delta("a"), 8.0, delta("b"), *stall, *WHOLE]))
    assert isinstance(fails(shell, response_mode=mode, timeout=9.0), errors.APITimeoutError)
    assert shell.clock() == pytest.approx(1017.0, abs=0.05)


@pytest.mark.parametrize("mode", ["answer", "stream"])
def test_an_endless_answer_ends_at_the_deadline(over: MakeShell, mode: str) -> None:
    shell = over(Exchange(itertools.cycle([delta("x"), 1.0])))
    error = fails(shell, response_mode=mode, deadline=1030.5)
    assert isinstance(error, errors.APITimeoutError)
    assert "total timeout" in str(error)
    assert shell.clock() == pytest.approx(1030.5, abs=0.05)


def test_a_call_past_its_deadline_is_not_sent(over: MakeShell) -> None:
    shell = over(Exchange(WHOLE))
    assert isinstance(fails(shell, deadline=999.0), errors.APITimeoutError)
    assert shell.service.requests == []


def test_the_time_a_reader_takes_does_not_count(over: MakeShell) -> None:
    shell = over(Exchange([delta("a"), delta("b"), 6.0, STOP, DONE]))
    batches = shell.batches(shell.run(once(call(response_mode="stream", timeout=9.0))).answer)
    first = next(batches)
    shell.clock.sleep(5.0)
    assert [*first, *(piece for some in batches for piece in some)] == ["a", "b"]


@pytest.mark.parametrize("mode", ["answer", "stream"])
def test_a_server_that_lingers_after_its_answer_costs_a_twentieth_of_a_second(
    over: MakeShell, mode: str
) -> None:
    for lingering in ([100.0], [COMMENT, 0.02] * 50):
        exchange = Exchange([*WHOLE, *lingering])
        shell = over(exchange)
        answer = shell.run(once(call(response_mode=mode))).answer
        assert (text_of(answer.deltas) if mode == "answer" else read(shell, answer)) == "Alaska"
        assert shell.clock() == pytest.approx(1000.05, abs=0.021)
        assert exchange.closed == 1


@pytest.mark.parametrize("mode", ["answer", "stream"])
def test_an_answer_s_last_bytes_are_read_so_that_its_connection_is_used_again(
    over: MakeShell, mode: str
) -> None:
    exchange = Exchange([*WHOLE, b"\n", 0.01, b"\n"])
    shell = over(exchange)
    answer = shell.run(once(call(response_mode=mode))).answer
    assert (text_of(answer.deltas) if mode == "answer" else read(shell, answer)) == "Alaska"
    assert exchange.read == len(WHOLE) + 3


@pytest.mark.parametrize("mode", ["answer", "stream"])
@pytest.mark.parametrize("end", [[100.0], [COMMENT, 0.4] * 99, [2.0, USAGE, 100.0]])
def test_after_the_finish_reason_the_rest_is_waited_for_five_seconds(
    over: MakeShell, mode: str, end: list[Any]
) -> None:
    shell = over(Exchange([delta("Alaska"), STOP, *end]))
    answer = shell.run(once(call(response_mode=mode))).answer
    assert (text_of(answer.deltas) if mode == "answer" else read(shell, answer)) == "Alaska"
    assert shell.clock() >= 1004.95
    assert shell.clock() <= 1007.05


# --- What a request dies of -----------------------------------------------------------


def test_a_connection_that_can_t_be_made_is_told_apart(over: MakeShell) -> None:
    error = fails(over(Exchange(before=[httpx.ConnectError("refused")])))
    assert isinstance(error, errors.APIConnectionError)
    assert (error.maybe_sent, error.stale, error.is_retryable) == (False, False, True)
    assert str(error) == "can't connect to the service at service.test:443: refused"


def test_a_connection_that_takes_too_long_is_none(over: MakeShell) -> None:
    error = fails(over(Exchange(before=[Connecting, 100.0])), timeout=3.0)
    assert isinstance(error, errors.APIConnectionError)
    assert not error.maybe_sent


@pytest.mark.parametrize(("before", "stale"), [([], True), ([Connecting], False)])
def test_a_drop_before_the_first_byte_is_stale_unless_the_connection_is_new(
    over: MakeShell, before: list[Any], *, stale: bool
) -> None:
    shell = over(Exchange(before=[*before, httpx.RemoteProtocolError("disconnected")]))
    error = fails(shell)
    assert isinstance(error, errors.APIConnectionError)
    # What breaks while a connection is being made was not sent, so it is not stale either.
    assert (error.stale, error.maybe_sent) == (stale, stale)


def test_a_stale_connection_is_replaced_at_once(over: MakeShell) -> None:
    shell = over(Exchange(before=[httpx.ReadError("reset")]), Exchange(WHOLE))
    reply = shell.run(send(call(response_mode="answer"), RetryPolicy(2), shell.clock))
    assert text_of(reply.answer.deltas) == "Alaska"
    assert shell.network.fresh == [False, True]
    assert shell.clock() == 1000.0


def test_a_failed_attempt_lets_its_connection_go_before_the_next(over: MakeShell) -> None:
    first = Exchange([b"busy"], 503, {"retry-after": "4"})
    shell = over(first, Exchange(WHOLE))
    flow = send(call(response_mode="stream"), RetryPolicy(2), shell.clock)
    assert read(shell, shell.run(flow).answer) == "Alaska"
    assert (first.closed, shell.clock()) == (1, 1004.0)


def test_a_whole_answer_cut_short_is_asked_for_again(over: MakeShell) -> None:
    cut = Exchange([delta("Ala"), httpx.ReadError("reset")])
    shell = over(cut, Exchange([b"data: {broken\n\n"]), Exchange(WHOLE))
    flow = send(call(response_mode="answer"), RetryPolicy(2, lambda: 1.0), shell.clock)
    assert text_of(shell.run(flow).answer.deltas) == "Alaska"
    assert shell.clock() == 1000.0 + 0.5 + 1.0


def test_an_open_answer_cut_short_is_not_asked_for_again(over: MakeShell) -> None:
    shell = over(Exchange([delta("Ala")]), Exchange(WHOLE))
    answer = shell.run(send(call(response_mode="stream"), RetryPolicy(2), shell.clock)).answer
    with pytest.raises(errors.StreamInterruptedError):
        read(shell, answer)
    assert len(shell.service.requests) == 1


def test_a_policy_s_wait_is_slept(over: MakeShell, monkeypatch: pytest.MonkeyPatch) -> None:
    began = time.monotonic()
    shell = over(Exchange([b""], 500))
    with pytest.raises(errors.ServiceError):
        shell.run(send(call(), RetryPolicy(3, lambda: 1.0), shell.clock))
    assert shell.clock() == 1000.0 + 0.5 + 1 + 2
    assert len(shell.service.requests) == 4
    assert time.monotonic() - began < 3


def test_a_call_is_what_a_flow_asks_for(over: MakeShell) -> None:
    asked = call()
    assert isinstance(asked, Request)
    assert over(Exchange([b"{}"])).run(once(asked)).body == b"{}"
