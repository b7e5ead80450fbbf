import pytest

from tests.faults.client import Client, check_answer, check_answered, run_forked
from tests.faults.fault import fault
from tests.faults.server import Exchange, FaultServer
from tests.faults.wire import GOOD, TOKENS, body, completion


@fault("plain stream", "each piece is shown as it comes")
def test_pieces_are_shown_as_they_come(client: Client) -> None:
    made, _ = check_answered(client, [GOOD])
    assert not client.streams or made.pieces == len(TOKENS)


@fault(
    "invoke over SSE",
    "`invoke` collects the stream that the service sends",
    modes=("invoke", "ainvoke"),
)
def test_invoke_collects_a_stream(client: Client) -> None:
    check_answered(client, [GOOD], settings={} if client.ours else {"streaming": False})


@fault("usage chunk kept", "the counts and their details arrive")
def test_tokens_are_counted(client: Client) -> None:
    made, _ = check_answered(client, [GOOD])
    usage = made.message.usage_metadata
    counts = [usage[name] for name in ("input_tokens", "output_tokens", "total_tokens")]
    assert counts == [11, 5, 16]
    assert usage["input_token_details"]["cache_read"] == 3
    assert usage["output_token_details"]["reasoning"] == 2


def _hinted(exchange: Exchange) -> None:
    exchange.send(b"HTTP/1.1 103 Early Hints\r\nLink: </style.css>; rel=preload\r\n\r\n")
    GOOD(exchange)


@fault("103 Early Hints", "informational answers are passed over")
def test_informational_answers_are_passed_over(client: Client) -> None:
    check_answered(client, [_hinted])


@fault("proxy variables honoured", "`HTTP_PROXY` and its kin are obeyed")
def test_a_proxy_of_the_environment_is_asked(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    def work() -> None:  # clients read the variables once, as they are made
        [made] = client.call(client.target.model("http://127.0.0.1:9"))
        check_answer(client, made)

    with FaultServer([GOOD]) as server:
        for name in ("HTTP_PROXY", "http_proxy"):
            monkeypatch.setenv(name, server.url)
        for name in ("NO_PROXY", "no_proxy"):
            monkeypatch.setenv(name, "")
        run_forked(work)
    assert server.record.requests[0].target.startswith("http://127.0.0.1:9/api")


@fault("JSON in place of SSE", "one JSON document is an answer as well")
def test_a_json_document_is_an_answer(client: Client) -> None:
    check_answered(client, [body("200 OK", completion())])


@fault("five calls on one connection", "a connection is used again")
def test_a_connection_is_used_again(client: Client) -> None:
    _, record = check_answered(client, [GOOD], calls=5)
    assert len(record.connections) == 1
