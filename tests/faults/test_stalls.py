import itertools

from tests.faults.client import Client, LateError, check_error, check_released
from tests.faults.fault import fault
from tests.faults.server import Exchange, FaultServer, Script
from tests.faults.wire import CHUNKED, TEXT, chunked, drip, event, head, stream, token, tokens

TIMEOUT = 0.5
LONG = 5.0
"""Seconds for which the server goes on."""


def _silent(exchange: Exchange) -> None:
    exchange.pause(LONG)
    exchange.close()


_COMMENTS = drip(
    itertools.repeat(chunked(b": keep-alive\n\n")),
    0.1,
    LONG,
    head(headers=CHUNKED) + b"".join(map(chunked, tokens())),
)
_DRIPPED = drip([bytes([byte]) for byte in head(headers=CHUNKED)], 0.1, LONG)
_HINTS = drip(itertools.repeat(b"HTTP/1.1 103 Early Hints\r\n\r\n"), 0.1, LONG)
_ENDLESS = drip(itertools.repeat(chunked(event(token("x")))), 0.05, LONG, head(headers=CHUNKED))


@fault("before headers", "silence ends after `timeout`", stalled=_silent, shown=None)
@fault(
    "mid-stream",
    "silence ends after `timeout`, between events too",
    stalled=stream(tokens(), then=_silent),
    shown=TEXT,
)
@fault("with keep-alive comments", "comments are no progress", stalled=_COMMENTS, shown=TEXT)
@fault(
    "endless informational answers",
    "hints that an answer will come are no progress",
    stalled=_HINTS,
    shown=None,
)
@fault("headers dripped slowly", "dripped bytes are no progress", stalled=_DRIPPED, shown=None)
def test_a_stall_ends_in_time(client: Client, stalled: Script, shown: str | None) -> None:
    _check_late(client, stalled, shown)


@fault("endless stream", "`total_timeout` ends what never ends")
def test_an_endless_stream_ends_in_time(client: Client) -> None:
    _check_late(client, _ENDLESS, total_timeout=1.0)


def _check_late(
    client: Client, stalled: Script, shown: str | None = None, total_timeout: float = 6.0
) -> None:
    """Assert that a call ends with a timeout, unrepeated, and leaves no connection."""
    with FaultServer([stalled]) as server:
        times = {"timeout": TIMEOUT, "total_timeout": total_timeout}
        [made] = client.call(client.target.model(server.url, **times))
        if not client.ours:
            check_error(client, made, within=4.0)
            return
        if not server.record.requests:
            raise LateError("the time was up before anything was sent")
        check_error(client, made, "APITimeoutError", retryable=False, shown=shown, within=2.0)
        assert len(server.record.requests) == 1
        check_released(server.record)
