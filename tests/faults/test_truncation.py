from tests.faults.client import (
    Client,
    check_answer,
    check_answered,
    check_error,
    check_raised,
    check_released,
    check_soon,
)
from tests.faults.fault import fault
from tests.faults.server import Exchange, FaultServer, Script
from tests.faults.wire import (
    DONE,
    GOOD,
    TEXT,
    answer,
    closed_at_end,
    event,
    finish,
    stream,
    token,
    tokens,
    usage,
)


def _close(exchange: Exchange) -> None:
    exchange.close()


def _malformed(exchange: Exchange) -> None:
    exchange.send(b"not-a-size\r\nwhatever\r\n")
    exchange.close()


_HALF_AN_EVENT = event(token("never whole"))[:40]


@fault("clean end mid-stream", "no end mark, no answer", cut=stream(tokens()))
@fault(
    "cut chunked body", "a chunked body without its end is cut", cut=stream(tokens(), then=_close)
)
@fault("close-delimited body", "a body that just closes is cut", cut=closed_at_end(tokens()))
@fault("malformed chunk", "a broken frame of HTTP is a cut", cut=stream(tokens(), then=_malformed))
@fault("cut inside an event", "half an event is no event", cut=stream([*tokens(), _HALF_AN_EVENT]))
def test_a_cut_answer_is_no_answer(client: Client, cut: Script) -> None:
    with FaultServer([cut, GOOD]) as server:
        [made] = client.call(client.target.model(server.url))
    requests = len(server.record.requests)
    if made.error is None and (client.target.swallows or not client.streams):
        check_answer(client, made)  # asked for again, since the caller has seen nothing
        assert requests == 2
        return
    shown = None if client.target.swallows else TEXT
    check_error(client, made, "StreamInterruptedError", retryable=True, shown=shown)
    if client.ours:
        assert client.streams, "invoke must ask again"
        assert requests == 1
        assert TEXT.startswith(made.text)


def _reset(exchange: Exchange) -> None:
    exchange.pause(0.1)
    exchange.reset()


@fault("reset after tokens", "what was shown stays, then the error comes")
def test_what_was_shown_before_a_reset_stays(client: Client) -> None:
    check_raised(
        client,
        [stream(tokens(), then=_reset)],
        "StreamInterruptedError",
        retryable=True,
        requests=1 if client.streams else 2,
        shown=TEXT,
    )


@fault(
    "finish without [DONE]",
    "a finish reason completes the answer",
    packets=[*tokens(), event(finish()), event(usage())],
)
@fault(
    "[DONE] without newline",
    "a last `[DONE]` counts",
    packets=[*tokens(), event(finish()), event(usage()), DONE.rstrip()],
)
def test_either_end_mark_is_enough(client: Client, packets: list[bytes]) -> None:
    check_answered(client, [stream(packets)])


def _linger(exchange: Exchange) -> None:
    exchange.stall()


@fault("server lingers after [DONE]", "nobody waits for a server that lingers")
def test_a_server_that_lingers_is_not_waited_for(client: Client) -> None:
    with FaultServer([stream(answer(), then=_linger)]) as server:
        [made] = client.call(client.target.model(server.url))
        check_answer(client, made)
        check_soon(made.seconds, 1.5)
        check_released(server.record, 1)


@fault("finish length", "an answer cut by the token limit says so")
def test_an_answer_cut_by_the_limit_says_so(client: Client) -> None:
    made, _ = check_answered(client, [stream(answer(reason="length"))])
    assert made.message.response_metadata["finish_reason"] == "length"
