import zlib

import pytest

from tests.faults.client import Client, check_answer, check_error, check_soon
from tests.faults.fault import ONE_EACH, fault
from tests.faults.memory import MIB, limited, measured
from tests.faults.server import Exchange, FaultServer, Script
from tests.faults.wire import CLOSES, answer, event, flood, head, token

MOST_GROWTH = 48
"""MiB by which a call may grow a process, whatever the server sends."""

BLOCK = b"x" * MIB
DATA_LINES = b"data: %s\n" % (b"x" * 1015) * 64
COMMENT_LINES = b": %s\n" % (b"x" * 1021) * 64


def _long_error(exchange: Exchange) -> None:
    exchange.send(head("400 Bad", "application/json", {"Content-Length": str(100 * MIB)}))
    exchange.send(b'{"error": {"message": "')
    exchange.send(*[BLOCK] * 100)


def _long_document(exchange: Exchange) -> None:
    start = b'{"object": "chat.completion", "choices": [{"index": 0, "finish_reason": "stop", '
    start += b'"message": {"role": "assistant", "content": "'
    end = b'"}}]}'
    length = len(start) + 100 * MIB + len(end)
    exchange.send(head("200 OK", "application/json", {"Content-Length": str(length)}) + start)
    exchange.send(*[BLOCK] * 100, end)


def _bomb(exchange: Exchange) -> None:
    """Send 1 GiB of zeros as 1 MiB of gzip, in one JSON string."""
    packed = zlib.compressobj(level=9, wbits=31)
    start = packed.compress(event(token("Hi"))) + packed.compress(b'data: {"a": "')
    start += packed.flush(zlib.Z_FULL_FLUSH)
    plain = zlib.compressobj(level=9, wbits=-15)
    block = plain.compress(b"0" * MIB) + plain.flush(zlib.Z_FULL_FLUSH)
    exchange.send(head(headers={**CLOSES, "Content-Encoding": "gzip"}) + start)
    exchange.send(*[block * 64] * 16)
    exchange.close()


def _long_head(exchange: Exchange) -> None:
    lines = b"".join(b"X-%d: %s\r\n" % (n, b"y" * 1000) for n in range(2048))
    exchange.send(b"HTTP/1.1 200 OK\r\n")
    exchange.send(*[lines[n : n + 65536] for n in range(0, len(lines), 65536)])
    exchange.send(b"Content-Type: text/event-stream\r\nConnection: close\r\n\r\n", *answer())
    exchange.close()


def _bound(
    name: str, promise: str, script: Script, kind: str, shown: str | None = ""
) -> pytest.MarkDecorator:
    return fault(name, promise, modes=ONE_EACH, script=script, kind=kind, shown=shown)


def _is_bounded(name: str, promise: str, script: Script) -> pytest.MarkDecorator:
    return fault(name, promise, modes=ONE_EACH, script=script, kind="", shown=None)


@_bound(
    "100 MB line",
    "an event has at most 4 MiB",
    flood(BLOCK, 100, start=b"data: "),
    "InvalidResponseError",
)
@_bound(
    "100 MB event",
    "an event of many lines has at most 4 MiB",
    flood(DATA_LINES, 1600),
    "InvalidResponseError",
)
@_bound(
    "100 MB of empty data lines",
    "lines without a byte count as well",
    flood(b"data\n" * 13_000, 1600),
    "InvalidResponseError",
)
@_is_bounded(
    "50 MB of comments",
    "comments are read past and not kept",
    flood(COMMENT_LINES, 800, end=b"".join(answer())),
)
@_bound("100 MB error body", "of an error body 64 KiB are read", _long_error, "BadRequestError")
@_bound(
    "100 MB JSON body", "of a JSON answer 8 MiB are read", _long_document, "InvalidResponseError"
)
@_bound("gzip bomb", "decompression is bounded", _bomb, "InvalidResponseError", None)
@_is_bounded("2 MB of headers", "headers are bounded", _long_head)
def test_memory_is_bounded(client: Client, script: Script, kind: str, shown: str | None) -> None:
    times = {"max_retries": 0, "timeout": 8.0}
    with FaultServer([script]) as server, limited(3072), measured() as grown:
        [made] = client.call(client.target.model(server.url, **times))
        growth = grown()
    if kind or made.error:
        check_error(client, made, kind or "ModelError", shown=shown)
    else:
        check_answer(client, made)
    assert growth <= MOST_GROWTH
    check_soon(made.seconds, 15)
