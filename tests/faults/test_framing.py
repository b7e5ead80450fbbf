import json
import zlib

import pytest

from tests.faults.client import Client, check_answered, check_raised
from tests.faults.fault import ONE_EACH, fault
from tests.faults.server import Exchange, Script
from tests.faults.wire import (
    CHUNKED,
    DONE,
    LAST,
    TEXT,
    TOKENS,
    answer,
    chunked,
    completion,
    event,
    finish,
    head,
    stream,
    token,
    usage,
)

_WHOLE = b"".join(answer())


def _ends(end: bytes) -> list[bytes]:
    return [one.replace(b"\n", end) for one in answer()]


def _many_lines() -> list[bytes]:
    """Spread each JSON document over several `data` lines."""
    found = []
    for value in [*map(token, TOKENS), finish(), usage()]:
        lines = json.dumps(value, ensure_ascii=False, indent=1).split("\n")
        found.append("".join(f"data: {line}\n" for line in lines).encode() + b"\n")
    return [*found, DONE]


def _split_ends() -> list[bytes]:
    """Cut between every CR and its LF, of events with several lines."""
    pieces = b"".join(_many_lines()).replace(b"\n", b"\r\n").split(b"\n")
    return [piece if not n else b"\n" + piece for n, piece in enumerate(pieces) if piece or n]


def _bytewise(exchange: Exchange) -> None:
    exchange.send(head(headers=CHUNKED))
    exchange.send(*[chunked(bytes([byte])) for byte in _WHOLE], LAST)


def _adorned(exchange: Exchange) -> None:
    """Send chunks with extensions, and trailers after the last one."""
    exchange.send(head(headers=CHUNKED))
    exchange.send(*[b"%X;of=it\r\n%s\r\n" % (len(one), one) for one in answer()])
    exchange.send(b"0\r\nServer-Timing: all;dur=3\r\n\r\n")


def _shredded(exchange: Exchange) -> None:
    """Cut everything, the head and the chunks' sizes too, into packets of seven bytes."""
    raw = head(headers=CHUNKED) + b"".join(map(chunked, answer())) + LAST
    for at in range(0, len(raw), 7):
        exchange.send(raw[at : at + 7])
        exchange.pause(0.0005)


def _excessive(exchange: Exchange) -> None:
    """Send more than the answer: another one, which nobody asked for."""
    another = head(headers=CHUNKED) + b"".join(map(chunked, answer(["not", " yours"]))) + LAST
    exchange.send(head(headers=CHUNKED), *map(chunked, answer()))
    exchange.send(LAST + another)


def _excessive_document(exchange: Exchange) -> None:
    """The same after an answer that says its length."""
    another = head(headers=CHUNKED) + b"".join(map(chunked, answer(["not", " yours"]))) + LAST
    document = json.dumps(completion()).encode()
    length = {"Content-Length": str(len(document))}
    exchange.send(head(content_type="application/json", headers=length) + document + another)


def _nothing(exchange: Exchange) -> None:
    exchange.send(head("204 No Content", None, CHUNKED))


_DECORATED = [
    b": a comment\n\n",
    b"id: 7\nfoo: bar\nbaz\n" + answer()[0],
    b":\n: another\n",
    *answer()[1:],
]
_RETRY_ONLY = [b"retry: 10\n\n", *answer()[:2], b"retry: 3000\n\n", b"id: 1\n\n", *answer()[2:]]


_INVALID = event(token("caf\u00e9 ok")).replace("\u00e9".encode(), b"\xff\xfe")


def _zipped(exchange: Exchange) -> None:
    packed = zlib.compressobj(wbits=31)
    pieces = [packed.compress(one) + packed.flush(zlib.Z_SYNC_FLUSH) for one in answer()]
    exchange.send(head(headers={**CHUNKED, "Content-Encoding": "gzip"}))
    exchange.send(*map(chunked, pieces), chunked(packed.flush()), LAST)


def _framed(name: str, promise: str, packets: list[bytes]) -> pytest.MarkDecorator:
    return fault(name, promise, modes=ONE_EACH, script=stream(packets), text=TEXT)


def _odd(name: str, promise: str, character: str) -> pytest.MarkDecorator:
    packets = answer([f"a{character}b", "c"])
    return fault(name, promise, modes=ONE_EACH, script=stream(packets), text=f"a{character}bc")


@_framed("CRLF", "CRLF ends a line", _ends(b"\r\n"))
@_framed("CR", "CR alone ends a line", _ends(b"\r"))
@_framed("split CRLF", "a packet may end between CR and LF", _split_ends())
@fault(
    "byte by byte",
    "a packet may be one byte, inside a character too",
    modes=ONE_EACH,
    script=_bytewise,
    text=TEXT,
)
@fault(
    "packets of seven bytes",
    "a packet may end anywhere, in the head and in a chunk's size too",
    modes=ONE_EACH,
    script=_shredded,
    text=TEXT,
)
@_framed("comments and unknown fields", "what is no data is passed over", _DECORATED)
@_framed("retry-only block", "a block without data is no event", _RETRY_ONLY)
@_framed("multi-line data", "several `data` lines are one event", _many_lines())
@_framed("BOM", "one byte order mark is dropped", [b"\xef\xbb\xbf" + _WHOLE])
@_framed(
    "no space after the colon",
    "`data:` needs no space",
    [one.replace(b"data: ", b"data:") for one in answer()],
)
@_odd("U+2028 in JSON", "a line separator inside a text ends no line", "\u2028")
@_odd("U+2029 in JSON", "a paragraph separator inside a text ends no line", "\u2029")
@_odd("U+0085 in JSON", "a next-line character inside a text ends no line", "\u0085")
@fault(
    "lying charset",
    "it is UTF-8 whatever the header says",
    modes=ONE_EACH,
    script=stream(answer(), content_type="text/event-stream; charset=iso-8859-1"),
    text=TEXT,
)
@fault(
    "invalid UTF-8",
    "bad bytes become U+FFFD, and nothing else is lost",
    modes=ONE_EACH,
    script=stream([_INVALID, *answer()[-3:]]),
    text="caf\ufffd\ufffd ok",
)
@fault("gzip", "a compressed stream is read as it comes", modes=ONE_EACH, script=_zipped, text=TEXT)
def test_a_stream_is_read_however_it_is_framed(client: Client, script: Script, text: str) -> None:
    check_answered(client, [script], text=text)


@fault(
    "chunk extensions and trailers", "what HTTP lets a chunk say besides its size is passed over"
)
def test_extensions_and_trailers_of_chunks_are_passed_over(client: Client) -> None:
    _, record = check_answered(client, [_adorned], calls=2)
    assert len(record.connections) == 1


@fault(
    "bytes beyond the end",
    "what nobody asked for is never taken for the next answer",
    script=_excessive,
)
@fault(
    "bytes beyond a document",
    "nor after an answer that says its length",
    script=_excessive_document,
)
def test_bytes_beyond_an_answer_are_never_the_next(client: Client, script: Script) -> None:
    check_answered(client, [script], calls=2)


@fault("204 that promises chunks", "an answer that can have no body is not waited for")
def test_an_answer_without_a_body_is_not_waited_for(client: Client) -> None:
    check_raised(
        client,
        [_nothing],
        "StreamInterruptedError",
        shown="",
        within=2.5,
        settings={"timeout": 4.0},
    )
