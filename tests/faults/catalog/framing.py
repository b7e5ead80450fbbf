"""Framing: bytes to events, chunked and compressed bodies, and their bounds."""

import json
import zlib

from tests.faults.fault import (
    Expect,
    Fault,
    Seen,
    Verdict,
    answers,
    answers_or_raises,
    both,
    bounded,
    connections,
    raises,
)
from tests.faults.server import Exchange, Script
from tests.faults.targets import Settings
from tests.faults.wire import (
    CHUNKED,
    CLOSES,
    DONE,
    LAST,
    answer,
    chunked,
    completion,
    event,
    finish,
    flood,
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
    for value in [*map(token, ("Hel", "lo, ", "wörld", " 🌍", "!")), finish(), usage()]:
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


def _odd(character: str) -> tuple[Script, ...]:
    return (stream(answer([f"a{character}b", "c"])),)


_INVALID = event(token("caf\u00e9 ok")).replace("\u00e9".encode(), b"\xff\xfe")


def _zipped(exchange: Exchange) -> None:
    packed = zlib.compressobj(wbits=31)
    pieces = [packed.compress(one) + packed.flush(zlib.Z_SYNC_FLUSH) for one in answer()]
    exchange.send(head(headers={**CHUNKED, "Content-Encoding": "gzip"}))
    exchange.send(*map(chunked, pieces), chunked(packed.flush()), LAST)


FRAMING = (
    Fault(
        "framing", "CRLF", "CRLF ends a line", scripts=(stream(_ends(b"\r\n")),), expect=answers()
    ),
    Fault(
        "framing", "CR", "CR alone ends a line", scripts=(stream(_ends(b"\r")),), expect=answers()
    ),
    Fault(
        "framing",
        "split CRLF",
        "a packet may end between CR and LF",
        scripts=(stream(_split_ends()),),
        expect=answers(),
    ),
    Fault(
        "framing",
        "byte by byte",
        "a packet may be one byte, inside a character too",
        scripts=(_bytewise,),
        expect=answers(),
    ),
    Fault(
        "framing",
        "chunk extensions and trailers",
        "what HTTP lets a chunk say besides its size is passed over",
        scripts=(_adorned,),
        expect=both(answers(requests=2), connections(1)),
        calls=2,
    ),
    Fault(
        "framing",
        "packets of seven bytes",
        "a packet may end anywhere, in the head and in a chunk's size too",
        scripts=(_shredded,),
        expect=answers(),
    ),
    Fault(
        "framing",
        "bytes beyond the end",
        "what nobody asked for is never taken for the next answer",
        scripts=(_excessive,),
        expect=answers(requests=2),
        calls=2,
    ),
    Fault(
        "framing",
        "bytes beyond a document",
        "nor after an answer that says its length",
        scripts=(_excessive_document,),
        expect=answers(requests=2),
        calls=2,
    ),
    Fault(
        "framing",
        "204 that promises chunks",
        "an answer that can have no body is not waited for",
        scripts=(_nothing,),
        expect=raises("StreamInterruptedError", shown="", within=2.5),
        settings=Settings(timeout=4.0),
    ),
    Fault(
        "framing",
        "comments and unknown fields",
        "what is no data is passed over",
        scripts=(stream(_DECORATED),),
        expect=answers(),
    ),
    Fault(
        "framing",
        "retry-only block",
        "a block without data is no event",
        scripts=(stream(_RETRY_ONLY),),
        expect=answers(),
    ),
    Fault(
        "framing",
        "multi-line data",
        "several `data` lines are one event",
        scripts=(stream(_many_lines()),),
        expect=answers(),
    ),
    Fault(
        "framing",
        "BOM",
        "one byte order mark is dropped",
        scripts=(stream([b"\xef\xbb\xbf" + _WHOLE]),),
        expect=answers(),
    ),
    Fault(
        "framing",
        "no space after the colon",
        "`data:` needs no space",
        scripts=(stream([one.replace(b"data: ", b"data:") for one in answer()]),),
        expect=answers(),
    ),
    Fault(
        "framing",
        "U+2028 in JSON",
        "a line separator inside a text ends no line",
        scripts=_odd("\u2028"),
        expect=answers("a\u2028bc"),
    ),
    Fault(
        "framing",
        "U+2029 in JSON",
        "a paragraph separator inside a text ends no line",
        scripts=_odd("\u2029"),
        expect=answers("a\u2029bc"),
    ),
    Fault(
        "framing",
        "U+0085 in JSON",
        "a next-line character inside a text ends no line",
        scripts=_odd("\u0085"),
        expect=answers("a\u0085bc"),
    ),
    Fault(
        "framing",
        "lying charset",
        "it is UTF-8 whatever the header says",
        scripts=(stream(answer(), content_type="text/event-stream; charset=iso-8859-1"),),
        expect=answers(),
    ),
    Fault(
        "framing",
        "invalid UTF-8",
        "bad bytes become U+FFFD, and nothing else is lost",
        scripts=(stream([_INVALID, *answer()[-3:]]),),
        expect=answers("caf\ufffd\ufffd ok"),
    ),
    Fault(
        "framing",
        "gzip",
        "a compressed stream is read as it comes",
        scripts=(_zipped,),
        expect=answers(),
    ),
)

# --- Bounds -----------------------------------------------------------------------------------

_MIB = 1 << 20
_SPACES = b"x" * _MIB
_UNTRIED = Settings(max_retries=0, timeout=8.0, total_timeout=20.0)


def _refused(kind: str) -> Expect:
    return both(raises(kind, shown=""), bounded)


def _long_error(exchange: Exchange) -> None:
    exchange.send(head("400 Bad", "application/json", {"Content-Length": str(100 * _MIB)}))
    exchange.send(b'{"error": {"message": "')
    for _ in range(100):
        exchange.send(_SPACES)


def _long_document(exchange: Exchange) -> None:
    start = b'{"object": "chat.completion", "choices": [{"index": 0, "finish_reason": "stop", '
    start += b'"message": {"role": "assistant", "content": "'
    end = b'"}}]}'
    length = len(start) + 100 * _MIB + len(end)
    exchange.send(head("200 OK", "application/json", {"Content-Length": str(length)}) + start)
    for _ in range(100):
        exchange.send(_SPACES)
    exchange.send(end)


def _bomb(exchange: Exchange) -> None:
    """Send 1 GiB of zeros as 1 MiB of gzip, in one JSON string."""
    packed = zlib.compressobj(level=9, wbits=31)
    start = packed.compress(event(token("Hi"))) + packed.compress(b'data: {"a": "')
    start += packed.flush(zlib.Z_FULL_FLUSH)
    plain = zlib.compressobj(level=9, wbits=-15)
    block = plain.compress(b"0" * _MIB) + plain.flush(zlib.Z_FULL_FLUSH)
    exchange.send(head(headers={**CLOSES, "Content-Encoding": "gzip"}) + start)
    for _ in range(16):
        exchange.send(block * 64)
    exchange.close()


def _long_head(exchange: Exchange) -> None:
    lines = b"".join(b"X-%d: %s\r\n" % (n, b"y" * 1000) for n in range(2048))
    exchange.send(b"HTTP/1.1 200 OK\r\n")
    for n in range(0, len(lines), 65536):
        exchange.send(lines[n : n + 65536])
    exchange.send(b"Content-Type: text/event-stream\r\nConnection: close\r\n\r\n" + _WHOLE)
    exchange.close()


def _soon(seen: Seen) -> Verdict:
    return "" if seen.last.seconds < 15 else f"took {seen.last.seconds:.1f} s"


_DATA_LINES = b"data: %s\n" % (b"x" * 1015) * 64
_COMMENT_LINES = b": %s\n" % (b"x" * 1021) * 64


def _bound(name: str, promise: str, script: Script, expect: Expect) -> Fault:
    return Fault(
        "bounds",
        name,
        promise,
        scripts=(script,),
        expect=both(expect, _soon),
        settings=_UNTRIED,
        isolated=True,
    )


BOUNDS = (
    _bound(
        "100 MB line",
        "an event has at most 4 MiB",
        flood(_SPACES, 100, start=b"data: "),
        _refused("InvalidResponseError"),
    ),
    _bound(
        "100 MB event",
        "an event of many lines has at most 4 MiB",
        flood(_DATA_LINES, 1600),
        _refused("InvalidResponseError"),
    ),
    _bound(
        "100 MB of empty data lines",
        "lines without a byte count as well",
        flood(b"data\n" * 13_000, 1600),
        _refused("InvalidResponseError"),
    ),
    _bound(
        "50 MB of comments",
        "comments are read past and not kept",
        flood(_COMMENT_LINES, 800, end=_WHOLE),
        both(answers_or_raises(), bounded),
    ),
    _bound(
        "100 MB error body",
        "of an error body 64 KiB are read",
        _long_error,
        both(_refused("BadRequestError")),
    ),
    _bound(
        "100 MB JSON body",
        "of a JSON answer 8 MiB are read",
        _long_document,
        _refused("InvalidResponseError"),
    ),
    _bound(
        "gzip bomb",
        "decompression is bounded",
        _bomb,
        both(raises("InvalidResponseError"), bounded),
    ),
    _bound(
        "2 MB of headers", "headers are bounded", _long_head, both(answers_or_raises(), bounded)
    ),
)
